"""Steps judged by the next one, not by the loss: the end of a Gauss-Newton training."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import inf, isfinite, log10
from typing import Any

import torch
from torch import Tensor

from pinntk.solvers._damped import DampedLeastSquares
from pinntk.solvers._jacobian import ScaledJacobian
from pinntk.solvers._vector import dot, norm

_FIRST = 1e-12  # damping of the first step, relative to the largest eigenvalue
_LIMIT = 0.3  # of a step: beyond it the first correction says that the step is too long
_CONTRACTION = 0.3  # of a correction: the next one must be below it
_CORRECTIONS = 25
_WORTH = 0.5  # of the loss: what a correction must leave for another one to be tried
_DECADES = 8  # that the damping may fall in one step
_SPACING = 0.5  # of the first of them, each twice the one before
_NEAR = 0.8  # of the limit: a step that comes as near is long enough
_REFINED = 2  # trials between a damping that is good and one that is not
_PROGRESS, _LOWER = 0.9, 0.5  # of the least loss, of the least damping
_PATIENCE = 40  # steps in which neither the least loss nor the least damping falls: then steps are to be shorter
_LEAST_LIMIT = 0.01

_STATE = ("limit", "damping", "least", "since", "iterate")

ErrorsAfter = Callable[[Tensor], Tensor]  # r(theta + d) of d


class NaturalSteps:
    """Steps with the natural monotonicity test (Deuflhard, Newton Methods for Nonlinear Problems, 2004, chapter 3).

    Late in a training the loss is a narrow curved valley. A long step gains along the small singular values of A and loses,
    for the moment, more along the large ones; steps that must lower the loss are short, and stall. But what is lost along
    large ones the next step removes at once. So a step is not judged by the loss, but by its first correction: with
    apply(v) = -(A^T A + mu I)^-1 A^T v,

        d_1 = apply(r),    d_2 = apply(r(theta + d_1) - A d_1),    |d_2 - d_1| <= limit |d_1|

    and mu is about the least for which that holds: one whose ratio is 0.8 of the limit or more. Corrections go on while
    they contract and halve the loss. The loss may rise a millionfold before it falls to rounding: whoever takes the steps keeps
    the best parameters apart, and those that `restored` leads to beside the way.

    limit: halved, and the way begun again from the best parameters, after 40 steps without progress
    damping: mu of the last step, relative to the largest eigenvalue of A^T A
    least: the least damping on this way, when last there was progress
    since: steps since the last progress: a lower loss than ever, or half the damping on this way
    iterate: where the next step starts, (p,), if not from the best parameters
    """

    def __init__(self) -> None:
        self.limit, self.since = _LIMIT, 0
        self.damping = self.least = _FIRST
        self.iterate: Tensor | None = None

    def begin(self) -> None:
        """Other points are to come: what counts is progress on them."""
        self.limit, self.since = _LIMIT, 0
        self.damping = self.least = min(self.damping, _FIRST)

    def step(self, system: DampedLeastSquares, A: ScaledJacobian, errors_after: ErrorsAfter) -> tuple[float, Tensor, Tensor]:
        """(mu, step d, errors after it)."""
        found = self._longest(system, A, errors_after)
        d, after, loss, limit = found.d, found.after, found.loss, self.limit
        corrected, last = found.corrected, found.length
        for _ in range(_CORRECTIONS):
            by = norm(corrected - d)
            if not by <= limit * last:
                break
            bent = errors_after(corrected)
            bent_loss = dot(bent, bent)
            if not isfinite(bent_loss):
                break
            worth = bent_loss < _WORTH * loss
            d, after, loss, last, limit = corrected, bent, bent_loss, by, _CONTRACTION
            if not worth:
                break
            corrected = system.apply(after - A.matvec(d), found.mu)
        return found.mu, d, after

    def restored(self, system: DampedLeastSquares, r: Tensor, errors_after: ErrorsAfter) -> tuple[Tensor, float]:
        """(d, the loss after it): from where the loss has risen back to the floor of the valley, by the singular values that
        were settled when the way began. What was gained along the others stays.
        """
        mu = max(_FIRST * system.largest, system.least)
        d, loss = system.apply(r, mu), dot(r, r)
        found = torch.zeros_like(d)
        for _ in range(_CORRECTIONS):
            r = errors_after(d)
            after = dot(r, r)
            if not after < loss:
                break
            found, last, loss = d, loss, after
            if not loss < _WORTH * last:
                break
            d = d + system.apply(r, mu)
        return found, loss

    def _longest(self, system: DampedLeastSquares, A: ScaledJacobian, errors_after: ErrorsAfter) -> _Trial:
        """The step of about the least damping whose first correction is within the limit."""
        largest = system.largest
        least = log10(system.least / largest)

        def trial(exponent: float) -> _Trial:
            return _Trial(system, A, errors_after, max(largest * 10**exponent, system.least))

        at = max(log10(self.damping), least)
        found, failed = trial(at), None
        while not found.contraction <= self.limit and at < 0:
            failed = at, found
            at += 1
            found = trial(at)
        floor, spacing = max(least, at - _DECADES), _SPACING
        refined = 0
        while found.contraction < _NEAR * self.limit and at > floor and refined < _REFINED:
            if failed is None:
                lower, spacing = max(at - spacing, floor), 2 * spacing
            else:
                share = _share(found.contraction, failed[1].contraction, self.limit)
                lower, refined = at + share * (failed[0] - at), refined + 1
            system.hold(found.mu)
            tried = trial(lower)
            if tried.contraction <= self.limit:
                at, found = lower, tried
            else:
                failed = lower, tried
        self.damping = 10**at
        return found

    def took(self, loss: float, best: float, iterate: Tensor, restored: float = inf) -> bool:
        """After a step to `iterate`; whether its loss is below the best one so far, and below that of what was restored."""
        better = loss < min(best, restored)
        progress = min(loss, restored) < _PROGRESS * best or self.damping < _LOWER * self.least
        self.since = 0 if progress else self.since + 1
        if progress:  # else a slow fall would never count
            self.least = min(self.least, self.damping)
        self.iterate = None if better or not isfinite(loss) else iterate
        if self.since >= _PATIENCE and self.limit > _LEAST_LIMIT:
            self.since, self.limit, self.iterate = 0, self.limit / 2, None
            self.damping = self.least = _FIRST
        return better

    @property
    def exhausted(self) -> bool:
        """Whether the shortest steps have made no progress."""
        return self.since >= _PATIENCE

    def state_dict(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in _STATE}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        for name in _STATE:
            setattr(self, name, state[name])


class _Trial:
    """The step of one damping, its errors and its first correction."""

    def __init__(self, system: DampedLeastSquares, A: ScaledJacobian, errors_after: ErrorsAfter, mu: float):
        self.mu, self.d = mu, system.step(mu)
        self.length = norm(self.d)
        self.after = errors_after(self.d)
        self.loss = dot(self.after, self.after)
        self.contraction = inf
        if isfinite(self.loss):
            self.corrected = system.apply(self.after - A.matvec(self.d), mu)
            self.contraction = norm(self.corrected - self.d) / self.length if self.length else 0.0
        else:
            self.corrected = self.d


def _share(good: float, bad: float, limit: float) -> float:
    """How far from the good one to the bad one the middle between near and limit lies, in logarithms; 0.2 to 0.8."""
    if not (isfinite(bad) and good > 0):
        return 0.5
    aim = limit * (1 + _NEAR) / 2
    return min(max((log10(aim) - log10(good)) / (log10(bad) - log10(good)), 0.2), 0.8)
