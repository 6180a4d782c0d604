"""Devices by name, as a user says them."""

from __future__ import annotations

import torch


def usable(device: torch.device | str, said: str) -> torch.device:
    """The device of that name. Raises ValueError where there is none, or where it cannot hold float64 numbers, as MPS cannot.

    said: how it was asked for, as "--device gpu"

    >>> usable("cpu", "device='cpu'")
    device(type='cpu')
    """
    try:
        found = torch.device(device)
    except RuntimeError as error:  # whose text lists all that torch was ever made for
        raise ValueError(f"{said}: torch knows no such device; use cpu, cuda or, of several, cuda:1") from error
    try:
        torch.empty(1, device=found, dtype=torch.float64)
    except (RuntimeError, AssertionError, TypeError) as error:
        raise ValueError(f"{said}: not usable here ({str(error).splitlines()[0]}); use cpu") from error
    return found
