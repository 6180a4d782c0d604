"""PINNs in plain PyTorch on a device."""

from __future__ import annotations

from copy import deepcopy

import torch
from torch import nn

import pinntk
from pinntk.problem import ForeignCondition, PointSet, with_parameters_of
from tests.device.on_device import F64, NAME, covers, on_device, same


def plain(place: str):
    """A model, and the functions of its losses with their points."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(2, 6, **F64), nn.Tanh(), nn.Linear(6, 6, **F64), nn.Tanh(), nn.Linear(6, 1, **F64)).to(
        place
    )
    inside = torch.rand(12, 2, **F64)
    inside, walls = inside.to(place), torch.cat([inside[:5, :1], torch.zeros(5, 1, **F64)], 1).to(place)

    def heat(points):
        slopes = torch.autograd.grad(model(points).sum(), points, create_graph=True)[0]
        curved = torch.autograd.grad(slopes[:, 1].sum(), points, create_graph=True)[0][:, 1]
        return slopes[:, 0] - curved

    return model, {"heat": (heat, inside, "residual"), "walls": (model, walls, "boundary")}


@covers(pinntk.NTKWeights)
def test_weights_in_a_loop_of_ones_own():
    found, weights = [], []
    for place in (NAME, "cpu"):
        model, conditions = plain(place)
        ntk = pinntk.NTKWeights(model, every=2)
        optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
        for _ in range(4):
            optimizer.zero_grad()
            e = {name: function(rows.clone().requires_grad_()) for name, (function, rows, _) in conditions.items()}
            loss = ntk({"heat": e["heat"].square().mean(), "walls": e["walls"]})
            loss.backward()
            optimizer.step()
        found.append(loss)
        weights.append(ntk.history)
    assert on_device(found[0]) and len(weights[0]) == 2
    same(*found)
    same(*weights)


@covers(pinntk.wrap)
def test_a_wrapped_model():
    (network, problem, points), expected = (pinntk.wrap(*plain(place)) for place in (NAME, "cpu"))
    kernel = pinntk.kernel(network, problem, points)
    assert on_device(kernel.values) and on_device(points)
    same(kernel.values, pinntk.kernel(*expected).values)
    run = pinntk.train(problem, network, points=points, steps=2, progress=False)
    assert on_device(network.state_dict())
    other = pinntk.train(expected[1], expected[0], points=expected[2], steps=2, progress=False)
    same(*([row["loss"] for row in r.history] for r in (run, other)))


def test_foreign_conditions_know_points_that_are_drawn():
    domain = pinntk.Box(x=(0, 1))
    region = PointSet(domain, [0.5], draw=lambda n, rng: rng.random((n, 1)))
    model = nn.Sequential(nn.Linear(1, 6), nn.Tanh(), nn.Linear(6, 1)).double()
    results = []
    for place in ("cpu", NAME):
        network = deepcopy(model).to(place)

        def errors(other, x, home=network):
            return with_parameters_of(home, other, lambda: home(x).squeeze(1) - x[:, 0] ** 2)

        problem = pinntk.Problem(domain, [ForeignCondition("square", "residual", region, errors)])
        points = problem.sample(square=7, device=place, **F64)
        results.append(pinntk.kernel(deepcopy(network), problem, points).values)
    assert on_device(results[1])
    same(results[1], results[0])
