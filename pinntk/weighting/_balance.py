"""The rule that balancing schemes share: lambda_i = sum_j s_j / s_i, with s_i the size of condition i."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from pinntk._util.warn import warn_user

Key = TypeVar("Key", str, tuple[str, ...])  # a condition, or several that share one weight


def check_update(every: int, momentum: float) -> None:
    """Raises ValueError for an `every` or a `momentum` that no scheme can have."""
    if not isinstance(every, int) or every < 1:
        raise ValueError(f"every={every!r}: a whole number of steps, at least 1")
    if not 0 <= momentum < 1:
        raise ValueError(f"momentum={momentum!r}: at least 0 and below 1")


def balance(sizes: Mapping[Key, float], warned: set[Key], complaint: str, rounding: float = 0.0) -> dict[Key, float]:
    """sum_j s_j / s_i, and 1 where s_i is zero: of that a warning, `complaint`, once per key, kept in `warned`.

    rounding: share of the sum that counts as zero, where who measures s_i does not put a zero there
    """
    total = sum(sizes.values())
    for key, size in sizes.items():
        if size <= rounding * total and key not in warned:
            warned.add(key)
            name = key if isinstance(key, str) else " + ".join(key)
            warn_user(f"condition {name} {complaint}; its weight stays 1")
    return {key: total / size if size > rounding * total else 1.0 for key, size in sizes.items()}


def moving_average(old: Mapping[str, float] | None, fresh: Mapping[str, float], momentum: float) -> dict[str, float]:
    """The moving average; `old` None before the first update, and 0 of a condition that was out of the loss until now."""
    if old is None:
        return dict(fresh)
    return {name: momentum * old[name] + (1 - momentum) * value if old[name] else value for name, value in fresh.items()}
