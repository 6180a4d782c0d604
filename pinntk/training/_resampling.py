"""Fresh points where the residual is large: residual-based adaptive distribution (Wu et al. 2023, CMAME 403:115671)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from math import isfinite
from typing import Any

import numpy as np
import torch
from torch import nn

from pinntk.geometry import _sampling as sampling
from pinntk.problem import Problem
from pinntk.residuals._points import to_network
from pinntk.training._error_values import ErrorValues


@dataclass(frozen=True)
class RAD:
    r"""Points of residual conditions drawn from candidates, without repetition, with probability

        p(x) ~ |e(x)|^power / mean(|e|^power) + floor

    power, floor: k and c of the paper; a large floor is uniform sampling, a large power crowds the worst places
    candidates: as many times the points, at least 2, fresh in every draw

    The draw is systematic: it takes each candidate with exactly n p, at most 1, and keeps the evenness of Sobol candidates.
    Gradient optimizers train on the points as they fall, as in the paper; solvers weigh each by one over its probability.

    Conditions that share their points are drawn by the sum of their densities, each over its own mean.
    """

    power: float = 1.0
    floor: float = 1.0
    candidates: int = 10

    def __post_init__(self) -> None:
        for name in ("power", "floor"):
            value = getattr(self, name)
            if not isinstance(value, (int, float)) or not (isfinite(value) and value > 0):
                raise ValueError(f"RAD({name}={value!r}): a finite number above 0")
        if not isinstance(self.candidates, int) or self.candidates < 2:
            raise ValueError(f"RAD(candidates={self.candidates!r}): a whole number of at least 2, times the points")

    def density(self, errors: Sequence[np.ndarray]) -> np.ndarray:
        """Probabilities (n,) of candidates from the errors (n,) of the conditions that share them, in sum 1."""
        total = np.zeros(len(errors[0]))
        for e in errors:
            largest = np.abs(e).max()
            # Zero errors say nothing, nor do infinite ones: at the next step the training loop names their condition.
            share = (np.abs(e) / largest) ** self.power if 0 < largest < np.inf else np.ones(len(e))
            total += share / share.mean() + self.floor
        return total / total.sum()

    def describe(self) -> dict[str, float]:
        return asdict(self)


def adapted_points(
    rad: RAD, network: nn.Module, problem: Problem, counts: Mapping[str, int], *, seed: int, **settings: Any
) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """`problem.sample(counts, seed=seed, **settings)`, with the points of residual conditions drawn by `rad`; and
    importance weights of these: g (n,), n / N over the probability of being drawn from the N candidates, with which mean(g e^2)
    estimates the mean of e^2 over all candidates without bias.

    counts: {condition: n}. Depends on the seed and on the network only.
    """
    residual = [c.name for c in problem.conditions if c.kind == "residual" and c.region.given is None]
    many = {name: rad.candidates * n if name in residual else n for name, n in counts.items()}
    points = problem.sample(many, seed=seed, **settings)
    found = ErrorValues(network, problem).everywhere(to_network(network, {name: points[name] for name in residual}))
    errors = {name: e.cpu().numpy() for name, e in found.items()}
    chosen: dict[int, torch.Tensor] = {}
    weights: dict[str, torch.Tensor] = {}
    for name in residual:
        rows = points[name]
        if id(rows) not in chosen:
            together = [other for other in residual if points[other] is rows]
            rng = sampling.generator(seed, "RAD", *together)
            density = rad.density([errors[other] for other in together])
            places, shares = _systematic(density, min(counts[name], len(rows)), rng)
            chosen[id(rows)] = rows[torch.from_numpy(places)]
            weights |= dict.fromkeys(together, torch.from_numpy(len(places) / (len(rows) * shares[places])))
    return {name: chosen.get(id(rows), rows) for name, rows in points.items()}, weights


def _systematic(density: np.ndarray, n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Indices (n,) of a sample without repetition, and the probabilities (N,) of being in it, min(1, c density_i) with c such
    that they add up to n (Madow 1949).
    """
    share = n * density / density.sum()
    while share.max() > 1 + 1e-12:  # those taken for certain leave the rest to the others
        certain = share >= 1
        rest = np.where(certain, 0.0, density)
        share = np.where(certain, 1.0, (n - certain.sum()) * rest / rest.sum())
    turns = np.cumsum(share)
    turns *= n / turns[-1]
    return np.searchsorted(turns, np.arange(n) + rng.random(), side="right").clip(max=len(density) - 1), share
