"""Fresh points where the residual is large: residual-based adaptive distribution (Wu et al. 2023, CMAME 403:115671)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from math import isfinite
from typing import Any

import numpy as np
import torch
from torch import nn

from pinntk._util import distributed
from pinntk._util.precision import empty_like
from pinntk.geometry import _sampling as sampling
from pinntk.problem import Points, Problem
from pinntk.residuals._points import to_network
from pinntk.training._losses import error_values


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
    errors = errors_everywhere(network, problem, {name: points[name] for name in residual})
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


def errors_everywhere(network: nn.Module, problem: Problem, points: Points) -> dict[str, np.ndarray]:
    """Errors at all points, the same on every rank, each of which computes its share."""
    share = {name: rows for name, rows in distributed.shard(points).items() if len(rows)}
    found = error_values(network, problem, to_network(network, share)) if share else {}
    like = empty_like(network)
    device = None if like is None else like.device
    whole = {}
    for name, rows in points.items():
        own = found[name].double() if name in found else torch.empty(0, dtype=torch.float64, device=device)
        counts = [distributed.span_of(len(rows), rank) for rank in range(distributed.world())]
        whole[name] = distributed.gather_rows(own, [span.stop - span.start for span in counts]).cpu().numpy()
    return whole
