"""Networks of time slabs as one: every point by its slab's, derivatives and kernels included."""

import math

import pytest
import torch
from torch import nn

import pinntk
from pinntk.nn import MLP, SlabNetwork
from tests.support import reference

F64 = {"dtype": torch.float64}
PLANE = pinntk.Box(x=(0, 1), t=(0, 1))
EDGES = (0.0, 0.3, 0.5, 1.0)


@pinntk.residual(PLANE)
def heat(u_t, u_xx, u):
    return u_t - u_xx + u**2


@pinntk.initial(PLANE.at(t=0))
def start(u):
    return u - 1


PROBLEM = pinntk.Problem(PLANE, [heat, start])


def networks(count=3):
    return [MLP(PROBLEM, width=5, depth=2, seed=seed, **F64) for seed in range(count)]


def points(*times):
    return torch.tensor([[0.1 + 0.05 * k, t] for k, t in enumerate(times)], **F64)


def test_every_point_is_its_slabs():
    parts = networks()
    whole = SlabNetwork(parts, EDGES, axis=1)
    x = points(-0.2, 0.0, 0.29, 0.3, 0.31, 0.5, 0.50001, 1.0, 1.3)
    owners = [0, 0, 0, 0, 1, 1, 2, 2, 2]
    expected = torch.stack([parts[k](x)[row] for row, k in enumerate(owners)])
    assert torch.equal(whole(x), expected)
    backward = SlabNetwork(parts[::-1], EDGES[::-1], axis=1)
    owners = [0, 0, 0, 1, 1, 2, 2, 2, 2]  # an edge belongs to the slab that it ends
    assert torch.equal(backward(x), torch.stack([parts[k](x)[row] for row, k in enumerate(owners)]))
    assert torch.equal(SlabNetwork(parts[:1], (0.0, 1.0), axis=1)(x), parts[0](x))


def test_edges_hold_in_single_precision():
    parts = [network.float() for network in networks()]
    x = torch.tensor([[0.5, 0.3], [0.5, 0.3 + 1e-7]])
    assert torch.equal(SlabNetwork(parts, EDGES, axis=1)(x), torch.stack([parts[0](x)[0], parts[1](x)[1]]))


def test_derivatives_are_those_of_its_networks_by_jets_and_by_autograd():
    parts = networks()
    whole = SlabNetwork(parts, EDGES, axis=1)
    x = PROBLEM.sample(residual=30, **F64)["heat"]
    owners = [sum(float(row[1]) > edge for edge in EDGES[1:3]) for row in x]
    assert set(owners) == {0, 1, 2}
    alone = [pinntk.errors(part, PROBLEM, {"heat": x})["heat"] for part in parts]
    expected = torch.stack([alone[owner][row] for row, owner in enumerate(owners)])
    for method in ("taylor", "autograd"):
        assert torch.allclose(pinntk.errors(whole, PROBLEM, {"heat": x}, method)["heat"], expected, rtol=1e-12, atol=1e-12)


def test_its_kernel_is_the_oracles():
    whole = SlabNetwork(networks(), EDGES, axis=1)
    rows = PROBLEM.sample(residual=8, initial=3, **F64)
    found = pinntk.kernel(whole, PROBLEM, rows)
    assert reference.relative(found.matrix(), reference.kernel(whole, PROBLEM, rows)) < 1e-10


def test_a_network_is_not_asked_outside_of_its_slab():
    class Narrow(nn.Module):
        def __init__(self, low, high):
            super().__init__()
            self.low, self.high = low, high
            self.scale = nn.Parameter(torch.tensor(1.0, **F64))

        def forward(self, x):
            t = x[:, 1:]
            return self.scale * torch.sqrt((t - self.low + 1e-9) * (self.high - t + 1e-9))

    whole = SlabNetwork([Narrow(*EDGES[k : k + 2]) for k in range(3)], EDGES, axis=1)
    x = points(0.0, 0.1, 0.4, 0.8, 1.0).requires_grad_()
    u = whole(x)
    u.sum().backward()
    assert u.isfinite().all() and x.grad.isfinite().all()
    assert all(p.grad.isfinite() for p in whole.parameters())
    assert float(u[1].detach()) == pytest.approx(math.sqrt(0.1 * 0.2), rel=1e-6)


class Counting(nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.inner, self.rows = inner, []

    def forward(self, x):
        self.rows.append(len(x))
        return self.inner(x)


def test_without_gradients_each_network_has_its_own_rows():
    parts = [Counting(network) for network in networks()]
    whole = SlabNetwork(parts, EDGES, axis=1)
    x = PROBLEM.sample(residual=40, **F64)["heat"]
    expected = whole(x)
    assert [part.rows for part in parts] == [[40]] * 3
    with torch.no_grad():
        found = whole(x)
        assert sum(part.rows[1] for part in parts) == 40 and all(part.rows[1] < 40 for part in parts)
        assert torch.allclose(found, expected, rtol=1e-14, atol=1e-15)
        early = points(0.1, 0.2)
        assert torch.allclose(whole(early), parts[0](early), rtol=1e-14)
        assert [len(part.rows) for part in parts] == [4, 2, 2]
        assert whole(x[:0]).shape == (0, 1)
        by_row = torch.func.vmap(lambda row: whole(row[None])[0])(x)
        assert torch.allclose(by_row, expected, rtol=1e-14, atol=1e-15)
        assert whole.to("meta")(x.to("meta")).shape == (40, 1)


def test_networks_and_edges_must_fit():
    with pytest.raises(ValueError, match="3 networks and 3 edges: one network a slab, and one edge more"):
        SlabNetwork(networks(), EDGES[:3], axis=1)
    with pytest.raises(ValueError, match="0 networks"):
        SlabNetwork([], (0.0,), axis=1)
    with pytest.raises(ValueError, match=r"edges=\(0.0, 0.5, 0.5, 1.0\): each beyond the one before"):
        SlabNetwork(networks(), (0.0, 0.5, 0.5, 1.0), axis=1)
