"""SIREN: its formula, and the published laws of what its layers receive and give at the start."""

from __future__ import annotations

from math import exp

import pytest
import torch
from scipy import stats

import pinntk
from pinntk.nn import Siren
from tests.support import reference

F64 = {"dtype": torch.float64}


def test_it_is_the_formula_on_coordinates_from_minus_one_to_one():
    problem = pinntk.load("burgers")
    network = Siren(problem, width=6, depth=2, omega=3, hidden_omega=2, **F64)
    x = problem.sample(residual=7, **F64)["burgers"]
    low, high = torch.tensor(problem.domain.bounds, **F64).T
    h, (W, b) = 2 * (x - low) / (high - low) - 1, (network.weights, network.biases)
    for omega, layer in ((3, 0), (2, 1)):
        h = torch.sin(omega * (h @ W[layer].T + b[layer]))
    torch.testing.assert_close(network(x), h @ W[2].T + b[2], rtol=1e-13, atol=1e-14)


def layers(network, biases):
    """Of each layer of sines: what its weights make of 101 points (times omega), and what it gives."""
    h = torch.linspace(-1, 1, 101, **F64)[:, None]
    for omega, W, b in zip(network.omegas, network.weights, network.biases, strict=False):
        z = omega * (h @ W.T)
        h = torch.sin(z + omega * b if biases or len(W.T) == 1 else z)
        yield z.detach(), h.detach()


def test_sines_receive_standard_deviation_1_and_give_variance_a_half_as_published():
    """Sitzmann et al. 2020, section 3.2, at their width and omega: N(0, 1) before each sine, the arcsine law behind it."""
    found = [list(layers(Siren(inputs=1, outputs=1, width=256, depth=4, seed=seed, **F64), True)) for seed in range(3)]
    for layer in range(4):
        z, h = (torch.stack([network[layer][part] for network in found]) for part in (0, 1))
        assert float(h.var()) == pytest.approx(0.5, abs=0.02)
        if layer:
            assert float(z.std()) == pytest.approx(1.0, abs=0.04)
    assert stats.kstest(found[0][0][1][::10, ::10].flatten().numpy(), stats.arcsine(-1, 2).cdf).statistic < 0.05


def test_without_biases_the_variance_is_that_of_sines_of_normal_variables():
    """v = 1 in the layer that receives the arcsine law, and then 1 - exp(-2 v), since sin(N(0, v)) has half of that."""
    network = Siren(inputs=1, outputs=1, width=1500, depth=4, hidden_omega=7, seed=1, **F64)
    v = 1.0
    for layer, (z, _) in enumerate(layers(network, False)):
        assert float(network.weights[layer].detach().abs().max()) <= ((6 / 1500) ** 0.5 / 7 if layer else 1)
        if layer:
            assert float(z.var()) == pytest.approx(v, abs=0.05)
            v = 1 - exp(-2 * v)


def test_its_kernel_is_that_of_the_oracle_and_its_conditions_are_met_by_construction():
    problem = pinntk.load("burgers")
    network = Siren(problem, width=5, depth=2, omega=4, hard="auto", **F64)
    points = problem.sample(residual=4, initial=3, boundary=3, **F64)
    K = pinntk.kernel(network, problem, points)
    assert network.hard == ("start", "walls")
    assert {origin.path for origin in K.origins.values()} == {"taylor"}
    assert reference.relative(K.values, reference.kernel(network, problem, points)) < 1e-12


@pytest.mark.parametrize("options", [{"omega": 0}, {"hidden_omega": float("inf")}, {"omega": "30"}])
def test_mistakes(options):
    name, value = next(iter(options.items()))
    with pytest.raises(ValueError, match=f"{name}={value!r}: a finite number above 0"):
        Siren(inputs=1, outputs=1, **options)
    with pytest.raises(TypeError, match="Siren has no option 'activation'"):
        Siren(inputs=1, outputs=1, activation="tanh")
