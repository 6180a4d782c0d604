from math import sqrt

import pytest
import torch

import pinntk
from pinntk.nn.mlp import ACTIVATIONS


def test_shape_and_normalisation_from_the_problem():
    problem = pinntk.load("kovasznay")
    network = pinntk.nn.MLP(problem, width=7, depth=2, dtype=torch.float64)
    points = problem.domain.sample(200_000, "sobol", __import__("numpy").random.default_rng(0))
    assert network(torch.from_numpy(points[:5])).shape == (5, 3)
    normalised = (torch.from_numpy(points) - network.mean) / network.deviation
    assert normalised.mean(0).abs().max() < 1e-3
    assert (normalised.std(0) - 1).abs().max() < 1e-3


def test_the_ntk_parametrisation_is_the_papers_formula():
    network = pinntk.nn.MLP(inputs=1, outputs=1, width=50, depth=1, parametrization="ntk", dtype=torch.float64)
    x = torch.linspace(0, 1, 9, dtype=torch.float64)[:, None]
    (W0, W1), (b0, b1) = network.weights, network.biases
    expected = torch.tanh(x @ W0.T + b0) @ W1.T / sqrt(50) + b1
    assert torch.allclose(network(x), expected, rtol=1e-14, atol=1e-14)
    scaled = pinntk.nn.MLP(inputs=2, outputs=1, width=5, depth=1, parametrization="ntk", beta=0.1, dtype=torch.float64)
    y = torch.rand(3, 2, dtype=torch.float64)
    (W0, W1), (b0, b1) = scaled.weights, scaled.biases
    expected = torch.tanh(y @ W0.T / sqrt(2) + 0.1 * b0) @ W1.T / sqrt(5) + 0.1 * b1
    assert torch.allclose(scaled(y), expected, rtol=1e-13, atol=1e-14)


@pytest.mark.parametrize(
    ("initialization", "deviation", "bias"),
    [("xavier", sqrt(2 / 1100), 0), ("normal", sqrt(1 / 1000), 1), ("lecun", sqrt(1 / 1000), 0)],
)
def test_initialisations_have_the_stated_spread(initialization, deviation, bias):
    network = pinntk.nn.MLP(inputs=1000, outputs=1, width=100, depth=1, initialization=initialization)
    assert abs(network.weights[0].std().item() / deviation - 1) < 0.02
    assert abs(network.biases[0].std().item() - bias) < 0.2


def test_kaiming_has_the_spread_of_nn_linear():
    ours = pinntk.nn.MLP(inputs=1000, outputs=1, width=100, depth=1, initialization="kaiming").weights[0]
    theirs = torch.nn.Linear(1000, 100).weight
    assert abs(ours.std() / theirs.std() - 1) < 0.02


def test_a_seed_gives_one_network_whatever_the_dtype():
    single = pinntk.nn.MLP(inputs=1, outputs=1, seed=3)
    double = pinntk.nn.MLP(inputs=1, outputs=1, seed=3, dtype=torch.float64)
    assert torch.equal(single.weights[1], double.weights[1].float())
    assert not torch.equal(single.weights[1], pinntk.nn.MLP(inputs=1, outputs=1, seed=4).weights[1])


def test_seeding_leaves_the_global_generator_alone():
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    pinntk.nn.MLP(inputs=1, outputs=1, seed=3)
    assert torch.equal(torch.rand(1), expected)


@pytest.mark.parametrize("activation", sorted(ACTIVATIONS))
def test_every_activation_has_a_taylor_rule(activation):
    problem = pinntk.load("poisson1d")
    network = pinntk.nn.MLP(problem, width=6, depth=2, activation=activation, dtype=torch.float64)
    points = problem.sample(boundary=2, residual=5)
    taylor, autograd = (pinntk.errors(network, problem, points, method) for method in ("taylor", "autograd"))
    for name in points:
        assert torch.allclose(taylor[name], autograd[name], rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"inputs": 1}, "needs a problem, or inputs= and outputs="),
        ({"inputs": 1, "outputs": 1, "width": 0}, "width=0"),
        ({"inputs": 1, "outputs": 1, "activation": "tanhh"}, "activation='tanhh' is unknown; use one of"),
        ({"inputs": 1, "outputs": 1, "parametrization": "x"}, "parametrization='x'"),
        ({"inputs": 1, "outputs": 1, "initialization": "x"}, "initialization='x'"),
        ({"inputs": 1, "outputs": 1, "normalize": True}, "normalize=True needs a problem"),
        ({"problem": pinntk.load("poisson1d"), "inputs": 1}, "takes inputs= and outputs= from the problem"),
    ],
)
def test_bad_settings(settings, message):
    with pytest.raises(ValueError, match=message):
        pinntk.nn.MLP(**settings)
