"""A network, and losses of it in plain PyTorch."""

import pytest
import torch
from torch import nn

from pinntk import NTKWeights

F64 = torch.float64


def mlp(inputs=2, outputs=1, width=10, dtype=F64):
    return nn.Sequential(nn.Linear(inputs, width), nn.Tanh(), nn.Linear(width, width), nn.Tanh(), nn.Linear(width, outputs)).to(
        dtype
    )


def slope(u, x):
    return torch.autograd.grad(u, x, torch.ones_like(u), create_graph=True)[0]


def squared_rows(e, parameters):
    """Tr J J^T, by reverse mode, an entry at a time."""
    parameters, total = list(parameters), 0.0
    for one in e.reshape(-1):
        for g in torch.autograd.grad(one, parameters, retain_graph=True, allow_unused=True):
            total += 0.0 if g is None else float(g.double().square().sum())
    return total


def residual(net, n=13, dtype=F64):
    x = torch.rand(n, 2, dtype=dtype, requires_grad=True)
    u = net(x)[:, :1]
    du = slope(u, x)
    return du[:, :1] + u * du[:, 1:] - 0.1 * slope(du[:, 1:], x)[:, 1:]


class Loop:
    """A training with a count of updates."""

    def __init__(self, every, net=None, **settings):
        torch.manual_seed(0)
        self.net = mlp(1, width=4) if net is None else net
        self.x = torch.linspace(0, 1, 6, dtype=F64).unsqueeze(1)
        self.ntk = NTKWeights(self.net, every=every, **settings)

    def loss(self, **settings):
        return self.ntk({"inside": self.net(self.x) - 1, "end": self.net(self.x[:1])}, **settings)

    @property
    def updates(self):
        return [int(row["step"]) for row in self.ntk.history]


def raises(error, match, function, *arguments, **settings):
    with pytest.raises(error, match=match) as caught:
        function(*arguments, **settings)
    assert "\n" not in str(caught.value)
