"""Other tensors in the place of a module's own."""

from copy import deepcopy

import pytest
import torch
from torch import nn

from pinntk._util.stand_in import ForeignNetworkError, call_with, with_parameters_of


class Tied(nn.Module):
    """A weight in two modules, a module under two names, and a buffer that counts."""

    def __init__(self):
        super().__init__()
        self.one, self.other = nn.Linear(3, 3), nn.Linear(3, 3)
        self.other.weight = self.one.weight
        self.again = self.one
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x):
        self.calls += 1
        return self.again(self.other(self.one(x)))


def tensors(module):
    return dict((*module.named_parameters(remove_duplicate=False), *module.named_buffers(remove_duplicate=False)))


@pytest.mark.parametrize("kind", [Tied, lambda: nn.LSTM(3, 2), lambda: nn.utils.parametrizations.weight_norm(nn.Linear(3, 3))])
def test_a_call_with_the_tensors_of_a_copy_is_that_of_the_copy(kind):
    home = kind()
    other = deepcopy(home).double()
    for p in other.parameters():
        p.data.mul_(1.7)
    before = {name: (tensor, tensor.detach().clone()) for name, tensor in tensors(home).items()}
    x = torch.rand(4, 3, dtype=torch.float64)
    expected = deepcopy(other)(x)
    found = with_parameters_of(home, other, lambda: home(x))
    named = call_with(home, dict(other.named_parameters()), x)
    for one in (found, named):
        for a, b in zip(*(value if isinstance(value, tuple) else (value,) for value in (one, expected)), strict=True):
            assert (a[0] if isinstance(a, tuple) else a).equal(b[0] if isinstance(b, tuple) else b)
    for name, tensor in tensors(home).items():
        assert tensor is before[name][0]
        if name != "calls":
            assert torch.equal(tensor, before[name][1])


def test_gradients_reach_the_tensors_that_stand_in():
    home, other = Tied(), Tied()
    with_parameters_of(home, other, lambda: home(torch.ones(2, 3)).sum()).backward()
    assert all(p.grad is not None for p in other.parameters()) and all(p.grad is None for p in home.parameters())


def test_modes_stand_in_too():
    home = nn.Sequential(nn.Linear(1, 1), nn.Dropout(0.5))
    other = deepcopy(home).eval()
    assert with_parameters_of(home, other, lambda: [module.training for module in home.modules()]) == [False] * 3
    assert home.training and home[1].training


def test_an_error_leaves_everything_in_its_place():
    home = Tied()
    before = tensors(home)
    with pytest.raises(ZeroDivisionError):
        with_parameters_of(home, deepcopy(home), lambda: 1 / 0)
    assert all(tensor is before[name] for name, tensor in tensors(home).items())


def test_what_is_no_copy_is_refused():
    with pytest.raises(ForeignNetworkError, match="its own network, a Tied, or a copy of it, and a ReLU was given: give the"):
        with_parameters_of(Tied(), nn.ReLU(), lambda: None)
    home = Tied()
    with pytest.raises(
        ForeignNetworkError, match=r"a Linear, which is only a part of it, was given: give the network that wrap"
    ):
        with_parameters_of(home, home.one, lambda: None)
    with pytest.raises(ForeignNetworkError):
        with_parameters_of(nn.Linear(2, 1), nn.Linear(3, 1), lambda: None)
    with pytest.raises(TypeError, match="TorchScript"), torch.jit.optimized_execution(False):
        call_with(torch.jit.trace(nn.Linear(1, 1), torch.ones(1, 1)), {}, torch.ones(1, 1))
