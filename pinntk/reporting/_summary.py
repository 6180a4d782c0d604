"""What a comparison of trainings found: as text, as JSON, and as one self-contained HTML file."""

from __future__ import annotations

import json
import os
import re
import textwrap
from math import isfinite
from pathlib import Path

from pinntk._util.files import replacing
from pinntk._util.numbers import number
from pinntk.comparison import Combination, Row, Summary
from pinntk.reporting import plot
from pinntk.reporting._html import draw, write_page

_WIDTH = 80  # letters of a line
JSON, HTML, FIGURE = "comparison.json", "comparison.html", "comparison.png"


def write_summary(folder: str | os.PathLike, summary: Summary) -> tuple[Path, Path, Path]:
    """Writes comparison.json, comparison.html and comparison.png, each whole or not at all; returns their paths."""
    folder = Path(folder)
    with replacing(folder / JSON) as temporary:
        temporary.write_text(json.dumps(summary.as_json(), indent=2, allow_nan=False) + "\n")
    sections = [
        {
            "problem": problem,
            "measure": _measure(summary, problem),
            "head": [*summary.axes, "median", "best", "worst", "steps", "seconds", "failed"],
            "rows": [_line(summary, one) for one in summary.combinations(problem)],
            "figures": draw(lambda problem=problem: plot.summary_panels(summary, problem)),  # type: ignore[misc]
        }
        for problem in summary.problems
    ]
    context = {
        "summary": summary,
        "constant": _constant(summary),
        "matrix": _matrix(summary) if len(summary.problems) > 1 else [],
        "sections": sections,
        "remarks": remarks(summary),
    }
    path = write_page(folder / HTML, "summary.html.j2", context)
    figure = plot.summary(summary)
    return folder / JSON, path, plot.write(figure, folder / FIGURE)


def row_text(row: Row, summary: Summary) -> str:
    """A training that has ended, in a line."""
    head = _training(row, summary)
    if row.failed:
        return f"{head}: failed, {row.failed}"
    what = f"loss {number(row.score)}" if row.error is None else f"error {number(row.score)}"
    stopped = f"; {row.stopped}" if row.stopped else ""
    return f"{head}: {what}, {row.steps:,} steps, {row.seconds:.0f} s{stopped}"


def summary_text(summary: Summary) -> str:
    """Tables of medians and spread, each as wide as a terminal if the names allow."""
    lines = [summary.title]
    if constant := _constant(summary):
        lines.append(f"all with {constant}")
    for problem in summary.problems:
        head = [*summary.axes, "median", "best", "worst", "steps", "s", ""]
        rows = [_line(summary, one) for one in summary.combinations(problem)]
        lines += ["", f"{problem}, {_measure(summary, problem)}", *_aligned(head, rows, len(summary.axes))]
    if len(summary.problems) > 1:
        lines += ["", "medians", *_aligned(["", *summary.problems], _matrix(summary), 1)]
    for line in remarks(summary):
        lines += ["", *textwrap.wrap(line, _WIDTH, subsequent_indent="  ")]
    if summary.missing:
        lines += ["", f"{summary.missing} trainings have not ended yet, and are not in these tables"]
    return "\n".join(lines)


def remarks(summary: Summary) -> list[str]:
    """What has no result and why, and what was warned of: each reason once, and each warning whatever its numbers."""
    found: dict[tuple[str, str], tuple[str, dict[str, None]]] = {}

    def note(what: str, kind: str, reason: str, name: str) -> None:
        found.setdefault((what, kind), (reason, {}))[1][name] = None

    for row in summary.rows:
        if row.failed:
            note("failed", row.failed, row.failed, _training(row, summary))
    for name, reason in summary.refused.items():
        note("not run", reason, reason, name)
    for row in summary.rows:
        for text in row.warnings:
            note("warning", without_numbers(text), text, _training(row, summary))
    lines = []
    for (what, _), (reason, names) in found.items():
        more = f" and {len(names) - 1} more" if len(names) > 1 else ""
        lines.append(f"{what}: {next(iter(names))}{more}: {reason}")
    return lines


def without_numbers(text: str) -> str:
    """What texts of one kind share: numbers are masked, and digits in names, as wave1d or wall-2, stay."""
    return re.sub(r"(?<![\w.-])-?\d[\d.,e+-]*(?!\w)", "0", text)


def _training(row: Row, summary: Summary) -> str:
    return " ".join(
        [row.labels["problem"], *(row.labels[axis] for axis in summary.axes if row.labels.get(axis)), f"seed {row.seed}"]
    )


def _measure(summary: Summary, problem: str) -> str:
    return "relative L2 error" if summary.by_error(problem) else "sum of losses (no solution is known)"


def _constant(summary: Summary) -> str:
    return ", ".join(f"{axis} {value}" for axis, value in summary.constant.items())


def _line(summary: Summary, one: Combination) -> list[str]:
    seconds = "–" if one.seconds is None else f"{one.seconds:.0f}"
    values = [*map(_score, (one.median, one.best, one.worst)), number(one.steps), seconds]
    failed = f"{one.failed} of {len(one.rows)} failed" if one.failed else ""
    return [*(one.labels.get(axis, "") for axis in summary.axes), *values, failed]


def _score(value: float) -> str:
    return number(value) if isfinite(value) else "failed"


def _matrix(summary: Summary) -> list[list[str]]:
    """A row for each combination, with its median on every problem."""
    medians: dict[str, dict[str, str]] = {}
    for problem in summary.problems:
        for one in summary.combinations(problem):
            medians.setdefault(summary.name(one.labels), {})[problem] = _score(one.median)
    return [[name, *(found.get(problem, "–") for problem in summary.problems)] for name, found in medians.items()]


def _aligned(head: list[str], rows: list[list[str]], left: int) -> list[str]:
    """The first `left` columns to the left, others to the right."""
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]

    def line(cells: list[str]) -> str:
        padded = [cell.ljust(w) if k < left else cell.rjust(w) for k, (cell, w) in enumerate(zip(cells, widths, strict=True))]
        return "  ".join(padded).rstrip()

    return [line(head), *map(line, rows)]
