"""Loops of one's own, with a recorder in them."""

import torch
from torch import nn

import pinntk

RATE, STEPS = 1e-2, 6


class Own(nn.Module):
    """A network of the user's, with an activation between two layers and what may lie in between."""

    def __init__(self, inputs=1, between=()):
        super().__init__()
        first, last = (nn.Linear(n, m, dtype=torch.float64) for n, m in ((inputs, 6), (6, 1)))
        self.layers = nn.Sequential(first, nn.Tanh(), *between, last)

    def forward(self, x):
        return self.layers(x)


def setting(problem=None, network=None, **counts):
    problem = pinntk.load("poisson1d") if problem is None else problem
    torch.manual_seed(1)
    network = Own(len(problem.coordinates)) if network is None else network
    return problem, network, problem.sample(seed=0, dtype=torch.float64, **(counts or {"residual": 8, "boundary": 2}))


def losses_of(problem, network, points):
    return {name: e.square().mean() for name, e in pinntk.errors(network, problem, points).items()}


def own_loop(problem, network, points, recorder=None, weights=None, steps=STEPS):
    """Adam, as a user writes it; with a recorder after the losses of each step, and at the end."""
    adam = torch.optim.Adam([*network.parameters(), *problem.coefficients.parameters()], lr=RATE)
    for step in range(steps + 1):
        losses = losses_of(problem, network, points)
        if recorder is not None:
            recorder.log(step, losses, lr=adam.param_groups[0]["lr"])
        if step < steps:
            adam.zero_grad()
            sum((weights or {}).get(name, 1.0) * loss for name, loss in losses.items()).backward()
            adam.step()
    return recorder


def small(**settings):
    problem, network, points = setting()
    return pinntk.Recorder(problem, network, points, **settings), losses_of(problem, network, points)
