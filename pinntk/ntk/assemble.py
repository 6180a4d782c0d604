"""`pinntk.kernel` and `pinntk.traces`."""

from __future__ import annotations

from copy import deepcopy

import torch
from torch import nn

from pinntk.evaluate import check_network
from pinntk.ntk.blocks import KernelBlocks, assembled
from pinntk.ntk.factors import checked_factors, factors
from pinntk.ntk.gram import gram
from pinntk.problem import Points, Problem


def kernel(
    network: nn.Module,
    problem: Problem,
    points: Points,
    *,
    dtype: torch.dtype = torch.float64,
    device: torch.device | str | None = None,
) -> KernelBlocks:
    """The exact neural tangent kernel K_ij = J_i J_j^T of the conditions' errors, J_i = d e_i / d theta.

    theta is every parameter with requires_grad=True, and the problem's coefficients.
    points: {condition name: (n, d)}, from `problem.sample` or the user's own; conditions may be left out
    dtype: in which products are accumulated and K is returned; the network is evaluated in its own dtype
    device: where to compute, on a copy of the network; its own device unless given

    Raises ValueError for points or a network that do not fit the problem, DependentPoints for a network that mixes
    points. Never forms J; where the network uses an operation without a Taylor rule, J is formed, with a warning.
    """
    if not dtype.is_floating_point:
        raise ValueError(f"dtype={dtype}: a kernel needs a floating-point dtype, such as torch.float64")
    found = factors(_on(network, device), problem, points)
    names = tuple(found)
    blocks = {}
    for i, row in enumerate(names):
        for column in names[: i + 1]:
            blocks[row, column] = gram(found[row], found[column], dtype)
    sizes = tuple(found[name].n for name in names)
    kinds = tuple(problem[name].kind for name in names)
    return KernelBlocks(assembled(blocks, names, sizes), names, kinds, sizes, {name: points[name] for name in names})


def traces(
    network: nn.Module, problem: Problem, points: Points, *, device: torch.device | str | None = None
) -> dict[str, float]:
    """The exact trace of every diagonal block, {condition: Tr K_ii}, without any (n, n) array, in float64.

    Arguments and errors as for `kernel`.
    """
    network, points = _on(network, device), problem.check(points)
    check_network(network, problem, points)
    return checked_traces(network, problem, points)


def checked_traces(network: nn.Module, problem: Problem, points: Points) -> dict[str, float]:
    """`traces` for points and a network that were checked before, as in every step of a training."""
    return {name: float(part.diagonal.sum()) for name, part in checked_factors(network, problem, points).items()}


def _on(network: nn.Module, device: torch.device | str | None) -> nn.Module:
    parameter = next(network.parameters(), None) if isinstance(network, nn.Module) else None
    if device is None or parameter is None or parameter.device == torch.device(device):
        return network
    return deepcopy(network).to(device)
