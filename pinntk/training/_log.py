"""The log of a training: rows of its history, and the progress bar."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor
from tqdm import tqdm

from pinntk._util import distributed
from pinntk.run import Run
from pinntk.training._batch import Batch
from pinntk.training._losses import weighted_sum
from pinntk.training._point_weights import PointWeights


class Log:
    """Writes to `run.history`, and shows the last row beside the progress bar."""

    def __init__(self, run: Run, point_weights: PointWeights | None, names: list[str]):
        self.run, self.point_weights, self.names = run, point_weights, names

    def bar(self, steps: int, done: int, shown: bool) -> tqdm:
        return tqdm(
            desc=self.run.problem.name,
            total=steps,
            initial=done,
            disable=None if shown and distributed.rank() == 0 else True,
            dynamic_ncols=True,
            bar_format="{desc} {n_fmt}/{total_fmt} [{remaining} left]{postfix}",
        )

    def add(self, time: Mapping[str, float], losses: Mapping[str, Tensor], batch: Batch, measured: Mapping[str, float]) -> None:
        """One row.

        time: step, seconds and what else comes first
        losses: that are minimized; their weighted sum is "loss". loss/NAME is without any weight
        """
        row = dict(time)
        row["loss"] = float(weighted_sum(losses, batch.weights))
        row |= {f"loss/{name}": float(loss) for name, loss in losses.items()}
        if self.point_weights is not None:
            row |= {f"loss/{name}": float(loss) for name, loss in self.point_weights.plain_losses.items()}
        row |= {f"weight/{name}": batch.weights[name] for name in self.names}
        self.run.history.append({**row, **measured})

    def summary(self) -> str:
        """The last relative error measured, each condition's loss and weight in their order."""
        if not self.run.history:
            return ""
        last = self.run.history[-1]
        losses = " ".join(f"{last[f'loss/{name}']:.1e}" for name in self.names)
        weights = " ".join(f"{last[f'weight/{name}']:.3g}" for name in self.names)
        relative = "" if self.run.relative_error is None else f"relative error {self.run.relative_error:.1e}, "
        return f"{relative}losses {losses}, weights {weights}"
