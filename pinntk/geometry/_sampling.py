"""Seeded points in the unit cube: uniform, grid, Latin hypercube and Sobol."""

from __future__ import annotations

import warnings
from zlib import crc32

import numpy as np
import scipy  # whose parts load when they are used: scipy.stats takes a second

METHODS = ("uniform", "grid", "latin-hypercube", "sobol")
TRAINED_ON = "sobol"  # unless a training says otherwise: docs/COMPARISONS.md compares them


def generator(seed: int, *key: str | int) -> np.random.Generator:
    """A generator of its own for each (seed, key), the same on every machine."""
    return np.random.default_rng([seed, *(crc32(str(part).encode()) for part in key)])


def unit_cube(n: int, dimension: int, method: str, rng: np.random.Generator) -> np.ndarray:
    """At most n points in [0, 1]^dimension, shape (m, dimension).

    m = n except for "grid", the largest product grid of at most n points, ends included.
    Raises ValueError for an unknown method.
    """
    if method not in METHODS:
        raise ValueError(f"sampling method {method!r} is unknown; use one of {', '.join(METHODS)}")
    if dimension == 0:
        return np.zeros((n, 0))
    if method == "uniform":
        return rng.random((n, dimension))
    if method == "latin-hypercube":
        return scipy.stats.qmc.LatinHypercube(dimension, rng=rng).random(n)
    if method == "sobol":
        with warnings.catch_warnings():  # a count that is not a power of 2 loses balance only, which no one relies on here
            warnings.simplefilter("ignore", UserWarning)
            return scipy.stats.qmc.Sobol(dimension, rng=rng).random(n)
    return grid(grid_counts(n, dimension))


def grid_counts(n: int, dimension: int) -> tuple[int, ...]:
    """Points per axis of the largest near-cubic grid of at most n points."""
    counts = [max(1, int(n ** (1 / dimension) + 1e-9))] * dimension
    for axis in range(dimension):
        if np.prod(counts) // counts[axis] * (counts[axis] + 1) <= n:
            counts[axis] += 1
    return tuple(counts)


def grid(counts: tuple[int, ...]) -> np.ndarray:
    """The product grid on [0, 1]^d with ends (a single point sits in the middle), shape (prod(counts), d)."""
    axes = [np.linspace(0, 1, count) if count > 1 else np.array([0.5]) for count in counts]
    return np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, len(counts))


def cells(n: int, dimension: int) -> np.ndarray:
    """The middles of the cells of the largest near-cubic grid of at most n cells, (m, dimension)."""
    counts = grid_counts(n, dimension) if dimension else ()
    return (grid(counts) * (np.array(counts) - 1) + 0.5) / np.array(counts) if dimension else np.zeros((n, 0))


def shares(n: int, extents: np.ndarray) -> np.ndarray:
    """n points shared out by extents, (k,) whole numbers."""
    exact = n * extents / extents.sum()
    counts = np.floor(exact).astype(int)
    counts[np.argsort(counts - exact, kind="stable")[: n - counts.sum()]] += 1
    return counts
