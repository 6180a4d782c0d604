"""Several error vectors of one batch, read from the graph together, against rows in reverse mode."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from pinntk.ntk._certificate import certificate
from pinntk.ntk._factored import Factors
from pinntk.ntk.graph import ErrorVector, joint_factors
from tests.support.reference import relative

N = 14


def network(width=6, outputs=2):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(2, width), nn.Tanh(), nn.Linear(width, width), nn.Tanh(), nn.Linear(width, outputs)).double()


def span(start, stop, n=None):
    """Rows start to stop of the batch, each of its own error; of `n` errors, each with several rows."""
    rows = torch.full((N,), -1)
    rows[start:stop] = torch.arange(stop - start) % (n or stop - start)
    return rows


def batch(net):
    """Values and slopes of both outputs at N points."""
    x = torch.linspace(-1, 1, 2 * N, dtype=torch.float64).sin().view(N, 2).requires_grad_()
    y = net(x)
    slopes = [torch.autograd.grad(y[:, i].sum(), x, create_graph=True)[0] for i in (0, 1)]
    return y, slopes


def vectors(net):
    y, (u, v) = batch(net)
    return [
        ErrorVector("equation 1", (u[:, 0] + y[:, 1] ** 2)[8:], span(8, N)),
        ErrorVector("equation 2", (v[:, 1] * y[:, 0])[8:], span(8, N)),
        ErrorVector("walls", y[:4, 0] - 1, span(0, 4)),
        ErrorVector("pair", y[4:6, 1] - y[6:8, 1], span(4, 8, 2)),
    ]


def rows(e, parameters):
    gradients = [torch.autograd.grad(value, parameters, retain_graph=True, allow_unused=True) for value in e]
    flat = [[torch.zeros_like(p) if g is None else g for g, p in zip(one, parameters, strict=True)] for one in gradients]
    return torch.stack([torch.cat([g.flatten() for g in one]) for one in flat])


@pytest.mark.parametrize("width", [2, 4, 6, 8, N])  # as many units as some vector, or the batch, has rows
def test_each_is_that_of_reverse_mode(width):
    net = network(width)
    columns = vectors(net)
    for column, part in zip(columns, joint_factors(columns, dict(net.named_parameters())), strict=True):
        assert part.name == column.name and part.n == len(column.errors)
        assert relative(part.matrix(), rows(column.errors, list(net.parameters()))) < 1e-12, column.name


def test_what_shares_no_rows_shares_a_pass(monkeypatch):
    net = network()
    columns = vectors(net)
    passes = []
    plain = torch.autograd.grad
    monkeypatch.setattr(torch.autograd, "grad", lambda *a, **k: passes.append(1) or plain(*a, **k))
    found = joint_factors(columns, dict(net.named_parameters()))
    assert {part.origin.path for part in found} == {"graph"}
    assert len(passes) == 4  # the second equation by itself; each with its certificate


def test_wrong_rows_are_noticed_and_read_alone():
    net = network()
    columns = vectors(net)
    columns[2] = columns[2]._replace(
        owners=torch.where(columns[2].owners >= 0, 3 - columns[2].owners, -1)
    )  # in the wrong order
    for column, part in zip(columns, joint_factors(columns, dict(net.named_parameters())), strict=True):
        assert relative(part.matrix(), rows(column.errors, list(net.parameters()))) < 1e-12, column.name


def test_vectors_without_known_rows_or_without_a_graph():
    net = network()
    y, _ = batch(net)
    columns = [
        ErrorVector("some", y[:5, 0], None),
        ErrorVector("none", y[5:9, 0].detach(), span(5, 9)),
        ErrorVector("rest", y[9:, 0], span(9, N)),
    ]
    some, none, rest = joint_factors(columns, dict(net.named_parameters()))
    assert relative(some.matrix(), rows(columns[0].errors, list(net.parameters()))) < 1e-12
    assert relative(rest.matrix(), rows(columns[2].errors, list(net.parameters()))) < 1e-12
    assert none.n == 4 and not none.matrix().any()


def test_a_certificate_sees_the_smallest_vector():
    p = torch.ones(3, dtype=torch.float64, requires_grad=True)
    A = torch.arange(1.0, 13.0, dtype=torch.float64).view(4, 3)
    scale = torch.tensor([1.0, 1.0, 1e-17, 1e-17], dtype=torch.float64).unsqueeze(1)
    J = scale * A
    wrong = J.clone()
    wrong[2:] *= 2
    e = J @ p
    for held, passes in ((J, True), (wrong, False)):
        factors = Factors("e", 4, {"p": 3}, {}, {"p": held})
        assert certificate(factors, e, {"p": p}, [2, 2]).passes is passes
    assert certificate(Factors("e", 4, {"p": 3}, {}, {"p": wrong}), e, {"p": p}).passes  # which is why lengths are given


def test_a_single_error_and_what_has_passed_its_certificate(monkeypatch):
    net = network()
    y, (u, _) = batch(net)
    columns = [
        ErrorVector("equation", (u[:, 0] + y[:, 1] ** 2)[4:], span(4, N)),
        ErrorVector("walls", y[:3, 0] - 1, span(0, 3)),
        ErrorVector("corner", y[3:4, 1:2].squeeze(1) * 2, span(3, 4)),
    ]
    for certify, expected in ((True, 4), (False, 2)):
        passes, plain = [], torch.autograd.grad
        with monkeypatch.context() as patch:
            patch.setattr(torch.autograd, "grad", lambda *a, **k: passes.append(1) or plain(*a, **k))
            found = joint_factors(columns, dict(net.named_parameters()), certify)
        assert len(passes) == expected
        for column, part in zip(columns, found, strict=True):
            assert relative(part.matrix(), rows(column.errors, list(net.parameters()))) < 1e-12, column.name
            assert (part.origin.certificate is not None) is certify
