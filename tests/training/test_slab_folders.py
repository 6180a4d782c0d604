"""Folders of time slabs: read back, moved, not written over, and damaged ones named."""

import json
import shutil

import pytest
import torch
from torch import nn

import pinntk
from pinntk import Run, load_slabs
from pinntk.run._folder import lock_folder
from tests.support.slabs import COUNTS, convection, decay, mlp, same, same_tensors, train


def test_folders_read_back(tmp_path):
    found = train(tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["slab_00", "slab_01", "slab_02", "slabs.json"]
    again = load_slabs(tmp_path / "out")
    assert same(found, again) and again.edges == found.edges and again.folder == tmp_path / "out"
    assert [run.history for run in again.runs] == [run.history for run in found.runs]
    assert repr(again).startswith("Slabs(convection, 3 of 3 slabs, relative error ")
    for number, run in enumerate(found.runs):
        alone = Run.load(tmp_path / "out" / f"slab_{number:02d}")
        assert same_tensors(alone.network.parameters(), run.network.parameters())
        assert alone.problem.name == f"convection slab_{number:02d}"
        error, expected = (pinntk.errors(r.network, r.problem, r.points)["start"] for r in (alone, run))
        assert torch.equal(error, expected)
    with pytest.raises(FileNotFoundError, match=r"holds time slabs, each a run: give one, such as .*slab_00, or load all"):
        Run.load(tmp_path / "out")
    with pytest.raises(FileNotFoundError, match="holds no run"):
        load_slabs(tmp_path)


def test_folders_may_be_moved_and_must_stay_together(tmp_path):
    found = train(tmp_path / "out")
    shutil.move(tmp_path / "out", tmp_path / "moved")
    assert same(load_slabs(tmp_path / "moved"), found)
    assert same_tensors(Run.load(tmp_path / "moved" / "slab_02").network.parameters(), found.runs[2].network.parameters())
    shutil.move(tmp_path / "moved" / "slab_02", tmp_path / "alone")
    with pytest.raises(FileNotFoundError, match=r"alone begins as the run in .*slab_01 ended, and that is gone; put it back"):
        Run.load(tmp_path / "alone")


def test_a_slab_whose_start_has_changed_is_refused(tmp_path):
    train(tmp_path)
    config = json.loads((tmp_path / "slab_00" / "config.json").read_text())
    more = {"resume": True, "progress": False, "steps": 10}
    with pytest.raises(
        ValueError, match=r"cannot resume .*slab_00: slab_01 begins as it ended, .*; resume .*, or a copy of slab_00"
    ):
        pinntk.train_as(config, out=tmp_path / "slab_00", **more)
    assert Run.load(tmp_path / "slab_01").step == 8
    shutil.move(tmp_path / "slab_01", tmp_path / "aside")
    pinntk.train_as(config, out=tmp_path / "slab_00", **more)
    shutil.move(tmp_path / "aside", tmp_path / "slab_01")
    with pytest.raises(ValueError, match=r"slab_01 begins as the network in .*slab_00 ended, and that one has changed since"):
        Run.load(tmp_path / "slab_01")
    with pytest.raises(ValueError, match="is of another problem: its slab began with another network than the slab before has"):
        load_slabs(tmp_path)


@pytest.mark.slow
def test_a_slab_is_resumed_and_rescued_as_any_run(tmp_path):
    found = train(tmp_path / "out", steps=5)
    last = tmp_path / "out" / "slab_02"
    config = json.loads((last / "config.json").read_text())
    problem = pinntk.training._train.problem_of(config, str(last))
    resumed = pinntk.train_as(config, problem=problem, out=last, resume=True, progress=False, steps=8)
    assert resumed.step == 8 and resumed.problem.slab["sha256"] == found.runs[2].problem.slab["sha256"]
    faster = pinntk.Prescription("faster", {"training.lr": 1e-2})
    for run in (found.runs[1], Run.load(tmp_path / "out" / "slab_01")):
        rescued = pinntk.rescue(run, prescription=faster, findings=[], progress=False, out=tmp_path / f"rescued-{id(run)}")
        assert Run.load(rescued.rounds[0].run.folder).problem.slab["number"] == 1


def test_a_slab_made_in_python_says_so(tmp_path):
    problem = convection()
    part = pinntk.slab(problem, 1, 2, mlp(problem))
    pinntk.train(part, mlp(part), steps=2, points=COUNTS, out=tmp_path, progress=False)
    with pytest.raises(ValueError, match="begins with a network that was given in Python, and no folder; load it with"):
        Run.load(tmp_path)
    assert Run.load(tmp_path, problem=part).problem is part
    with pytest.raises(ValueError, match="is of another problem"):
        Run.load(tmp_path, problem=pinntk.slab(problem, 1, 2, mlp(problem, seed=1)))


def test_own_networks_are_loaded_together(tmp_path):
    def own(part):
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(2, 5), nn.Tanh(), nn.Linear(5, 1))

    found = train(tmp_path, network=own, steps=3, dtype=torch.float64)
    assert same(load_slabs(tmp_path, own), found)
    assert same(load_slabs(tmp_path, own(None)), found)
    assert Run.load(tmp_path / "slab_00", own(None).double()).step == 3
    with pytest.raises(ValueError, match=r"Sequential, which pinntk cannot build; load all slabs with pinntk.load_slabs\("):
        Run.load(tmp_path / "slab_01", own(None).double())


def test_a_problem_built_in_python_is_given_to_load(tmp_path):
    problem = decay()
    found = train(tmp_path, problem=problem, points={"residual": 5}, steps=3)
    assert same(load_slabs(tmp_path, problem=problem), found)
    with pytest.raises(ValueError, match=r"problem 'problem' was built in Python .* give it: problem=problem"):
        load_slabs(tmp_path)


def test_a_folder_is_not_written_over(tmp_path):
    train(tmp_path / "out", steps=2)
    with pytest.raises(
        FileExistsError, match="already holds a run or a series of runs; resume them, overwrite them, or name another"
    ):
        train(tmp_path / "out", steps=2)
    (tmp_path / "out" / "slab_02" / "notes.txt").write_text("mine")
    found = train(tmp_path / "out", steps=3, slabs=2, overwrite=True)
    assert [run.step for run in found.runs] == [3, 3]
    assert [path.name for path in (tmp_path / "out" / "slab_02").iterdir()] == ["notes.txt"]
    problem = convection()
    with pytest.raises(FileExistsError, match="already holds a run"):
        pinntk.train(problem, mlp(problem), steps=2, points=COUNTS, out=tmp_path / "out", progress=False)
    pinntk.train(problem, mlp(problem), steps=2, points=COUNTS, out=tmp_path / "out", progress=False, overwrite=True)
    assert not (tmp_path / "out" / "slabs.json").exists() and not (tmp_path / "out" / "slab_00").exists()
    with pytest.raises(FileExistsError, match="already holds a run"):
        train(tmp_path / "out", steps=2)
    train(tmp_path / "out", steps=2, overwrite=True)
    assert not (tmp_path / "out" / "config.json").exists()
    foreign = tmp_path / "foreign"
    (foreign / "slab_00").mkdir(parents=True)
    (foreign / "slab_00" / "config.json").write_text("{}")
    with pytest.raises(FileExistsError, match="slab_00 is not of a run of pinntk"):
        train(foreign, steps=2, overwrite=True)


def test_two_trainings_do_not_share_a_folder(tmp_path):
    with lock_folder(tmp_path), pytest.raises(pinntk.BusyFolderError):
        train(tmp_path, steps=2)


def test_a_damaged_slabs_json_is_named(tmp_path):
    train(tmp_path, steps=1)
    path = tmp_path / "slabs.json"
    config = json.loads(path.read_text())
    path.write_text(json.dumps({**config, "slabs": {"edges": [0, 1]}}))
    with pytest.raises(ValueError, match=r"slabs.json is damaged: slabs.fresh is missing"):
        load_slabs(tmp_path)
    path.write_text("{")
    with pytest.raises(ValueError, match=r"slabs.json is damaged"):
        load_slabs(tmp_path)
    own = tmp_path / "slab_01" / "config.json"
    config = json.loads(own.read_text())
    config["problem"]["slab"].pop("edges")
    own.write_text(json.dumps(config))
    with pytest.raises(ValueError, match=r"the configuration's problem.slab is damaged"):
        Run.load(tmp_path / "slab_01")
