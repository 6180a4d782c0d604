"""The run folder of a Recorder: written, locked, gone on with."""

import gc
import json
import os
from math import isnan, nan

import pytest
import torch
from torch import nn

import pinntk
from pinntk.run._folder import lock_folder
from tests.run.loops import RATE, STEPS, Own, losses_of, own_loop, setting, small
from tests.support.examples import inverse

pytestmark = pytest.mark.filterwarnings("ignore:.*its kernel is zero")


def test_a_folder_holds_the_run(tmp_path):
    problem, network, points = setting()
    with pinntk.Recorder(problem, network, points, tmp_path / "run", optimizer="adam", snapshot_every=3) as recorder:
        own_loop(problem, network, points, recorder)
        run = recorder.run
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == [
        "checkpoint.pt",
        "config.json",
        "kernel",
        "metrics.csv",
    ]
    loaded = pinntk.Run.load(tmp_path / "run", Own())
    assert loaded.history == run.history and loaded.config == json.loads(json.dumps(run.config))
    assert (loaded.weights, loaded.step, list(loaded.snapshots)) == (run.weights, run.step, list(run.snapshots))
    assert all(torch.equal(a, b) for a, b in zip(loaded.initial, setting()[1].parameters(), strict=True))
    assert all(torch.equal(a, b) for a, b in zip(loaded.network.parameters(), network.parameters(), strict=True))
    header, *rows = (tmp_path / "run" / "metrics.csv").read_text().splitlines()
    assert header.split(",") == list(run.history[0]) and len(rows) == STEPS + 1
    with pytest.raises(ValueError, match="the recorder is closed"):
        recorder.log(99)
    for call in (recorder.close, recorder.save):
        call()


def test_a_problem_built_in_python_is_given_to_load(tmp_path):
    problem, network, points = setting(inverse(), residual=8, boundary=4, data=3)
    with pinntk.Recorder(problem, network, points, tmp_path) as recorder:
        own_loop(problem, network, points, recorder)
    twin = inverse()
    loaded = pinntk.Run.load(tmp_path, Own(len(twin.coordinates)), problem=twin)
    for name, value in problem.coefficients.items():
        assert twin.coefficients[name].item() == value.item() == loaded.history[-1][f"coefficient/{name}"]


def test_a_folder_is_locked_and_let_go_of(tmp_path):
    problem, network, points = setting()
    recorder = pinntk.Recorder(problem, network, points, tmp_path)
    recorder.log(0)
    with pytest.raises(pinntk.BusyFolderError, match="is in use"):
        pinntk.Recorder(problem, network, points, tmp_path, overwrite=True)
    recorder.log(1)
    del recorder
    gc.collect()
    with lock_folder(tmp_path):
        assert [row["step"] for row in pinntk.Run.load(tmp_path, Own()).history] == [0, 1]
    with pytest.raises(FileExistsError, match="already holds a run; give resume=True, overwrite=True"):
        pinntk.Recorder(problem, network, points, tmp_path)
    with pinntk.Recorder(problem, network, points, tmp_path, overwrite=True) as again:
        again.log(0)
    assert len(pinntk.Run.load(tmp_path, Own()).history) == 1
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "config.json").write_text("{}")
    with pytest.raises(FileExistsError, match="not of a run of pinntk"):
        pinntk.Recorder(problem, network, points, tmp_path / "other")


def test_recording_goes_on_in_its_folder(tmp_path):
    problem, network, points = setting()
    with pinntk.Recorder(problem, network, points, tmp_path, snapshot_every=2) as recorder:
        own_loop(problem, network, points, recorder, steps=4)
    begun, later = recorder.run.initial, losses_of(problem, network, points)
    with pinntk.Recorder(problem, network, points, tmp_path, snapshot_every=2, resume=True) as again:
        again.log(3, later)  # the training was restored from before the last row
        again.log(5, later)
    run = pinntk.Run.load(tmp_path, Own())
    assert [row["step"] for row in run.history] == [0, 1, 2, 3, 5]
    assert run.history[:3] == recorder.run.history[:3] and run.history[3]["drift"] > run.history[2]["drift"] > 0
    assert run.history[3]["seconds"] >= run.history[2]["seconds"]
    assert all(torch.equal(a, b) for a, b in zip(run.initial, begun, strict=True))
    assert list(run.snapshots) == [0, 2, 5] and run.config["training"]["lr"] == RATE
    with pytest.raises(ValueError, match="of another network"):
        pinntk.Recorder(problem, Own(between=(nn.Linear(6, 6, dtype=torch.float64),)), points, tmp_path, resume=True)
    with pytest.raises(ValueError, match=r"pinntk\.Recorder wrote it"):
        pinntk.train(problem, network, points=points, out=tmp_path, resume=True, progress=False)
    pinntk.train(problem, network, steps=1, points=points, out=tmp_path / "trained", progress=False)
    with pytest.raises(ValueError, match=r"trained by pinntk\.train and not recorded"):
        pinntk.Recorder(problem, network, points, tmp_path / "trained", resume=True)


def test_what_came_after_the_step_at_which_it_goes_on_is_forgotten(tmp_path):
    settings = {"optimizer": "adam", "snapshot_every": 10}
    problem, network, points = setting()
    losses = losses_of(problem, network, points)
    with pinntk.Recorder(problem, network, points, tmp_path, **settings) as recorder:
        for step in range(31):
            recorder.log(step, losses, weights={"ends": 1.0 + step})
    assert list(recorder.run.snapshots) == [0, 10, 20, 30]
    with pinntk.Recorder(problem, network, points, tmp_path, resume=True, **settings) as again:
        for step in range(15, 28):
            again.log(step, losses)
    run = pinntk.Run.load(tmp_path, Own())
    assert sorted(again.run.snapshots) == sorted(run.snapshots) == [0, 10, 20]
    assert sorted(path.name for path in (tmp_path / "kernel").iterdir()) == ["00000000.npz", "00000010.npz", "00000020.npz"]
    assert run.column("weight/ends")[1].tolist() == [*range(1, 16), *[15.0] * 13]  # those of step 14 stay


def test_weights_go_on_where_recording_does(tmp_path):
    problem, network, points = setting()
    losses = {"poisson": 2.0, "ends": 3.0}

    def recorded(steps, weights=None, **settings):
        with pinntk.Recorder(problem, network, points, tmp_path, weights=weights, **settings) as recorder:
            for step, given in steps.items():
                recorder.log(step, losses, weights=given)
        return recorder.run

    ends = lambda run: run.column("weight/ends")[1].tolist()  # noqa: E731
    assert recorded({2: None, 3: None}, {"ends": 2.0}).config["weighting"] == {"name": "fixed", "poisson": 1.0, "ends": 2.0}
    run = recorded({4: None}, resume=True)
    assert ends(run) == [2, 2, 2] and run.config["weighting"]["name"] == "fixed" and run.history[-1]["loss"] == 2 + 2 * 3
    run = recorded({5: {"ends": 5.0}}, resume=True)
    assert ends(run) == [2, 2, 2, 5] and run.config["weighting"] == {"name": "adaptive"}
    run = recorded({6: None}, {"ends": 5.0}, resume=True)
    assert ends(run) == [2, 2, 2, 5, 5] and run.config["weighting"] == {"name": "adaptive"}
    run = recorded({7: None}, {"poisson": 4.0}, resume=True)
    assert ends(run)[-1] == 5 and run.column("weight/poisson")[1].tolist() == [1] * 5 + [4]
    run = recorded({3: None}, resume=True)  # before they changed
    assert ends(run) == [2, 2] and run.weights == {"poisson": 1.0, "ends": 2.0}
    assert run.config["weighting"] == pinntk.Run.load(tmp_path, Own()).config["weighting"]
    assert run.config["weighting"] == {"name": "fixed", "poisson": 1.0, "ends": 2.0}


def test_the_last_good_checkpoint_stays(tmp_path):
    problem, network, points = setting()
    with pinntk.Recorder(problem, network, points, tmp_path) as recorder:
        recorder.log(0)
        with torch.no_grad():
            next(network.parameters()).fill_(nan)
        with pytest.warns(UserWarning, match="is not finite"):
            recorder.log(1)
    loaded = pinntk.Run.load(tmp_path, Own())
    assert loaded.step == 0 and not any(map(isnan, loaded.history[-1].values()))
    assert "nan" in (tmp_path / "metrics.csv").read_text().splitlines()[-1]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_process_leaves_the_folder_alone(tmp_path):
    recorder, losses = small(folder=tmp_path)
    recorder.log(0, losses)
    before = (tmp_path / "checkpoint.pt").stat().st_mtime_ns
    if (child := os.fork()) == 0:
        recorder.close()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert (tmp_path / "checkpoint.pt").stat().st_mtime_ns == before
    with pytest.raises(pinntk.BusyFolderError):
        small(folder=tmp_path, overwrite=True)
    recorder.close()
