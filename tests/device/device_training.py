"""Networks, solvers, trainings and their run folders on a device: the same numbers as on the CPU.

Run by tests/test_pretend_device.py; see tests/on_device.py.
"""

from __future__ import annotations

import io
import shutil
import signal
from math import pi

import pytest
import torch
from torch import nn

import pinntk
from pinntk.residuals import _checks as checks
from pinntk.run._checkpoint import write_checkpoint
from pinntk.solvers._damped import FORMS
from pinntk.training import _checkpoint as checkpoint
from pinntk.training import _monitor as monitor
from pinntk.training._optimizers import SCHEDULES, optimizers
from pinntk.weighting import NTK, Causal, Fixed, GradientNorm, SelfAdaptive
from tests.device.on_device import F64, NAME, TOLERANCE, covers, on_device, same, there, twins

BOX = pinntk.Box(t=(0, 1), x=(0, 1))
COUNTS = {"residual": 12, "boundary": 4, "initial": 4}
LBFGS = {"optimizer": "lbfgs", "optimizer_options": {"max_iter": 3}}
FEW = {"residual": 6, "boundary": 2, "initial": 2}


def diffusion() -> pinntk.Problem:
    """Diffusion with an unknown coefficient and three readings: every kind of number that a training carries."""

    @pinntk.residual(BOX)
    def heat(u_t, u_xx, kappa):
        return u_t - kappa * u_xx

    @pinntk.boundary(BOX.ends("x"))
    def walls(u):
        return u

    @pinntk.initial(BOX.at(t=0))
    def start(u, x):
        return u - torch.sin(pi * x)

    @pinntk.data(BOX, [[0.2, 0.5], [0.4, 0.3], [0.5, 0.5]], seen=[0.8, 0.6, 0.6])
    def sensors(u, seen):
        return u - seen

    def exact(t, x):
        return torch.exp(-0.1 * pi**2 * t) * torch.sin(pi * x)

    return pinntk.Problem(BOX, [heat, walls, start, sensors], exact=exact, coefficients={"kappa": 0.2})


def trained(device: str, problem=None, network=None, **settings) -> pinntk.Run:
    problem = problem or diffusion()
    network = network or pinntk.nn.MLP(problem, width=5, depth=1, **F64)
    given = {"steps": 2, "points": COUNTS, "device": device, "progress": False, "eval_every": 2, "snapshot_every": 2}
    return pinntk.train(problem, network, **{**given, **settings})


def numbers(run: pinntk.Run) -> dict:
    """All that a run is judged by, but for the clock."""
    clocks = ("seconds", "monitor/share")
    history = [{key: value for key, value in row.items() if key not in clocks} for row in run.history]
    kernels = {step: blocks.values for step, blocks in run.snapshots.items()}
    left = {"network": run.network.state_dict(), "coefficients": run.problem.coefficients.state_dict()}
    return {"history": history, "kernels": kernels, "weights": run.weights, "g": dict(run.point_weights), **left}


def both(tolerance: float = TOLERANCE, **settings) -> pinntk.Run:
    """The same training on the device and on the CPU."""
    found, expected = (trained(device, **settings) for device in (NAME, "cpu"))
    assert on_device([list(found.network.parameters()), dict(found.points), next(iter(found.snapshots.values())).values])
    same(numbers(found), numbers(expected), tolerance)
    return found


class Matrices(nn.Module):
    """Muon takes nothing else."""

    def __init__(self):
        super().__init__()
        self.weights = nn.ParameterList(torch.linspace(-1, 1, 4, **F64).reshape(shape) for shape in ((4, 1), (1, 4)))

    def forward(self, x):
        return nn.functional.linear(torch.tanh(nn.functional.linear(x, self.weights[0])), self.weights[1])


@covers(pinntk.train)
@pytest.mark.parametrize("optimizer", [*sorted({*optimizers()} - {"sparseadam"}), *pinntk.solvers.SOLVERS])
def test_every_optimizer(optimizer):
    if optimizer == "muon":
        runs = [trained(device, pinntk.load("poisson1d", k=1), Matrices(), optimizer=optimizer) for device in (NAME, "cpu")]
        same(*map(numbers, runs), 1e-9)
    else:
        both(1e-9, **(LBFGS if optimizer == "lbfgs" else {"optimizer": optimizer}))


@covers(NTK, GradientNorm, Fixed, Causal, SelfAdaptive)
@pytest.mark.parametrize(
    "settings",
    [
        {"weighting": NTK(every=2, points={"residual": 5})},
        {"weighting": GradientNorm(every=2)},
        {"weighting": Fixed(walls=10.0)},
        {"weighting": SelfAdaptive()},
        {"weighting": "self-adaptive", **LBFGS},
        {"causal": Causal(slices=3), "weighting": NTK(every=1)},
        {"causal": 1.0, "points": COUNTS | {"residual": 40}, "optimizer": "ssbroyden"},
    ],
    ids=str,
)
def test_every_weighting(settings):
    both(1e-10, **settings)


@covers(pinntk.RAD)
@pytest.mark.parametrize(
    "settings",
    [
        {"adaptive": pinntk.RAD(candidates=3), "resample": 1},
        {"adaptive": True, "optimizer": "gauss-newton", "resample": 1},
        {"resample": 2, "sampling": "sobol"},
        *({"schedule": schedule} for schedule in SCHEDULES),
    ],
    ids=str,
)
def test_points_and_schedules(settings):
    both(1e-10, **settings)


def test_points_of_ones_own_on_either_device():
    problem = diffusion()
    points = problem.sample(residual=8, boundary=3, initial=3, **F64)
    expected = numbers(trained("cpu", points=points))
    for given in (points, there(points), {name: rows.numpy() for name, rows in points.items()}):
        same(numbers(trained(NAME, points=given)), expected)


def test_float32():
    found, expected = (trained(device, dtype=torch.float32) for device in (NAME, "cpu"))
    assert {p.dtype for p in found.network.parameters()} == {torch.float32}
    same(found.network.state_dict(), expected.network.state_dict(), 1e-5)


@covers(pinntk.Recorder)
def test_a_recorder(tmp_path):
    def recorded(device):
        problem = diffusion()
        network = pinntk.nn.MLP(problem, width=5, depth=1, **F64).to(device)
        problem.coefficients.to(device)
        points = {name: rows.to(device) for name, rows in problem.sample(FEW, seed=0, **F64).items()}
        sgd = torch.optim.SGD(network.parameters(), lr=1e-3)
        with pinntk.Recorder(problem, network, points, tmp_path / device, optimizer=sgd, snapshot_every=1) as recorder:
            for step in range(3):
                losses = {name: e.square().mean() for name, e in pinntk.errors(network, problem, points).items()}
                recorder.log(step, losses, relative_error=problem.relative_error(network))
                sgd.zero_grad()
                sum(losses.values()).backward()
                sgd.step()
        return recorder.run

    found, expected = recorded(NAME), recorded("cpu")
    assert on_device(dict(found.points)) and on_device(found.initial)
    same(numbers(found), numbers(expected))
    same(dict(pinntk.Run.load(tmp_path / NAME, problem=diffusion()).points), dict(expected.points))


class Noisy(nn.Module):
    """Draws random numbers on its device, too small for the check that errors are the points' own."""

    def __init__(self):
        super().__init__()
        self.inner = pinntk.nn.MLP(inputs=2, outputs=1, width=4, depth=1, normalize=False, **F64)

    def forward(self, x):
        y = self.inner(x)
        return y + 1e-10 * torch.rand(y.shape[0], 1, dtype=x.dtype, device=x.device)


@covers(pinntk.Run, pinntk.train_as)
@pytest.mark.parametrize("settings", [{}, LBFGS, {"optimizer": "gauss-newton"}, {"weighting": SelfAdaptive()}])
def test_a_run_goes_on_where_it_stopped(tmp_path, monkeypatch, settings):
    """On the device that it began on to the last bit, its random numbers included; on the other one to rounding."""
    settings = {"schedule": None if settings.get("optimizer") == "gauss-newton" else "constant", **settings}

    def go(device, folder, resume=False):
        given = {"steps": 4, "out": folder, "resume": resume, "checkpoint_every": 2, "snapshot_every": 0, **settings}
        given["points"] = {"residual": 12, "boundary": 6, "initial": 6, "data": 10}
        return trained(device, pinntk.load("heat_inverse"), Noisy(), **given)

    def killed(folder, state):
        write_checkpoint(folder, state)
        raise InterruptedError

    for part in ("_check_repeatable", "check_derivatives"):  # they would refuse a network that draws numbers
        monkeypatch.setattr(checks, part, lambda *_: None)
    whole = go(NAME, tmp_path / "whole")
    with monkeypatch.context() as patched, pytest.raises(InterruptedError):
        patched.setattr(checkpoint, "write_checkpoint", killed)
        go(NAME, tmp_path / "parts")
    shutil.copytree(tmp_path / "parts", tmp_path / "moved")
    state = torch.get_rng_state()
    torch.rand(3, device=NAME)  # what a resumed run must not depend on
    again = go(NAME, tmp_path / "parts", resume=True)
    assert torch.equal(torch.get_rng_state(), state)
    assert on_device(again.network.state_dict())
    drawn_again = settings.get("optimizer") == "gauss-newton"  # by a solver that checks the network when it begins
    exact = 1e-6 if drawn_again else 0.0 if NAME == "pretend" else TOLERANCE
    same(again.network.state_dict(), whole.network.state_dict(), exact)
    same(again.problem.coefficients.state_dict(), whole.problem.coefficients.state_dict(), exact)
    moved = go("cpu", tmp_path / "moved", resume=True)
    same(moved.network.state_dict(), whole.network.state_dict(), 1e-6)
    loaded = pinntk.Run.load(tmp_path / "whole", Noisy())
    assert {p.device.type for p in loaded.network.parameters()} == {"cpu"}
    same(loaded.network.state_dict(), whole.network.state_dict(), 0.0)
    same(dict(loaded.points), dict(whole.points))


@covers(pinntk.TrainConfig)
def test_training_as_a_configuration_says():
    run = trained("cpu", pinntk.load("poisson1d", k=1))
    again = pinntk.train_as(run.config, device=NAME, progress=False)
    assert on_device(again.network.state_dict())
    same(numbers(again), numbers(run))
    settings = [pinntk.TrainConfig.from_json(found.config) for found in (again, run)]
    assert settings[0].points == settings[1].points


@covers(pinntk.Monitor, pinntk.MonitorReport)
@pytest.mark.parametrize("optimizer", ["adam", "gradient-descent"])
@pytest.mark.filterwarnings("ignore::pinntk.TrainingWarning")
def test_a_watched_training(tmp_path, monkeypatch, optimizer):
    steps = 1  # with a diagnosis after it
    if optimizer != "adam":  # the same diagnoses once more cost seconds
        monkeypatch.setattr(monitor, "diagnose", lambda run: [])
        steps = 2
    settings = {"optimizer": optimizer, "points": FEW, "schedule": "constant"}
    settings |= {"monitor": pinntk.Monitor(every=1, budget=None, points=6)}
    found, expected = (trained(device, out=tmp_path / device, steps=steps, **settings) for device in (NAME, "cpu"))
    assert isinstance(found.monitor, pinntk.MonitorReport)
    same(numbers(found), numbers(expected), 1e-7)  # shares of errors near 0
    assert found.monitor.warned == expected.monitor.warned
    monkeypatch.setattr(monitor, "diagnose", lambda run: [])
    again = trained(NAME, out=tmp_path / NAME, resume=True, **settings, steps=steps + 1)
    assert again.history[-1]["monitor/drift"] > 0


@covers(pinntk.NonFiniteLossError, pinntk.NonFiniteError, pinntk.Interrupted)
def test_what_stops_a_training(tmp_path):
    problem = diffusion()
    network = pinntk.nn.MLP(problem, width=5, depth=1, **F64)
    with torch.no_grad():
        network.dense.weights[0].fill_(float("nan"))
    with pytest.raises(pinntk.NonFiniteLossError, match="heat") as stopped:
        trained(NAME, problem, network)
    assert isinstance(stopped.value, pinntk.NonFiniteError)
    with pytest.raises(pinntk.Interrupted, match="stopped after step 1 of 2"):
        trained(NAME, weighting=Stopping(), out=tmp_path)


class Stopping(NTK):
    def update(self, weights, traces, counts):
        signal.raise_signal(signal.SIGINT)
        return super().update(weights, traces, counts)


# Solvers, one step at a time.


@covers(pinntk.solvers.scaled_errors, pinntk.solvers.ScaledJacobian, pinntk.solvers.DampedLeastSquares)
def test_the_scaled_problem():
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
    same(B.matrix, A.matrix)
    for form in FORMS:
        solved = [pinntk.solvers.DampedLeastSquares(C, e, form) for C, e in ((B, found), (A, r))]
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
        (pinntk.solvers.GaussNewton, {"form": "parameters"}),
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


# Networks.


def _networks(problem, device):
    place = {"device": device, **F64}
    yield pinntk.nn.MLP(problem, width=5, depth=2, periodic={"x": 2}, fourier=(3, 0.5), **place)
    yield pinntk.nn.MLP(problem, width=5, depth=2, parametrization="ntk", activation="srelu", normalize=False, **place)
    yield pinntk.nn.MLP(problem, width=5, depth=1, fourier=features(), **place)
    yield pinntk.nn.MultiscaleFourier(problem, sigmas=(0.5, 2.0), features=3, width=5, **place)
    yield pinntk.nn.MscaleDNN(problem, scales=pinntk.nn.octaves(2), version=1, width=6, depth=2, **place)
    yield pinntk.nn.MscaleDNN(problem, scales=pinntk.nn.linear_scales(2), width=6, depth=2, **place)
    inner = pinntk.nn.MLP(problem, width=5, depth=1, **place)
    yield pinntk.nn.HardConstraint(problem, inner, offset=lambda t, x: torch.sin(x) + t, factor=lambda x: x * (1 - x))
    yield pinntk.nn.HardConstraint(problem, inner, offset=0.5, factor=2.0)
    yield pinntk.nn.hard_constraint(problem, inner)
    yield pinntk.nn.MLP(problem, width=5, depth=2, hard="auto", **place)


def features():
    return {"frequencies": [[0.5, 0.25], [1.0, 0.5]], "amplitudes": [1.0, 0.5]}


@covers(pinntk.nn.MLP, pinntk.nn.MultiscaleFourier, pinntk.nn.MscaleDNN, pinntk.nn.HardConstraint)
@covers(pinntk.nn.octaves, pinntk.nn.linear_scales, pinntk.nn.hard_constraint)
def test_networks_are_drawn_alike_and_built_on_the_device():
    problem = diffusion()
    x = torch.rand(5, 2, **F64)
    for found, expected in zip(_networks(problem, NAME), _networks(problem, "cpu"), strict=True):
        assert on_device(found.state_dict())
        same(found.state_dict(), expected.state_dict())
        assert on_device(found(x.to(NAME)))
        same(found(x.to(NAME)), expected(x))
        for network, rows in ((found, x.to(NAME)), (expected, x)):
            network(rows).square().sum().backward()
        same(*([p.grad for p in network.parameters()] for network in (found, expected)))


@covers(pinntk.nn.power_law)
def test_a_power_law_of_frequencies():
    problem = pinntk.load("poisson1d", k=1)
    fourier = pinntk.nn.power_law(3, 1.0)
    found, expected = (
        pinntk.nn.MLP(problem, width=5, depth=1, fourier=fourier, device=place, **F64) for place in (NAME, "cpu")
    )
    assert on_device(found.state_dict())
    same(found.state_dict(), expected.state_dict())


@covers(pinntk.nn.FNO1d, pinntk.nn.MscaleFNO)
@pytest.mark.parametrize("kind", [pinntk.nn.FNO1d, pinntk.nn.MscaleFNO])
def test_operator_networks(kind):
    settings = {"modes": 3, "width": 4, "depth": 2, "hidden": 5, **F64}
    found, expected = (kind(device=place, **settings) for place in (NAME, "cpu"))
    assert on_device(found.state_dict())
    same(found.state_dict(), expected.state_dict())
    a = torch.rand(2, 16, 1, **F64)
    outputs = [network(rows) for network, rows in ((found, a.to(NAME)), (expected, a))]
    assert on_device(outputs[0])
    same(*outputs)
    for output in outputs:
        output.square().sum().backward()
    same(*([p.grad for p in network.parameters()] for network in (found, expected)))
