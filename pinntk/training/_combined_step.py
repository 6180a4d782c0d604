"""The gradient of a training step, combined from those of the conditions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from pinntk._util import distributed
from pinntk.training._batch import Batch
from pinntk.training._losses import flatten
from pinntk.weighting._combiner import Combiner


class CombinedStep:
    """Takes the gradients of lambda_i L_i apart, and leaves what a `Combiner` makes of them in `p.grad`.

    apart: computes each condition's loss, one after the other, with the gradient of its lambda_i L_i in `p.grad`
    parameters: what the optimizer moves
    seed: of what a combiner draws, with the number of the step
    """

    def __init__(
        self,
        combiner: Combiner,
        apart: Callable[[Batch], Iterable[tuple[str, Tensor]]],
        parameters: Sequence[Tensor],
        seed: int,
    ):
        self.combiner, self._apart, self._parameters, self._seed = combiner, apart, list(parameters), seed
        self.steps = 0
        self._rows: list[Tensor] = []

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """This process's share of them, with every condition's gradient kept for `combine`."""
        found: dict[str, Tensor] = {}
        rows: dict[str, Tensor] = {}
        for name, loss in self._apart(batch) if batch.points else ():
            found[name] = loss
            rows[name] = flatten([torch.zeros_like(p) if p.grad is None else p.grad for p in self._parameters])
        nothing = torch.zeros_like(flatten(self._parameters))
        self._rows = [rows.get(name, nothing) for name in batch.counts]
        return found

    def combine(self) -> None:
        """Leaves the gradient of the step, over all processes, in `p.grad`."""
        combined = self.combiner.combine(distributed.all_sum(torch.stack(self._rows)), self._seed + self.steps)
        self.steps += 1
        sizes = [p.numel() * (2 if p.is_complex() else 1) for p in self._parameters]
        for p, part in zip(self._parameters, combined.split(sizes), strict=True):
            values = torch.view_as_complex(part.view(*p.shape, 2)) if p.is_complex() else part.view_as(p)
            p.grad = values.to(p)

    def state_dict(self) -> dict[str, Any]:
        return {"steps": self.steps}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.steps = state["steps"]
