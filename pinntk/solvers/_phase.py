"""When a Gauss-Newton solver stops exploring and converges."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from statistics import median
from typing import Any

from pinntk.solvers._damped import SQUARED

EXPLORE, CONVERGE = "explore", "converge"

# Of the damping, relative to the largest eigenvalue of A^T A: smaller directions are in use than A^T A knows. The kernel form
# without A takes SQUARED itself, but for rounding, and nothing smaller.
_SMALL = 1.001 * SQUARED
_RECENT = 20  # steps
_FALL = 0.5  # of the median loss over as many steps


class Phase:
    """Long steps on fresh points lower the loss as long as the network has directions left to learn. They have served when the
    damping is small and the loss no longer halves in twenty steps: then it is at the noise of the points.

    While the damping is large the loss may stand for long before it falls.
    """

    def __init__(self) -> None:
        self.converging = False
        self.damping = 1.0
        self._losses: deque[float] = deque(maxlen=2 * _RECENT)

    def advance(self, damping: float, loss: float) -> None:
        """After a step from this loss with this relative damping."""
        self.damping = damping
        if damping >= _SMALL:
            self._losses.clear()
            return
        self._losses.append(loss)
        if len(self._losses) == self._losses.maxlen:
            before, now = list(self._losses)[:_RECENT], list(self._losses)[_RECENT:]
            self.converging = self.converging or median(now) > _FALL * median(before)

    def state_dict(self) -> dict[str, Any]:
        return {"converging": self.converging, "damping": self.damping, "losses": list(self._losses)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.converging, self.damping = state["converging"], state["damping"]
        self._losses = deque(state["losses"], maxlen=2 * _RECENT)
