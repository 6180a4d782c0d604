"""Kernels that `NTKWeights` tells from rounding, or warns of."""

import warnings

import pytest
import torch

from pinntk import NTKWeights
from tests.integrations.losses import F64, mlp, slope


def test_a_loss_that_is_rounding_has_weight_one():
    """sin(pi x) is 1.2e-16 at x = 1: its weight would be 1e30."""
    net, x = mlp(1), torch.rand(9, 1, dtype=F64)
    wall = torch.ones(3, 1, dtype=F64)
    with pytest.warns(
        UserWarning, match="walls: its kernel is .*e-32 of the sum, and its weight stays 1. A network that meets"
    ):
        ntk = NTKWeights(net)
        ntk({"inside": net(x), "walls": torch.sin(torch.pi * wall) * net(wall)})
    assert ntk.weights["walls"] == 1.0 and 0 < ntk.traces["walls"] < 1e-25
    small = NTKWeights(net)
    with pytest.warns(UserWarning, match="its weight is .*e.17. .* multiply them by a number"):
        small({"inside": net(x), "walls": 1e-9 * net(wall)})
    assert small.weights["walls"] > 1e17


@pytest.mark.parametrize(("length", "scale"), [(1, 0.01), (10, 0.01), (100, 1), (100, 0.01)])
def test_a_rounding_that_is_not_much_smaller_has_weight_one(length, scale):
    """In float32 sin(pi x) is 9e-8 at x = 1, and 3e-5 at x = 100."""
    torch.manual_seed(0)
    net = mlp(1, dtype=torch.float32)
    hard = lambda x: torch.sin(torch.pi * x) * net(x)  # noqa: E731
    x = torch.linspace(0, length, 50)[:, None].requires_grad_()
    losses = {"pde": scale * (slope(hard(x), x) + hard(x)), "walls": hard(torch.tensor([[0.0], [length]]))}
    ntk = NTKWeights(net, every=1)
    with pytest.warns(UserWarning, match="walls: its kernel is .* of the sum, .* leave this loss out") as told:
        ntk(losses)
    ntk(losses, update=True)
    assert len(told) == 1 and ntk.weights["walls"] == 1.0


def test_a_kernel_that_may_be_rounding_has_no_large_weight_in_silence():
    """Periodic to rounding, by a difference: nothing in the graph tells."""
    torch.manual_seed(0)
    net = mlp(2, dtype=torch.float32)
    u = lambda x: net(torch.cat([torch.sin(6 * torch.pi * x), torch.cos(6 * torch.pi * x)], 1))  # noqa: E731
    ends = torch.tensor([[0.1]])
    ntk = NTKWeights(net)
    with pytest.warns(UserWarning, match="ends: its kernel is .* leave this loss out"):
        ntk({"inside": u(torch.linspace(0, 1, 20)[:, None]), "ends": u(ends) - u(ends + 1)})
    assert ntk.weights["ends"] > 1e8


def test_a_condition_in_units_too_small_for_float32_is_told_so_and_a_constant_mends_it():
    net, x = mlp(1, dtype=torch.float32), torch.linspace(0, 1, 20)[:, None]
    inside, ends = net(x), net(x[[0, -1]])
    tiny = NTKWeights(net, momentum=0.5)
    for update in (None, True):
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            tiny({"inside": inside, "ends": 1e-7 * ends}, update)
        assert tiny.weights["ends"] == 1.0 and [str(w.message)[:5] for w in told] == ([] if update else ["ends:"])
    given, plain = NTKWeights(net), NTKWeights(net)
    given({"inside": inside, "ends": 1e7 * (1e-7 * ends)})
    plain({"inside": inside, "ends": ends})
    assert given.weights["ends"] == pytest.approx(plain.weights["ends"], rel=1e-5)


def test_a_kernel_of_zero_is_called_zero(net):
    x = torch.rand(6, 2, dtype=F64)
    with pytest.warns(UserWarning, match="walls does not depend on the parameters .* its weight stays 1"):
        NTKWeights(net)({"inside": net(x), "walls": 0 * net(x)})
