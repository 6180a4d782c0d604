"""Rows of a Jacobian by reverse mode: several vector-Jacobian products of one graph."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.autograd.graph import GradientEdge, get_gradient_edge

FEW_ENTRIES = 64  # of what is computed from parameters: its own Jacobian is sooner had than the products of all rows
_SEED_ENTRIES = 2**18  # of seeds in one batched backward pass of what is computed from parameters alone
CHUNK = 16  # rows in one batched backward pass; 8 to 64 took the same time within a third, 16 the least


def pull_back(target: GradientEdge | Tensor, parameters: Mapping[str, Tensor], seeds: Tensor) -> dict[str, Tensor]:
    """{name: (k, size)} for every parameter behind `target`: a vector-Jacobian product for each seed, (k, *shape).

    Of a target that has few entries, the products are those of its own Jacobian.
    """
    entries = seeds[0].numel() if len(seeds) else 0
    if 0 < entries < min(len(seeds), FEW_ENTRIES) and not seeds.is_complex():
        one = torch.eye(entries, dtype=seeds.dtype, device=seeds.device).view(entries, *seeds.shape[1:])
        jacobian = pull_back(target, parameters, one)
        return {name: seeds.reshape(len(seeds), entries).to(rows) @ rows for name, rows in jacobian.items()}
    found: dict[str, list[Tensor]] = {}
    for part in seeds.split(max(CHUNK, _SEED_ENTRIES // max(entries, 1))):
        for name, gradient in zip(parameters, _products(target, list(parameters.values()), part), strict=True):
            if gradient is not None:
                found.setdefault(name, []).append(flat_rows(gradient.detach()))
    return {name: torch.cat(parts) for name, parts in found.items()}


def reverse_rows(e: Tensor, parameters: Mapping[str, Tensor], batched: bool = True) -> dict[str, Tensor]:
    """{name: (n, size)}: J of e (n,), each row by a vector-Jacobian product of the whole graph; one by one if not batched."""
    chunk = CHUNK if batched else 1
    found: dict[str, list[Tensor]] = {name: [] for name in parameters}
    for start in range(0, len(e), chunk):
        seeds = torch.zeros(min(chunk, len(e) - start), len(e), dtype=e.dtype, device=e.device)
        seeds[:, start : start + chunk].fill_diagonal_(1)
        gradients = _products(e, list(parameters.values()), seeds)
        for (name, p), gradient in zip(parameters.items(), gradients, strict=True):
            rows = p.new_zeros(len(seeds), size_of(p)).real if gradient is None else flat_rows(gradient.detach())
            found[name].append(rows)
    return {name: torch.cat(parts) for name, parts in found.items()}


def _products(target: GradientEdge | Tensor, tensors: list[Tensor], seeds: Tensor) -> list[Tensor | None]:
    edge = get_gradient_edge(target) if isinstance(target, Tensor) else target
    settings = {"retain_graph": True, "allow_unused": True}
    if len(seeds) > 1:
        try:
            with without_batching_warnings():
                return list(torch.autograd.grad([edge], tensors, [seeds], is_grads_batched=True, **settings))
        except (RuntimeError, NotImplementedError):  # an operation whose backward pass torch.func cannot batch
            pass
    single = [torch.autograd.grad([edge], tensors, [seed], **settings) for seed in seeds]
    return [stack_gradients(of_one) for of_one in zip(*single, strict=True)]


def stack_gradients(gradients: Sequence[Tensor | None]) -> Tensor | None:
    """Stacked, None standing for zero; None if there is nothing else."""
    like = next((g for g in gradients if g is not None), None)
    return None if like is None else torch.stack([torch.zeros_like(like) if g is None else g for g in gradients])


@contextmanager
def without_batching_warnings() -> Iterator[None]:
    """Without torch's remarks on operations that it batches one by one."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*performance drop because we have not yet implemented the batching rule")
        yield


def flat_rows(gradients: Tensor) -> Tensor:
    """(k, *shape) -> (k, size), real: a complex entry counts as its real and its imaginary part."""
    gradients = torch.view_as_real(gradients.resolve_conj()) if gradients.is_complex() else gradients
    return gradients.reshape(len(gradients), -1)


def size_of(parameter: Tensor) -> int:
    """Columns of J that belong to a parameter."""
    return parameter.numel() * (2 if parameter.is_complex() else 1)
