"""A Gauss-Newton step against the numbers of errors and parameters: seconds, memory, form, least damping.

    python scripts/benchmark_scaling.py                                  (an hour on one thread)
    python scripts/benchmark_scaling.py --units 20 40 --points 1000 10000

burgers, four layers of tanh units, float64, one thread. Each pair runs in a process of its own: two steps that explore, of
which the second counts, and two that converge, by QR factorizations, of which the second counts, too: the first looks long for
its damping. Seconds are CPU seconds; memory is the most that the process held.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
from pathlib import Path
from time import process_time
from typing import Any

import torch

import pinntk
from pinntk._util.files import replacing

UNITS = (20, 40, 81, 181)  # 1,341, 5,081, 20,332 and 99,732 parameters
POINTS = (1_000, 3_000, 10_000, 30_000, 100_000)


def measure(units: int, points: int, max_memory: str) -> dict[str, Any]:
    torch.set_num_threads(1)
    problem = pinntk.load("burgers")
    network = pinntk.nn.MLP(problem, width=units, depth=4, dtype=torch.float64)
    solver = pinntk.solvers.GaussNewton(network, problem, max_memory=max_memory)
    drawn = problem.sample(residual=points, boundary=points // 20, initial=points // 10, method="sobol", dtype=torch.float64)
    row: dict[str, Any] = {"units": units, "p": solver.size, "n": sum(len(rows) for rows in drawn.values())}
    try:
        solver.step(drawn)
        row["explore"] = timed(solver, drawn)
        print(json.dumps(row | memory()), flush=True)
        solver.converge()
        solver.step(drawn)
        row["converge"] = timed(solver, drawn)
    except MemoryError as error:
        row["refused"] = str(error)
    return row | memory()


def timed(solver: pinntk.solvers.GaussNewton, points: dict[str, torch.Tensor]) -> float:
    start = process_time()
    solver.step(points)
    return process_time() - start


def memory() -> dict[str, float]:
    return {"GiB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20}


def in_a_process(units: int, points: int, max_memory: str, seconds: float = 600) -> dict[str, Any]:
    command = [sys.executable, __file__, "--pair", str(units), str(points), "--max-memory", max_memory]
    try:
        out, ended = subprocess.run(command, capture_output=True, text=True, timeout=seconds, check=True).stdout, ""
    except subprocess.TimeoutExpired as expired:
        out, ended = (expired.stdout or b"").decode(), f"more than {seconds:g} s"
    except subprocess.CalledProcessError as failed:
        out, ended = failed.stdout, failed.stderr.strip().splitlines()[-1] if failed.stderr.strip() else "killed"
    lines = out.strip().splitlines()
    row = json.loads(lines[-1]) if lines else {"units": units, "n": points}
    return row | ({"ended": ended} if ended else {})


def text(row: dict[str, Any]) -> str:
    seconds = [f"{row[name]:.3g}" if name in row else "-" for name in ("explore", "converge")]
    memory = f"{row['GiB']:.2f}" if "GiB" in row else "-"
    said = row.get("refused") or row.get("ended") or ""
    return f"| {row.get('p', row['units'])} | {row['n']} | {seconds[0]} | {seconds[1]} | {memory} | {said} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--units", type=int, nargs="+", default=UNITS)
    parser.add_argument("--points", type=int, nargs="+", default=POINTS)
    parser.add_argument("--max-memory", default="4GiB")
    parser.add_argument("--seconds", type=float, default=600, help="of the clock, a pair's, at most")
    parser.add_argument("--pair", type=int, nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("-o", "--output", type=Path, help="rows as JSON")
    options = parser.parse_args()
    if options.pair:
        print(json.dumps(measure(*options.pair, options.max_memory)))
        return
    rows = []
    print("| parameters | errors | s a step, exploring | converging | GiB | |\n|---|---|---|---|---|---|")
    for units in options.units:
        for points in options.points:
            rows.append(in_a_process(units, points, options.max_memory, options.seconds))
            print(text(rows[-1]), flush=True)
    if options.output:
        with replacing(options.output) as path:
            path.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
