"""Scripts run, small."""

import json
import sys

import _rivals as rivals
import benchmark_graph
import benchmark_kernel
import benchmark_scaling
import benchmark_solvers
import benchmark_step
import benchmark_threads
import poisson_weights
import pytest
import torch

import pinntk


@pytest.mark.slow
def test_poisson_weights_reproduces_the_figure(tmp_path):
    result = poisson_weights.main(["-o", str(tmp_path)])
    assert result["ratio_of_medians"] >= 20
    assert all(60 <= ratio <= 215 for ratio in result["trace_ratio"])


@pytest.fixture
def tiny(monkeypatch):
    monkeypatch.setitem(benchmark_kernel.CASES, "tiny", ([1, 8, 8, 1], False, 5))
    monkeypatch.setattr(benchmark_kernel, "METHODS", {k: v for k, v in benchmark_kernel.METHODS.items() if k != "curvlinops"})


def test_benchmark_compares_equal_kernels(tiny):
    result = benchmark_kernel.compare("tiny", repeats=1, memory=False)
    assert set(result["difference"]) == set(result["seconds"]) == {"pinntk", "by layer", *rivals.FORMS}
    assert max(result["difference"].values()) < 1e-12
    assert len(result["scaled"]) == len(rivals.FORMS) - 2
    assert result["strongest"] in rivals.FORMS
    fastest = min(result["ratio"][form] for form in rivals.FORMS)
    assert result["ratio"][result["strongest"]] == fastest > 0
    assert set(result["chunk"].values()) == {5}
    assert f"strongest of torch.func, {result['strongest']}: {fastest:.1f}" in benchmark_kernel.table(result)


@pytest.mark.slow
def test_memory_is_that_of_the_method():
    """Of all points at once: J of 100 x 1,501 float64 numbers alone takes 1.1 MiB."""
    assert 1 < benchmark_kernel.peak_memory("paper", "fwd over rev") < 500


@pytest.mark.parametrize("form", rivals.FORMS)
@pytest.mark.parametrize("laplacian", [True, False])
def test_every_rival_has_the_rows_of_j(form, laplacian):
    network, problem, points = benchmark_kernel.set_up([3, 6, 5, 1], laplacian, 7)
    (found,) = pinntk.factors(network, problem, points).values()
    task = rivals.Task.of(network, next(iter(points.values())), laplacian)
    for chunk in (2, None):
        J = torch.cat(task.rows(form, task.points, chunk), 1)
        torch.testing.assert_close(J, found.matrix(), rtol=0, atol=1e-13)


def test_a_rival_takes_the_chunk_that_was_fastest(monkeypatch):
    """Seconds a point fall up to chunks of 64 and rise after that: those of 256 are not tried any more."""
    network, _, points = benchmark_kernel.set_up([1, 2, 1], False, 300)
    task = rivals.Task.of(network, next(iter(points.values())), False)
    price, clock, sizes = {32: 2.0, 64: 1.0, 128: 1.5}, [0.0], []

    def rows(self, form, points, chunk):
        sizes.append(len(points))
        clock[0] += price.get(len(points), 0.0) * len(points)
        return [torch.zeros(len(points), 1)]

    monkeypatch.setattr(rivals.Task, "rows", rows)
    monkeypatch.setattr(rivals, "clock", lambda: clock[0])
    found = task.tuned("nested jvp")
    assert (found.chunk, found.seconds) == (64, 300.0)
    assert sizes == [32, 32, 64, 128]


def test_benchmark_refuses_to_time_different_kernels(tiny, monkeypatch):
    right = benchmark_kernel.by_factors
    monkeypatch.setitem(benchmark_kernel.METHODS, "pinntk", lambda *arguments: right(*arguments) * (1 + 1e-9))
    with pytest.raises(ArithmeticError, match="no time is worth printing"):
        benchmark_kernel.compare("tiny", repeats=1, memory=False)


def test_operations_are_counted_on_the_chosen_form():
    (found,) = pinntk.factors(*benchmark_kernel.set_up([1, 500, 1], False, 10)).values()
    explicit = 500 + 500 + 500 + 1  # all of [1, 500, 1] is narrow
    assert benchmark_kernel.operations(found) == 10**2 * explicit
    (found,) = pinntk.factors(*benchmark_kernel.set_up([1, 512, 512, 1], False, 10)).values()
    explicit = 512 + 512 + 512 + 512 + 1
    assert benchmark_kernel.operations(found) == 10**2 * (explicit + 3**2 * 1024)


def test_a_whole_kernel_is_timed_on_a_device():
    found = benchmark_kernel.whole_kernel("cpu", [2, 8, 8, 1], 20, 1)
    assert found["seconds"] > 0
    assert found["share"] > 0


def test_step_benchmark_compares_equal_gradients():
    result = benchmark_step.compare(20, repeats=1, compiled=False)
    assert {"eager", "nested"} <= set(result["difference"])
    assert max(result["difference"].values()) < 1e-5
    price = benchmark_step.price_of_weights("poisson1d", 5, 1, 1, residual=4, boundary=3)
    assert price["points"] == {"poisson": 4, "ends": 3}
    assert price["traces_in_steps"] > 0
    assert benchmark_step.training_with_weights("poisson1d", 5, 1, 2, 1, residual=4) > 0


def test_graph_benchmark_compares_equal_kernels(capsys):
    found = benchmark_graph.main(["--points", "20", "--width", "5", "--depth", "1", "--dtype", "float64", "--repeats", "1"])
    assert all(seconds > 0 for seconds in found.values())
    assert float(capsys.readouterr().out.split("differ by ")[1].split(";")[0]) < 1e-12


@pytest.mark.slow
def test_thread_benchmark_runs_every_task_in_both_states(tmp_path, capsys, monkeypatch):
    for name, task in {
        "train [2, 128 x 4, 1], n = 1,000": lambda: benchmark_threads.training(10, 4),
        "kernel [2, 256 x 4, 1], n = 500": lambda: benchmark_threads.kernel(10, 4),
    }.items():
        monkeypatch.setitem(benchmark_threads.TASKS, name, task)
    monkeypatch.setattr(benchmark_threads, "measured", lambda task, ruled, seconds: benchmark_threads.speed(task, seconds))
    neighbors = []

    class Neighbor(benchmark_threads.subprocess.Popen):
        def __init__(self, command):
            super().__init__([sys.executable, "-c", "import time; time.sleep(60)"])
            neighbors.append(self)

    monkeypatch.setattr(benchmark_threads.subprocess, "Popen", Neighbor)
    rows = benchmark_threads.main(["--seconds", "0.001", "-o", str(tmp_path / "found.json")])
    assert json.loads((tmp_path / "found.json").read_text()) == rows
    assert [row["task"] for row in rows] == list(benchmark_threads.TASKS)
    assert all(row[f"{state}, {kind}"] > 0 for row in rows for state in ("idle", "busy") for kind in ("default", "rule"))
    assert len(neighbors) == 2 * len(rows) and all(process.poll() is not None for process in neighbors)
    assert "busy, default" in capsys.readouterr().out
    work, ratio = benchmark_threads.gain(10, 4, 1)
    assert work == 10 * 5 * 16 and ratio > 0


@pytest.mark.pixels
@pytest.mark.slow
def test_solver_benchmark_runs_every_method(tmp_path, capsys):
    found = benchmark_solvers.main(["--problems", "poisson1d", "--seconds", "0.1", "--seeds", "1", "-o", str(tmp_path)])
    assert set(found["poisson1d"]) == set(benchmark_solvers.METHODS)
    for curves in found["poisson1d"].values():
        times = [seconds for seconds, _ in curves[0]]
        assert times == sorted(times)
    assert (tmp_path / "benchmark_solvers.png").read_bytes().startswith(b"\x89PNG")
    assert "gauss-newton" in capsys.readouterr().out


def test_what_the_peers_print_is_parsed():
    row = {"problem": "poisson2d", "solver": "randngd", "seed": 1, "versions": {}, "steps": 9, "compile": 2.5}
    lines = [json.dumps(row | {"curve": [[0.1, 1.0], [3.0, 1e-5], [4.0, 1e-3], [5.0, 1e-6]]}), "a warning of XLA", ""]
    found = benchmark_solvers.parse_peers("\n".join(reversed(lines)), "poisson2d", 1)
    assert found["randngd"]["compile"] == 2.5
    curve = found["randngd"]["curve"]
    assert [benchmark_solvers.seconds_to(curve, error) for error in (2.0, 1e-2, 1e-4, 1e-6)] == [0.1, 3.0, 5.0, float("inf")]
    with pytest.raises(ValueError, match="asked for were poisson2d and 0"):
        benchmark_solvers.parse_peers(lines[0], "poisson2d", 0)


def test_peers_start_from_the_same_weights_and_points(tmp_path):
    """A Python that only says what it was given."""
    python = tmp_path / "python"
    python.write_text(
        f"""#!{sys.executable}
import json, sys
import numpy as np
given = np.load(sys.argv[2])
shapes = {{key: list(given[key].shape) for key in given.files}}
row = {{"problem": str(given["problem"]), "seed": int(given["seed"]), "shapes": shapes, "curve": []}}
for solver in sys.argv[4:]:
    print(json.dumps(row | {{"solver": solver, "first": float(given["p0"][0, 0])}}))
"""
    )
    python.chmod(0o755)
    found = benchmark_solvers.by_jax(str(python), "poisson2d", 1.0, 3, ["randngd"])["randngd"]
    _, network = benchmark_solvers.set_up("poisson2d", 3)
    assert found["first"] == network.dense.weights[0][0, 0].item()
    assert found["shapes"]["p0"] == [32, 2]
    assert found["shapes"]["p3"] == [1]
    assert found["shapes"]["points poisson"] == [600, 2]
    assert found["shapes"]["points walls"] == [60, 2]


@pytest.mark.slow
def test_scaling_measures_a_pair_in_a_process_of_its_own():
    row = benchmark_scaling.in_a_process(4, 20, "4GiB")
    assert (row["p"], row["n"]) == (77, 23)
    assert row["explore"] > 0 and row["converge"] > 0 and row["GiB"] > 0
    assert benchmark_scaling.text(row).startswith("| 77 | 23 |")


def test_scaling_says_what_was_refused(monkeypatch):
    monkeypatch.setattr(benchmark_scaling.torch, "set_num_threads", lambda n: None)
    row = benchmark_scaling.measure(4, 20, "1kB")
    assert "max_memory='1kB'" in row["refused"]
    assert row["refused"] in benchmark_scaling.text(row)
