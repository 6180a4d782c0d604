"""Self-adaptive weights: every training point has its own, trained by gradient ascent (McClenny & Braga-Neto 2023)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Any

import torch
from torch import Tensor

from pinntk.problem import Points, Problem
from pinntk.weighting._point_scheme import PointScheme, named_conditions

_ASCENTS = {"adam": torch.optim.Adam, "gradient-ascent": torch.optim.SGD}
_SEED = 7919  # apart from the points' seeds


class SelfAdaptive(PointScheme):
    """A weight lambda_ip for every training point p of condition i (McClenny & Braga-Neto 2023, JCP 474:111722):

        L = sum_i 1/n_i sum_p m(lambda_ip) e_ip^2,    descended in theta and ascended in lambda, at once

    so that weights grow where errors stay large. m is the mask; m(lambda_ip) are the point weights, `Run.point_weights`.

    lr: of the ascent, 0 for weights that stay as they are
    initial: what lambda begins with: a number, or (low, high) of a uniform distribution, drawn with the training's seed; for
        all conditions, or by name or kind, name first, as in {"residual": (0, 1), "initial": (0, 100)}, where the conditions
        not named have no point weights. A tensor (n,) for a condition gives every point its own
    mask: q for m(lambda) = lambda^q, or "sigmoid"
    optimizer: "adam", or "gradient-ascent" for plain steps

    Weights belong to points, which therefore stay: `resample` is refused, and so are causal weights beside them and solvers. A
    checkpoint holds them. They cost a forward pass without gradient before each step, about a third of an
    eager one. The log's loss/NAME stays the plain mean(e_i^2); its "loss" is what is minimized, and mean_point_weight/NAME and
    max_point_weight/NAME are those of m(lambda). A diagnosis counts all points alike. Loss weights of conditions go beside
    them: weighting=["ntk", "self-adaptive"].

    To go on with the weights that a first training found, as the authors do with L-BFGS: `SelfAdaptive(lr=0, initial={name: g
    ** 0.5 for name, g in run.point_weights.items()})` on the same points.

    >>> SelfAdaptive(mask=2).apply_mask(torch.tensor([0.5, 3.0]))
    tensor([0.2500, 9.0000])
    """

    def __init__(
        self,
        lr: float = 5e-3,
        initial: float | Sequence[float] | Mapping[str, Any] = 1.0,
        mask: float | str = 2.0,
        optimizer: str = "adam",
    ):
        if not isinstance(lr, (int, float)) or not 0 <= lr < float("inf"):
            raise ValueError(f"lr={lr!r}: a finite number of at least 0")
        if mask != "sigmoid" and not (isinstance(mask, (int, float)) and 0 < mask < float("inf")):
            raise ValueError(f"mask={mask!r}: a power above 0, or 'sigmoid'")
        if optimizer not in _ASCENTS:
            raise ValueError(f"optimizer={optimizer!r} is unknown; use one of {', '.join(_ASCENTS)}")
        self.lr, self.mask, self.optimizer = float(lr), mask, optimizer
        self.initial = dict(initial) if isinstance(initial, Mapping) else initial
        for value in self.initial.values() if isinstance(self.initial, dict) else (self.initial,):
            self._check(value)

    def _check(self, value: Any) -> None:
        """Raises ValueError for what lambda cannot begin with."""
        if isinstance(value, Tensor):
            valid, low = value.ndim == 1 and bool(value.isfinite().all()), float(value.min())
        elif isinstance(value, Sequence) and not isinstance(value, str):
            numbers = all(isinstance(part, (int, float)) and isfinite(part) for part in value)
            valid = len(value) == 2 and numbers and value[0] < value[1]
            low = value[0] if valid else 0
        else:
            valid = isinstance(value, (int, float)) and isfinite(value) and (value != 0 or self.mask == "sigmoid")
            low = value if valid else 0
        if not valid or (low < 0 and self.mask != "sigmoid"):
            raise ValueError(
                f"initial={value!r}: a number above 0, (low, high) of at least 0, or a tensor (n,) of a condition's points; "
                "what config.json calls 'given' was a tensor: give it"
            )

    def names(self, problem: Problem) -> list[str]:
        """The conditions with point weights. Raises ValueError for a name that the problem does not have."""
        if not isinstance(self.initial, dict):
            return list(problem.names)
        return named_conditions(problem, "initial of", list(self.initial))

    def first(self, problem: Problem, points: Points, seed: int) -> dict[str, Tensor]:
        """lambda before the first step, {condition: (n,)} in float64. Raises ValueError for a tensor of another size."""
        generator, found = torch.Generator().manual_seed(seed + _SEED), {}
        for name in self.names(problem):
            if name not in points:
                continue
            n, value = len(points[name]), self.initial
            if isinstance(value, dict):
                value = value[name] if name in value else value[problem[name].kind]
            if isinstance(value, Tensor):
                if value.shape != (n,):
                    raise ValueError(f"initial of {name!r} has shape {tuple(value.shape)}; expected ({n},), one per point")
                found[name] = value.detach().double().clone()
            elif isinstance(value, Sequence):
                low, high = value
                found[name] = low + (high - low) * torch.rand(n, generator=generator, dtype=torch.float64)
            else:
                found[name] = torch.full((n,), float(value), dtype=torch.float64)
            found[name] = found[name].to(points[name].device)
        return found

    def apply_mask(self, weights: Tensor) -> Tensor:
        """m(lambda)."""
        return torch.sigmoid(weights) if isinstance(self.mask, str) else weights**self.mask

    def ascent(self, weights: list[Tensor]) -> torch.optim.Optimizer:
        """The optimizer that raises the loss in lambda."""
        return _ASCENTS[self.optimizer](weights, lr=self.lr, maximize=True)

    def describe(self) -> dict[str, Any]:
        initial = self.initial
        return {
            "name": "self-adaptive",
            "lr": self.lr,
            "initial": {k: _as_json(v) for k, v in initial.items()} if isinstance(initial, dict) else _as_json(initial),
            "mask": self.mask,
            "optimizer": self.optimizer,
        }


def _as_json(value: Any) -> Any:
    return "given" if isinstance(value, Tensor) else list(value) if isinstance(value, Sequence) else value
