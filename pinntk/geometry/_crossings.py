"""Where curves in the plane may meet."""

from __future__ import annotations

import numpy as np
import shapely

from pinntk.geometry._surface import Surface

_ROUNDING = 1e-14


def crossings(one: Surface, other: Surface, near: float) -> np.ndarray:
    """Places (k, 2) with all those where two curves cross, touch, or begin or cease to be the same; others do no harm.

    near: how far apart curves may be that meet
    """
    if one.segments is not None and other.segments is not None:
        return _of_segments(one.segments, other.segments, near)
    if one.segments is not None and other.oval is not None:
        return _of_lines(one.segments, *other.oval, near)
    if one.oval is not None and other.segments is not None:
        return _of_lines(other.segments, *one.oval, near)
    assert one.oval is not None
    assert other.oval is not None
    small, large = sorted((one.oval, other.oval), key=lambda oval: float(np.linalg.norm(oval[1])))
    return _of_ovals(*small, *large, near)


def _of_segments(one: np.ndarray, other: np.ndarray, near: float) -> np.ndarray:
    low, high = other.min(1) - near, other.max(1) + near
    tree = shapely.STRtree(shapely.box(low[:, 0], low[:, 1], high[:, 0], high[:, 1]))
    first, second = tree.query(shapely.linestrings(one))
    (p, p_end), (q, q_end) = one[first].transpose(1, 0, 2), other[second].transpose(1, 0, 2)
    r, s = p_end - p, q_end - q
    turn = r[:, 0] * s[:, 1] - r[:, 1] * s[:, 0]
    crossing = np.abs(turn) > 1e-12 * np.linalg.norm(r, axis=1) * np.linalg.norm(s, axis=1)
    along = ((q - p)[:, 0] * s[:, 1] - (q - p)[:, 1] * s[:, 0])[crossing] / turn[crossing]
    crossed = p[crossing] + np.clip(along, 0, 1)[:, None] * r[crossing]
    return np.concatenate([crossed, p, p_end, q, q_end])


def _of_lines(segments: np.ndarray, center: np.ndarray, matrix: np.ndarray, near: float) -> np.ndarray:
    """Of the whole lines: where |M^-1 (x - center)| = 1, to both sides of the foot of the perpendicular there. A line that
    comes `near` touching the ellipse touches it, once.
    """
    start, end = (np.linalg.solve(matrix, (segments[:, i] - center).T).T for i in (0, 1))
    direction = (end - start) / np.linalg.norm(end - start, axis=1, keepdims=True)
    foot = start - (start * direction).sum(1, keepdims=True) * direction
    height = 1 - (foot**2).sum(1)
    touching = np.abs(height) < 2 * near / np.linalg.svd(matrix)[1].min() + _ROUNDING
    half = np.sqrt(np.where(touching, 0, height).clip(min=0))[:, None] * direction
    met = touching | (height > 0)
    found = np.concatenate([foot[met] - half[met], foot[met] + half[met]])
    return np.concatenate([center + found @ matrix.T, segments.reshape(-1, 2)])


def _of_ovals(center: np.ndarray, matrix: np.ndarray, other: np.ndarray, turned: np.ndarray, near: float) -> np.ndarray:
    """At angles s of the first where |N^-1 (center + M (cos s, sin s) - other)|^2 = 1: z^2 times that is a polynomial of degree
    4 in z = exp(i s).
    """
    away, joined = np.linalg.solve(turned, center - other), np.linalg.solve(turned, matrix)
    square = joined.T @ joined
    once = (away @ joined) @ [1, -1j]
    twice = (square[0, 0] - square[1, 1]) / 4 - 0.5j * square[0, 1]
    constant = away @ away - 1 + np.trace(square) / 2
    polynomial = np.array([twice, once, constant, np.conj(once), np.conj(twice)])
    size = np.abs(square).max() + np.abs(away).max() * np.abs(joined).max()
    polynomial[np.abs(polynomial) < _ROUNDING * size] = 0
    if not polynomial[:2].any():
        return np.empty((0, 2))  # the same curve, or similar ones around one center
    zeros = np.roots(polynomial)
    double = max(1e-6, (2 * near / np.linalg.svd(matrix)[1].min()) ** 0.5)  # how far rounding moves two that are one apart
    zeros = zeros[np.abs(np.abs(zeros) - 1) < 10 * double]
    for zero in zeros:
        pair = np.abs(zeros - zero) < double
        zeros = np.where(pair, zeros[pair].mean() if pair.any() else zero, zeros)
    return center + np.stack([np.cos(np.angle(zeros)), np.sin(np.angle(zeros))], 1) @ matrix.T
