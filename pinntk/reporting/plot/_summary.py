"""What a comparison of trainings found, in figures."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from pinntk.comparison import Combination, Summary
from pinntk.reporting.plot._panel import BLUE, GRAY, Panel, curve_style, figure_grid, folded, legend, lines_of, value_axis

_CURVES = 8  # combinations whose errors are drawn over time: the best
_TIMES = 200
_LINE = 0.24  # inches of a combination


def summary_panels(summary: Summary, problem: str) -> list[Panel]:
    """Scores of all seeds by combination, and how the medians of the errors of the best fell with time."""
    found = [one for one in summary.combinations(problem) if np.isfinite(one.best)]
    if not found:
        return []
    curves = {summary.name(one.labels): _median_curve(one) for one in found[:_CURVES]}
    curves = {name: curve for name, curve in curves.items() if len(curve[0])}
    return [_scores(summary, problem, found), *([_over_time(problem, curves)] if curves else [])]


def summary(summary: Summary) -> Figure:
    """Both panels of every problem, a row each."""
    rows = [panels for problem in summary.problems if (panels := summary_panels(summary, problem))]
    if not rows:
        return Figure(figsize=(3, 1))
    wide = max(map(len, rows))
    most = max(sum(lines_of(_named(summary, one)) for one in summary.combinations(problem)) for problem in summary.problems)
    return figure_grid([[*row, *[_nothing()] * (wide - len(row))] for row in rows], 5.2, max(3.0, 1.1 + _LINE * most))


def _nothing() -> Panel:
    return Panel("", "", lambda ax: ax.set_axis_off())


def _scores(summary: Summary, problem: str, found: Sequence[Combination]) -> Panel:
    what = "relative L2 error" if summary.by_error(problem) else "sum of losses"

    def draw(ax: Axes) -> None:
        for place, one in enumerate(reversed(found)):
            scores = one.scores[np.isfinite(one.scores)]
            ax.plot(scores, np.full(len(scores), place), "o", color=GRAY, ms=4, mew=0)
            if np.isfinite(one.median):
                ax.plot([one.median] * 2, [place - 0.3, place + 0.3], color=BLUE, lw=2.2)
        ax.set_yticks(range(len(found)), [_named(summary, one) for one in reversed(found)], fontsize=8)
        values = np.concatenate([one.scores[np.isfinite(one.scores)] for one in found])
        if (values > 0).all() and values.max() > 10 * values.min():
            ax.set_xscale("log")
            ax.xaxis.set_minor_formatter(NullFormatter())
            if values.max() < 100 * values.min():
                ax.xaxis.set_major_locator(LogLocator(subs=(1, 3)))
        else:
            ax.locator_params(axis="x", nbins=5)
            ax.ticklabel_format(axis="x", style="sci", scilimits=(-2, 4), useOffset=False)
        ax.set(xlabel=what, ylim=(-0.6, len(found) - 0.4))

    listed = "; ".join(f"{summary.name(one.labels)} {one.median:.2g} from {one.best:.2g} to {one.worst:.2g}" for one in found)
    return Panel(f"{problem}: dots are seeds, bars medians", f"{what}, medians and spread: {listed}", draw)


def _named(summary: Summary, one: Combination) -> str:
    return folded(summary.name(one.labels) + (f" ({one.failed} failed)" if one.failed else ""))


def _over_time(problem: str, curves: dict[str, tuple[np.ndarray, np.ndarray]]) -> Panel:
    def draw(ax: Axes) -> None:
        for place, (name, (seconds, errors)) in enumerate(curves.items()):
            ax.plot(seconds, errors, lw=1.6, label=folded(name), **curve_style(place))
        ax.set(xlabel="seconds", ylabel="relative L2 error")
        value_axis(ax, np.concatenate([errors for _, errors in curves.values()]))
        legend(ax)

    ends = "; ".join(f"{name} {errors[-1]:.2g}" for name, (_, errors) in curves.items())
    return Panel(f"{problem}: median over seeds", f"relative L2 error over seconds, at the end: {ends}", draw)


def _median_curve(one: Combination) -> tuple[np.ndarray, np.ndarray]:
    """At common times, of the seeds that did not fail, each with its last error until then."""
    curves = [np.array(row.curve) for row in one.rows if row.curve and not row.failed]
    if not curves:
        return np.array([]), np.array([])
    end = max(curve[-1, 0] for curve in curves)
    start = max(curve[0, 0] for curve in curves)
    times = np.linspace(start, end, _TIMES)
    held = [curve[np.clip(np.searchsorted(curve[:, 0], times, "right") - 1, 0, None), 1] for curve in curves]
    return times, np.median(held, axis=0)
