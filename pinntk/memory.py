"""Memory budgets as a user writes them."""

from __future__ import annotations

import re

_UNITS = {"": 1, "B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "kB": 10**3, "MB": 10**6, "GB": 10**9}


def parse_bytes(amount: int | str) -> int:
    """Bytes from a number or from text such as "2GiB" or "500 MB".

    >>> parse_bytes("2GiB")
    2147483648
    """
    if isinstance(amount, int):
        found, unit = float(amount), ""
    else:
        match = re.fullmatch(r"\s*([0-9.]+)\s*([A-Za-z]*)\s*", str(amount))
        found, unit = (float(match[1]), match[2]) if match and match[1].count(".") <= 1 else (-1.0, "")
    if unit not in _UNITS or found <= 0:
        raise ValueError(f"max_memory={amount!r}: a positive number of bytes, or text such as '2GiB' or '500MB'")
    return int(found * _UNITS[unit])
