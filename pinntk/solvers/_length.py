"""The damping whose step has a given length, from few factorizations."""

from __future__ import annotations

from bisect import insort
from collections.abc import Callable
from dataclasses import dataclass
from math import exp, inf, isfinite, log

_CLOSE = 0.02  # of a length: nearer is near enough
_FLAT = 0.05  # slopes nearer to 0 say too little of where to go
_FAR = 12.0  # in log mu, the most that is gone beyond what is known: five decades
_INSIDE = 0.05  # of an interval: what is tried within keeps so far from its ends
_MOST = 60

Measure = Callable[[float], tuple[float, float]]


@dataclass(frozen=True, order=True)
class _Known:
    """The logarithms of a damping and of the length of its step, and the slope of one over the other, from -1 to 0."""

    mu: float
    length: float
    slope: float


class LengthSearch:
    """The mu of a length by Newton's method for log |d| over log mu, inside of what is known already (after Moré 1978).

    It remembers what was measured, and not by whom, who may hold it.

    least: of mu
    first: mu to begin with

    >>> search = LengthSearch(1e-30, 1e-15)
    >>> measure = lambda mu: (1 / (1 + mu), -mu / (1 + mu))
    >>> round(search(measure, 0.5), 1), search(measure, 2.0)
    (1.0, 1e-30)
    """

    def __init__(self, least: float, first: float):
        self._least = least
        self._low, self._first = log(least), log(max(first, least))
        self._known: list[_Known] = []  # longest first

    def __call__(self, measure: Measure, length: float) -> float:
        """mu, to 2 % of the length; the least one where every step is shorter.

        measure: (|d|, d log |d| / d log mu) of a mu, the same at every call; one factorization
        """
        aim = log(length)
        for _ in range(_MOST):
            longer = [known for known in self._known if known.length > aim]
            shorter = [known for known in self._known if known.length <= aim]
            for known in (*longer[-1:], *shorter[:1]):
                if abs(known.length - aim) <= _CLOSE:
                    return exp(known.mu)
            if shorter and shorter[0].mu <= self._low:
                return self._least
            self._look(measure, max(self._next(longer, shorter, aim), self._low))
        return exp((longer or shorter)[-1].mu)

    def _look(self, measure: Measure, at: float) -> None:
        length, slope = measure(max(exp(at), self._least))
        insort(self._known, _Known(at, log(length) if length else -inf, min(max(slope, -1.0), 0.0)))

    def _next(self, longer: list[_Known], shorter: list[_Known], aim: float) -> float:
        if not longer and not shorter:
            return self._first
        if longer and shorter and isfinite(shorter[0].length):
            return _between(longer[-1], shorter[0], aim)
        if longer and shorter:
            return (longer[-1].mu + shorter[0].mu) / 2
        return _beyond(longer[:-3:-1] or shorter[:2], aim)


def _between(left: _Known, right: _Known, aim: float) -> float:
    """Where the cubic through two neighbors, with their slopes, has the length."""
    width, low, high = right.mu - left.mu, 0.0, 1.0
    for _ in range(30):
        u = (low + high) / 2
        v = 1 - u
        cubic = v * v * (1 + 2 * u) * left.length + u * u * (1 + 2 * v) * right.length
        cubic += u * v * width * (v * left.slope - u * right.slope)
        low, high = (u, high) if cubic > aim else (low, u)
    return left.mu + width * min(max(low, _INSIDE), 1 - _INSIDE)


def _beyond(nearest: list[_Known], aim: float) -> float:
    """Along the parabola from the nearest one, bent as the slopes of the two nearest say."""
    end, to_go = nearest[0], aim - nearest[0].length
    if not isfinite(to_go):
        return -inf
    slope = min(end.slope, -_FLAT)
    if len(nearest) > 1:
        bend = (end.slope - nearest[1].slope) / (end.mu - nearest[1].mu)
        slope = min(max(slope + bend * to_go / slope / 2, 1.5 * slope, -1.0), slope / 1.5)
    return end.mu + min(max(to_go / slope, -_FAR), _FAR)
