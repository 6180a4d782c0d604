"""Faults that a review of the graph path found: each is a value that was wrong, or a message of torch's."""

import warnings

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from pinntk import Box, LossError, Problem, errors_of_loss, factors, graph_factors, residual
from tests.support.reference import relative
from tests.support.reference import rows as jacobian
from tests.support.residual_styles import mlp, of, points

EXACT = 1e-12


@pytest.fixture(autouse=True)
def seeded():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


def rows_apart(found, oracle):
    """The largest relative error of a row, over rows of every size."""
    scale = oracle.norm(dim=1).clamp_min(torch.finfo(oracle.dtype).tiny)
    return float(((found - oracle).norm(dim=1) / scale).max())


@pytest.mark.filterwarnings("ignore:.*computed row by row")
def test_large_rows_do_not_hide_wrong_small_ones():
    net = mlp()
    u = net(points(8))[:, 0]
    scale = torch.ones_like(u)
    scale[0] = 1e8
    e = scale * u + torch.where(scale > 1, 0.0, u.roll(1))
    assert rows_apart(graph_factors(e, net).matrix(), jacobian(e, of(net))) <= EXACT


@pytest.mark.filterwarnings("ignore:.*computed row by row")
def test_rows_that_mix_weakly_are_found():
    net = mlp()
    u = net(points(20))[:, 0]
    e = u - 5e-8 * u.roll(1)
    assert relative(graph_factors(e, net).matrix(), jacobian(e, of(net))) <= EXACT


@pytest.mark.parametrize(("dtype", "mixed"), [(torch.float32, 1e-3), (torch.float16, 0.2), (torch.bfloat16, 0.3)])
@pytest.mark.filterwarnings("ignore:.*computed row by row")
def test_rows_that_mix_are_found_in_every_dtype(dtype, mixed):
    net = mlp().to(dtype)
    u = net(points(20).to(dtype))[:, 0]
    e = u - mixed * u.roll(1)
    expected = jacobian(e, of(net)).double()
    assert relative(graph_factors(e, net).matrix(), expected) <= 10 * torch.finfo(dtype).eps


@pytest.mark.filterwarnings("ignore:.*computed row by row")
def test_one_coarse_parameter_does_not_loosen_the_certificate_of_the_others():
    net, shift = mlp(), torch.ones(1, dtype=torch.bfloat16, requires_grad=True)
    u = net(points(20))[:, 0]
    e = u - 0.1 * u.roll(1) + shift.double()
    expected = jacobian(e, of(net))
    found = graph_factors(e, {**of(net), "shift": shift}).matrix()[:, :-1]
    assert relative(found, expected) <= EXACT


@pytest.mark.filterwarnings("ignore:.*computed row by row")
def test_rows_without_a_finite_value_are_those_of_reverse_mode():
    net = mlp()
    u = net(points(8))[:, 0]
    scaled = u * torch.tensor([torch.inf] + 7 * [1.0], dtype=u.dtype)
    e = scaled - scaled.roll(1)
    found, expected = graph_factors(e, net).matrix(), jacobian(e, of(net))
    assert torch.equal(found.isfinite(), expected.isfinite())


class _Two(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, w):
        ctx.save_for_backward(x, w)
        return x * w, x + w

    @staticmethod
    def backward(ctx, a, b):
        x, w = ctx.saved_tensors
        return a * w + b, (a * x + b).sum(0)


def test_an_output_of_a_custom_function_that_is_not_used():
    x = points(8).requires_grad_()
    w = torch.rand(2, dtype=torch.float64, requires_grad=True)
    e = _Two.apply(x, w)[0].sum(1)
    assert relative(graph_factors(e, {"w": w}).matrix(), jacobian(e, {"w": w})) <= EXACT


@pytest.mark.filterwarnings("ignore:.*computed row by row")
def test_a_hook_that_scales_the_gradient_of_a_weight():
    net = nn.Sequential(nn.Linear(1, 8), nn.Tanh(), nn.Linear(8, 1)).double()
    net[0].weight.register_hook(lambda g: 2 * g)
    x = points(20)[:, :1].requires_grad_()
    u = net(x)[:, 0]
    (u_x,) = torch.autograd.grad(u.sum(), x, create_graph=True)
    e = u * u_x[:, 0]
    assert relative(graph_factors(e, net).matrix(), jacobian(e, of(net))) <= EXACT


def test_parameters_behind_a_reentrant_checkpoint_are_not_taken_for_unused():
    net = mlp()
    e = checkpoint(net, points(8).requires_grad_(), use_reentrant=True)[:, 0]
    with pytest.raises(ValueError, match="checkpoint"):
        graph_factors(e, net)


# Second calls.


class _Sorting(nn.Module):
    """Works on its points in order of x, and puts them back."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(1, 8), nn.Tanh(), nn.Linear(8, 1)).double()

    def forward(self, x):
        order = x[:, 0].argsort()
        return self.body(x[order])[order.argsort()]


def _problem():
    domain = Box(x=(0, 1))

    @residual(domain)
    def r(u, x):
        return u**2 - x

    return Problem(domain, [r])


def _expected(network, x):
    e = network(x)[:, 0] ** 2 - x[:, 0]
    return jacobian(e, of(network))


@pytest.mark.filterwarnings("ignore")
def test_points_in_another_order_after_a_certificate():
    network, problem = _Sorting(), _problem()
    x = torch.linspace(0.01, 0.99, 20, dtype=torch.float64).unsqueeze(1)
    factors(network, problem, {"r": x})
    shuffled = x[torch.randperm(20)]
    found = factors(network, problem, {"r": shuffled})["r"]
    assert relative(found.matrix(), _expected(network, shuffled)) <= EXACT


@pytest.mark.filterwarnings("ignore")
def test_a_hook_registered_after_a_certificate():
    network, problem = _Sorting().body, _problem()
    x = torch.linspace(0.01, 0.99, 20, dtype=torch.float64).unsqueeze(1)
    factors(network, problem, {"r": x})
    network[0].weight.register_hook(lambda g: 2 * g)
    found = factors(network, problem, {"r": x})["r"]
    assert relative(found.matrix(), _expected(network, x)) <= EXACT


# Losses.


@pytest.mark.parametrize("weight", [0.0, torch.nan], ids=["zero", "nan"])
def test_a_term_without_weight(weight):
    e = torch.tensor([1.0, 3.0], requires_grad=True)
    loss = weight * (e**2).mean() + ((2 * e) ** 2).mean()
    if weight == 0:
        assert [(term.factor, term.errors.tolist()) for term in errors_of_loss(loss)] == [(1.0, [2.0, 6.0])]
    else:
        with pytest.raises(LossError, match="nan"):
            errors_of_loss(loss)


def test_a_square_that_is_a_term_and_a_part_of_another():
    u = torch.tensor([1.0, 3.0], requires_grad=True)
    square = u**2
    terms = errors_of_loss(((u + square - 1) ** 2).mean() + square.mean())
    assert sorted((term.factor, term.errors.tolist()) for term in terms) == [(1.0, [1.0, 3.0]), (1.0, [1.0, 11.0])]


def test_errors_keep_their_graph_without_gradients_enabled():
    net = mlp()
    loss = nn.MSELoss()(net(points(6)), torch.zeros(6, 1, dtype=torch.float64))
    with torch.no_grad():
        assert errors_of_loss(loss)[0].errors.requires_grad


def test_a_freed_or_overwritten_graph_is_refused_by_name():
    u = torch.tensor([1.0, 3.0], requires_grad=True)
    freed = (u.clone() ** 2).mean()
    freed.backward()
    v = u.clone()
    overwritten = (v**2).mean()
    v.mul_(2)
    for loss in (freed, overwritten):
        with warnings.catch_warnings(), pytest.raises(LossError):
            errors_of_loss(loss)
