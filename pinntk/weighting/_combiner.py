"""What schemes share that combine the gradients of conditions; the only module that asks for TorchJD."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

from torch import Tensor

from pinntk.problem import Problem
from pinntk.weighting._weighting import Weighting

_NEEDED = ("torchjd", "qpsolvers", "quadprog")


class Combiner(Weighting):
    """A scheme that makes the step's gradient from those of the conditions; the loss weights are 1."""

    acts_on = "gradients"

    def __init__(self) -> None:
        if missing := [name for name in _NEEDED if find_spec(name) is None]:
            raise ImportError(
                f"weighting={self.describe()['name']!r} works by TorchJD, and {missing[0]} is not installed: "
                'pip install "pinntk[combiners]"'
            )

    def start(self, problem: Problem) -> dict[str, float]:
        """The loss weights lambda_i, all 1."""
        return dict.fromkeys(problem.names, 1.0)

    def update(
        self, weights: Mapping[str, float] | None, measured: Mapping[str, float], counts: Mapping[str, int]
    ) -> dict[str, float]:
        """They stay as they are."""
        return dict(weights or {})

    def combine(self, gradients: Tensor, seed: int = 0) -> Tensor:
        """The step's gradient (p,) from those of the conditions (m, p), in float64; zero ones are left out. Where one is not
        finite, the sum, which is not finite either.

        seed: of what is drawn, if anything is
        """
        rows = gradients.double()
        if not bool(rows.isfinite().all()):
            return rows.sum(0)
        rows = rows[rows.any(1)]
        if len(rows) < 2:
            return rows.sum(0)
        return self._combine(rows, seed)

    def _combine(self, rows: Tensor, seed: int) -> Tensor:
        """Of two or more gradients, none of them zero."""
        raise NotImplementedError

    def describe(self) -> dict[str, Any]:
        raise NotImplementedError


def torchjd(module: str) -> Any:
    """A module of TorchJD, imported where it is first needed."""
    return importlib.import_module(f"torchjd.{module}")
