"""What schemes share that compare losses with earlier ones."""

from __future__ import annotations

from collections.abc import Mapping
from math import exp, inf, isinf


def ratios(now: Mapping[str, float], before: Mapping[str, float]) -> dict[str, float]:
    """L_i / L_i before; 1 where both are zero."""
    return {name: loss / before[name] if before[name] > 0 else (inf if loss > 0 else 1.0) for name, loss in now.items()}


def softmax(values: Mapping[str, float]) -> dict[str, float]:
    """m exp(v_i) / sum_j exp(v_j), in sum the number m of conditions; infinite values share it."""
    largest = max(values.values())
    shares = {name: float(isinf(v)) if isinf(largest) else exp(v - largest) for name, v in values.items()}
    total = sum(shares.values())
    return {name: len(values) * share / total for name, share in shares.items()}
