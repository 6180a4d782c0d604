"""Kernels of several processes: each rank computes and writes its own rows, and its share of the traces."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pinntk._util import distributed
from pinntk._util.files import replacing
from pinntk._util.precision import without_autocast
from pinntk.ntk._assemble import compute_traces, cross_kernel, device_of
from pinntk.ntk._blocks import require_kernel
from pinntk.ntk._factors import trained_parameters
from pinntk.problem import Points, Problem
from pinntk.residuals import NonFiniteError, check_network


@dataclass(frozen=True, eq=False)
class RowBlock:
    """Some rows of K.

    values: (rows, n); rows: their places among all n rows; names, kinds, sizes: the conditions of all of K
    """

    values: Tensor
    rows: list[int]
    names: tuple[str, ...]
    kinds: tuple[str, ...]
    sizes: tuple[int, ...]

    def save(self, path: str | os.PathLike) -> Path:
        """Writes PATH.rankIofR.npz; `KernelBlocks.join` puts the files of all ranks together. Returns the path."""
        path = Path(path)
        path = path.with_name(f"{path.name.removesuffix('.npz')}.rank{distributed.rank()}of{distributed.world()}.npz")
        names, kinds, sizes = map(list, (self.names, self.kinds, self.sizes))
        arrays: dict[str, Any] = {"rows": self.rows, "names": names, "kinds": kinds, "sizes": sizes}
        with replacing(path) as temporary, open(temporary, "wb") as file:
            np.savez(file, block=self.values.cpu().numpy(), **arrays)
        return path


@without_autocast
def sharded_kernel(
    network: nn.Module,
    problem: Problem,
    points: Points,
    *,
    dtype: torch.dtype = torch.float64,
    max_memory: int | str = "2GiB",
) -> RowBlock:
    """This rank's rows of `pinntk.kernel(network, problem, points)`: those of its share of every condition's points.

    All of K where torchrun started no others. Arguments and errors as for `pinntk.kernel`.
    """
    points = problem.check(points)
    share = distributed.own_rows(points)
    sizes = tuple(map(len, points.values()))
    check_network(network, problem, points)
    require_kernel(sum(map(len, share.values())), sum(sizes), dtype, device_of(network), copies=2)  # blocks, put together
    blocks = cross_kernel(network, problem, share, points, dtype=dtype, max_memory=max_memory) if share else {}
    values = [torch.cat([blocks[name, other] for other in points], 1) for name in share]
    offsets = dict(zip(points, np.cumsum((0, *sizes)).tolist(), strict=False))
    rows = [offsets[name] + i for name in share for i in range(len(points[name]))[distributed.span(len(points[name]))]]
    device = next(iter(trained_parameters(network, problem).values())).device
    empty = torch.empty(0, sum(sizes), dtype=dtype, device=device)
    kinds = tuple(problem[name].kind for name in points)
    return RowBlock(torch.cat(values) if values else empty, rows, tuple(points), kinds, sizes)


def sharded_traces(
    network: nn.Module, problem: Problem, points: Points, point_weights: Points | None = None
) -> dict[str, float]:
    """`compute_traces` of all points, the same in all processes, each of which computes those of its share.

    point_weights: of this process's share
    """
    share = distributed.own_rows(points)
    with distributed.together(NonFiniteError):
        found = compute_traces(network, problem, share, point_weights) if share else {}
    device = next(iter(points.values())).device
    sums = distributed.all_sum_numbers([found.get(name, 0.0) for name in points], device)
    return dict(zip(points, sums, strict=True))
