"""Factorized weights and adaptive activations, which every network of dense layers takes: the function at the start stays."""

from __future__ import annotations

import pytest
import torch

import pinntk
from pinntk.nn import MLP, NETWORKS
from tests.support import reference
from tests.support.small_problems import poisson, sample

F64 = {"dtype": torch.float64}
TAKE_THEM = [name for name in NETWORKS if name != "siren"]


def made(kind, **options):
    problem = pinntk.load("poisson_family")
    return NETWORKS[kind](problem, width=12, depth=2, seed=3, **{"normalize": True, **options}, **F64)


@pytest.mark.parametrize("kind", TAKE_THEM)
@pytest.mark.parametrize("parametrization", ["standard", "ntk"])
def test_the_function_at_the_start_is_that_without_them(kind, parametrization):
    x = torch.rand(9, 4, **F64)
    plain = made(kind, parametrization=parametrization, beta=0.5)
    for options in ({"factorized": (1.0, 0.4)}, {"adaptive_slopes": 5}, {"factorized": True, "adaptive_slopes": 1}):
        network = made(kind, parametrization=parametrization, beta=0.5, **options)
        torch.testing.assert_close(network(x), plain(x), rtol=1e-12, atol=1e-13)
        assert len(list(network.parameters())) > len(list(plain.parameters()))
        assert network.config["factorized"] in (None, [1.0, 0.4], [1.0, 0.1])


def test_factorized_weights_are_diag_exp_s_times_v():
    network = MLP(inputs=2, outputs=1, width=400, depth=1, factorized=(0.5, 0.2), **F64)
    s, V, b = network.dense.log_scales, network.dense.weights, network.dense.biases
    assert abs(float(s[0].detach().mean()) - 0.5) < 0.03 and abs(float(s[0].detach().std()) - 0.2) < 0.03
    x = torch.rand(5, 2, **F64)
    h = torch.tanh(x @ (torch.diag(torch.exp(s[0])) @ V[0]).T + b[0])
    expected = h @ (torch.diag(torch.exp(s[1])) @ V[1]).T + b[1]
    torch.testing.assert_close(network(x), expected, rtol=1e-12, atol=1e-12)


def test_an_adaptive_activation_is_s_of_n_a_x_with_one_a_for_each_layer():
    network = MLP(inputs=2, outputs=1, width=6, depth=2, adaptive_slopes=4, **F64)
    assert [float(a.detach()) for a in network.dense.slopes] == [0.25, 0.25]
    with torch.no_grad():
        network.dense.slopes[1].copy_(torch.tensor(0.6, **F64))
    W, b = network.dense.weights, network.dense.biases
    x = torch.rand(5, 2, **F64)
    h = torch.tanh(4 * 0.25 * (x @ W[0].T + b[0]))
    expected = torch.tanh(4 * 0.6 * (h @ W[1].T + b[1])) @ W[2].T + b[2]
    torch.testing.assert_close(network(x), expected, rtol=1e-13, atol=1e-14)


@pytest.mark.parametrize("options", [{"factorized": (0.3, 0.3), "parametrization": "ntk", "beta": 0.5}, {"adaptive_slopes": 3}])
def test_kernels_by_jets_are_those_of_the_oracle(options):
    problem = poisson()
    network, points = MLP(problem, width=5, depth=2, **options, **F64), sample(problem, 5)
    K = pinntk.kernel(network, problem, points)
    assert {origin.path for origin in K.origins.values()} == {"taylor"}
    assert reference.relative(K.values, reference.kernel(network, problem, points)) < 1e-12


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"factorized": (1.0,)}, r"factorized=\(1\.0,\): True for \(1\.0, 0\.1\), or mean and standard deviation"),
        ({"factorized": (1.0, -0.1)}, "factorized="),
        ({"factorized": "yes"}, "factorized='yes'"),
        (
            {"adaptive_slopes": 0.5},
            r"adaptive_slopes=0\.5: the factor n of trained slopes, s\(n a x\), a finite number of",
        ),
        ({"adaptive_slopes": True}, "adaptive_slopes=True"),
        ({"adaptive_slopes": "5"}, "adaptive_slopes='5'"),
    ],
)
def test_mistakes(options, message):
    with pytest.raises(ValueError, match=message):
        MLP(inputs=1, outputs=1, **options)


@pytest.mark.parametrize("options", [{"factorized": True}, {"adaptive_slopes": 2}])
def test_there_is_no_known_limit_of_infinite_width(options):
    network = MLP(inputs=1, outputs=1, parametrization="ntk", **options)
    with pytest.raises(ValueError, match=f"{next(iter(options))}=.* trains scales that the limit does not know"):
        pinntk.InfiniteMLP.of(network)
