"""PINNs that were written without pinntk, on a device: as on the CPU, and left where they are.

Run by tests/test_pretend_device.py; see tests/on_device.py.
"""

from __future__ import annotations

from copy import deepcopy

import torch
from torch import nn

import pinntk
from pinntk.problem import ForeignCondition, PointSet, with_parameters_of
from tests.device.on_device import F64, NAME, covers, on_device, same


def slope(value, x):
    return torch.autograd.grad(value, x, torch.ones_like(value), create_graph=True)[0]


def wrapped(model, device):
    """Columns, a closure over measured values, an unknown number, on that device."""
    model, k = deepcopy(model).to(device), nn.Parameter(torch.tensor(0.5, device=device, **F64))
    x, t = (torch.linspace(0, 1, 12, device=device, **F64).unsqueeze(1), torch.ones(12, 1, device=device, **F64))
    seen = x**2

    def heat(x, t):
        u = model(torch.cat([x, t], 1))
        return slope(u, t) - k * slope(slope(u, x), x)

    def sensors(x, t):
        return model(torch.cat([x, t], 1)) - seen

    conditions = {"heat": (heat, (x, t), "residual"), "sensors": (sensors, (x, t), "data")}
    return pinntk.wrap(model, conditions, coefficients={"k": k})


@covers(pinntk.wrap)
def test_a_wrapped_model_stays_on_the_device():
    model = nn.Sequential(nn.Linear(2, 6), nn.Tanh(), nn.Linear(6, 1)).double()
    (here, problem, points), (away, other, there) = (wrapped(model, device) for device in ("cpu", NAME))
    assert on_device(there)
    found, expected = pinntk.kernel(away, other, there), pinntk.kernel(here, problem, points)
    assert on_device(found.values)
    same(found.values, expected.values)
    same(pinntk.traces(away, other, there), pinntk.traces(here, problem, points))
    same(pinntk.examine(away, other, there).balance.rate, pinntk.examine(here, problem, points).balance.rate)
    for network, this, rows in ((here, problem, points), (away, other, there)):
        pinntk.train(this, network, points=rows, steps=2, optimizer="gauss-newton", progress=False)
    same(list(away.parameters()), list(here.parameters()), 1e-9)


def test_foreign_conditions_know_points_that_are_drawn():
    domain = pinntk.Box(x=(0, 1))
    region = PointSet(domain, [0.5], draw=lambda n, rng: rng.random((n, 1)))
    model = nn.Sequential(nn.Linear(1, 6), nn.Tanh(), nn.Linear(6, 1)).double()
    results = []
    for device in ("cpu", NAME):
        network = deepcopy(model).to(device)

        def errors(other, x, home=network):
            return with_parameters_of(home, other, lambda: home(x).squeeze(1) - x[:, 0] ** 2)

        problem = pinntk.Problem(domain, [ForeignCondition("square", "residual", region, errors)])
        points = problem.sample(square=7, device=device, **F64)
        results.append(pinntk.kernel(deepcopy(network), problem, points).values)
    assert on_device(results[1])
    same(results[1], results[0])
