"""The steps of a solver on the kernel: which points they need, and when no further one helps."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from math import isnan
from statistics import geometric_mean, median
from typing import Any, Protocol

from torch import Tensor

from pinntk.problem import Points
from pinntk.solvers import Solver, StepReport
from pinntk.solvers._gauss_newton import with_wider_network as solver_with_wider_network
from pinntk.training._batch import Batch

Losses = dict[str, Tensor]  # {condition: mean(g e^2)}, with point weights g

_STALE = 100  # steps that bring neither the least nor the median loss a tenth down: no further ones help
_REFUSED = 5  # steps refused one after the other: none helps
_NOISY = 1.5  # loss on fresh points over the loss that a step left on its own, in the mean: what a step gains is lost again
_UNSEEN = 3.0  # loss on other points over that on points held, beyond which there are too few
_FEW = 100.0  # the same, beyond which they are far too few
_CHECK = 5  # steps from one look at other points to the next, while the same points are kept
_GROWTH = 1.5
_PER_PARAMETER = 2.0  # points to converge on
_LOOK = 5  # steps: fresh losses are judged by so many, compared with those before


class SolverPoints(Protocol):
    """The training points, of which a solver takes them all: of several processes it shares them out itself."""

    @property
    def all(self) -> Points: ...

    @property
    def all_weights(self) -> Points:
        """g (n,) of some conditions."""
        ...

    @property
    def fresh(self) -> bool:
        """Whether the next step is the first one on them."""
        ...

    def others(self, step: int) -> Points:
        """Points that no step has seen."""
        ...

    def losses(self, points: Points) -> Mapping[str, float]:
        """mean(g e_i^2) of each condition on them."""
        ...


class SolverUpdate:
    """A solver on the kernel, and the points that it needs.

    While the solver explores, points are fresh in every step. Where they take back what steps gain on their own points, they
    are to fall where the errors are large, and if that does not do, the solver converges. Then points are held, and become
    more, up to `most` times, where others show a much larger loss. Point weights make up for where points fall.

    every: steps from one draw of fresh points to the next; 0 where the first points stay
    adapting: whether points fall where the errors are large: from the start, never, or (None) once they prove too few
    """

    searching, work = True, 0.0

    def __init__(
        self,
        solver: Solver,
        points: SolverPoints,
        most: float = 1.0,
        every: int = 1,
        adapting: bool | None = None,
    ):
        self._solver, self._points, self._most, self._every = solver, points, most, every
        self.growth, self.hold = 1.0, False
        self.adapting, self._may_adapt = bool(adapting), adapting is None
        self._damping = self._relative = float("nan")
        self._remaining: float | None = None  # the loss that the last step left
        self._drawn: deque[tuple[float, float]] = deque(maxlen=2 * _LOOK)  # loss on fresh points; what the step before had left
        self._losses: deque[float] = deque(maxlen=2 * _STALE)  # on fresh points they scatter tenfold
        self._steps = self._refused = 0
        self._note = ""
        self._unseen: float | None = None  # loss on other points over that on these, when last looked at

    def step(self, batch: Batch, check: Callable[[Losses], None]) -> Losses:
        points = {name: self._points.all[name] for name in batch.counts}
        weights = {name: batch.weights[name] for name in points}
        if not (total := sum(weights.values())):
            raise ValueError(f"all loss weights are 0, of {', '.join(weights)}: a solver needs one above 0")
        weights = {name: weight / total for name, weight in weights.items()}
        before, self._solver.weights = self._solver.weights, weights
        report = self._solver.step(points, {name: g for name, g in self._points.all_weights.items() if name in points} or None)
        if before is not None and before != weights:  # by which what is remembered was measured
            then = sum(before[name] * loss for name, loss in report.losses.items())
            if then and report.loss_before:
                self._rescale(report.loss_before / then)
        losses = {name: points[name].new_tensor(loss) for name, loss in report.losses.items()}
        check(losses)
        drawn = not self.hold and self._every > 0 and self._points.fresh
        self._steps += 1
        self._damping, self._relative, self._note = report.damping, report.relative_damping, report.note
        if not report.note:
            self._refused = 0
        elif drawn or self.hold or not self._every:  # others will fall elsewhere
            self._refused += 1
        self._losses.append(report.loss_before)
        if drawn and self._remaining and report.loss_before:
            self._drawn.append((report.loss_before, self._remaining))
        self._remaining = report.loss
        self._judge_points(report)
        if not self.hold and self._solver.phase == "converge":
            self.hold = True
            if self._every:
                self._outnumber(sum(batch.counts.values()))
        elif self._solver.phase == "explore":
            self.hold = False
        return losses

    def _judge_points(self, report: StepReport) -> None:
        """Whether there are enough of them, and where they should be."""
        if not self._every:
            return
        if self.hold:
            if self._steps % _CHECK == 0:
                weights = self._solver.weights or {}
                others = self._points.others(self._steps)
                losses = self._points.losses({name: rows for name, rows in others.items() if name in weights})
                unseen = sum(weights[name] * loss for name, loss in losses.items())
                self._unseen = unseen / report.loss if report.loss else float("inf")
                if self._unseen > _UNSEEN and self._improve_points():
                    self._solver.converge()
            return
        if not (self._noisy() and self._stands()):
            return
        if self._may_adapt and not self.adapting:
            self._improve_points()
            self._solver.explore()
            return
        self._solver.converge()
        if self._solver.phase == "explore":  # always: then more fresh points are what helps
            self._improve_points()

    def _outnumber(self, count: int) -> None:
        """Twice as many points as parameters, where that is within `most`: fewer can be met by many networks."""
        enough = _PER_PARAMETER * self._solver.size / count * self.growth
        if self.growth < enough <= self._most:
            self.growth = enough

    def _noisy(self) -> bool:
        return len(self._drawn) == 2 * _LOOK and geometric_mean(loss / left for loss, left in self._drawn) > _NOISY

    def _stands(self) -> bool:
        """Whether the loss on fresh points has not halved from five draws to the next five. While it falls, it does no harm
        that each step fits its own points much better.
        """
        losses = [loss for loss, _ in self._drawn]
        return median(losses[_LOOK:]) > 0.5 * median(losses[:_LOOK])

    def _improve_points(self) -> bool:
        """Whether that was still possible."""
        if self._may_adapt and not self.adapting:
            self.adapting = True
            self._remaining = None  # such points see losses that even ones missed
        elif self.growth < self._most:
            factor = _GROWTH**2 if self._unseen and self._unseen > _FEW else _GROWTH
            self.growth = min(factor * self.growth, self._most)
        else:
            return False
        self._drawn.clear()
        self._losses.clear()
        self._refused = 0
        return True

    def _rescale(self, factor: float) -> None:
        """What is remembered of the losses, in the loss weights of now."""
        self._losses = deque((factor * loss for loss in self._losses), self._losses.maxlen)
        self._drawn = deque(((factor * loss, factor * left) for loss, left in self._drawn), self._drawn.maxlen)
        self._remaining = None if self._remaining is None else self._remaining * factor

    def columns(self) -> dict[str, float]:
        found = {"damping": self._damping, "growth": self.growth, "adapting": float(self.adapting)}
        return {**found, "converging": float(self.hold)}

    def status(self) -> str:
        if self._steps == 0:
            return ""
        phase = "converging" if self.hold else "exploring"
        return phase if isnan(self._relative) else f"{phase}, damping {self._relative:.0e}"

    def stop_reason(self) -> str:
        if self._refused >= _REFUSED:
            return f"{_REFUSED} steps in a row were refused: {self._note}"
        if not self._stale():
            return ""
        stands = f"the loss has not fallen by a tenth in {_STALE} steps"
        if self._unseen is None:
            return stands
        others = f"{stands}; on other points it is {self._unseen:.2g} times as large"
        if self._unseen > _UNSEEN:
            return f"points: {others}, and grow={self._most:g} allows no more of them: raise it"
        wider = "a wider network may go on: pinntk solve --resume RUN --grow-network WIDTH, or pinntk.grow_network(run, width)"
        return f"capacity: {others}, so that there are enough of them: {wider}"

    def _stale(self) -> bool:
        if len(self._losses) < 2 * _STALE:
            return False
        earlier, later = list(self._losses)[:_STALE], list(self._losses)[_STALE:]
        return min(later) > 0.9 * min(earlier) and median(later) > 0.9 * median(earlier)

    def state_dict(self) -> dict[str, Any]:
        own = {name: getattr(self, name) for name in _STATE}
        own |= {"_drawn": list(self._drawn), "_losses": list(self._losses)}
        return {"solver": self._solver.state_dict(), "own": own}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._solver.load_state_dict(state["solver"])
        own = dict(state["own"])
        for name in ("_drawn", "_losses"):
            getattr(self, name).extend(own.pop(name))
        for name, value in own.items():
            setattr(self, name, value)


_STATE = ("growth", "hold", "adapting", "_damping", "_relative", "_remaining", "_steps", "_refused", "_note", "_unseen")


_ANEW: dict[str, Any] = {"growth": 1.0, "hold": False, "_remaining": None, "_refused": 0, "_note": "", "_unseen": None}


def with_wider_network(state: Mapping[str, Any]) -> dict[str, Any]:
    """The state of the same training with a wider network that computes the same function: it holds points from the next step
    on, as many as it needs, and what was remembered of steps, losses and other points is forgotten.
    """
    own = {**state["own"], **_ANEW, "_drawn": [], "_losses": []}
    return {"solver": solver_with_wider_network(state["solver"]), "own": own}
