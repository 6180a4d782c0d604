"""When a Gauss-Newton solver stops exploring and converges."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from statistics import median
from typing import Any

from pinntk.solvers._damped import SQUARED

EXPLORE, CONVERGE = "explore", "converge"

_RECENT = 20  # steps
_FEW = 5  # steps on points that are held
_FALL = 0.5  # of the loss, in as many steps


class Phase:
    """Long steps on fresh points lower the loss as long as the network has directions left to learn. They have served when the
    damping is small, so that directions are in use that A^T A does not know, and the loss no longer halves in twenty steps:
    then it is at the noise of the points. While the damping is large the loss may stand for long before it falls.

    On points that are held steps that lower the loss have served, once and for all, when it no longer halves in five.
    """

    def __init__(self) -> None:
        self.converging = self.stalled = False
        self.damping = 1.0
        self._losses: deque[float] = deque(maxlen=2 * _RECENT)

    def converge(self) -> None:
        """The points are held from now on, or are other ones."""
        self.converging = True
        self._losses.clear()

    def advance(self, damping: float, loss: float) -> None:
        """After a step from this loss with this relative damping."""
        self.damping = damping
        self._losses.append(loss)
        losses = list(self._losses)
        if self.converging:
            self.stalled = len(losses) > _FEW and losses[-1] > _FALL * losses[-1 - _FEW]
        elif damping >= SQUARED:
            self._losses.clear()
        elif len(losses) == 2 * _RECENT and median(losses[_RECENT:]) > _FALL * median(losses[:_RECENT]):
            self.converge()

    def state_dict(self) -> dict[str, Any]:
        found = {"converging": self.converging, "stalled": self.stalled, "damping": self.damping}
        return {**found, "losses": list(self._losses)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.converging, self.stalled, self.damping = state["converging"], state["stalled"], state["damping"]
        self._losses = deque(state["losses"], maxlen=2 * _RECENT)
