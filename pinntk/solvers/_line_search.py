"""A line search for the strong Wolfe conditions, by brackets and cubic interpolation."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor

_DECREASE = 1e-4  # of the loss, as a share of what the slope predicts (Armijo)
_CURVATURE = 0.9  # of the slope that may remain
_MOST_TRIALS = 25


Number = float | Tensor  # of no dimension, in float64: torch rounds some operations otherwise than Python does


class Trial(NamedTuple):
    """The loss at x + length d, its gradient, and its slope along d, a tensor of no dimension."""

    length: Number
    loss: float
    gradient: Tensor
    slope: Tensor


Search = Callable[[Number], Trial]


def strong_wolfe(
    evaluate: Callable[[Number], tuple[float, Tensor]], d: Tensor, start: Trial, first: Number, *, smallest: float
) -> Trial:
    """The first trial t that meets loss(t) <= loss(0) + 1e-4 t slope(0) and |slope(t)| <= 0.9 |slope(0)|; the lowest one known
    where 25 trials do not find one, or where they come closer together than `smallest`.

    evaluate: loss and gradient at x + t d
    start: at t = 0, with a negative slope
    first: the length of the first trial
    smallest: change of a parameter that counts as none

    Nocedal & Wright 2006, algorithms 3.5 and 3.6. Its trials are those of torch.optim.LBFGS with "strong_wolfe", to the
    last bit.
    """

    def at(length: Number) -> Trial:
        loss, gradient = evaluate(length)
        return Trial(length, loss, gradient, gradient.dot(d))

    size = d.abs().max()
    return _zoom(at, start, *_bracket(at, start, first), lambda width: bool(width * size < smallest))


def _falls(trial: Trial, start: Trial) -> bool:
    return not bool(trial.loss > start.loss + _DECREASE * trial.length * start.slope)


def _flat(trial: Trial, start: Trial) -> bool:
    return bool(abs(trial.slope) <= -_CURVATURE * start.slope)


def _bracket(at: Search, start: Trial, first: Number) -> tuple[list[Trial], int]:
    """Two trials with one between them that meets both conditions, or one that does itself; and how many more there were than
    the first.
    """
    before, here = start, at(first)
    for count in range(_MOST_TRIALS):
        if not _falls(here, start) or (count > 1 and here.loss >= before.loss):
            return [before, here], count
        if _flat(here, start):
            return [here], count
        if here.slope >= 0:
            return [before, here], count
        shortest, longest = here.length + 0.01 * (here.length - before.length), 10 * here.length
        before, here = here, at(_cubic_minimum(before, here, shortest, longest))
    return [start, here], _MOST_TRIALS


def _zoom(at: Search, start: Trial, ends: list[Trial], count: int, small: Callable[[Number], bool]) -> Trial:
    """Narrows a bracket down to a trial that meets both conditions."""
    if len(ends) == 1:
        return ends[0]
    low = _lower(ends)
    slow = False
    for _ in range(count, _MOST_TRIALS):
        left, right = sorted(end.length for end in ends)
        if small(right - left):
            break
        length = _cubic_minimum(ends[0], ends[1], left, right)
        margin = 0.1 * (right - left)
        close = bool(right - length < margin) or bool(length - left < margin)
        if close and (slow or not left < length < right):  # twice at an end: away from it
            length = right - margin if right - length < length - left else left + margin
            close = False
        slow = close
        trial = at(length)
        if not _falls(trial, start) or trial.loss >= ends[low].loss:
            ends[1 - low] = trial
            low = _lower(ends)
            continue
        if _flat(trial, start):
            return trial
        if trial.slope * (ends[1 - low].length - ends[low].length) >= 0:
            ends[1 - low] = ends[low]
        ends[low] = trial
    return ends[low]


def _lower(ends: list[Trial]) -> int:
    return 0 if ends[0].loss <= ends[1].loss else 1


def _cubic_minimum(a: Trial, b: Trial, low: Number, high: Number) -> Number:
    """Where the cubic through two losses and slopes is least between `low` and `high`; the middle where it has no minimum."""
    left, right = (a, b) if a.length <= b.length else (b, a)
    d1 = left.slope + right.slope - 3 * (right.loss - left.loss) / (right.length - left.length)
    square = d1**2 - left.slope * right.slope
    if not square >= 0:
        return (low + high) / 2
    d2 = square.sqrt()
    share = (right.slope + d2 - d1) / (right.slope - left.slope + 2 * d2)
    return min(max(right.length - (right.length - left.length) * share, low), high)
