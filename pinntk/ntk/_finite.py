"""Refusal of Jacobians and kernels that hold NaN or infinity."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from pinntk.ntk._blocks import KernelBlocks
from pinntk.ntk._factored import Factors
from pinntk.problem import Points, Problem
from pinntk.residuals._values import ROW, check_finite


def check_finite_kernel(kernel: KernelBlocks, name: str = "kernel") -> None:
    """Raises ValueError, naming the argument, for a kernel that holds NaN or infinity."""
    if not bool(kernel.values.isfinite().all()):
        raise ValueError(f"{name} holds NaN or infinity: the network has diverged; give the kernel of an earlier state of it")


def check_rows(network: nn.Module, problem: Problem, points: Points, found: Mapping[str, Factors], start: int = 0) -> None:
    """Raises `NonFiniteError`, naming condition and points, where a row of a factored Jacobian is NaN or infinite.

    start: the number of the first point among those that the user gave
    """
    sums = {name: _sums(part) for name, part in found.items()}
    if all(bool(torch.stack(parts).isfinite().all()) for parts in sums.values() if parts):
        return
    check_finite(network, problem, points, {name: part.diagonal for name, part in found.items()}, ROW, start)


def _sums(part: Factors) -> list[Tensor]:
    """Sums of all entries, in float64, where those of float32 cannot overflow: not finite if an entry is not."""
    tensors = (*part.rows.values(), *(t for outer in part.outers.values() for t in (outer.A, outer.B)))
    return [tensor.sum(dtype=torch.float64) for tensor in tensors]
