"""Rules where a value meets a trained tensor: K by jets against the oracle's Jacobian, row by row."""

import warnings

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from pinntk import errors
from pinntk.ntk import kernel, traces
from pinntk.problem import Box, Problem, residual
from pinntk.taylor._normalizations import ExactNormalizations
from tests.support import reference
from tests.support.networks import build
from tests.support.rule_cases import FULL, cubes
from tests.support.rule_cases_features import MEAN, VAR
from tests.support.sweeps import sweep

TOLERANCE = 1e-10
BOX = Box(x=(-1, 1), y=(-1, 1))


def problem() -> Problem:
    @residual(BOX)
    def second(u, u_y, u_xx, u_xy):
        return u * u_xx + u_xy + u_y

    @residual(BOX)
    def third(u, u_xxx):
        return u_xxx + u

    return Problem(BOX, [second, third])


POINTS = torch.tensor([[0.1, 0.4], [0.3, -0.2], [0.7, 0.5], [-0.6, 0.9]], dtype=torch.float64)  # as many as features


class Using(nn.Module):
    """`use` of four features and a trained tensor, then a sum of cubes, by which every entry shows."""

    def __init__(self, use, shape):
        super().__init__()
        self.first, self.use = build("plain", 2, 4), use
        entries = torch.linspace(1.3, -1.1, torch.Size(shape).numel(), dtype=torch.float64)
        self.W = nn.Parameter(entries.reshape(shape))

    def forward(self, x):
        found = self.use(2 * self.first(x), self.W).reshape(len(x), -1)
        return (found + 0.1 * found**3).sum(1, keepdim=True)


USES = {
    "h + W": (lambda h, W: h + W, (4,)),
    "W - h": (lambda h, W: W - h, (4,)),
    "h + number": (lambda h, W: h + W, ()),
    "h - row": (lambda h, W: h - W, (1, 4)),
    "h * W": (lambda h, W: h * W, (4,)),
    "W * column": (lambda h, W: W * h[:, :1], (3,)),
    "one number a point": (lambda h, W: h[:, 0] * W, (1,)),
    "h / W": (lambda h, W: h / W, (4,)),
    "W / h": (lambda h, W: W / (h * h + 1), (4,)),
    "add alpha": (lambda h, W: torch.add(h, W, alpha=0.3) + torch.sub(W, h, alpha=2) + torch.rsub(h, W, alpha=0.5), (4,)),
    "addcmul": (
        lambda h, W: torch.addcmul(h, h, W, value=0.5) + torch.addcmul(h, W, W),
        (4,),
    ),
    "addcdiv": (lambda h, W: torch.addcdiv(W, h, h * h + 1) + torch.addcdiv(h, W, h * h + 1, value=0.3), (4,)),
    "lerp": (lambda h, W: torch.lerp(h, W, 0.3) + torch.lerp(W, h, h.sin()) + torch.lerp(h, h.sin(), W), (4,)),
    "computed scale": (lambda h, W: h * W.exp(), (4,)),
    "computed number": (lambda h, W: h * W.exp(), ()),
    "computed number, added": (lambda h, W: h + torch.sin(W) * h**2 + W.square(), ()),
    "number of a row": (lambda h, W: h * W[2].exp() + W.sum(), (4,)),
    "exponent": (lambda h, W: (h * h + 0.5) ** W, ()),
    "exponents": (lambda h, W: (h * h + 0.5) ** W, (4,)),
    "base": (lambda h, W: (W.square() + 0.5) ** h, (4,)),
    "base number": (lambda h, W: W**h, ()),
    "clamp min": (lambda h, W: h.clamp(min=W), (4,)),
    "clamp max number": (lambda h, W: torch.clamp(h, max=W), ()),
    "clamp between": (lambda h, W: torch.clamp(h, W - 0.5, W + 0.3), (4,)),
    "clamp min above max": (lambda h, W: torch.clamp(h, W + 0.3, W), (4,)),
    "clamp_min": (lambda h, W: h.clamp_min(W), (4,)),
    "maximum": (lambda h, W: torch.maximum(h, W) + torch.minimum(W, h), (4,)),
    "where": (lambda h, W: torch.where(h > 0, h, W) + torch.where(h < 0.5, W, 0.3 * h), (4,)),
    "where number": (lambda h, W: torch.where(h > 0, h * W, W), ()),
    "logaddexp": (lambda h, W: torch.logaddexp(h, W) + torch.logaddexp(W, h), (4,)),
    "hypot": (lambda h, W: torch.hypot(h, W), (4,)),
    "xlogy": (lambda h, W: torch.xlogy(W, h * h + 1) + torch.xlogy(h, W.square() + 1), (4,)),
    "linear": (lambda h, W: F.linear(h, W, W[:, 0]), (3, 4)),
    "linear vector": (lambda h, W: F.linear(h, W), (4,)),
    "linear, bias of another shape": (lambda h, W: F.linear(h, FULL, W), (1,)),
    "linear, computed": (lambda h, W: F.linear(h, W * W, W[:, 0].exp()), (3, 4)),
    "h @ W": (lambda h, W: h @ W, (4, 3)),
    "h @ vector": (lambda h, W: h @ W, (4,)),
    "W @ cubes": (lambda h, W: W @ cubes(h), (3, 4)),
    "cubes @ W": (lambda h, W: cubes(h) @ W, (4, 2)),
    "addmm": (lambda h, W: torch.addmm(W[0], h, W, beta=0.5, alpha=2), (4, 4)),
    "addmm row": (lambda h, W: torch.addmm(W, h, FULL), (1, 4)),
    "bilinear": (lambda h, W: F.bilinear(h, h.sin(), W, W[:, 0, 0]), (2, 4, 4)),
    "einsum": (lambda h, W: torch.einsum("ni,io->no", h, W), (4, 3)),
    "einsum, transposed": (lambda h, W: torch.einsum("oi,nci->nco", W, cubes(h)), (3, 4)),
    "prelu": (lambda h, W: F.prelu(h, W), (4,)),
    "prelu of one": (lambda h, W: F.prelu(cubes(h), W), (1,)),
    "prelu of channels": (lambda h, W: F.prelu(cubes(h), W), (4,)),
    "layer_norm": (lambda h, W: F.layer_norm(h, (4,), W, W), (4,)),
    "layer_norm of two": (lambda h, W: F.layer_norm(cubes(h), (4, 4), W), (4, 4)),
    "rms_norm": (lambda h, W: F.rms_norm(h, (4,), W), (4,)),
    "group_norm": (lambda h, W: F.group_norm(cubes(h), 2, W, W), (4,)),
    "instance_norm": (lambda h, W: F.instance_norm(cubes(h), weight=W, bias=W), (4,)),
    "batch_norm": (lambda h, W: F.batch_norm(h, MEAN, VAR, W, W), (4,)),
    "batch_norm of channels": (lambda h, W: F.batch_norm(cubes(h), MEAN, VAR, W), (4,)),
    "weight_norm": (lambda h, W: F.linear(h, torch._weight_norm(W, W[:, :1], 0)), (3, 4)),
    "cosine_similarity": (lambda h, W: F.cosine_similarity(h, W), (1, 4)),
    "distances": (lambda h, W: (h.unsqueeze(1) - W).norm(dim=-1), (3, 4)),
    "a choice by sign": (lambda h, W: torch.sign(h * W) * h + torch.round(h), (4,)),
}
WITHOUT_FACTORS = {  # right all the same, by other ways
    "rounded": (lambda h, W: torch.round(h) * W + h, (4,)),
    "cat": (lambda h, W: torch.cat([h, W.expand(len(h), 2)], 1), (2,)),
    "einsum of three": (lambda h, W: torch.einsum("ni,ij,j->n", h, FULL, W), (4,)),
    "atan2": (lambda h, W: torch.atan2(h, W), (4,)),
    "remainder": (lambda h, W: h % W, (4,)),
    "per-point matrices": (lambda h, W: cubes(h) @ W, (1, 4, 4)),
}


def agree(use, shape) -> None:
    network, conditions = Using(use, shape), problem()
    points = dict.fromkeys(("second", "third"), POINTS)
    with ExactNormalizations():
        expected = reference.kernel(network, conditions, points)
    found = kernel(network, conditions, points)
    assert reference.relative(found.matrix(), expected) <= TOLERANCE
    for name, trace in traces(network, conditions, points).items():
        assert trace == pytest.approx(float(found[name].diagonal().sum()), rel=TOLERANCE)


# One of each kind: a sum, a product, a quotient, a power, a choice, a layer, a product of matrices, a norm.
FAST = (
    "h + W",
    "h * W",
    "W / h",
    "lerp",
    "computed scale",
    "exponent",
    "exponents",
    "clamp between",
    "maximum",
    "where",
    "linear",
)
FAST += ("h @ W", "addmm", "bilinear", "einsum", "prelu", "layer_norm", "group_norm", "weight_norm", "cosine_similarity")


@pytest.mark.parametrize("name", sweep(USES, *FAST))
def test_kernel_of_a_rule_that_meets_a_trained_tensor(name):
    use, shape = USES[name]
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # by jets, not by a fallback
        agree(use, shape)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("use", "shape"), WITHOUT_FACTORS.values(), ids=WITHOUT_FACTORS)
def test_kernel_where_the_tape_refuses(use, shape):
    agree(use, shape)


@pytest.mark.filterwarnings("error")
def test_kernel_of_a_norm_at_zero():
    """torch takes the subgradient 0 for the first derivative; its own second derivatives are NaN there."""
    points = dict.fromkeys(("second", "third"), POINTS)
    network, without = (
        Using(lambda h, W, k=k: torch.cat([k * (W * h * 0).norm(dim=1, keepdim=True), h * W], 1), (4,)) for k in (1, 0)
    )
    found, expected = (kernel(net, problem(), points).matrix() for net in (network, without))
    assert reference.relative(found, expected) <= TOLERANCE


@pytest.mark.parametrize(("use", "shape"), [USES[name] for name in ("exponents", "clamp between", "prelu", "layer_norm")])
def test_gradient_of_a_loss(use, shape):
    network, conditions = Using(use, shape), problem()
    points = dict.fromkeys(("second", "third"), POINTS)
    with ExactNormalizations():
        loss = sum(e.square().sum() for e in reference.errors(network, conditions, points).values())
    expected = torch.autograd.grad(loss, list(network.parameters()))
    for method in ("taylor", "autograd"):
        loss = sum(e.square().sum() for e in errors(network, conditions, points, method).values())
        found = torch.autograd.grad(loss, list(network.parameters()))
        for one, other in zip(found, expected, strict=True):
            assert reference.relative(one, other) <= TOLERANCE
