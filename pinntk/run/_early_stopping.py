"""`EarlyStopping`: the end of a training that does not get better."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import inf, isfinite, isnan
from typing import Any

from pinntk._util.likeness import nearest
from pinntk.run._history import Run


@dataclass
class _Seen:
    """How far a history has been read: its first rows, and the last of them, by which it is known again."""

    rows: int = 0
    last: dict[str, float] | None = None
    values: int = 0  # that the rows have of the metric
    best: float = inf
    place: int = 0  # of the best among the values

    def begins(self, history: list[dict[str, float]]) -> bool:
        return self.rows <= len(history) and (not self.rows or history[self.rows - 1] is self.last)


@dataclass(frozen=True)
class EarlyStopping:
    """Ends a training whose measure has not got better for a while: `train(..., early_stopping=EarlyStopping("loss", 20))`.

    metric: a column of the history: "loss", "loss/NAME", "relative_error", ...
    patience: rows that have it, in which it may fail to get better than its best before
    least: by which a value must be better than that best to count, in the metric's units; 0 for any
    largest: whether larger values are the better ones

    It goes by `run.history` alone: a resumed training ends where the whole one would have. NaN is never better. It is also a
    function that follows a training, as in `train(..., on_log=...)` and `pinntk.Recorder(..., on_log=...)`, whose `log` then
    returns True.

    Raises ValueError, when it is first called, for a metric that the history does not have.

    >>> import pinntk
    >>> problem = pinntk.load("poisson1d")
    >>> network = pinntk.nn.MLP(problem, width=8, depth=1)
    >>> settings = {"optimizer": "gradient-descent", "lr": 1e-12, "log_every": 1, "points": {"residual": 5}, "progress": False}
    >>> run = pinntk.train(problem, network, steps=50, early_stopping=EarlyStopping("loss", 3, least=0.1), **settings)
    >>> run.step, run.stop_reason
    (4, 'loss has not got better for 3 rows')
    """

    metric: str = "loss"
    patience: int = 10
    least: float = 0.0
    largest: bool = False
    _seen: _Seen = field(default_factory=_Seen, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not isinstance(self.metric, str) or not self.metric:
            raise TypeError(f"EarlyStopping(metric={self.metric!r}): a column of the history, such as 'loss'")
        if not isinstance(self.patience, int) or isinstance(self.patience, bool) or self.patience < 1:
            raise ValueError(f"EarlyStopping(patience={self.patience!r}): a whole number of rows, at least 1")
        if not (isinstance(self.least, (int, float)) and isfinite(self.least) and self.least >= 0):
            raise ValueError(f"EarlyStopping(least={self.least!r}): a finite number of at least 0")

    def describe(self) -> dict[str, Any]:
        return {"metric": self.metric, "patience": self.patience, "least": self.least, "largest": self.largest}

    def __call__(self, run: Run) -> str:
        """The reason to stop; "" to go on."""
        seen = self._read(run.history)
        if not seen.values:
            known = list(dict.fromkeys(name for row in run.history for name in row))
            close = nearest(self.metric, known)
            hint = f"did you mean {close!r}?" if close else f"it has {', '.join(known)}"
            raise ValueError(f"EarlyStopping: the history has no column {self.metric!r}; {hint}")
        if seen.values - 1 - seen.place < self.patience:
            return ""
        return f"{self.metric} has not got better for {self.patience} rows"

    def _read(self, history: list[dict[str, float]]) -> _Seen:
        """The best value of a history, of which only the rows since the last call are read."""
        seen = self._seen if self._seen.begins(history) else _Seen()
        for row in history[seen.rows :]:
            if self.metric in row:
                self._compare(seen, float(row[self.metric]))
            seen.rows, seen.last = seen.rows + 1, row
        object.__setattr__(self, "_seen", seen)
        return seen

    def _compare(self, seen: _Seen, value: float) -> None:
        """A value is better that is smaller than the best before it."""
        value = inf if isnan(value) else -value if self.largest else value
        if not seen.values or value < seen.best - self.least or (seen.best == inf and value < inf):
            seen.best, seen.place = value, seen.values
        seen.values += 1
