"""Error vectors out of scalar losses: the loss, its gradient and the number of errors stay."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import pinntk
from pinntk import LossError, errors_of_loss


@pytest.fixture
def case():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 2)).double()
        return net, torch.rand(6, 2, dtype=torch.float64), torch.rand(6, 2, dtype=torch.float64)


# name: (loss of (u, y, net), [(factor, number of errors), ...])
LOSSES = {
    "mean of a power": (lambda u, y, net: (u**2).mean(), [(1, 12)]),
    "mean of a float power": (lambda u, y, net: torch.mean(torch.pow(u, 2.0)), [(1, 12)]),
    "mean of a square": (lambda u, y, net: u.square().mean(), [(1, 12)]),
    "mean of a product": (lambda u, y, net: torch.mean(u * u), [(1, 12)]),
    "MSELoss": (lambda u, y, net: nn.MSELoss()(u, y), [(1, 12)]),
    "MSELoss against zeros": (lambda u, y, net: F.mse_loss(u, torch.zeros_like(u)), [(1, 12)]),
    "sum of squares": (lambda u, y, net: (u - y).square().sum(), [(12, 12)]),
    "MSELoss, sum": (lambda u, y, net: F.mse_loss(u, y, reduction="sum"), [(12, 12)]),
    "MSELoss, none": (lambda u, y, net: F.mse_loss(u, y, reduction="none").mean(0).sum(), [(2, 12)]),
    "sum of two": (lambda u, y, net: (u[:, 0] ** 2).mean() + F.mse_loss(u, y), [(1, 6), (1, 12)]),
    "weighted sum": (lambda u, y, net: 10 * (u[:, 0] ** 2).mean() + F.mse_loss(u, y) / 4, [(10, 6), (0.25, 12)]),
    "sum of a list": (lambda u, y, net: sum([(u[:, 0] ** 2).mean(), 2 * (u[:, 1] ** 2).mean()]), [(1, 6), (2, 6)]),
    "stacked": (lambda u, y, net: torch.stack([(u[:, 0] ** 2).mean(), F.mse_loss(u, y)]).sum(), [(1, 6), (1, 12)]),
    "weighted stack": (
        lambda u, y, net: (torch.tensor([2.0, 3.0]) * torch.stack([(u**2).mean(), F.mse_loss(u, y)])).sum(),
        [(2, 12), (3, 12)],
    ),
    "joined": (lambda u, y, net: torch.cat([u[:, 0] ** 2, (u[:, 1] - 1) ** 2]).mean(), [(0.5, 6), (0.5, 6)]),
    "norm": (lambda u, y, net: u.norm() ** 2, [(12, 12)]),
    "dot": (lambda u, y, net: torch.dot(v := u[:, 0], v) / 6, [(1, 6)]),
    "part of the squares": (lambda u, y, net: (u**2)[:3].mean(), [(1, 6)]),
    "twice": (lambda u, y, net: (v := (u**2).mean()) + 2 * v, [(3, 12)]),
    "rows of squares": (lambda u, y, net: ((u - y) ** 2).sum(1).mean(), [(2, 12)]),
    "a point": (lambda u, y, net: (u[0, 0] - 1) ** 2, [(1, 1)]),
    "scaled for mixed precision": (lambda u, y, net: 65536 * (u**2).mean(), [(65536, 12)]),
    "weight decay": (lambda u, y, net: (u**2).mean() + 0.1 * (net[0].weight ** 2).sum(), [(1, 12), (1.6, 16)]),
    "a square that is a term and part of another": (
        lambda u, y, net: (((s := u**2) + u - 1) ** 2).mean() + s.mean(),
        [(1, 12), (1, 12)],
    ),
    "dot of weights and losses": (
        lambda u, y, net: torch.dot(torch.tensor([2.0, 3.0]).double(), torch.stack([(u**2).mean(), F.mse_loss(u, y)])),
        [(2, 12), (3, 12)],
    ),
    "masked by where": (lambda u, y, net: torch.where(y > -1, u**2, 0.0).mean(), [(1, 12)]),
    "an exponent that is a tensor": (lambda u, y, net: (u ** torch.tensor(2.0)).mean(), [(1, 12)]),
    "a term of weight zero": (lambda u, y, net: 0 * (u**2).mean() + F.mse_loss(u, y), [(1, 12)]),
    "nested residual": (lambda u, y, net: ((u**2).sum(1) - 1).square().mean(), [(1, 6)]),
}


@pytest.mark.parametrize("name", LOSSES)
def test_the_terms_make_the_loss_and_its_gradient(case, name):
    net, x, y = case
    build, expected = LOSSES[name]
    loss = build(net(x), y, net)
    terms = errors_of_loss(loss)
    assert sorted((round(term.factor, 9), len(term.errors)) for term in terms) == sorted(expected)
    again = sum(term.factor * term.errors.square().mean() for term in terms)
    assert float(again.detach()) == pytest.approx(float(loss.detach()), rel=1e-12)
    for one, other in zip(
        torch.autograd.grad(loss, list(net.parameters()), retain_graph=True),
        torch.autograd.grad(again, list(net.parameters())),
        strict=True,
    ):
        assert torch.allclose(one, other, rtol=1e-12, atol=1e-14)


def test_weights_of_points_go_into_the_errors(case):
    net, x, y = case
    w = torch.linspace(0, 1, 6, dtype=torch.float64)
    (term,) = errors_of_loss((w.unsqueeze(1) * (net(x) - y) ** 2).mean())
    assert (term.factor, len(term.errors)) == (1.0, 10)  # the point of weight zero has no error
    kept = (w.sqrt().unsqueeze(1) * (net(x) - y))[1:].flatten()
    assert torch.allclose(term.errors, kept * (10 / 12) ** 0.5, rtol=1e-12)


def test_errors_of_a_loss_have_a_jacobian(case):
    net, x, _ = case
    (term,) = errors_of_loss((net(x)[:, :1] ** 2).mean())
    direct = pinntk.graph_factors(net(x)[:, :1], net)
    assert torch.allclose(pinntk.graph_factors(term.errors, net).matrix(), direct.matrix(), rtol=1e-12)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda u, y, net: u.abs().mean(), "it holds 'abs' outside of a square"),
        (lambda u, y, net: F.huber_loss(u, y), "it holds 'huber_loss'"),
        (lambda u, y, net: (u**4).mean(), "it holds 'pow'"),
        (lambda u, y, net: u.norm(), "it holds 'linalg_vector_norm'"),
        (lambda u, y, net: (u**2).mean().sqrt(), "it holds 'sqrt'"),
        (lambda u, y, net: torch.log((u**2).mean()), "it holds 'log'"),
        (lambda u, y, net: u.mean(), "it holds 'addmm'"),
        (lambda u, y, net: torch.exp(net[0].bias[0]) * (u**2).mean(), "multiplies two trained values"),
        (lambda u, y, net: (u**2).mean() - F.mse_loss(u, y), "a square is subtracted"),
        (lambda u, y, net: (u**2).mean() + 1.0, "another part of it has no graph"),
        (lambda u, y, net: (u**2).mean() + (u.detach() ** 2).mean(), "another part of it has no graph"),
        (lambda u, y, net: (u**2).mean().detach(), "loss has no autograd graph"),
        (lambda u, y, net: u**2, r"loss is a tensor of shape \(6, 2\); give one number"),
        (lambda u, y, net: 0.5, "loss is a float; give one number"),
        (lambda u, y, net: (u**2).mean() * float("nan"), "loss is nan; give one that is real and finite"),
        (lambda u, y, net: (u * 1j).square().sum(), "give one that is real and finite"),
    ],
)
def test_other_losses_are_refused_by_name(case, build, message):
    net, x, y = case
    with pytest.raises(LossError, match=message):
        errors_of_loss(build(net(x), y, net))


def test_errors_keep_their_graph_under_no_grad(case):
    net, x, y = case
    loss = F.mse_loss(net(x), y)
    with torch.no_grad():
        (term,) = errors_of_loss(loss)
    assert term.errors.requires_grad


def test_a_graph_that_is_gone_is_said(case):
    net, x, _ = case
    loss = (net(x) ** 2).mean()
    loss.backward()
    with pytest.raises(LossError, match="was freed by a backward pass; read it before backward"):
        errors_of_loss(loss)
