"""Solvers on a device, one step at a time: the same numbers as on the CPU."""

from __future__ import annotations

import io
from itertools import product

import pytest
import torch

import pinntk
from pinntk.solvers import _damped
from pinntk.solvers._damped import FORMS
from tests.device.on_device import F64, NAME, covers, on_device, same, there, twins
from tests.device.trainings import diffusion


@covers(pinntk.solvers.fit_last_layer)
def test_the_last_layer_by_least_squares():
    problem = pinntk.load("poisson1d", k=1)
    points = problem.sample(residual=9, boundary=2, **F64)
    made = [pinntk.nn.PirateNet(problem, width=4, depth=1, fourier=(2, 0.2), device=place, **F64) for place in (NAME, "cpu")]
    found, expected = (pinntk.solvers.fit_last_layer(network, problem, points) for network in made)
    assert on_device(made[0].state_dict())
    same(found, expected, 1e-8)
    same(*(network.state_dict() for network in made), 1e-8)


@covers(pinntk.solvers.scaled_errors, pinntk.solvers.ScaledJacobian, pinntk.solvers.DampedLeastSquares)
@pytest.mark.parametrize("large", [2000, 0])
def test_the_scaled_problem(large, monkeypatch):
    monkeypatch.setattr(_damped, "_LARGE", large)
    monkeypatch.setattr(_damped, "_SHARE", 1)
    problem = diffusion()
    here, away = twins(problem, width=4, depth=1)
    points = problem.sample(residual=8, boundary=3, initial=3, **F64)
    weights = {"heat": 1.0, "walls": torch.linspace(0.5, 1, 3, **F64), "start": 2.0, "sensors": 0.5}
    moved = weights | {"walls": weights["walls"].to(NAME)}
    r = pinntk.solvers.scaled_errors(here, problem, points, weights)
    A = pinntk.solvers.ScaledJacobian(here, problem, points, weights)
    for given in (points, there(points)):
        found = pinntk.solvers.scaled_errors(away, problem, given, moved)
        assert on_device(found)
        same(found, r)
    B = pinntk.solvers.ScaledJacobian(away, problem, there(points), moved)
    d = torch.linspace(-1, 1, A.p, **F64)
    products = [(C.kernel(), C.matvec(d.to(r)), C.rmatvec(r)) for C, d, r in ((B, d.to(NAME), found), (A, d, r))]
    assert on_device(products[0])
    same(*products)
    columns = [C.kernel_columns(torch.tensor([9, 2, 0], device=e.device)) for C, e in ((B, found), (A, r))]
    assert on_device(columns[0])
    same(*columns)
    same(B.matrix, A.matrix)
    for form, orthogonal in product(FORMS, (False, True)):
        solved = [pinntk.solvers.DampedLeastSquares(C, e, form, orthogonal=orthogonal) for C, e in ((B, found), (A, r))]
        steps = [least.step(1e-2) for least in solved]
        assert on_device(steps[0])
        same(*steps, 1e-9)
        same(*(least.damping(0.1) for least in solved), 1e-9)
        applied = [least.apply(errors, 1e-2) for least, errors in zip(solved, (found, r), strict=True)]
        assert on_device(applied[0])
        same(*applied, 1e-9)


@covers(pinntk.solvers.GaussNewton, pinntk.solvers.NaturalGradient, pinntk.solvers.StepReport)
@pytest.mark.parametrize(
    ("solver", "settings"),
    [
        (pinntk.solvers.GaussNewton, {"form": "kernel"}),
        pytest.param(pinntk.solvers.GaussNewton, {"form": "parameters"}, marks=pytest.mark.slow),
        (pinntk.solvers.NaturalGradient, {"momentum": 0.5, "damping": 1e-6}),
    ],
)
def test_steps_of_solvers(solver, settings):
    problems = diffusion(), diffusion()
    here, away = twins(problems[0], width=4, depth=1)
    points = problems[0].sample(residual=8, boundary=3, initial=3, **F64)
    g = {"walls": torch.linspace(0.5, 1, 3, **F64)}
    expected, found = solver(here, problems[0], **settings), solver(away, problems[1], **settings)
    for step in range(3):
        if step == 2 and solver is pinntk.solvers.GaussNewton:
            for each in (found, expected):  # steps that need not lower the loss
                each.converge()
                each._phase.stalled = True
        reports = [
            found.step(points if step else there(points), g if step else there(g)),
            expected.step(points, g),
        ]
        assert isinstance(reports[0], pinntk.solvers.StepReport)
        for problem in problems:  # wherever the coefficients are: `train` takes them to its network
            problem.coefficients.to(NAME if step == 0 else "cpu")
        same(*reports, 1e-7)
        state = io.BytesIO()
        torch.save(found.state_dict(), state)
        state.seek(0)
        found = solver(away, problems[1], **settings)
        found.load_state_dict(torch.load(state, map_location="cpu", weights_only=True))
    same(away.state_dict(), here.state_dict(), 1e-7)


@covers(pinntk.solvers.SelfScaledBroyden)
@pytest.mark.parametrize("variant", ["bfgs", "ssbroyden"])
def test_quasi_newton_steps_with_parameters_on_both_devices(variant):
    ends = []
    for device in (NAME, "cpu"):
        x = torch.tensor([-1.2, 1.0], device=device, requires_grad=True, **F64)
        a = torch.tensor(0.5, requires_grad=True, **F64)  # as a coefficient, which may live on the CPU
        optimizer = pinntk.solvers.SelfScaledBroyden([x, a], variant=variant)

        def closure(x=x, a=a, optimizer=optimizer):
            optimizer.zero_grad()
            loss = (1 - x[0]) ** 2 + 10 * (x[1] - x[0] ** 2) ** 2 + (a - x[0]) ** 2
            loss.backward()
            return loss

        for _ in range(4):
            optimizer.step(closure)
            optimizer.load_state_dict(optimizer.state_dict())
        ends.append([x, a, optimizer.inverse_hessian])
    same(*ends)
