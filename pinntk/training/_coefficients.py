"""Unknown coefficients in sizes of their own: c = s theta, and the optimizer moves theta."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isfinite, log2
from typing import Any

import torch
from torch import Tensor

from pinntk.problem import Problem
from pinntk.residuals import scales


def make_coefficient_scales(given: Any) -> dict[str, float] | None:
    """{coefficient: s}, or None. Raises TypeError or ValueError for anything else."""
    if given is None:
        return None
    if not isinstance(given, Mapping):
        raise TypeError(f"coefficient_scales={given!r}: a size by coefficient, as in {{'A': 1e8}}, or {{}} for none")
    for name, size in given.items():
        if not isinstance(size, (int, float)) or isinstance(size, bool) or not (isfinite(size) and size > 0):
            raise ValueError(f"coefficient_scales={given!r}: {name!r} needs a finite size above 0")
    return {name: float(size) for name, size in given.items()}


def coefficient_scales(problem: Problem, given: Mapping[str, float] | None) -> dict[str, float]:
    """{coefficient: s}, each a power of 2, so that theta = c / s has the digits of c.

    given: the sizes; None for those that `pinntk.diagnostics.scales` finds far from 1. Raises ValueError for an unknown name.
    """
    if given is None:
        device = next((value.device for value in problem.coefficients.values()), None)
        given = scales(problem, device=device).far_coefficients if len(problem.coefficients) else {}
    for name in given:
        if name not in problem.coefficients:
            raise ValueError(f"coefficient_scales: {name!r} is no coefficient; {problem.name} has {(*problem.coefficients,)}")
    return {name: 2.0 ** round(log2(size)) for name, size in given.items()}


class ScaledCoefficients:
    """theta = c / s beside the problem's own trained coefficients c, with s = 1 where `scales` names none."""

    def __init__(self, problem: Problem, scales: Mapping[str, float]):
        trained = {name: c for name, c in problem.coefficients.items() if c.requires_grad}
        self.scales = {name: scales.get(name, 1.0) for name in trained}
        self._pairs = {name: (c, torch.zeros_like(c).requires_grad_()) for name, c in trained.items()}
        self.take()

    def in_place_of(self, parameters: Sequence[Tensor]) -> list[Tensor]:
        """The parameters, theta in the place of c."""
        by_id = {id(c): theta for c, theta in self._pairs.values()}
        return [by_id.get(id(p), p) for p in parameters]

    def load(self, scales: Mapping[str, float]) -> None:
        """Those of a checkpoint, whose optimizer knows theta in them."""
        self.scales = {name: scales.get(name, 1.0) for name in self._pairs}
        self.take()

    @torch.no_grad()
    def take(self) -> None:
        """theta from c."""
        for name, (c, theta) in self._pairs.items():
            theta.copy_(c / self.scales[name])

    @torch.no_grad()
    def give(self) -> None:
        """c from theta."""
        for name, (c, theta) in self._pairs.items():
            c.copy_(self.scales[name] * theta)

    def pull(self) -> None:
        """The gradient in theta from that in c."""
        for name, (c, theta) in self._pairs.items():
            theta.grad = None if c.grad is None else self.scales[name] * c.grad
