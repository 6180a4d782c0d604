"""The rule for torch's thread count with and without it, on an idle machine and beside a busy process.

    python scripts/benchmark_threads.py            (4 minutes)
    python scripts/benchmark_threads.py --bound    (2 minutes)

Calls a second of a solver's step, of an Adam step and of a kernel, each for some seconds in a process of its own, with the rule
and with torch's default count. The neighbor is one process that multiplies matrices on one thread; it ends with this
script, or by itself when its time is over.

--bound measures where a second thread begins to gain: training steps of growing size on one thread and on all, in turns.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from time import perf_counter

import torch
from benchmark_step import set_up

import pinntk
from pinntk._util import threads
from pinntk._util.files import replacing
from pinntk.training import Batch, Step
from pinntk.training._counts import solver_counts

NEIGHBOR = """
import sys, time, torch
torch.set_num_threads(1)
a, end = torch.randn(256, 256), time.monotonic() + float(sys.argv[1])
while time.monotonic() < end:
    a @ a
"""
STATES = ("idle", "busy")


def solver() -> Callable[[], object]:
    """A step of `pinntk solve poisson1d` on its first points."""
    problem = pinntk.load("poisson1d")
    network = pinntk.nn.MLP(problem, dtype=torch.float64)
    steps = pinntk.solvers.GaussNewton(network, problem)
    points = problem.sample(dtype=torch.float64, **solver_counts(problem, {}))
    return lambda: steps.step(points)


def training(n: int, width: int) -> Callable[[], object]:
    """A step of Adam, as `pinntk.train` takes it."""
    network, problem, points = set_up(n, width)
    gradient, optimizer = Step(network, problem), torch.optim.Adam(network.parameters())

    def step() -> None:
        with threads.threads_for(threads.of_step(network, problem, points)):
            gradient(Batch(points, {"equation": n}, {"equation": 1.0}))
            optimizer.step()

    return step


def kernel(n: int, width: int) -> Callable[[], object]:
    network, problem, points = set_up(n, width)
    network.double()
    points = {name: rows.double() for name, rows in points.items()}
    return lambda: pinntk.kernel(network, problem, points)


TASKS = {
    "solve poisson1d": solver,
    "train [2, 64 x 4, 1], n = 100": lambda: training(100, 64),
    "train [2, 128 x 4, 1], n = 1,000": lambda: training(1000, 128),
    "kernel [2, 64 x 4, 1], n = 50": lambda: kernel(50, 64),
    "kernel [2, 256 x 4, 1], n = 500": lambda: kernel(500, 256),
}


def speed(task: str, seconds: float) -> float:
    """Calls a second."""
    call = TASKS[task]()
    call()
    calls, start = 0, perf_counter()
    while (passed := perf_counter() - start) < seconds:
        call()
        calls += 1
    return calls / passed


@contextmanager
def busy(seconds: float) -> Iterator[None]:
    neighbor = subprocess.Popen([sys.executable, "-c", NEIGHBOR, str(seconds)])
    try:
        yield
    finally:
        neighbor.kill()
        neighbor.wait()


def measured(task: str, ruled: bool, seconds: float) -> float:
    """`speed` in a fresh process."""
    environment = {name: value for name, value in os.environ.items() if name not in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}
    command = [sys.executable, __file__, "--task", task, "--seconds", str(seconds), *(() if ruled else ("--without",))]
    # A task that its neighbor slows a hundredfold still ends.
    found = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=300 + 20 * seconds)
    return float(found.stdout)


def gain(n: int, width: int, repeats: int) -> tuple[float, float]:
    """Work of a step, and its time on one thread over that on all."""
    network, problem, points = set_up(n, width)
    gradient, every = Step(network, problem), torch.get_num_threads()
    times: dict[int, list[float]] = {1: [], every: []}
    try:
        for _ in range(repeats):
            for count in times:
                torch.set_num_threads(count)
                gradient(Batch(points, {"equation": n}, {"equation": 1.0}))
                start = perf_counter()
                for _ in range(5):
                    gradient(Batch(points, {"equation": n}, {"equation": 1.0}))
                times[count].append(perf_counter() - start)
    finally:
        torch.set_num_threads(every)
    return threads.of_step(network, problem, points), statistics.median(times[1]) / statistics.median(times[every])


def bound(repeats: int) -> list[dict]:
    print(f"{'width':>6} {'points':>7} {'work / bound':>13} {'one thread / all':>17}")
    rows = []
    for width in (32, 64, 128, 256):
        for n in (50, 100, 200, 500, 1000):
            work, ratio = gain(n, width, repeats)
            rows.append({"width": width, "n": n, "work": work, "ratio": ratio})
            print(f"{width:>6} {n:>7} {work / threads.ENOUGH:>13.2f} {ratio:>17.2f}", flush=True)
    return rows


def compare(seconds: float) -> list[dict]:
    print(f"{'':<34} {'idle, default':>14} {'with the rule':>14} {'busy, default':>14} {'with the rule':>14}   calls a second")
    rows = []
    for task in TASKS:
        row: dict = {"task": task}
        for state in STATES:
            for ruled in (False, True):
                with busy(600 + 40 * seconds) if state == "busy" else nullcontext():
                    row[f"{state}, {'rule' if ruled else 'default'}"] = measured(task, ruled, seconds)
        rows.append(row)
        print(f"{task:<34} " + " ".join(f"{row[key]:>14.2f}" for key in row if key != "task"), flush=True)
    return rows


def main(argv: list[str] | None = None) -> list[dict]:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=10.0, help="for each task, state and rule")
    parser.add_argument("--bound", action="store_true", help="measure where a second thread begins to gain")
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--task", choices=TASKS, help=argparse.SUPPRESS)
    parser.add_argument("--without", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("-o", "--out", type=Path, default=Path("runs/benchmark_threads.json"))
    arguments = parser.parse_args(argv)
    if arguments.task:
        if arguments.without:
            threads.ENOUGH = 0
        print(speed(arguments.task, arguments.seconds))
        return []
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, {os.cpu_count()} cores")
    rows = bound(arguments.repeats) if arguments.bound else compare(arguments.seconds)
    with replacing(arguments.out) as temporary:
        temporary.write_text(json.dumps(rows, indent=2))
    return rows


if __name__ == "__main__":
    main()
