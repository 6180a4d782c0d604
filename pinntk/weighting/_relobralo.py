"""Loss weights from how far each loss has fallen: relative loss balancing with random lookback (Bischof & Kraus 2025)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from pinntk.problem import Problem
from pinntk.weighting._balance import check_update
from pinntk.weighting._progress import ratios, softmax
from pinntk.weighting._weighting import Weighting


class ReLoBRaLo(Weighting):
    """Weights that grow for losses that fall less than others (Bischof & Kraus 2025, CMAME 439:117914, arXiv 2110.09813):

        b_i(t, t') = m exp(L_i(t) / (T L_i(t'))) / sum_j exp(L_j(t) / (T L_j(t')))
        lambda_i(t) = alpha (rho lambda_i(t - 1) + (1 - rho) b_i(t, 0)) + (1 - alpha) b_i(t, t - 1)

    with lambda_i(0) = 1, so that the weights of the m conditions always add up to m. rho is drawn, 1 or 0: mostly the weights
    of before are kept, and now and then (the random lookback) all progress since the start counts. No gradient is needed.

    alpha: how slowly the weights follow, in [0, 1]
    rho: how probable it is that rho = 1, in [0, 1]
    temperature: T, above 0; a large one leaves the weights equal
    every: steps between t - 1 and t
    seed: of the draws

    L_i is mean(e_i^2) without any weight, of conditions that the network does not meet by construction. Those of the step
    before are known without another pass: the weights follow one step late, and cost nothing. What it remembers is in the
    checkpoint.

    >>> scheme = ReLoBRaLo(alpha=0.5, rho=1.0, temperature=1.0)
    >>> scheme.update(None, {"ends": 2.0, "poisson": 8.0}, {})
    {'ends': 1.0, 'poisson': 1.0}
    >>> found = scheme.update({"ends": 1.0, "poisson": 1.0}, {"ends": 2.0, "poisson": 2.0}, {})
    >>> {name: round(weight, 3) for name, weight in found.items()}
    {'ends': 1.179, 'poisson': 0.821}
    """

    measures = "losses"

    def __init__(self, alpha: float = 0.999, rho: float = 0.999, temperature: float = 0.1, every: int = 1, seed: int = 0):
        check_update(every, 0.0)
        for name, value in (("alpha", alpha), ("rho", rho)):
            if not isinstance(value, (int, float)) or not 0 <= value <= 1:
                raise ValueError(f"{name}={value!r}: from 0 to 1")
        if not isinstance(temperature, (int, float)) or not 0 < temperature < float("inf"):
            raise ValueError(f"temperature={temperature!r}: a finite number above 0")
        if not isinstance(seed, int) or not 0 <= seed < 2**63:
            raise ValueError(f"seed={seed!r}: a whole number of at least 0, below 2^63")
        self.alpha, self.rho, self.temperature, self.every, self.seed = alpha, rho, temperature, every, seed
        self._forget()

    def _forget(self) -> None:
        self._first: dict[str, float] = {}
        self._before: dict[str, float] = {}
        self._draws = 0

    def start(self, problem: Problem) -> dict[str, float]:
        """All 1."""
        self._forget()
        return dict.fromkeys(problem.names, 1.0)

    def balance(self, losses: Mapping[str, float], earlier: Mapping[str, float]) -> dict[str, float]:
        """b_i(t, t') from L_i(t) and L_i(t')."""
        return softmax({name: ratio / self.temperature for name, ratio in ratios(losses, earlier).items()})

    def update(
        self, weights: Mapping[str, float] | None, losses: Mapping[str, float], counts: Mapping[str, int]
    ) -> dict[str, float]:
        """The next weights; `weights` None at the first losses, which are L_i(0)."""
        if weights is None:
            self._first = self._before = dict(losses)
            return dict.fromkeys(losses, 1.0)
        lately, whole = self.balance(losses, self._before), self.balance(losses, self._first)
        rho = float(self._draw() < self.rho)
        self._before = dict(losses)
        return {
            name: self.alpha * (rho * weights[name] + (1 - rho) * whole[name]) + (1 - self.alpha) * lately[name]
            for name in losses
        }

    def _draw(self) -> float:
        """Uniform in [0, 1), of the seed and the number of draws before alone."""
        generator = torch.Generator().manual_seed(self.seed + _BETWEEN * self._draws)
        self._draws += 1
        return float(torch.rand((), generator=generator, dtype=torch.float64))

    def describe(self) -> dict[str, Any]:
        settings = {"alpha": self.alpha, "rho": self.rho, "temperature": self.temperature, "every": self.every}
        return {"name": "relobralo", **settings, "seed": self.seed}

    def state_dict(self) -> dict[str, Any]:
        return {"first": dict(self._first), "before": dict(self._before), "draws": self._draws}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._first, self._before, self._draws = dict(state["first"]), dict(state["before"]), state["draws"]


_BETWEEN = 1_000_003  # the seeds of one draw and the next
