"""The modified MLP: its formula, and a gate that mixes two equal encoders."""

from __future__ import annotations

import torch

import pinntk
from pinntk.nn import MLP, ModifiedMLP

F64 = {"dtype": torch.float64}


def test_it_is_the_formula():
    problem = pinntk.load("burgers")
    network = ModifiedMLP(problem, width=6, depth=2, activation="sin", initialization="normal", periodic="x", **F64)
    x = problem.sample(residual=7, **F64)["burgers"]
    phi = MLP(problem, width=6, depth=2, periodic="x", **F64).features(x)
    (W_U,), (b_U,) = network.U.weights, network.U.biases
    (W_V,), (b_V,) = network.V.weights, network.V.biases
    U, V, h = torch.sin(phi @ W_U.T + b_U), torch.sin(phi @ W_V.T + b_V), phi
    for W, b in zip(network.dense.weights[:2], network.dense.biases[:2], strict=True):
        z = torch.sin(h @ W.T + b)
        h = z * U + (1 - z) * V
    expected = h @ network.dense.weights[2].T + network.dense.biases[2]
    torch.testing.assert_close(network(x), expected, rtol=1e-13, atol=1e-14)


def test_between_equal_encoders_gates_make_no_difference():
    network, x = ModifiedMLP(inputs=2, outputs=1, width=6, depth=3, **F64), torch.rand(5, 2, **F64)
    network.V.load_state_dict(network.U.state_dict())
    expected = network.U(x) @ network.dense.weights[-1].T + network.dense.biases[-1]
    assert torch.equal(
        network(x), torch.nn.functional.linear(network.U(x), network.dense.weights[-1], network.dense.biases[-1])
    )
    torch.testing.assert_close(network(x), expected, rtol=1e-13, atol=1e-14)


def test_conditions_are_met_by_construction():
    problem = pinntk.load("wave1d")
    network = ModifiedMLP(problem, width=6, depth=1, hard="auto", **F64)
    errors = pinntk.errors(network, problem, problem.sample(residual=3, initial=3, boundary=3, **F64))
    assert network.hard == ("start", "start_velocity", "walls")
    assert all(float(errors[name].detach().abs().max()) < 1e-13 for name in network.hard)
