"""The order in which times are fitted: residuals and rates over equal slices of time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from pinntk._util.precision import without_autocast
from pinntk.diagnostics._sampling import kernel_diagonal, network_points, squared_errors, whole_number
from pinntk.problem import Points, Problem
from pinntk.problem._time import time_axis, time_slices


@dataclass(frozen=True, eq=False)
class Causality:
    """How equal slices of time are fitted, from the initial condition on (s slices, q residual conditions).

    coordinate: the one that is time
    edges: (s + 1,) of the slices, the initial condition's side first
    counts: {residual: (s,)} training points in each slice
    diagonal: {residual: (s,)} mean of K's diagonal: the slice's convergence rate, as Tr K_rr / n of its points; NaN
        where a slice has no points
    mean_square: {residual: (s,)} mean(e^2); NaN likewise
    disorder: {residual: the share of pairs of slices in which the earlier one has the larger mean(e^2)}: 1 where the end
        is fitted before the beginning, 0 in the order of time
    early_late: {residual: the geometric mean of mean(e^2) in the first half of time over that in the last half}
    error: (s,) rms error of the fields in each slice, over the rms of the solution; None where no solution is known
    """

    coordinate: str
    edges: np.ndarray
    counts: Mapping[str, np.ndarray]
    diagonal: Mapping[str, np.ndarray]
    mean_square: Mapping[str, np.ndarray]
    disorder: Mapping[str, float]
    early_late: Mapping[str, float]
    error: np.ndarray | None


@without_autocast
def causality(network: nn.Module, problem: Problem, points: Points, *, slices: int = 8) -> Causality | None:
    """Residuals and their convergence rates over equal slices of time; None for a problem without time or residuals.

    Time is the coordinate named t, or else the one that a condition of kind "initial" fixes. If that condition holds at the
    upper end (a terminal condition), time runs backward from there.

    A network may fit late times before the early ones that decide them, and so a solution of the equation with other
    initial data. A residual that decays with the solution is larger early all the same: read disorder with error and
    diagonal. Raises ValueError for fewer than 2 slices and as `pinntk.kernel` does. Source: Wang, Sankaran & Perdikaris
    2022 (arXiv 2203.07404), sections 3 and 4.
    """
    whole_number("slices", slices, 2)
    points = network_points(network, problem, points)
    axis, backward = time_axis(problem)
    residuals = {name: rows for name, rows in points.items() if problem[name].kind == "residual"}
    if axis is None or not residuals:
        return None
    low, high = problem.domain.bounds[axis]
    edges = np.linspace(high, low, slices + 1) if backward else np.linspace(low, high, slices + 1)

    diagonal = kernel_diagonal(network, problem, residuals)
    square = squared_errors(network, problem, residuals)
    counts, rates, means = {}, {}, {}
    for name, rows in residuals.items():
        place = time_slices(rows[:, axis].cpu(), edges[0], edges[-1], slices).numpy()
        counts[name] = np.bincount(place, minlength=slices)
        rates[name] = _slice_means(place, diagonal[name].cpu().numpy(), slices)
        means[name] = _slice_means(place, square[name].cpu().numpy(), slices)
    error = None
    if problem.has_solution:
        where, truth = problem.solution_points, problem.solution.values.reshape(-1, len(problem.fields))
        off = np.square(problem.counted(problem.predict(network, where) - truth)).sum(1)
        place = time_slices(torch.as_tensor(where[:, axis]), edges[0], edges[-1], slices).numpy()
        error = np.sqrt(_slice_means(place, off, slices) / np.square(problem.counted(truth)).sum(1).mean())
    disorder = {name: _disorder(part) for name, part in means.items()}
    early_late = {name: _early_late(part) for name, part in means.items()}
    return Causality(problem.coordinates[axis], edges, counts, rates, means, disorder, early_late, error)


def _slice_means(place: np.ndarray, values: np.ndarray, slices: int) -> np.ndarray:
    """The mean of the values in each slice, (s,); NaN where there are none."""
    counts, sums = np.bincount(place, minlength=slices), np.bincount(place, values, slices)
    return np.divide(sums, counts, out=np.full(slices, np.nan), where=counts > 0)


def _disorder(means: np.ndarray) -> float:
    """The share of pairs i < j with means[i] > means[j], ties half; NaN with fewer than two slices."""
    known = means[np.isfinite(means)]
    first, second = np.triu_indices(len(known), 1)
    if not len(first):
        return float("nan")
    return float(((known[first] > known[second]) + 0.5 * (known[first] == known[second])).mean())


def _early_late(means: np.ndarray) -> float:
    half = len(means) // 2
    parts = [part[np.isfinite(part)] for part in (means[:half], means[-half:])]
    if not all(map(len, parts)):
        return float("nan")
    tiny = np.finfo(float).tiny  # an exact solution's errors may be 0
    early, late = (np.log(np.maximum(part, tiny)).mean() for part in parts)
    return float(np.exp(early - late))
