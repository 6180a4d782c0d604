"""The same training from several seeds: each member a training of its own, their mean and spread."""

import json
import signal

import numpy as np
import pytest
import torch

import pinntk
from pinntk.cli import main
from pinntk.training._loop import Training
from pinntk.training._together import Together

F64 = {"dtype": torch.float64}
FEW = {"steps": 3, "points": {"residual": 9}, "progress": False, "snapshot_every": 0, "schedule": "constant", "lr": 0.01}


def mlp(problem, seed=0):
    return pinntk.nn.MLP(problem, width=5, depth=1, seed=seed, **F64)


def vector(run):
    return torch.cat([p.detach().flatten() for p in run.network.parameters()])


def test_a_member_is_the_training_with_its_seed():
    problem = pinntk.load("poisson1d", k=1)
    found = pinntk.train_ensemble(problem, mlp(problem), seeds=[4, 7], **FEW)
    alone = [pinntk.train(problem, mlp(problem, seed), seed=seed, **FEW) for seed in (4, 7)]
    assert all(torch.allclose(vector(a), vector(b), rtol=1e-9) for a, b in zip(found.runs, alone, strict=True))
    assert not torch.equal(vector(alone[0]), vector(alone[1]))
    assert found.relative_errors == pytest.approx([run.relative_error for run in alone])
    points = np.linspace(0, 1, 5)[:, None]
    fields = np.stack([problem.predict(run.network, points) for run in alone])
    mean, spread = found.predict(points)
    assert mean == pytest.approx(fields.mean(0)) and spread == pytest.approx(np.abs(fields[0] - fields[1]) / 2**0.5)
    assert problem.predict(found.network, points) == pytest.approx(mean, abs=1e-12)
    assert found.relative_error == problem.relative_error(found.network)
    assert found.relative_error <= max(found.relative_errors)  # a norm of a mean


def test_members_fit_coefficients_of_their_own():
    problem = pinntk.load("heat_inverse")
    before = problem.coefficients["kappa"].item()
    found = pinntk.train_ensemble(problem, mlp(problem), seeds=2, **FEW)
    values = [run.problem.coefficients["kappa"].item() for run in found.runs]
    assert problem.coefficients["kappa"].item() == before and len({before, *values}) == 3
    assert found.coefficients()["kappa"] == pytest.approx((np.mean(values), np.std(values, ddof=1)))
    alone = pinntk.load("heat_inverse")
    run = pinntk.train(alone, mlp(alone, 1), seed=1, **FEW)
    assert alone.coefficients["kappa"].item() == pytest.approx(values[1], rel=1e-9)
    assert torch.allclose(vector(run), vector(found.runs[1]), rtol=1e-9)


SCHEMES = [
    {"weighting": "ntk", "resample": 2, "adaptive": "r3", "clip": 0.1, "average": 0.9},
    {"weighting": "self-adaptive", "optimizer": "adam:2, adamw:2", "steps": None, "lr": None, "schedule": None},
    {"causal": pinntk.weighting.Causal(slices=3)},
]


@pytest.mark.parametrize(
    "settings",
    [SCHEMES[0], *(pytest.param(one, marks=pytest.mark.slow) for one in SCHEMES[1:])],
    ids=["points", "chain", "causal"],
)
def test_members_side_by_side_are_those_one_after_the_other(settings, monkeypatch):
    """With whatever each step has of its own; in float64, to rounding."""
    problem = pinntk.load("convection", beta=1.0)
    settings = {**FEW, "points": {"residual": 12}, **settings}
    calls = []
    compute = Together._compute
    monkeypatch.setattr(Together, "_compute", lambda *given: calls.append(1) or compute(*given))
    beside = pinntk.train_ensemble(problem, mlp(problem), seeds=3, **settings)
    assert len(calls) == 1 + beside.runs[0].step  # once to compare, then once a step for all
    monkeypatch.setattr("pinntk.training._ensemble.may_go_together", lambda config: False)
    after = pinntk.train_ensemble(problem, mlp(problem), seeds=3, **settings)
    for one, other in zip(beside.runs, after.runs, strict=True):
        assert torch.allclose(vector(one), vector(other), rtol=1e-9)
        assert one.history[-1]["loss"] == pytest.approx(other.history[-1]["loss"], rel=1e-9)
        assert one.config == other.config and one.step == other.step


def test_what_cannot_be_vectorized_goes_one_after_the_other():
    class Branching(torch.nn.Module):
        def __init__(self, seed):
            super().__init__()
            self.inner = pinntk.nn.MLP(inputs=1, outputs=1, width=4, depth=1, normalize=False, seed=seed, **F64)

        def forward(self, x):
            return self.inner(x) if self.inner.dense.weights[0].sum().item() > -1e9 else x

    problem = pinntk.load("poisson1d", k=1)
    with pytest.warns(UserWarning, match="the members are trained one after the other: "):
        found = pinntk.train_ensemble(problem, Branching, seeds=2, **FEW)
    assert torch.equal(vector(found.runs[1]), vector(pinntk.train(problem, Branching(1), seed=1, **FEW)))


def test_an_optimizer_of_a_factory_that_looks_along_its_steps_is_each_members_own():
    problem = pinntk.load("poisson1d", k=1)
    few = {**FEW, "steps": 1, "lr": None, "schedule": None, "optimizer": lambda p: torch.optim.LBFGS(p, max_iter=3)}
    found = pinntk.train_ensemble(problem, mlp(problem), seeds=2, **few)
    assert torch.equal(vector(found.runs[1]), vector(pinntk.train(problem, mlp(problem, 1), seed=1, **few)))


@pytest.mark.parametrize(
    ("optimizer", "cut"), [("adam", 3), *(pytest.param(name, 8, marks=pytest.mark.slow) for name in ("adam", "lbfgs"))]
)
def test_it_goes_on_where_it_was_cut(tmp_path, optimizer, cut):
    """By a kill between two members' checkpoints, to the last bit: side by side, and one after the other."""
    problem = pinntk.load("poisson1d", k=1)
    settings = {**FEW, "optimizer": optimizer, "checkpoint_every": 1, "steps": 4}
    whole = pinntk.train_ensemble(problem, mlp(problem), seeds=3, weighting=pinntk.weighting.NTK(every=1), **settings)
    calls = []

    class Stopping(pinntk.weighting.NTK):
        def update(self, weights, measured, counts):
            calls.append(1)
            if len(calls) == cut:
                raise KeyboardInterrupt
            return super().update(weights, measured, counts)

    with pytest.raises(KeyboardInterrupt):
        pinntk.train_ensemble(problem, mlp(problem), seeds=3, weighting=Stopping(every=1), out=tmp_path, **settings)
    settings["weighting"] = pinntk.weighting.NTK(every=1)
    found = pinntk.train_ensemble(problem, mlp(problem), seeds=3, out=tmp_path, resume=True, **settings)
    assert all(torch.equal(vector(a), vector(b)) for a, b in zip(found.runs, whole.runs, strict=True))
    assert json.loads((tmp_path / "ensemble.json").read_text())["ensemble"] == {"seeds": [0, 1, 2], "stop_reasons": [""] * 3}
    with pytest.raises(ValueError, match=r"trained with seeds=\[0, 1, 2\], now \[0, 1\]"):
        pinntk.train_ensemble(problem, mlp(problem), seeds=2, out=tmp_path, resume=True, **settings)


def kill_at(monkeypatch, save):
    """As if the process were killed before that checkpoint, of all the members' together."""
    saves, own = [], Training.save_when_due

    def save_or_die(training):
        saves.append(1)
        if len(saves) == save:
            raise KeyboardInterrupt
        own(training)

    monkeypatch.setattr(Training, "save_when_due", save_or_die)


def test_those_behind_catch_up_by_point_weights_of_their_own(tmp_path, monkeypatch):
    problem = pinntk.load("poisson1d", k=1)
    settings = {**FEW, "weighting": ["ntk", "rba"], "checkpoint_every": 1, "steps": 4, "seeds": 3}
    whole = pinntk.train_ensemble(problem, mlp(problem), **settings)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        kill_at(patch, 5)
        pinntk.train_ensemble(problem, mlp(problem), out=tmp_path, **settings)
    assert [pinntk.Run.load(tmp_path / f"member_0{number}").step for number in range(3)] == [2, 1, 1]
    found = pinntk.train_ensemble(problem, mlp(problem), out=tmp_path, resume=True, **settings)
    assert all(torch.equal(vector(a), vector(b)) for a, b in zip(found.runs, whole.runs, strict=True))


class Shifted(torch.nn.Module):
    """u = N(x + s) with a buffer s that no seed draws."""

    shift = 0.0

    def __init__(self, seed):
        super().__init__()
        self.inner = pinntk.nn.MLP(inputs=1, outputs=1, width=4, depth=1, normalize=False, seed=seed, **F64)
        self.register_buffer("s", torch.tensor(Shifted.shift + 0.1 * seed, **F64))

    def forward(self, x):
        return self.inner(x + self.s)


def test_buffers_are_those_of_the_checkpoints(tmp_path, monkeypatch):
    problem = pinntk.load("poisson1d", k=1)
    settings = {**FEW, "checkpoint_every": 1, "steps": 3, "seeds": 2}
    whole = pinntk.train_ensemble(problem, Shifted, **settings)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        kill_at(patch, 4)
        pinntk.train_ensemble(problem, Shifted, out=tmp_path, **settings)
    monkeypatch.setattr(Shifted, "shift", 0.7)
    found = pinntk.train_ensemble(problem, Shifted, out=tmp_path, resume=True, **settings)
    assert all(torch.equal(vector(a), vector(b)) for a, b in zip(found.runs, whole.runs, strict=True))


def test_a_number_that_stops_being_finite_is_said_as_of_a_training_alone(tmp_path):
    """Of a kernel measured before the step, by which the checkpoint is marked."""
    problem = pinntk.load("poisson1d", k=1)
    settings = {**FEW, "optimizer": "gradient-descent", "lr": 1e200, "weighting": pinntk.weighting.NTK(every=1)}
    messages = {}
    for name, train in (("alone", pinntk.train), ("member_00", pinntk.train_ensemble)):
        with pytest.raises(pinntk.NonFiniteLossError) as caught:
            train(problem, mlp(problem), out=tmp_path / name, checkpoint_every=1, **settings)
        messages[name] = str(caught.value)
    own = tmp_path / "member_00" / "member_00"
    assert messages["alone"].startswith("step 1: ") and "the last good checkpoint is" in messages["alone"]
    assert messages["member_00"] == "member_00: " + messages["alone"].replace(str(tmp_path / "alone"), str(own))
    run, alone = pinntk.Run.load(own), pinntk.Run.load(tmp_path / "alone")
    assert run.diverged and (run.step, run.stop_reason) == (alone.step, alone.stop_reason)


def test_ctrl_c_finishes_the_step_of_all(tmp_path):
    problem = pinntk.load("poisson1d", k=1)
    calls = []

    class Interrupting(pinntk.weighting.NTK):
        def update(self, weights, measured, counts):
            calls.append(1)
            if len(calls) == 3:
                signal.raise_signal(signal.SIGINT)
            return super().update(weights, measured, counts)

    settings = {**FEW, "weighting": Interrupting(every=1)}
    with pytest.raises(pinntk.Interrupted, match=r"stopped after step 2 of 3; continue with: pinntk train --resume"):
        pinntk.train_ensemble(problem, mlp(problem), seeds=2, out=tmp_path, **settings)
    assert [pinntk.Run.load(tmp_path / name).step for name in ("member_00", "member_01")] == [2, 2]


def exchanged():
    network = mlp(pinntk.load("poisson1d"))
    network.dense.weights.append(torch.nn.Parameter(torch.zeros(1, 1, **F64)))
    return network


@pytest.mark.parametrize(
    ("network", "seeds", "error", "message"),
    [
        (None, 1, ValueError, "seeds=1: at least two"),
        (None, [3, 3], ValueError, "at least two, all different"),
        (None, "ab", TypeError, "how many, or which"),
        (torch.nn.Linear(1, 1), 2, ValueError, "give a function from a seed to a network"),
        (lambda seed: seed, 2, TypeError, "returned int"),
        (exchanged(), 2, ValueError, "its parameters are not those that it was built with"),
    ],
)
def test_what_cannot_be(network, seeds, error, message):
    problem = pinntk.load("poisson1d")
    with pytest.raises(error, match=message):
        pinntk.train_ensemble(problem, network or mlp(problem), seeds=seeds, **FEW)


def test_several_processes_are_refused(monkeypatch):
    monkeypatch.setattr("pinntk._util.distributed.world", lambda: 2)
    problem = pinntk.load("poisson1d", k=1)
    with pytest.raises(ValueError, match="an ensemble is trained in one process, as members, not points"):
        pinntk.train_ensemble(problem, mlp(problem), seeds=2, **FEW)


def test_the_command_line_trains_and_resumes_it(tmp_path, capsys):
    out = tmp_path / "run"
    options = ["--width", "4", "--depth", "1", "--steps", "2", "--seed", "3", "-o", str(out)]
    assert main(["train", "poisson1d", "--ensemble", "2", *options]) == 0
    text = capsys.readouterr().out
    assert [line.split()[:2] for line in text.splitlines()[1:3]] == [["member_00", "3"], ["member_01", "4"]]
    assert "of the mean of the fields" in text
    assert pinntk.Run.load(out / "member_01").network.config["seed"] == 4
    assert main(["train", "--resume", str(out), "--quiet"]) == 0
    with pytest.raises(ValueError, match=r"is one of several seeds; use train_ensemble\(.*, seeds=config\['ensemble'\]"):
        pinntk.train_as(json.loads((out / "ensemble.json").read_text()))
    assert main(["diagnose", str(out)]) == 2
    assert "holds the members of an ensemble, each a run" in capsys.readouterr().err
