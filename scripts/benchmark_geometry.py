"""What a domain costs: sampling, checks and training steps of problems on boxes, and a million points of a polygon with holes.

    python scripts/benchmark_geometry.py                          three minutes
    python scripts/benchmark_geometry.py > after.json             the same as JSON, to lay beside that of another version

Medians of milliseconds of processor time on one thread, so that other work beside it matters less. Boxes should cost what
they cost without shapes; Poisson problems on a square less a disk and in the polygon (200 corners, five holes) are there to
compare.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Sequence

import numpy as np
import torch

import pinntk
from pinntk import Box, Problem, boundary, residual
from pinntk.geometry import Disk, Domain, Polygon

BOXES = ("poisson1d", "burgers", "kovasznay")
STEPS = 5


def plate() -> Problem:
    """The Poisson problem of poisson2d's kind, on a square with a round hole."""
    return poisson(Box(x=(0, 1), y=(0, 1)) - Disk(x=0.5, y=0.5, radius=0.2, name="hole"))


def poisson(domain: Domain) -> Problem:
    @residual(domain)
    def equation(lap_u):
        return lap_u + 1

    @boundary(domain.boundary())
    def walls(u):
        return u

    return Problem(domain, [equation, walls])


def polygon(corners: int = 200) -> Polygon:
    """A star of so many corners with five square holes."""
    angles = np.linspace(0, 2 * np.pi, corners + 1)[:-1]
    ring = (1 + 0.2 * np.cos(9 * angles))[:, None] * np.stack([np.cos(angles), np.sin(angles)], 1)
    square = 0.1 * np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)])
    centers = 0.5 * np.stack([np.cos(angles), np.sin(angles)], 1)[:: corners // 5][:5]
    return Polygon(ring, holes=[center + square for center in centers])


def milliseconds(task: Callable[[], object], repeats: int) -> float:
    """The median over so many calls, behind one that warms up, of processor time."""
    times = []
    for _ in range(repeats + 1):
        start = time.process_time()
        task()
        times.append(1000 * (time.process_time() - start))
    return statistics.median(times[1:])


def costs(problem: Problem, repeats: int, points: int = 1000) -> dict[str, float]:
    """Milliseconds of drawing points, of a check, and of a training's steps."""
    counts = {"residual": points, "boundary": points // 4, "initial": points // 4}
    counts = {kind: n for kind, n in counts.items() if any(problem[name].kind == kind for name in problem.names)}
    network = pinntk.nn.MLP(problem, width=20, depth=3)

    def train() -> None:
        settings = {"sampling": "uniform", "resample": 1, "snapshot_every": 0}
        pinntk.train(problem, network, steps=STEPS, points=counts, progress=False, **settings)

    return {
        "sampling": milliseconds(lambda: problem.sample(counts, method="sobol"), 5 * repeats),
        "check": milliseconds(lambda: pinntk.check(problem), repeats),
        f"{STEPS} steps": milliseconds(train, repeats),
    }


def main(argv: Sequence[str] | None = None) -> dict[str, dict[str, float]]:
    parser = argparse.ArgumentParser(description="what a domain costs, in milliseconds")
    parser.add_argument("--repeats", type=int, default=7, help="calls of which the median is taken (default: %(default)s)")
    parser.add_argument("--points", type=int, default=1_000_000, help="of the polygon with holes (default: %(default)s)")
    parser.add_argument("--quick", action="store_true", help="once, and few points")
    arguments = parser.parse_args(argv)
    if arguments.quick:
        arguments.repeats, arguments.points = 1, 1000
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        found = {name: costs(pinntk.load(name), arguments.repeats) for name in BOXES}
        found["plate with a hole"] = costs(plate(), arguments.repeats)
        found["polygon with holes"] = costs(poisson(polygon()), arguments.repeats)
        star = polygon()
        many = milliseconds(lambda: star.sample(arguments.points, "sobol", np.random.default_rng(0)), arguments.repeats)
        found["polygon with holes"][f"{arguments.points:,} points"] = many
    finally:
        torch.set_num_threads(threads)
    return found


if __name__ == "__main__":
    json.dump(main(), sys.stdout, indent=1)
