"""Points that stay while their errors are large: R3 sampling (Daw et al. 2023, ICML, arXiv 2207.02338)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pinntk.problem import Points, Problem
from pinntk.training._error_values import ErrorValues


@dataclass(frozen=True)
class R3:
    """Retain, resample, release: points of a residual condition with |e| above its mean stay, and the others are drawn anew.

    So points gather where errors are large, and leave when these have fallen.

    The number of points stays. Conditions that share their points retain by the sum of their |e|, each over its own mean.

    >>> R3().retained([np.array([0.0, 3.0, -5.0, 0.0])])
    array([False,  True,  True, False])
    """

    def retained(self, errors: Sequence[np.ndarray]) -> np.ndarray:
        """Which points (n,) stay, from the errors (n,) of the conditions that share them."""
        sizes = [np.abs(e) for e in errors]
        means = [size.mean() for size in sizes]
        total = sum((size / mean for size, mean in zip(sizes, means, strict=True) if mean > 0), np.zeros(len(sizes[0])))
        return np.asarray(total > sum(mean > 0 for mean in means))

    def describe(self) -> str:
        return "r3"


def retained_points(
    r3: R3, network: nn.Module, problem: Problem, points: Points, counts: Mapping[str, int], *, seed: int, **settings: Any
) -> dict[str, Tensor]:
    """The next points: of residual conditions those of `points` that `r3` retains, before others of
    `problem.sample(seed=seed, **settings)`; of other conditions fresh ones.

    counts: {condition: n} of those that are drawn
    """
    residual = [c.name for c in problem.conditions if c.kind == "residual" and c.region.given is None and c.name in points]
    found = ErrorValues(network, problem).everywhere({name: points[name] for name in residual})
    errors = {name: e.cpu().numpy() for name, e in found.items()}
    kept: dict[int, Tensor] = {}
    for name in residual:
        rows = points[name]
        if id(rows) not in kept:
            chosen = r3.retained([errors[other] for other in residual if points[other] is rows])
            kept[id(rows)] = rows.detach().cpu().double()[torch.from_numpy(chosen)]
    fewer = {name: n - len(kept[id(points[name])]) if name in residual else n for name, n in counts.items()}
    fresh = problem.sample(fewer, seed=seed, **settings)
    made: dict[int, Tensor] = {}
    for name in residual:
        own = id(points[name])
        if own not in made:
            made[own] = torch.cat([kept[own], fresh[name].cpu().double()])
    return {name: made[id(points[name])] if name in residual else rows for name, rows in fresh.items()}
