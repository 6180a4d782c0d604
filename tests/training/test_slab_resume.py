"""Trainings in time slabs that were stopped: resumed, they end as if never stopped, to the bit."""

import json

import pytest
import torch

import pinntk
from pinntk import load_slabs
from pinntk.weighting import Causal
from tests.support.slabs import COUNTS, Interrupting, convection, mlp, same, train

CAUSAL = Causal(1.0, slices=3)


@pytest.mark.parametrize(
    ("at", "settings"),
    [
        (5, {"fresh": True, "resample": 3}),
        *(
            pytest.param(at, settings, marks=pytest.mark.slow)
            for at, settings in (
                (2, {}),
                (8, {"resample": 3}),
                (5, {"fresh": True}),
                (5, {"dtype": torch.float64}),
                (8, {"causal": CAUSAL}),
            )
        ),
    ],
    ids=str,
)
def test_a_resumed_training_equals_one_never_stopped(tmp_path, at, settings):
    network = mlp(convection(), dtype=torch.float32 if "dtype" in settings else torch.float64)
    whole = train(tmp_path / "whole", network=network, **settings)
    stopped = rf"slab_0{(at - 1) // 3}: stopped after step \d of 8; continue with: pinntk train --resume .*cut, or "
    with pytest.raises(pinntk.Interrupted, match=stopped):
        train(tmp_path / "cut", network=network, **settings, weighting=Interrupting(at))
    assert len(json.loads((tmp_path / "cut" / "slabs.json").read_text())["slabs"]["stop_reasons"]) == (at - 1) // 3
    resumed = train(tmp_path / "cut", network=network, **settings, resume=True)
    assert same(resumed, whole)
    for a, b in zip(resumed.runs, whole.runs, strict=True):
        assert [row["step"] for row in a.history] == [row["step"] for row in b.history]
    assert same(train(tmp_path / "cut", network=network, **settings, resume=True), whole)  # nothing is left to do


@pytest.mark.slow
def test_a_solvers_training_resumes(tmp_path):
    settings = {"slabs": 2, "steps": 6, "optimizer": "gauss-newton", "lr": None, "points": COUNTS}
    whole = train(tmp_path / "whole", **settings)
    with pytest.raises(pinntk.Interrupted):
        train(tmp_path / "cut", **settings, weighting=Interrupting(2))
    assert same(train(tmp_path / "cut", **settings, resume=True), whole)


def test_a_resumed_training_has_its_reasons(tmp_path):
    quick = {"slabs": 2, "steps": 50, "seconds": 1e-9}
    first = train(tmp_path / "quick", **quick)
    assert [run.stop_reason for run in first.runs] == ["the time is up (0 s)"] * 2
    assert [run.stop_reason for run in load_slabs(tmp_path / "quick").runs] == ["the time is up (0 s)"] * 2
    again = train(tmp_path / "quick", **quick, resume=True)
    assert [run.step for run in again.runs] == [1, 1] and again.runs[1].stop_reason == "the time is up (0 s)"


def test_settings_that_come_too_late_are_warned_of(tmp_path):
    found = train(tmp_path, steps=2)
    described = (tmp_path / "slabs.json").read_text()
    with pytest.warns(UserWarning, match="all its slabs are done and stay as they are, so that steps=5 changes nothing"):
        again = train(tmp_path, steps=5, resume=True)
    assert same(again, found) and (tmp_path / "slabs.json").read_text() == described


def test_a_folder_from_before_a_setting_was_known_is_resumed(tmp_path):
    with pytest.raises(pinntk.Interrupted):
        train(tmp_path, weighting=Interrupting(5))
    for path in tmp_path.glob("**/*.json"):
        config = json.loads(path.read_text())
        del config["network"]["arguments"]["output_scales"]
        path.write_text(json.dumps(config))
    assert same(train(tmp_path, resume=True), train())


def test_what_is_done_can_be_loaded_before_the_rest_is(tmp_path):
    with pytest.raises(pinntk.Interrupted):
        train(tmp_path, weighting=Interrupting(5))
    with pytest.warns(UserWarning, match="the last 2 of 3 slabs are missing; resume the training"):
        found = load_slabs(tmp_path)
    assert len(found.runs) == 1 and found.relative_error is None and found.network.edges == (0.0, 1 / 3)
    assert "1 of 3 slabs" in repr(found)
    with pytest.raises(pinntk.Interrupted):
        train(tmp_path, overwrite=True, weighting=Interrupting(2))
    with pytest.raises(FileNotFoundError, match="no slab is done yet; resume the training"):
        load_slabs(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"slab_02 holds no run: that slab is not trained yet; go on with --resume "):
        pinntk.Run.load(tmp_path / "slab_02")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"slabs": 2}, r"trained with slabs=\[0.0, 0.33"),
        ({"fresh": True}, "trained with fresh=False, now True"),
        ({"lr": 1e-2}, "trained with lr=0.001, now lr=0.01"),
        ({"seed": 1}, "trained with seed=0, now seed=1"),
        ({"network": "wider"}, "trained with width=6, now width=9"),
        ({"problem": "faster"}, "its problem has parameters {'beta': 1.0}, now {'beta': 2.0}"),
    ],
)
def test_a_folder_with_other_settings_is_refused(tmp_path, change, message):
    train(tmp_path, steps=1)
    problem = convection(2.0 if "problem" in change else 1.0)
    network = mlp(problem, width=9 if "network" in change else 6)
    with pytest.raises(ValueError, match=f"cannot resume .*{message}"):
        train(tmp_path, **{"steps": 1, **change, "problem": problem, "network": network, "resume": True})


def test_more_steps_are_those_of_slabs_that_are_not_done(tmp_path):
    with pytest.raises(pinntk.Interrupted):
        train(tmp_path, steps=8, weighting=Interrupting(4))
    resumed = train(tmp_path, steps=12, resume=True)
    assert [run.step for run in resumed.runs] == [8, 12, 12]
