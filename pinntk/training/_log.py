"""The log of a training: rows of its history, and the progress bar."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from torch import Tensor

from pinntk._util.progress import Progress, short
from pinntk.problem._slabs import slab_name
from pinntk.run import Run
from pinntk.training._batch import Batch
from pinntk.training._losses import weighted_sum


class Log:
    """Writes to `run.history`, and shows the last row beside the progress bar."""

    def __init__(self, run: Run, names: list[str]):
        self.run, self.names = run, names

    def progress(self, steps: int, seconds: float | None, shown: bool, clock: Callable[[], float]) -> Progress:
        run, slab = self.run, self.run.problem.slab
        name = f"{run.problem.name}, {slab_name(slab['number'])}" if slab else run.problem.name
        return Progress(name, steps, done=run.step, seconds=seconds, spent=run.seconds, shown=shown, kept=True, now=clock)

    def add(
        self,
        time: Mapping[str, float],
        losses: Mapping[str, Tensor],
        plain: Mapping[str, Tensor],
        batch: Batch,
        measured: Mapping[str, float],
    ) -> None:
        """One row.

        time: step, seconds and what else comes first
        losses: that are minimized; their weighted sum is "loss"
        plain: loss/NAME, without any weight, of those conditions in which that is another
        """
        row = dict(time)
        row["loss"] = float(weighted_sum(losses, batch.weights))
        row |= {f"loss/{name}": float(loss) for name, loss in {**losses, **plain}.items()}
        row |= {f"weight/{name}": batch.weights[name] for name in self.names}
        self.run.history.append({**row, **measured})

    def summary(self, status: str = "") -> list[str]:
        """For the line of progress, most important first: the weighted loss, the last relative error measured, what the
        optimizer says of itself, and the conditions' losses, of which the one that weighs most comes first.
        """
        if not self.run.history:
            return [status] if status else []
        last, relative = self.run.history[-1], self.run.relative_error
        weighted = {name: last[f"weight/{name}"] * last[f"loss/{name}"] for name in self.names}
        return [
            f"weighted loss {short(last['loss'])}",
            *([] if relative is None else [f"relative error {short(relative)}"]),
            *([status] if status else []),
            *(f"{name} {short(last[f'loss/{name}'])}" for name in sorted(self.names, key=weighted.__getitem__, reverse=True)),
        ]
