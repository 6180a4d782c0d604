"""torch's normalizations against formulas written by hand: value and derivatives in the input up to order 4, and the gradient
of each in the parameters, by jets and by nested autograd."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pinntk import errors
from pinntk.ntk import graph_factors, kernel
from pinntk.problem import Box, Problem, residual
from pinntk.taylor._normalizations import ExactNormalizations
from tests.support import reference
from tests.support.networks import build
from tests.support.rule_cases import ROW, cubes, tensor
from tests.support.rule_cases_features import MEAN, VAR

TOLERANCE = 1e-10
BOX = Box(x=(-1, 1), y=(-1, 1))
POINTS = torch.tensor([[0.1, 0.4], [0.3, -0.2], [0.7, 0.5], [-0.6, 0.9]], dtype=torch.float64)
WINDOW = torch.tensor([[1.0, 1, 0, 0], [1, 1, 1, 0], [0, 1, 1, 1], [0, 0, 1, 1]], dtype=torch.float64)


OPERATORS = {
    "value": lambda u: u,
    "first": lambda u_x, u_y: u_x + 2 * u_y,
    "second": lambda u_xx, u_xy: u_xx + 2 * u_xy,
    "third": lambda u_xxx, u_xxy: u_xxx + 2 * u_xxy,
    "fourth": lambda u_xxxx, u_xxyy: u_xxxx + 2 * u_xxyy,
}


def of_orders(*names: str) -> tuple[Problem, dict[str, Tensor]]:
    for name in names:
        OPERATORS[name].__name__ = name
    return Problem(BOX, [residual(BOX)(OPERATORS[name]) for name in names]), dict.fromkeys(names, POINTS)


def standardized(x: Tensor, dims, eps: float) -> Tensor:
    return (x - x.mean(dims, keepdim=True)) / (x.var(dims, keepdim=True, unbiased=False) + eps).sqrt()


def channels(t: Tensor, x: Tensor) -> Tensor:
    return t.reshape(1, -1, *(1,) * (x.ndim - 2))


def planes(h):
    return cubes(h).unflatten(2, (2, 2))


NORMS = {  # torch's, with a trained W and b of four entries, and the formula
    "layer_norm": (
        lambda h, W, b: F.layer_norm(h, (4,), W, b, 1e-3),
        lambda h, W, b: standardized(h, -1, 1e-3) * W + b,
    ),
    "layer_norm, plain": (lambda h, W, b: F.layer_norm(W * h, (4,)), lambda h, W, b: standardized(W * h, -1, 1e-5)),
    "LayerNorm module": (
        lambda h, W, b: nn.LayerNorm((4, 4), elementwise_affine=False)(cubes(h)) * W,
        lambda h, W, b: standardized(cubes(h), (1, 2), 1e-5) * W,
    ),
    "instance_norm 1d": (
        lambda h, W, b: F.instance_norm(cubes(h), weight=W, bias=b),
        lambda h, W, b: standardized(cubes(h), 2, 1e-5) * channels(W, cubes(h)) + channels(b, cubes(h)),
    ),
    "instance_norm 2d": (
        lambda h, W, b: F.instance_norm(planes(h), weight=W, bias=b, eps=1e-3),
        lambda h, W, b: standardized(planes(h), (2, 3), 1e-3) * channels(W, planes(h)) + channels(b, planes(h)),
    ),
    "InstanceNorm1d module": (
        lambda h, W, b: W * nn.InstanceNorm1d(4)(cubes(h)),
        lambda h, W, b: W * standardized(cubes(h), 2, 1e-5),
    ),
    "instance_norm by statistics": (
        lambda h, W, b: F.instance_norm(cubes(h), MEAN, VAR, W, b, use_input_stats=False),
        lambda h, W, b: (cubes(h) - MEAN[:, None]) / (VAR[:, None] + 1e-5).sqrt() * W[:, None] + b[:, None],
    ),
    "group_norm": (
        lambda h, W, b: F.group_norm(cubes(h), 2, W, b),
        lambda h, W, b: standardized(cubes(h).reshape(-1, 2, 8), 2, 1e-5).reshape(-1, 4, 4) * W[:, None] + b[:, None],
    ),
    "rms_norm": (
        lambda h, W, b: F.rms_norm(h, (4,), W),
        lambda h, W, b: h / (h.square().mean(-1, keepdim=True) + torch.finfo(h.dtype).eps).sqrt() * W,
    ),
    "batch_norm": (
        lambda h, W, b: F.batch_norm(h, MEAN, VAR, W, b),
        lambda h, W, b: (h - MEAN) / (VAR + 1e-5).sqrt() * W + b,
    ),
    "batch_norm of channels": (
        lambda h, W, b: F.batch_norm(cubes(h), MEAN, VAR, W, b),
        lambda h, W, b: (cubes(h) - MEAN[:, None]) / (VAR[:, None] + 1e-5).sqrt() * W[:, None] + b[:, None],
    ),
    "local_response_norm": (
        lambda h, W, b: F.local_response_norm(W * cubes(h), 3, 0.3),
        lambda h, W, b: W * cubes(h) / (1 + 0.1 * torch.einsum("ij,njk->nik", WINDOW, (W * cubes(h)) ** 2)) ** 0.75,
    ),
    "normalize": (lambda h, W, b: F.normalize(W * h + b), lambda h, W, b: (W * h + b) / length(W * h + b)),
    "cosine_similarity": (
        lambda h, W, b: F.cosine_similarity(W * h, h.flip(1) + b),
        lambda h, W, b: (W * h * (h.flip(1) + b)).sum(1) / (length(W * h) * length(h.flip(1) + b))[:, 0],
    ),
    "weight_norm": (
        lambda h, W, b: F.linear(h, torch._weight_norm(W[:, None] * ROW, b[:, None], 0)),
        lambda h, W, b: F.linear(h, W[:, None] * ROW * b[:, None] / length(W[:, None] * ROW)),
    ),
}


def length(x: Tensor) -> Tensor:
    return x.square().sum(1, keepdim=True).sqrt()


class Normalized(nn.Module):
    def __init__(self, norm):
        super().__init__()
        self.first, self.norm = build("plain", 2, 4), norm
        self.W, self.b = nn.Parameter(1 + 0.3 * tensor(4, seed=5)), nn.Parameter(1 + 0.3 * tensor(4, seed=6))

    def forward(self, x):
        y = self.norm(2 * self.first(x), self.W, self.b).reshape(len(x), -1)
        return (y * tensor(y.shape[1], seed=8)).sum(1, keepdim=True) + (y**3).sum(1, keepdim=True)


def gradient(loss: Tensor, network: nn.Module) -> Tensor:
    found = torch.autograd.grad(loss, list(network.parameters()), retain_graph=True, allow_unused=True, materialize_grads=True)
    return torch.cat([part.flatten() for part in found])


@pytest.mark.parametrize("name", NORMS)
def test_derivatives_and_training_gradients_are_those_of_the_formula(name):
    network, by_hand = (Normalized(norm) for norm in NORMS[name])
    problem, points = of_orders(*OPERATORS)
    expected = reference.errors(by_hand, problem, points)
    slopes = {order: gradient(e.square().mean(), by_hand) for order, e in expected.items()}
    for method in ("taylor", "autograd"):
        found = errors(network, problem, points, method)
        for order, e in found.items():
            assert reference.relative(e, expected[order]) <= TOLERANCE, (method, order)
            assert reference.relative(gradient(e.square().mean(), network), slopes[order]) <= TOLERANCE, (method, order)


@pytest.mark.parametrize("name", ["layer_norm", "instance_norm 1d", "instance_norm 2d", "group_norm"])
def test_kernels_are_those_of_the_formula(name):
    network, by_hand = (Normalized(norm) for norm in NORMS[name])
    problem, points = of_orders("second")
    expected = reference.jacobian(by_hand, problem, points)["second"]
    assert reference.relative(kernel(network, problem, points).matrix(), expected @ expected.T) <= TOLERANCE
    e = errors(network, problem, points, "autograd")["second"]
    assert reference.relative(graph_factors(e, network).matrix(), expected) <= TOLERANCE


def test_spectral_norm_in_evaluation_mode():
    network = nn.Sequential(
        build("plain", 2, 4), nn.utils.parametrizations.spectral_norm(nn.Linear(4, 3).double()), nn.Tanh(), nn.Linear(3, 1)
    )
    network, problem, points = network.double().eval(), *of_orders("second")
    expected = reference.kernel(network, problem, points)
    assert reference.relative(kernel(network, problem, points).matrix(), expected) <= TOLERANCE


@pytest.mark.parametrize("module", [nn.InstanceNorm1d(4, affine=True, track_running_stats=True), nn.BatchNorm1d(4)], ids=str)
def test_formulas_gather_the_statistics_that_torch_gathers(module):
    ours, torchs = (type(module)(4, affine=True, track_running_stats=True).double() for _ in range(2))
    x = tensor(5, 4, 7)
    with ExactNormalizations():
        found = ours(x)
    torch.testing.assert_close(found, torchs(x))
    torch.testing.assert_close(dict(ours.named_buffers()), dict(torchs.named_buffers()))
    with ExactNormalizations():
        found = ours.eval()(x)
    torch.testing.assert_close(found, torchs.eval()(x))


def test_values_are_those_of_torch_in_float32_and_by_every_spelling():
    x = tensor(5, 4, 6).float()
    W, b = ROW.float(), MEAN.float()
    calls = [
        lambda: torch.layer_norm(x, (6,), None, None, 1e-3),
        lambda: nn.LayerNorm((4, 6))(x),
        lambda: torch.group_norm(x, 2, W, b, 1e-3),
        lambda: nn.GroupNorm(2, 4)(x),
        lambda: torch.instance_norm(x, W, b, None, None, True, 0.1, 1e-3, True),
        lambda: nn.InstanceNorm1d(4)(x),
        lambda: torch.rms_norm(x, (6,)),
        lambda: nn.RMSNorm(6, eps=0.1)(x),
    ]
    for call in calls:
        expected = call()
        with ExactNormalizations():
            found = call()
        torch.testing.assert_close(found, expected)
