"""PirateNet: linear in its features at the start, exactly; its formula elsewhere; gates that open in training."""

from __future__ import annotations

from math import isnan

import pytest
import torch

import pinntk
from pinntk.diagnostics._rules_layers import _vanishing
from pinntk.nn import PirateNet
from tests.support.networks import moved
from tests.support.small_problems import poisson, sample

F64 = {"dtype": torch.float64}


def test_at_the_start_it_is_linear_in_its_features():
    """u(phi) of features phi: additive in them to rounding, whatever the blocks hold; and no parameter of theirs moves it."""
    network = PirateNet(inputs=2, outputs=1, width=7, depth=3, fourier=(5, 0.3), initialization="normal", **F64)
    a, b = torch.randn(2, 6, 10, **F64)
    zero = network.core(torch.zeros(1, 10, **F64))
    torch.testing.assert_close(network.core(a + 2 * b) - zero, network.core(a) + 2 * network.core(b) - 3 * zero)
    assert torch.equal(network.core(a), network.dense(a))
    network.core(a).sum().backward()
    moving = {name for name, p in network.named_parameters() if p.grad is not None and p.grad.any()}
    assert moving == {"dense.weights.0", "dense.biases.0", "alphas.0", "alphas.1", "alphas.2"}


def test_open_gates_are_the_formula():
    network = moved(PirateNet(inputs=2, outputs=2, width=6, depth=2, fourier=None, activation="sin", **F64), "alphas")
    x = torch.rand(7, 2, **F64)

    def layer(dense, number, values):
        return torch.sin(values @ dense.weights[number].T + dense.biases[number])

    U, V, h = layer(network.U, 0, x), layer(network.V, 0, x), x
    for block, alpha in zip(network.blocks, network.alphas, strict=True):
        f = layer(block, 0, h)
        g = layer(block, 1, f * U + (1 - f) * V)
        h = alpha * layer(block, 2, g * U + (1 - g) * V) + (1 - alpha) * h
    assert 0.2 < float(network.alphas[1].detach()) < 0.3
    torch.testing.assert_close(network(x), network.dense(h), rtol=1e-13, atol=1e-14)


def test_training_opens_the_gates_and_the_diagnosis_of_closed_ones_finds_no_vanishing_gradient():
    problem = poisson()
    network, points = PirateNet(problem, width=6, depth=2, fourier=(4, 0.2)), sample(problem, 10)
    assert isnan(_vanishing(pinntk.examine(network, problem, points)))
    pinntk.train(problem, network, steps=3, points={"residual": 10, "boundary": 2}, progress=False)
    assert all(float(alpha.detach()) != 0 for alpha in network.alphas)
    assert network.config["fourier"] == [4, 0.2]


@pytest.mark.parametrize("options", [{"fourier": (0, 1.0)}, {"depth": 0}])
def test_mistakes(options):
    with pytest.raises(ValueError, match=f"{next(iter(options))}="):
        PirateNet(inputs=1, outputs=1, **options)
