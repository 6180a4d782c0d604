"""A solver's training resumed in every phase is the one that was never stopped, to the last bit."""

import math
import shutil

import pytest
import torch

import pinntk
from pinntk.run._checkpoint import read_checkpoint
from pinntk.training._checkpoint import Checkpoint
from tests.support.sweeps import sweep

PHASES = {  # by the states of the points' rule and of the solver
    "exploring": lambda own, solver: own["_steps"] == 7 and not own["adapting"] and not own["hold"],
    "points proved too few": lambda own, solver: own["adapting"] and not own["hold"],
    "held": lambda own, solver: own["hold"],
    "more are held": lambda own, solver: own["hold"] and own["_unseen"] is not None and own["_unseen"] > 3,
    "steps may raise the loss": lambda own, solver: solver["phase"]["stalled"],
    "away from the best": lambda own, solver: solver["natural"]["iterate"] is not None,
}
FURTHER = 6  # steps


def trained(out, steps, **settings):
    problem = pinntk.load("poisson1d", k=1)
    network = pinntk.nn.MLP(problem, width=5, depth=1, dtype=torch.float64)
    quick = {"radii": 3, "corrections": 1}
    settings = {"points": {"residual": 5}, "optimizer_options": quick, "progress": False, **settings}
    intervals = {"log_every": 1, "eval_every": 0, "snapshot_every": 0, "checkpoint_every": 1}
    return pinntk.train(problem, network, optimizer="gauss-newton", steps=steps, out=out, **intervals, **settings)


def trained_step_by_step(base, steps, **settings):
    """Folders of a training as they were after each step, {step: folder}."""
    folders, save = {}, Checkpoint.save

    def save_and_keep(self):
        save(self)
        folders[self.run.step] = base / str(self.run.step)
        shutil.copytree(self.run.folder, folders[self.run.step], dirs_exist_ok=True)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Checkpoint, "save", save_and_keep)
        trained(base / "run", steps, **settings)
    return folders


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return trained_step_by_step(tmp_path_factory.mktemp("whole"), 61)


def same(a, b):
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(same(p, q) for p, q in zip(a, b, strict=True))
    return a == b or (isinstance(a, float) and math.isnan(a) and math.isnan(b))


def rows(state, steps):
    """Of the history, without what depends on the clock."""
    return [{key: value for key, value in row.items() if key != "seconds"} for row in state["history"][:steps]]


def assert_same(found, expected, step):
    for part in ("network", "parts", "points", "point_weights", "weights", "rng"):
        assert same(found[part], expected[part]), part
    assert same(rows(found, step), rows(expected, step))


@pytest.mark.parametrize("phase", sweep(PHASES, "points proved too few", "more are held", "away from the best"))
def test_training_resumes_in_every_phase(phase, whole, tmp_path):
    states = {step: read_checkpoint(folder) for step, folder in whole.items()}
    step = min(step for step, state in states.items() if PHASES[phase](*map(state["parts"]["update"].get, ("own", "solver"))))
    shutil.copytree(whole[step], tmp_path / "run")
    trained(tmp_path / "run", step + FURTHER, resume=True)
    assert_same(read_checkpoint(tmp_path / "run"), states[step + FURTHER], step + FURTHER)


def test_training_resumes_between_steps_that_are_refused(tmp_path):
    points = pinntk.load("poisson1d", k=1).sample(residual=3, boundary=2, dtype=torch.float64)
    whole = trained_step_by_step(tmp_path, 200, points=points)
    states = {step: read_checkpoint(folder) for step, folder in whole.items()}
    step = max(step for step, state in states.items() if state["parts"]["update"]["own"]["_refused"] == 3)
    end = max(states)
    run = trained(whole[step], 200, points=points, resume=True)
    assert run.step == end < 200
    assert run.stop_reason == states[end]["stop_reason"]
    assert_same(read_checkpoint(whole[step]), states[end], end)


@pytest.mark.parametrize("ended", ["by itself", "by time"])
def test_a_training_that_has_ended_is_as_it_was(ended, tmp_path):
    points = pinntk.load("poisson1d", k=1).sample(residual=3, boundary=2, dtype=torch.float64)
    settings = {"points": points, "seconds": None if ended == "by itself" else 1e-9}
    run = trained(tmp_path, 200, **settings)
    before = read_checkpoint(tmp_path)
    assert 0 < run.step < 200
    again = trained(tmp_path, 300, resume=True, **settings)
    after = read_checkpoint(tmp_path)
    assert again.step == run.step
    assert again.stop_reason == run.stop_reason == pinntk.Run.load(tmp_path, problem=again.problem).stop_reason
    assert ("is rounding" if ended == "by itself" else "time is up") in run.stop_reason
    assert same(before, after)
    assert all(torch.equal(p, q) for p, q in zip(run.network.parameters(), again.network.parameters(), strict=True))
    if ended == "by time":
        assert trained(tmp_path, 3, resume=True, points=points).step == 3
