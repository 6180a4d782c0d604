"""Trainings and their run folders on a device: the same numbers as on the CPU.

Run by tests/test_pretend_device.py; see tests/on_device.py.
"""

from __future__ import annotations

import shutil
import signal

import pytest
import torch
from torch import nn

import pinntk
from pinntk.comparison import Cell, Summary
from pinntk.reporting import plot
from pinntk.residuals import _checks as checks
from pinntk.run._checkpoint import write_checkpoint
from pinntk.training import _checkpoint as checkpoint
from pinntk.training import _monitor as monitor
from pinntk.training._optimizers import SCHEDULES, optimizers
from pinntk.weighting import (
    NTK,
    RBA,
    VRBA,
    Causal,
    Composite,
    ConFIG,
    Fixed,
    GradientNorm,
    PCGrad,
    ReLoBRaLo,
    RemainingTime,
    SelfAdaptive,
    SoftAdapt,
    UPGrad,
    compare,
)
from tests.device.on_device import F64, NAME, PRETEND, TOLERANCE, covers, on_device, same, there
from tests.device.trainings import COUNTS, FEW, diffusion, numbers, trained
from tests.support.sweeps import sweep

FAST = ("adam", "lbfgs", "ssbroyden", "soap", "gauss-newton")  # of the optimizers, one of each kind
LBFGS = {"optimizer": "lbfgs", "optimizer_options": {"max_iter": 3}}


def both(tolerance: float = TOLERANCE, **settings) -> pinntk.Run:
    """The same training on the device and on the CPU."""
    found, expected = (trained(device, **settings) for device in (NAME, "cpu"))
    assert on_device([list(found.network.parameters()), dict(found.points), next(iter(found.snapshots.values())).values])
    same(numbers(found), numbers(expected), tolerance)
    return found


@covers(pinntk.train, pinntk.solvers.Muon)
@pytest.mark.parametrize(
    "optimizer", sweep(["soap", *sorted({*optimizers()} - {"sparseadam"}), *pinntk.solvers.SOLVERS], *FAST)
)
def test_every_optimizer(optimizer):
    if optimizer == "muon" and not hasattr(torch.optim, "Muon"):
        pytest.skip("torch is older than its Muon")
    rough = {"muon": 1e-2, **dict.fromkeys(pinntk.solvers.SOLVERS, 1e-6)}  # bfloat16; singular values that are rounding
    settings = LBFGS if optimizer == "lbfgs" else {"optimizer": optimizer}
    both(1e-9 if PRETEND else rough.get(optimizer, 1e-9), **settings)


@covers(plot.summary, plot.summary_panels)
def test_a_comparison(tmp_path):
    problem = pinntk.load("poisson1d", k=1)
    config = pinntk.TrainConfig(steps=3, points=FEW)
    network = pinntk.nn.MLP(problem, width=4, depth=1, **F64)
    cell = Cell.of({"problem": "poisson1d"}, problem, network, config, timed=False)
    found, expected = (cell.run(tmp_path / device, device=device) for device in (NAME, "cpu"))
    same([found.error, found.loss], [expected.error, expected.loss], TOLERANCE)
    summary = Summary("both", (found, expected), (found.labels, expected.labels))
    assert len(plot.summary_panels(summary, "poisson1d")) == len(plot.summary(summary).axes) == 2


@covers(NTK, GradientNorm, Fixed, Causal, SelfAdaptive, RBA, VRBA, Composite, RemainingTime)
@covers(ReLoBRaLo, SoftAdapt, ConFIG, PCGrad, UPGrad)
@pytest.mark.parametrize(
    "settings",
    [
        {"weighting": NTK(every=2, points={"residual": 5})},
        pytest.param({"weighting": GradientNorm(every=2)}, marks=pytest.mark.slow),
        pytest.param({"weighting": Fixed(walls=10.0)}, marks=pytest.mark.slow),
        {"weighting": SelfAdaptive()},
        pytest.param({"weighting": "self-adaptive", **LBFGS}, marks=pytest.mark.slow),
        pytest.param({"weighting": RBA(eta=0.5, gamma=0.5, conditions=("residual", "start"))}, marks=pytest.mark.slow),
        {"weighting": Composite(NTK(every=1), VRBA(eta=0.5, gamma=0.5))},
        {"weighting": [ReLoBRaLo(alpha=0.5), ConFIG()], "steps": 3},
        pytest.param({"weighting": [SoftAdapt(), PCGrad()], "steps": 3}, marks=pytest.mark.slow),
        pytest.param({"weighting": UPGrad()}, marks=pytest.mark.slow),
        {"causal": Causal(slices=3), "weighting": NTK(every=1)},
        {"weighting": [NTK(every=1), RemainingTime()], "resample": 1},
        pytest.param({"weighting": RemainingTime(), "optimizer": "gauss-newton"}, marks=pytest.mark.slow),
        pytest.param({"causal": 1.0, "points": COUNTS | {"residual": 40}, "optimizer": "ssbroyden"}, marks=pytest.mark.slow),
    ],
    ids=str,
)
def test_every_weighting(settings):
    both(1e-10, **settings)


@covers(compare)
def test_what_rules_would_give():
    problem = diffusion()
    points = problem.sample(**FEW, **F64)
    network = pinntk.nn.MLP(problem, width=5, depth=1, **F64)
    expected = compare(network, problem, points).as_dict()
    problem.coefficients.to(NAME)
    same(compare(network.to(NAME), problem, there(points)).as_dict()["weights"], expected["weights"], 1e-8)


@covers(pinntk.RAD, pinntk.R3)
@pytest.mark.parametrize(
    "settings",
    [
        {"adaptive": pinntk.RAD(candidates=3), "resample": 1},
        pytest.param({"adaptive": True, "optimizer": "gauss-newton", "resample": 1}, marks=pytest.mark.slow),
        {"adaptive": pinntk.R3(), "resample": 1},
        pytest.param({"resample": 2, "sampling": "uniform"}, marks=pytest.mark.slow),
        {"optimizer": "adam:2, lbfgs:1:max_iter=3, gauss-newton:1", "steps": None},
        {"clip": 1e-2, "average": 0.5, "early_stopping": True},
        *(pytest.param({"schedule": schedule}, marks=pytest.mark.slow) for schedule in SCHEDULES),
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
@pytest.mark.parametrize(
    "settings",
    [
        {},
        *(
            pytest.param(one, marks=pytest.mark.slow)
            for one in (LBFGS, {"optimizer": "gauss-newton"}, {"weighting": SelfAdaptive()})
        ),
    ],
)
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


@covers(pinntk.grow_network)
def test_a_run_goes_on_with_a_wider_network(tmp_path):
    def go(device):
        settings = {"optimizer": "gauss-newton", "steps": 3, "snapshot_every": 0, "out": tmp_path / device}
        grown = pinntk.grow_network(trained(device, pinntk.load("poisson1d", k=1), **settings), 7)
        return pinntk.train_as(grown.config, out=grown.folder, resume=True, steps=5, device=device, progress=False)

    found, expected = go(NAME), go("cpu")
    assert found.step == 5
    assert on_device(found.network.state_dict())
    same(numbers(found), numbers(expected), 1e-6 if PRETEND else 1e-4)


@covers(pinntk.TrainConfig)
def test_training_as_a_configuration_says():
    run = trained("cpu", pinntk.load("poisson1d", k=1))
    again = pinntk.train_as(run.config, device=NAME, progress=False)
    assert on_device(again.network.state_dict())
    same(numbers(again), numbers(run))
    settings = [pinntk.TrainConfig.from_json(found.config) for found in (again, run)]
    assert settings[0].points == settings[1].points


@covers(pinntk.Monitor, pinntk.MonitorReport)
@pytest.mark.parametrize("optimizer", sweep(("adam", "gradient-descent"), "gradient-descent"))
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
