"""The quantities that packages make loss weights of, under whatever name."""

from __future__ import annotations

from collections.abc import Mapping
from math import inf


def measures(trace: float, n: int, norm: float, pulled: float, summed: float) -> dict[str, float]:
    """Of one condition, by name: what its weight is the inverse of, see `pinntk.diagnostics.weights_by_name`.

    trace, n: Tr K_ii, and its number of points; norm, pulled: |e_i| and |J_i^T e_i|; summed: 1^T K_ii 1 = |J_i^T 1|^2
    """
    gradient = 2 * pulled / n
    return {
        "trace": trace,
        "mean-diagonal": trace / n,
        "kernel-sum": max(0.0, summed),
        "root-loss-gradient": pulled / (norm * n**0.5) if norm else 0.0,
        "root-sum-gradient": pulled / norm if norm else 0.0,
        "inverted-gradient": 1 / gradient if gradient else inf,
        "gradient-norm": gradient,
    }


def inverse_shares(measure: Mapping[str, float]) -> dict[str, float]:
    """Weights proportional to 1 / measure with sum 1; measures of 0 and of infinity as limits."""
    least = min(measure.values())
    if least in (0, inf):
        alike = [name for name, value in measure.items() if value == least]
        return {name: (name in alike) / len(alike) for name in measure}
    total = sum(least / value for value in measure.values())
    return {name: least / value / total for name, value in measure.items()}
