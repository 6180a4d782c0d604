"""`EarlyStopping`: the end of a training that does not get better."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from math import isfinite

import numpy as np

from pinntk.run._history import Run


@dataclass(frozen=True)
class EarlyStopping:
    """Ends a training whose measure has not got better for a while: `train(..., on_log=EarlyStopping("relative_error", 20))`.

    metric: a column of the history: "loss", "loss/NAME", "relative_error", ...
    patience: rows that have it, in which it may fail to get better than its best before
    least: by which a value must be better than that best to count, in the metric's units; 0 for any
    largest: whether larger values are the better ones

    It reads `run.history` and keeps nothing itself: a resumed training ends where the whole one would have. NaN is never
    better. Works for `pinntk.Recorder(..., on_log=...)` too, whose `log` then returns True.

    Raises ValueError, when it is first called, for a metric that the history does not have.

    >>> import pinntk
    >>> problem = pinntk.load("poisson1d")
    >>> network = pinntk.nn.MLP(problem, width=8, depth=1)
    >>> settings = {"optimizer": "gradient-descent", "lr": 1e-12, "log_every": 1, "points": {"residual": 5}, "progress": False}
    >>> run = pinntk.train(problem, network, steps=50, on_log=EarlyStopping("loss", 3, least=0.1), **settings)
    >>> run.step, run.stop_reason
    (4, 'loss has not got better for 3 rows')
    """

    metric: str = "loss"
    patience: int = 10
    least: float = 0.0
    largest: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.metric, str) or not self.metric:
            raise TypeError(f"EarlyStopping(metric={self.metric!r}): a column of the history, such as 'loss'")
        if not isinstance(self.patience, int) or isinstance(self.patience, bool) or self.patience < 1:
            raise ValueError(f"EarlyStopping(patience={self.patience!r}): a whole number of rows, at least 1")
        if not (isinstance(self.least, (int, float)) and isfinite(self.least) and self.least >= 0):
            raise ValueError(f"EarlyStopping(least={self.least!r}): a finite number of at least 0")

    def __call__(self, run: Run) -> str:
        """The reason to stop; "" to go on."""
        _, values = run.column(self.metric)
        if not len(values):
            known = list(dict.fromkeys(name for row in run.history for name in row))
            close = get_close_matches(self.metric, known, 1)
            hint = f"did you mean {close[0]!r}?" if close else f"it has {', '.join(known)}"
            raise ValueError(f"EarlyStopping: the history has no column {self.metric!r}; {hint}")
        if self._since_best(values if not self.largest else -values) < self.patience:
            return ""
        return f"{self.metric} has not got better for {self.patience} rows"

    def _since_best(self, values: np.ndarray) -> int:
        """Rows since the last value that was better, smaller, than the best before it."""
        values = np.where(np.isnan(values), np.inf, values)
        best, place = values[0], 0
        for k, value in enumerate(values):
            if value < best - self.least or (np.isinf(best) and value < best):
                best, place = value, k
        return len(values) - 1 - place
