"""The losses mean(g e^2) of conditions and the norms of their gradients, in passes that fit the cache."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from math import ceil

import torch
from torch import Tensor, nn

from pinntk._util import distributed
from pinntk.problem import Points, Problem
from pinntk.residuals import errors
from pinntk.training._batch import Batch

# Larger activations cost a page fault for every 4 KiB, pass after pass: 1.2 times the time at 25 MiB.
_PASS_BYTES = 8 * 2**20


def losses(
    network: nn.Module,
    problem: Problem,
    points: Points,
    counts: Mapping[str, int],
    point_weights: Points | None = None,
) -> dict[str, Tensor]:
    """sum(g_i e_i^2) / counts[i] for every condition in `points`: the losses mean(e_i^2), or these points' share of them.

    point_weights: g_i (n,) of some conditions; 1 for the others
    """
    weights = point_weights or {}
    squares = {name: e.square() for name, e in errors(network, problem, points).items()}
    squares |= {name: weights[name] * square for name, square in squares.items() if name in weights}
    return {name: square.sum() / counts[name] for name, square in squares.items()}


def weighted_sum(losses: Mapping[str, Tensor], weights: Mapping[str, float]) -> Tensor:
    """sum_i lambda_i L_i."""
    first, *others = (weights[name] * loss for name, loss in losses.items())
    return sum(others, first)


def over_all(shares: Mapping[str, Tensor], counts: Mapping[str, int], like: Tensor) -> dict[str, Tensor]:
    """The losses mean(e_i^2) over all processes, from this one's shares of them."""
    zero = torch.zeros((), dtype=like.dtype.to_real(), device=like.device)
    sums = distributed.all_sum(torch.stack([shares.get(name, zero).detach() for name in counts]))
    return dict(zip(counts, sums, strict=True))


def gradient_norms(network: nn.Module, problem: Problem, parameters: list[Tensor], batch: Batch) -> dict[str, float]:
    """norm(grad L_i) of every condition, without lambda_i, over all processes. Leaves `p.grad` alone."""
    found = {}
    for name in batch.counts:
        slope: Tensor | float = 0.0
        for part in passes(network, problem, only(batch, name)):
            loss = losses(network, problem, part.points, batch.counts, part.point_weights)[name]
            if loss.requires_grad:
                gradients = torch.autograd.grad(loss, parameters, allow_unused=True, materialize_grads=True)
                slope = slope + flatten(gradients)
        if isinstance(slope, float):
            slope = torch.zeros_like(flatten(parameters))
        found[name] = float(distributed.all_sum(slope).norm())
    return found


def only(batch: Batch, name: str) -> Batch:
    """One condition of it."""
    points = {name: batch.points[name]} if name in batch.points else {}
    weights = batch.point_weights or {}
    return replace(batch, points=points, point_weights={name: weights[name]} if name in weights and points else None)


def flatten(tensors: Sequence[Tensor]) -> Tensor:
    """All entries in one float64 vector; a complex one is two."""
    real = [torch.view_as_real(t.detach()) if t.is_complex() else t.detach() for t in tensors]
    return torch.cat([t.to(real[0].device, torch.float64).flatten() for t in real])


def passes(network: nn.Module, problem: Problem, batch: Batch) -> Iterator[Batch]:
    """The batch in equal parts whose activations stay small on a CPU; conditions on one tensor stay together."""
    by_tensor, width = _by_tensor(batch.points), _width(network)
    parts: dict[str, tuple[Tensor, ...]] = {}
    for names in by_tensor.values():
        rows = batch.points[names[0]]
        needed = _bytes(problem, names, rows, width)
        passes = min(len(rows), ceil(needed / _PASS_BYTES)) if rows.device.type == "cpu" else 1
        shared = rows.tensor_split(passes)
        parts.update((name, shared) for name in names)
    shares = {name: weights.tensor_split(len(parts[name])) for name, weights in (batch.point_weights or {}).items()}
    for i in range(max(map(len, parts.values()), default=0)):
        names = [name for name in batch.points if i < len(parts[name])]
        weights = {name: shares[name][i] for name in names if name in shares}
        yield replace(batch, points={name: parts[name][i] for name in names}, point_weights=weights or None)


def in_one_pass(network: nn.Module, problem: Problem, batch: Batch, times: int) -> bool:
    """Whether so many of these batches are still one pass each."""
    width = _width(network)
    parts = ((names, batch.points[names[0]]) for names in _by_tensor(batch.points).values())
    return all(rows.device.type != "cpu" or times * _bytes(problem, names, rows, width) <= _PASS_BYTES for names, rows in parts)


def _by_tensor(points: Points) -> dict[int, list[str]]:
    """Conditions by the tensor that they share."""
    found: dict[int, list[str]] = {}
    for name, rows in points.items():
        found.setdefault(id(rows), []).append(name)
    return found


def _width(network: nn.Module) -> int:
    return max((max(p.shape, default=1) for p in network.parameters()), default=1)


def _bytes(problem: Problem, names: list[str], rows: Tensor, width: int) -> int:
    """Of the activations of one layer."""
    return len(rows) * problem.basis(names).size * width * rows.element_size() * problem[names[0]].places
