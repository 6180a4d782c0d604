"""A grid of trainings: each cell is the training that `train` does, and is done once, whatever happens in between."""

import json
import os
import signal
import subprocess
import sys
import warnings
from itertools import count
from math import cos, inf, pi
from time import sleep

import pytest
import torch

import pinntk
from pinntk.comparison import Cell, Combination, Grid, Row, Summary, _workers, run_grid, write_array_job
from pinntk.comparison._workers import work
from pinntk.reporting._summary import remarks
from pinntk.run._folder import BusyFolderError, lock_folder
from pinntk.training import _compiled

POINTS = {"residual": 6, "boundary": 2}


def cell(seed=0, weighting="fixed", timed=False, problem="poisson1d", **settings):
    loaded = pinntk.load(problem)
    network = pinntk.nn.MLP(loaded, width=5, depth=1, seed=seed)
    config = pinntk.TrainConfig(**{"steps": 12, "points": POINTS, "weighting": weighting, "seed": seed, **settings})
    return Cell.of({"problem": problem, "weighting": weighting}, loaded, network, config, timed=timed)


def names(grid):
    return [one.name for one in grid.cells]


def test_a_cell_is_the_training_that_train_does(tmp_path):
    problem = pinntk.load("poisson1d")
    network = pinntk.nn.MLP(problem, width=5, depth=1, seed=3)
    run = pinntk.train(problem, network, steps=12, points=POINTS, weighting="ntk", seed=3, progress=False)
    row = Cell.from_json(json.loads(json.dumps(cell(3, "ntk").as_json()))).run(tmp_path)
    assert (row.error, row.steps, row.failed) == (run.relative_error, 12, "")
    last = run.history[-1]
    assert row.loss == sum(last[f"loss/{name}"] for name in problem.names)
    assert row.curve[-1][1] == row.error


def test_a_training_that_fails_is_a_row_that_says_why(tmp_path):
    row = cell(lr=1e30, optimizer="sgd").run(tmp_path)
    assert "is not finite" in row.failed
    assert row.score == inf
    assert "NonFiniteLossError" in (tmp_path / "error.txt").read_text()


def test_at_equal_time_the_schedule_ends_with_the_time(tmp_path):
    row = cell(timed=True, steps=777_777, seconds=0.3).run(tmp_path)
    assert 0 < row.steps < 777_777
    assert row.seconds >= 0.3
    logged = [(one["seconds"], one["learning_rate"]) for one in pinntk.Run.load(tmp_path / "run").history]
    due = [1e-3 * (1 + cos(pi * min(seconds / 0.3, 1))) / 2 for seconds, _ in logged]
    for (_, rate), after, before in zip(logged[2:], due[2:], due, strict=False):  # a rate is of the time before its step
        assert after - 1e-5 <= rate <= before + 1e-5
    assert row.stopped == ""


def test_the_first_step_alone_may_take_longer_than_there_is_time(tmp_path):
    row = cell(timed=True, seconds=1e-6).run(tmp_path)
    assert (row.failed, row.steps) == ("", 1)


def test_where_measuring_takes_long_it_is_done_rarely(tmp_path, monkeypatch):
    def slow(self, network):
        sleep(0.05)
        return 1.0

    monkeypatch.setattr(pinntk.Problem, "relative_error", slow)
    row = cell(timed=True, seconds=0.5).run(tmp_path)
    assert 2 <= len(row.curve) <= 3  # 20 would fill the time twice over


def test_a_cell_that_was_interrupted_goes_on_where_it_was(tmp_path):
    whole = cell(steps=40).run(tmp_path / "whole")

    def stop(run):
        if run.step > 20:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cell(steps=40).run(tmp_path / "parts", on_log=stop)
    first = (tmp_path / "parts" / "run" / "checkpoint.pt").stat().st_mtime_ns
    again = cell(steps=40).run(tmp_path / "parts")
    assert (again.error, again.loss, again.steps) == (whole.error, whole.loss, 40)
    assert (tmp_path / "parts" / "run" / "checkpoint.pt").stat().st_mtime_ns > first


def test_at_equal_time_an_interruption_is_no_extra_time(tmp_path, monkeypatch):
    """By a clock of its own, which goes on by 0.01 at each look."""
    looks = count()
    monkeypatch.setattr("pinntk.training._loop.own_stopwatch", lambda: lambda: 0.01 * next(looks))

    def stop(run):
        if len((tmp_path / "run" / "metrics.csv").read_text().splitlines()) > 1:  # a checkpoint was written
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cell(timed=True, seconds=1.5).run(tmp_path, on_log=stop)
    begun = pinntk.Run.load(tmp_path / "run").history
    row = cell(timed=True, seconds=1.5).run(tmp_path)
    history = pinntk.Run.load(tmp_path / "run").history
    assert begun
    assert history[: len(begun)] == begun
    assert row.steps > begun[-1]["step"]
    assert 1.5 <= row.seconds < 1.6
    assert max(one["seconds"] for one in history if one["step"] < row.steps - 1) < 1.5  # both parts together
    assert history[-1]["learning_rate"] < 1e-5


def test_processes_of_their_own_share_the_cells(tmp_path):
    grid, found = Grid.create(tmp_path, [cell(k) for k in range(3)], "three"), []
    run_grid(grid, jobs=2, on_row=found.append)
    assert sorted(row.seed for row in found) == [0, 1, 2]
    assert grid.missing() == []
    here = cell(2).run(tmp_path / "here")
    assert next(row.error for row in found if row.seed == 2) == here.error


def test_what_has_ended_is_not_run_again_and_what_another_runs_is_left_to_it(tmp_path, monkeypatch):
    grid, ran = Grid.create(tmp_path, [cell(0), cell(1), cell(2)], "three"), []
    real = Cell.run
    monkeypatch.setattr(Cell, "run", lambda self, *args, **options: ran.append(self.seed) or real(self, *args, **options))
    with grid.claim(grid.cells[1]) as own:
        assert own
        work(grid, names(grid), "cpu", False)
    assert ran == [0, 2]
    (grid.folder_of(grid.cells[2]) / "row.json").write_text('{"labels"')  # cut off, as no process of pinntk leaves it
    work(grid, names(grid), "cpu", False)
    assert ran == [0, 2, 1, 2]
    assert grid.missing() == []
    work(Grid.load(tmp_path), names(grid), "cpu", False)
    assert ran == [0, 2, 1, 2]


def test_nothing_is_removed_under_a_training(tmp_path):
    grid = Grid.create(tmp_path, [cell(0)], "one")
    with grid.claim(grid.cells[0]), pytest.raises(BusyFolderError, match="another process trains in it"):
        Grid.remove(tmp_path)
    assert Grid.load(tmp_path).missing()
    Grid.remove(tmp_path)
    assert [*tmp_path.iterdir()] == []


def test_a_training_in_the_folder_of_a_cell_is_named(tmp_path):
    """What was begun by hand in a cell's run folder: the claim of the cell is not what is busy."""
    grid = Grid.create(tmp_path, [cell(0)], "one")
    with lock_folder(grid.folder_of(grid.cells[0]) / "run"), pytest.raises(BusyFolderError, match="run is in use"):
        work(grid, names(grid), "cpu", False)


def test_a_grid_may_grow_but_not_change(tmp_path):
    grid = Grid.create(tmp_path, [cell(0)], "one")
    grid.finish(grid.cells[0], cell(0).run(grid.folder_of(grid.cells[0])))
    grown = Grid.create(tmp_path, [cell(0), cell(1)], "two")
    assert [one.seed for one in grown.missing()] == [1]
    with pytest.raises(ValueError, match="holds another comparison, with poisson1d-fixed-seed1"):
        Grid.create(tmp_path, [cell(0)], "one")
    Grid.create(tmp_path, [cell(0), cell(1)], "two")
    with pytest.raises(ValueError, match="holds poisson1d-fixed-seed0 with other settings"):
        Grid.create(tmp_path, [cell(0, lr=1e-4), cell(1)], "other")
    with pytest.raises(ValueError, match="two cells are named 'poisson1d-fixed-seed0'"):
        Grid.create(tmp_path / "twice", [cell(0), cell(0, lr=1e-4)], "same")
    (tmp_path / "grid.json").write_text("{")
    with pytest.raises(ValueError, match=r"grid\.json cannot be read"):
        Grid.load(tmp_path)
    with pytest.raises(FileNotFoundError, match="holds no comparison"):
        Grid.load(tmp_path / "nowhere")


def test_what_another_process_could_not_make_is_refused():
    problem = pinntk.load("poisson1d")
    network = pinntk.nn.MLP(problem, width=4, depth=1)
    points = problem.sample(residual=4, boundary=2)
    with pytest.raises(ValueError, match="points are counts"):
        Cell.of({"problem": "poisson1d"}, problem, network, pinntk.TrainConfig(points=points), timed=False)
    own = pinntk.nn.HardConstraint(problem, network, offset=lambda x: 0 * x, factor=lambda x: x)
    with pytest.raises(ValueError, match="network of a cell is one of pinntk's"):
        Cell.of({"problem": "poisson1d"}, problem, own, pinntk.TrainConfig(), timed=False)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"weighting": "remaining-time"}, "remaining-time weights need a coordinate 't'"),
        ({"weighting": ["ntk", "remaining-time"]}, "remaining-time weights need a coordinate 't'"),
        ({"causal": 1.0}, "causal weights need a coordinate 't'"),
        ({"weighting": pinntk.weighting.Fixed(start=2.0)}, "start"),
        ({"points": {"start": 3}}, "start"),
        ({"optimizer": "adam:1, gauss-newton:1", "points": {"start": 3}}, "start"),
    ],
)
def test_what_the_problem_cannot_have_is_no_cell(settings, said):
    """It would fail in every training."""
    problem = pinntk.load("poisson1d")
    network = pinntk.nn.MLP(problem, width=4, depth=1)
    with pytest.raises(ValueError, match=said):
        Cell.of({"problem": "poisson1d"}, problem, network, pinntk.TrainConfig(**settings), timed=False)


def rows(weighting, scores, problem="p"):
    labels = {"problem": problem, "weighting": weighting, "network": "mlp"}
    return tuple(
        Row(labels, seed, failed="lost") if score is None else Row(labels, seed, score, 1.0, 10 * seed, 2.0)
        for seed, score in enumerate(scores)
    )


def test_medians_count_what_failed_as_infinite():
    def one(*scores):
        return Combination({}, rows("a", scores))

    assert (one(3.0, 1.0, 2.0).median, one(3.0, 1.0, 2.0).best, one(3.0, 1.0, 2.0).worst) == (2.0, 1.0, 3.0)
    assert one(1e-4, 1e-2).median == pytest.approx(1e-3)  # the geometric mean of the two in the middle
    assert one(1.0, None, 2.0).median == 2.0
    assert (one(1.0, None, None).median, one(1.0, None, None).best, one(1.0, None, None).failed) == (inf, 1.0, 2)
    assert one(1.0, None).median == inf
    assert (one(1.0, None, 2.0).steps, one(None).steps, one(None).seconds) == (10, None, None)


def test_a_summary_orders_combinations_and_says_what_differs():
    found = (*rows("a", [3.0, 4.0]), *rows("b", [1.0, 2.0]), *rows("b", [None, None], "q"))
    summary = Summary("title", found, tuple(row.labels for row in found))
    assert summary.problems == ["p", "q"]
    assert (summary.axes, summary.constant) == (["weighting"], {"network": "mlp"})
    assert [one.labels["weighting"] for one in summary.combinations("p")] == ["b", "a"]
    told = json.loads(json.dumps(summary.as_json(), allow_nan=False))
    assert told["problems"]["p"][0]["scores"] == [1.0, 2.0]
    assert told["problems"]["q"][0]["median"] is None
    assert told["problems"]["q"][0]["failed"] == {"0": "lost", "1": "lost"}


def test_reasons_are_said_once_and_warnings_whatever_their_numbers():
    found = [
        Row({"problem": "p1"}, 0, failed="lost at step 3"),
        Row({"problem": "p1"}, 1, failed="lost at step 3", warnings=["wall-1: 3e-5 off", "wall-2: 3e-5 off"]),
        Row({"problem": "p2"}, 0, failed="lost at step 4", warnings=["-1,234.5e-3 off", "7 off", "on"]),
        Row({"problem": "p2"}, 1, 1.0, warnings=["8 off"]),
    ]
    assert remarks(Summary("title", tuple(found), tuple(row.labels for row in found))) == [
        "failed: p1 seed 0 and 1 more: lost at step 3",
        "failed: p2 seed 0: lost at step 4",
        "warning: p1 seed 1: wall-1: 3e-5 off",
        "warning: p1 seed 1: wall-2: 3e-5 off",
        "warning: p2 seed 0 and 1 more: -1,234.5e-3 off",
        "warning: p2 seed 0: on",
    ]


def test_warnings_outlive_an_interruption(tmp_path):

    def stop(run):
        warnings.warn(f"seen at step {run.step}", stacklevel=1)
        if run.step > 20:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cell(steps=40).run(tmp_path, on_log=stop)
    found = cell(steps=40).run(tmp_path, on_log=lambda run: warnings.warn("again", stacklevel=1)).warnings
    assert "seen at step 21" in found
    assert found.count("again") == 1
    assert cell(steps=40).run(tmp_path / "other").warnings == []


def test_at_equal_time_a_cell_is_traced_once(interpreted, tmp_path, monkeypatch):
    traced, trace = [], _compiled._trace
    monkeypatch.setattr(_compiled, "_trace", lambda *given: traced.append(1) or trace(*given))
    row = cell(timed=True, seconds=0.2, compile=True, eval_every=0).run(tmp_path)
    assert (row.failed, row.warnings, len(traced)) == ("", [], 1)


def test_new_cells_of_a_grid_come_last(tmp_path):
    Grid.create(tmp_path, [cell(0), cell(2)], "two")
    assert names(Grid.create(tmp_path, [cell(k) for k in range(3)], "three")) == names(Grid.load(tmp_path))
    assert [one.seed for one in Grid.load(tmp_path).cells] == [0, 2, 1]


def test_an_array_job_has_a_task_for_every_cell(tmp_path):
    grid = Grid.create(tmp_path / "grid of three", [cell(k, seconds=600.0) for k in range(3)], "three")
    path = write_array_job(grid, tmp_path / "job.sh", cores=2)
    text = path.read_text()
    assert "--device cpu --share" in text
    assert subprocess.run(["bash", "-n", path], check=False).returncode == 0
    assert "--array=0-2\n" in text
    assert "--cpus-per-task=2\n" in text
    assert "--time=25\n" in text  # 1.5 times ten minutes, and ten to start
    assert '--share "$SLURM_ARRAY_TASK_ID/3"' in text
    grid.cells = [grid.cells[0]] * 2500  # more than an array may have
    assert "--array=0-999\n" in write_array_job(grid, tmp_path / "job.sh").read_text()
    assert "--time=55\n" in path.read_text()  # three cells in a task


def test_a_process_compiles_with_its_own_threads_only(tmp_path, monkeypatch):
    Grid.create(tmp_path, [cell(0)], "one")
    found = []
    monkeypatch.setattr(_workers, "work", lambda *_: found.append((os.environ[_workers._COMPILING], torch.get_num_threads())))
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    monkeypatch.setattr(os, "environ", {})
    before = torch.get_num_threads()
    try:
        _workers._in_process(tmp_path, [], 3, "cpu", False)
        os.environ[_workers._COMPILING] = "7"  # of the user
        _workers._in_process(tmp_path, [], 3, "cpu", False)
    finally:
        torch.set_num_threads(before)
    assert found == [("3", 3), ("7", 3)]


def test_no_job_is_refused(tmp_path):
    grid = Grid.create(tmp_path, [cell(0)], "one")
    with pytest.raises(ValueError, match="jobs=0: at least 1"):
        run_grid(grid, jobs=0)


GRID = ["poisson1d", "--weighting", "fixed,ntk", "--seeds", "2", "--width", "8", "--depth", "1", "--jobs", "2"]


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["cells/*", "cells/*/run/config.json", "cells/*/run/checkpoint.pt", "cells/*/row.json"])
def test_a_killed_comparison_goes_on_without_running_again_what_had_ended(tmp_path, moment):
    command = [sys.executable, "-m", "pinntk", "compare", *GRID, "--steps", "800", "-o", str(tmp_path)]
    begun = subprocess.Popen(command, start_new_session=True)
    while not [*tmp_path.glob(moment)]:
        sleep(0.02)
        assert begun.poll() is None
    os.killpg(begun.pid, signal.SIGKILL)
    begun.wait()
    ended = {path: path.stat().st_mtime_ns for path in tmp_path.glob("cells/*/row.json")}
    subprocess.run(command, check=True)
    assert {path: path.stat().st_mtime_ns for path in ended} == ended
    assert len([*tmp_path.glob("cells/*/row.json")]) == 4
    found = json.loads((tmp_path / "comparison.json").read_text())
    assert found["missing"] == 0
    subprocess.run([*command[:-1], str(tmp_path / "once")], check=True)
    once = json.loads((tmp_path / "once" / "comparison.json").read_text())
    assert scores(once) == scores(found)


def scores(told):
    return {tuple(one["labels"].items()): one["scores"] for one in told["problems"]["poisson1d"]}


@pytest.mark.slow
def test_processes_of_torchrun_share_the_cells(tmp_path):
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--standalone", "-m", "pinntk", "compare"]
    told = subprocess.run([*torchrun, *GRID, "--steps", "30", "-o", str(tmp_path)], check=True, capture_output=True, text=True)
    assert told.stdout.count("numbers in") == 1  # the first process alone writes
    found = json.loads((tmp_path / "comparison.json").read_text())
    assert found["missing"] == 0
    subprocess.run(
        [sys.executable, "-m", "pinntk", "compare", *GRID, "--steps", "30", "-o", str(tmp_path / "alone")], check=True
    )
    assert scores(json.loads((tmp_path / "alone" / "comparison.json").read_text())) == scores(found)
