"""Memory: budgets as a user writes them, and refusals of what does not fit before it is begun."""

from __future__ import annotations

import os
import re
import sys
from math import inf
from pathlib import Path

import torch

if sys.platform != "win32":
    import resource

_UNITS = {"": 1, "B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "kB": 10**3, "MB": 10**6, "GB": 10**9}
_SMALL = 2**27  # bytes that nobody asks for
_CGROUP = Path("/sys/fs/cgroup")


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


def require(needed: float, what: str, instead: str, device: torch.device | str = "cpu") -> None:
    """Raises MemoryError before the work begins where `needed` bytes are more than `device` has left.

    what: needs them, as "the kernel of 100000000 points, (n, n) in float64,"; instead: what the user can do
    """
    if needed < _SMALL:
        return
    left = available(torch.device(device))
    if needed > left:
        raise MemoryError(f"{what} needs {gib(needed)} GiB, and {gib(left)} GiB are available; {instead}")


def resident() -> float:
    """Bytes of memory that this process holds now; 0 where there is no telling."""
    try:
        return float(int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE"))
    except (OSError, ValueError, IndexError, AttributeError):
        return 0.0


def peak() -> float:
    """The most bytes of memory that this process has held; 0 where there is no telling."""
    if sys.platform == "win32":
        return 0.0
    return float(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss) * (1 if sys.platform == "darwin" else 1024)


def available(device: torch.device) -> float:
    """Bytes that can still be had on a device; infinite where there is no telling."""
    if device.type == "cuda":
        cached = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + cached
    if device.type != "cpu":
        return inf
    return min(_system(), _group())


def _system() -> float:
    try:
        text = Path("/proc/meminfo").read_text()
        if found := re.search(r"^MemAvailable:\s+(\d+)", text, re.MULTILINE):  # not every kernel says
            return 1024.0 * int(found[1])
    except OSError:  # another system
        pass
    try:
        return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    except (AttributeError, ValueError, OSError):
        return inf


def _group() -> float:
    """What a container's limit leaves, without the pages that it can drop."""
    for limit, used, statistics in (
        ("memory.max", "memory.current", "memory.stat"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "memory/memory.stat"),
    ):
        try:
            most, now = (float((_CGROUP / name).read_text()) for name in (limit, used))
            dropped = re.search(r"^inactive_file (\d+)", (_CGROUP / statistics).read_text(), re.MULTILINE)
            return most - now + (float(dropped[1]) if dropped else 0.0)
        except (OSError, ValueError):  # no such file, or "max"
            continue
    return inf


def gib(amount: float) -> str:
    """In GiB, without the unit."""
    return f"{amount / 2**30:,.3g}" if amount < 1000 * 2**30 else f"{amount / 2**30:,.0f}"
