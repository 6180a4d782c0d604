"""Layers measured, on healthy networks and on failing ones."""

from math import sqrt

import pytest
import torch
from torch import nn
from torch.nn.utils.parametrizations import weight_norm

import pinntk
from pinntk.diagnostics import input_scale, layers
from tests.support.small_problems import F64, mlp, poisson, sample


def sequential(*activations: nn.Module) -> nn.Sequential:
    """[1, 16, 16, 1] in plain torch."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        first, second = activations
        return nn.Sequential(nn.Linear(1, 16), first, nn.Linear(16, 16), second, nn.Linear(16, 1)).double()


@pytest.mark.parametrize("choices", [{}, {"parametrization": "ntk"}, {"parametrization": "ntk", "beta": 0.1}])
def test_a_fresh_network_is_healthy_and_large_weights_saturate_it(choices):
    problem = poisson()
    network = mlp(problem, **choices)
    found = layers(network, problem, sample(problem))
    assert [layer.name for layer in found] == ["dense.weights.0", "dense.weights.1", "dense.weights.2"]
    assert [layer.activation for layer in found] == ["tanh", "tanh", ""]
    assert [layer.units for layer in found] == [24, 24, 1]
    assert all(layer.dead == 0 for layer in found)
    assert found[0].saturated <= 0.2 and found[1].saturated <= 0.2 and found[2].saturated is None
    with torch.no_grad():
        network.dense.weights[1] *= 100
    failing = layers(network, problem, sample(problem))
    assert failing[0].saturated == found[0].saturated
    assert failing[1].saturated > 0.5
    assert failing[1].std > 50 * found[1].std


def test_pre_activations_and_gradients_are_those_of_the_formula():
    problem = poisson()
    network = mlp(problem, parametrization="ntk", beta=0.1)
    points = sample(problem)
    found = layers(network, problem, points)[0]
    x = (torch.cat(list(points.values())) - network.mean) / network.deviation
    z = x @ network.dense.weights[0].T + 0.1 * network.dense.biases[0]
    assert (found.mean, found.std) == pytest.approx((z.mean().item(), z.std(correction=0).item()))
    loss = sum(e.square().mean() for e in pinntk.errors(network, problem, points).values())
    (gradient,) = torch.autograd.grad(loss, network.dense.weights[0])
    assert found.gradient == pytest.approx((gradient.norm() / network.dense.weights[0].norm()).item())


def test_dead_relus_are_counted():
    problem, network = poisson(), sequential(nn.ReLU(), nn.ReLU(inplace=True))
    healthy = layers(network, problem, sample(problem))
    assert healthy == layers(sequential(nn.ReLU(), nn.ReLU()), problem, sample(problem))  # in place or not
    with torch.no_grad():
        network[2].bias[:12] = -100
    failing = layers(network, problem, sample(problem))
    assert healthy[1].dead < 0.6
    assert 0.75 <= failing[1].dead < 1
    assert failing[1].saturated >= failing[1].dead
    assert [layer.name for layer in failing] == ["0.weight", "2.weight", "4.weight"]


def test_a_saturated_sigmoid_is_judged_by_its_own_slope():
    problem, network = poisson(), sequential(nn.Sigmoid(), nn.SiLU())
    assert [layer.saturated for layer in layers(network, problem, sample(problem))[:2]] == [0, 0]
    for bias, saturated, dead in ((2.5, 0, 0), (6.0, 1, 0), (800.0, 1, 1)):  # slopes 0.07 and 0.0025 of 0.25, and zero
        with torch.no_grad():
            network[0].weight.zero_()
            network[0].bias.fill_(bias)
        found = layers(network, problem, sample(problem))[0]
        assert (found.saturated, found.dead, found.mean) == (saturated, dead, bias)


def test_layers_sees_computed_and_frozen_weights_and_plain_code():
    class Plain(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("B", torch.ones(4, 1, **F64))
            self.first = weight_norm(nn.Linear(4, 6).double())
            self.W = nn.Parameter(torch.randn(6, 1, generator=torch.Generator().manual_seed(0), **F64))
            self.W.requires_grad_(False)

        def forward(self, x):
            return torch.sin(3 * self.first(torch.cos(x @ self.B.T))) @ self.W

    problem = poisson()
    first, last = layers(Plain(), problem, sample(problem))
    assert (first.name, first.units, first.activation, first.gradient) == ("weight 0", 6, "sin", None)
    assert (last.name, last.units, last.activation, last.gradient) == ("W", 1, "", None)


def test_two_gates_before_their_activations_keep_their_own():
    class Gated(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.out = (nn.Linear(*size).double() for size in ((1, 8), (1, 8), (8, 1)))

        def forward(self, x):
            a, b = self.a(x), self.b(x)
            return self.out(torch.tanh(a) * torch.sigmoid(b))

    problem = poisson()
    assert [layer.activation for layer in layers(Gated(), problem, sample(problem))] == ["tanh", "sigmoid", ""]


def test_a_network_without_layers_has_none():
    class Cubic(nn.Module):
        def __init__(self):
            super().__init__()
            self.a = nn.Parameter(torch.ones(3, **F64))

        def forward(self, x):
            return self.a[0] + self.a[1] * x + self.a[2] * x**3

    assert layers(Cubic(), poisson(), sample(poisson())) == []
    assert input_scale(Cubic(), poisson()) is None


def test_inputs_on_a_large_domain_show_unless_normalized():
    domain = pinntk.Box(t=(0, 1000), x=(0, 0.01))

    @pinntk.residual(domain)
    def flow(u_t, u_x):
        return u_t + u_x

    problem = pinntk.Problem(domain, [flow])
    healthy = input_scale(mlp(problem), problem)
    assert healthy.offset < 0.01
    assert (healthy.smallest, healthy.largest) == pytest.approx((1, 1), rel=0.01)
    failing = input_scale(mlp(problem, normalize=False), problem)
    assert failing.mean == pytest.approx([500, 0.005], rel=0.01)
    assert failing.std == pytest.approx([1000 / sqrt(12), 0.01 / sqrt(12)], rel=0.01)
    assert failing.low.min() >= 0 and failing.high == pytest.approx([1000, 0.01], rel=0.01)
    assert (failing.offset, failing.largest) == (failing.mean[0], failing.std[0])
    assert failing.smallest == failing.std[1]
    assert input_scale(mlp(problem, fourier=(8, 1.0)), problem).mean.shape == (16,)
    with pytest.raises(ValueError, match="samples=1"):
        input_scale(mlp(problem), problem, samples=1)
    with pytest.raises(TypeError, match=r"\(network, problem\)"):
        input_scale(problem, mlp(problem))
