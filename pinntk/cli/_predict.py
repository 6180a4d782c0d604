"""`pinntk predict`: the fields of a trained network at points, into a file."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from torch import nn

from pinntk._util.likeness import did_you_mean
from pinntk._util.memory import require
from pinntk._util.progress import say
from pinntk.cli._meaning import pairs, usable_device
from pinntk.cli._parser import whole_number
from pinntk.cli._trainings import announce, load_run
from pinntk.cli._values import Values, check_suffix, read_points, write_values
from pinntk.problem import Problem
from pinntk.run._slabs import holds_series, read_slabs, section_of
from pinntk.training import load_slabs

_LINE, _AXIS, _ALL = 1001, 201, 1_000_000  # points of a grid by default: on a line, along an axis, in all at most
_BYTES = 400  # of a point's values and text in a file


def predict(arguments: argparse.Namespace) -> int:
    problem, network = _trained(arguments)
    out = Path(arguments.run) / "predicted.csv" if arguments.out is None else Path(arguments.out)
    check_suffix(out, len(problem.coordinates))
    if arguments.points_file is None:
        axes = grid_axes(problem, arguments.grid or "")
        points = np.stack(np.meshgrid(*axes.values(), indexing="ij"), -1).reshape(-1, len(axes))
        inside = problem.domain.contains(points) if not problem.domain.is_box else np.ones(len(points), bool)
    else:
        axes, points = {}, read_points(Path(arguments.points_file), problem.coordinates)
        inside = np.ones(len(points), bool)
        _warn_of_points_outside(problem, points)
    values = np.full((len(points), len(problem.fields)), np.nan)
    values[inside] = problem.at_home(points[inside], problem.predict(network, points[inside]))
    columns = dict(zip(problem.coordinates, points.T, strict=True))
    write_values(out, Values(columns, dict(zip(problem.fields, values.T, strict=True)), axes))
    fields = ", ".join(problem.fields)
    print(f"{fields} at {int(inside.sum()):,} points, over {', '.join(problem.coordinates)}, in {out}")
    return 0


def _trained(arguments: argparse.Namespace) -> tuple[Problem, nn.Module]:
    """Of a run, or of all time slabs of a folder."""
    folder = Path(arguments.run)
    if holds_series(folder) and section_of(folder) in ("", "slabs"):
        announce(read_slabs(folder))
        found = load_slabs(folder, trust=arguments.trust)
        if arguments.averaged:
            raise ValueError(f"--averaged: {folder} holds time slabs; give one of them, such as {folder / 'slab_00'}")
        if len(found.runs) < len(found.edges) - 1:
            raise ValueError(f"{folder}: {len(found.runs)} of {len(found.edges) - 1} time slabs are trained; resume it first")
        return found.problem, found.network.to(usable_device(arguments.device))
    run = load_run(folder, arguments)
    if arguments.averaged and run.averaged is None:
        raise ValueError(f"--averaged: {folder} has no averages; train with --average DECAY, as in --average 0.999")
    network = run.network if not arguments.averaged or run.averaged is None else run.averaged
    return run.problem, network.to(usable_device(arguments.device))


def grid_axes(problem: Problem, text: str) -> dict[str, np.ndarray]:
    """The places of a grid over the domain, ends included: of "50" along each coordinate, of "x=200,t=50", of "" by default."""
    names, d = problem.coordinates, len(problem.coordinates)
    default = _LINE if d == 1 else max(2, min(_AXIS, int(_ALL ** (1 / d) + 1e-9)))
    if text and "=" not in text:
        try:
            text = ",".join(f"{name}={whole_number(text)}" for name in names)
        except argparse.ArgumentTypeError:
            raise ValueError(f"--grid {text!r}: points along each coordinate, as in --grid 50 or {names[0]}=50") from None
    given = pairs(text, "--grid", whole_number, f"{names[0]}=50")
    for name, count in given.items():
        if name not in names:
            raise ValueError(f"--grid {text!r}: {problem.name} has no coordinate {name!r}; {_known(name, names)}")
        if count < 2:
            raise ValueError(f"--grid {name}={count}: at least 2 points")
    counts = {name: given.get(name, default) for name in names}
    n = float(np.prod([float(count) for count in counts.values()]))
    require(_BYTES * n, f"a grid of {n:.3g} points", "ask for fewer, as in --grid 50")
    return {name: np.linspace(low, high, counts[name]) for name, (low, high) in zip(names, problem.domain.bounds, strict=True)}


def _known(name: str, names: Sequence[str]) -> str:
    return f"it has {', '.join(names)}{did_you_mean(name, names)}"


def _warn_of_points_outside(problem: Problem, points: np.ndarray) -> None:
    """By more than rounding: the network was not trained there."""
    size = float(np.max([high - low for low, high in problem.domain.bounds]))
    outside = int((problem.domain.distance(points) > 1e-6 * size).sum())
    if outside:
        say(f"pinntk: warning: {outside} of {len(points)} points lie outside of the domain, where nothing was trained")
