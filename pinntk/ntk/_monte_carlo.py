"""Kernels averaged over initializations."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pinntk.ntk._assemble import kernel
from pinntk.ntk._blocks import KernelBlocks, require_kernel
from pinntk.problem import Points, Problem


@dataclass(frozen=True, eq=False, repr=False)
class MeanKernel:
    """Kernels averaged over initializations, from `mean_kernel`.

    mean: of all s kernels
    std: (n, n) standard deviation of a single kernel, entry by entry
    running: (s, n) the diagonal of the mean of the first 1, 2, ..., s kernels
    distances: (s,) norm_F of each kernel minus `expected`, relative to that of `expected`; empty where none was given
    """

    mean: KernelBlocks
    std: Tensor
    running: Tensor
    distances: Tensor

    def __repr__(self) -> str:
        return f"MeanKernel(of {len(self.running)} kernels, spread {self.spread:.2g}; {self.mean})"

    @property
    def standard_error(self) -> Tensor:
        """Of the mean, (n, n): std / sqrt(s)."""
        return self.std / len(self.running) ** 0.5

    @property
    def spread(self) -> float:
        """How far a single kernel lies from the mean: norm_F(std) / norm_F(mean)."""
        return float(self.std.norm() / self.mean.values.norm())

    def scores(self, expected: Tensor) -> Tensor:
        """(mean - expected) / standard error, (n, n): of size 1 where `expected` is the true mean. 0 for 0 / 0."""
        difference = self.mean.values - expected.to(self.mean.values)
        return torch.where(difference == 0, difference, difference / self.standard_error)


def mean_kernel(
    draw: Callable[[int], nn.Module],
    problem: Problem,
    points: Points,
    seeds: Iterable[int],
    *,
    expected: Tensor | None = None,
) -> MeanKernel:
    """The mean over initializations of the kernel K of a problem's errors, with its spread.

    draw: the network of a seed, such as `lambda seed: pinntk.nn.MLP(problem, width=500, parametrization="ntk", seed=seed)`
    seeds: at least two
    expected: (n, n), such as `infinite_kernel(...).values`, from which each kernel's distance is measured

    Only sums are kept (Welford's recurrence). Raises ValueError for fewer than two seeds, and as `pinntk.kernel` does.
    """
    first: KernelBlocks | None = None
    mean = squares = torch.empty(0)
    running: list[Tensor] = []
    distances: list[Tensor] = []
    for seed in seeds:
        K = kernel(draw(seed), problem, points)
        if first is None:
            n = len(K.values)
            require_kernel(n, n, device=K.values.device, copies=4)  # beside K: two sums, and what moves them
            mean, squares, first = torch.zeros_like(K.values), torch.zeros_like(K.values), K
        difference = K.values - mean
        mean += difference / (len(running) + 1)
        squares += difference * (K.values - mean)
        running.append(mean.diagonal().clone())
        if expected is not None:
            expected = expected.to(K.values)
            distances.append((K.values - expected).norm() / expected.norm())
    count = len(running)
    if first is None or count < 2:
        raise ValueError(f"seeds: {count} of them; a spread needs at least 2")
    blocks = KernelBlocks(mean, first.names, first.kinds, first.sizes, first.points)
    found = torch.stack(distances) if distances else mean.new_empty(0)
    return MeanKernel(blocks, (squares / (count - 1)).clamp_min(0).sqrt(), torch.stack(running), found)
