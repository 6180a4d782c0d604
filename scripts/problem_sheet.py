"""docs/problems.png: every built-in problem's known solution, its first field, a small panel each.

One coordinate is drawn as a curve with all fields, two as a map (time, if any, to the right), three as the map at the end of
time or half way up, more as points over the first two.

    python scripts/problem_sheet.py                           a minute; references that are not in the cache folder come first
    python scripts/problem_sheet.py kdv burgers -o two.png
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

import pinntk

ROOT = Path(__file__).resolve().parents[1]
COLUMNS, SIZE, DOTS, COLORS = 8, 1.3, 90, 128  # panels in a row, inches of one, dots per inch, colors of the picture


def draw(problem: pinntk.Problem, ax: Axes) -> None:
    """The known solution of a problem on empty axes."""
    axes, values = problem.solution.axes, problem.solution.values
    if len(axes) == 1 and axes[0].ndim == 2 and axes[0].shape[1] > 1:  # scattered points
        most, size = (4000, 4) if axes[0].shape[1] == 2 else (600, 8)
        some = np.random.default_rng(0).permutation(len(axes[0]))[:most]
        ax.scatter(*axes[0][some, :2].T, size, values[some, 0], cmap="viridis")
    elif len(axes) == 1:
        ax.plot(axes[0].ravel(), values, linewidth=1)
    else:
        flat = values[..., 0]
        if len(axes) == 3:
            flat = flat[-1] if problem.coordinates[0] == "t" else flat[:, :, len(axes[2]) // 2]
        across, up = axes[-2:] if problem.coordinates[0] == "t" else axes[:2]
        box = (across[0], across[-1], up[0], up[-1])
        ax.imshow(flat.T, origin="lower", extent=box, aspect="auto", cmap="viridis", interpolation="nearest")
    ax.set(xticks=[], yticks=[])
    ax.set_title(problem.name, fontsize=6.5, pad=2)


def sheet(names: Sequence[str]) -> Figure:
    rows = -(-len(names) // COLUMNS)
    figure = Figure(figsize=(COLUMNS * SIZE, rows * (SIZE * 0.9)), dpi=DOTS, layout="constrained")
    panels = figure.subplots(rows, COLUMNS, squeeze=False).ravel()
    for ax in panels[len(names) :]:
        ax.set_axis_off()
    for name, ax in zip(names, panels, strict=False):
        draw(pinntk.load(name), ax)
    return figure


def main(argv: Sequence[str] | None = None) -> Path:
    parser = argparse.ArgumentParser(description="draws the known solutions of built-in problems")
    parser.add_argument("names", nargs="*", help="problems (default: all that have a known solution)")
    parser.add_argument(
        "-o", "--out", type=Path, default=ROOT / "docs" / "problems.png", help="the picture (default: %(default)s)"
    )
    arguments = parser.parse_args(argv)
    names = arguments.names or [name for name in pinntk.available() if pinntk.load(name).has_solution]
    canvas = FigureCanvasAgg(sheet(names))
    canvas.draw()
    picture = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB").quantize(COLORS, dither=Image.Dither.NONE)
    picture.save(arguments.out, format="png", optimize=True)
    return arguments.out


if __name__ == "__main__":
    print(main())
