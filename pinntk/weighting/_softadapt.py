"""Loss weights from how fast each loss changes: SoftAdapt (Heydari, Thompson & Mehmood 2019)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pinntk.problem import Problem
from pinntk.weighting._balance import check_update
from pinntk.weighting._progress import ratios, softmax
from pinntk.weighting._weighting import Weighting

VARIANTS = ("ratio", "original", "normalized", "loss-weighted")


class SoftAdapt(Weighting):
    """Weights that grow for losses that fall slowly or rise (Heydari, Thompson & Mehmood 2019, arXiv 1912.12355):

        lambda_i = m exp(beta s_i) / sum_j exp(beta s_j)

    in sum the number m of conditions (the paper's add up to 1), with s_i, from the losses at this update and the one before,

    variant:
        "ratio": L_i(t) / L_i(t - 1), the form for PINNs, whose losses differ by orders of magnitude (Bischof & Kraus 2025)
        "original": L_i(t) - L_i(t - 1)
        "normalized": that over sum_j |L_j(t) - L_j(t - 1)|
        "loss-weighted": as "original", with L_i(t) exp(beta s_i) in place of exp(beta s_i)
    beta: above 0 favors the slow, below 0 the fast, 0 none; the paper's own variants have 0.1
    every: steps between t - 1 and t

    L_i is mean(e_i^2) without any weight, of conditions that the network does not meet by construction, as known from the step
    before: the weights follow one step late, and cost nothing. The losses at the last update are in the checkpoint.

    >>> scheme = SoftAdapt()
    >>> scheme.update(None, {"ends": 2.0, "poisson": 8.0}, {})
    {'ends': 1.0, 'poisson': 1.0}
    >>> found = scheme.update({"ends": 1.0, "poisson": 1.0}, {"ends": 2.0, "poisson": 2.0}, {})
    >>> {name: round(weight, 3) for name, weight in found.items()}
    {'ends': 1.358, 'poisson': 0.642}
    """

    measures = "losses"

    def __init__(self, variant: str = "ratio", beta: float = 1.0, every: int = 1):
        check_update(every, 0.0)
        if variant not in VARIANTS:
            raise ValueError(f"variant={variant!r}: one of {', '.join(map(repr, VARIANTS))}")
        if not isinstance(beta, (int, float)) or not abs(beta) < float("inf"):
            raise ValueError(f"beta={beta!r}: a finite number")
        self.variant, self.beta, self.every = variant, beta, every
        self._before: dict[str, float] = {}

    def start(self, problem: Problem) -> dict[str, float]:
        """All 1."""
        self._before = {}
        return dict.fromkeys(problem.names, 1.0)

    def rule(self, losses: Mapping[str, float], before: Mapping[str, float]) -> dict[str, float]:
        """Weights from L_i(t) and L_i(t - 1)."""
        if self.variant == "ratio":
            rates = ratios(losses, before)
        else:
            rates = {name: loss - before[name] for name, loss in losses.items()}
        if self.variant == "normalized":
            total = sum(map(abs, rates.values()))
            rates = {name: rate / total if total else 0.0 for name, rate in rates.items()}
        weights = softmax({name: self.beta * rate if self.beta else 0.0 for name, rate in rates.items()})
        if self.variant == "loss-weighted":
            weights = {name: weight * losses[name] for name, weight in weights.items()}
            total = sum(weights.values())
            weights = {name: len(weights) * weight / total if total else 1.0 for name, weight in weights.items()}
        return weights

    def update(
        self, weights: Mapping[str, float] | None, losses: Mapping[str, float], counts: Mapping[str, int]
    ) -> dict[str, float]:
        """The next weights; 1 at the first losses, where `weights` is None."""
        found = dict.fromkeys(losses, 1.0) if weights is None else self.rule(losses, self._before)
        self._before = dict(losses)
        return found

    def describe(self) -> dict[str, Any]:
        return {"name": "softadapt", "variant": self.variant, "beta": self.beta, "every": self.every}

    def state_dict(self) -> dict[str, Any]:
        return {"before": dict(self._before)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._before = dict(state["before"])
