"""Several processes (torchrun): points sharded over ranks through torch.distributed. Without it, one rank of one."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

import torch
import torch.distributed as dist
from torch import Tensor


def is_launched() -> bool:
    """Whether torchrun started this process as one of several."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


@contextmanager
def process_group() -> Iterator[None]:
    """Joins the group of processes that torchrun started (NCCL on CUDA, gloo otherwise); does nothing without it."""
    if not is_launched() or dist.is_initialized():
        yield
        return
    dist.init_process_group("cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo")
    try:
        yield
    finally:
        dist.destroy_process_group()


def rank() -> int:
    return dist.get_rank() if dist.is_available() and dist.is_initialized() else 0


def world() -> int:
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def local_device() -> torch.device:
    """The device of this rank: one CUDA device each where there are any. Raises ValueError where there are too few."""
    if not torch.cuda.is_available():
        return torch.device("cpu")
    place, count = int(os.environ.get("LOCAL_RANK", "0")), torch.cuda.device_count()
    if place >= count:
        raise ValueError(f"process {place} of this machine has no GPU of its own among {count}; start {count} or use the CPU")
    return torch.device("cuda", place)


def span(n: int) -> slice:
    """This rank's rows of n: contiguous, sizes differing by at most one."""
    return span_of(n, rank())


def span_of(n: int, rank: int) -> slice:
    """The rows of n that a rank has."""
    return slice(n * rank // world(), n * (rank + 1) // world())


def shard(points: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """This rank's rows of every condition; what conditions share stays shared. Conditions may end up with no rows."""
    shards = {id(rows): rows[span(len(rows))] for rows in points.values()}
    return {name: shards[id(rows)] for name, rows in points.items()}


def all_sum(tensor: Tensor) -> Tensor:
    """The sum over ranks, in place."""
    if world() > 1:
        dist.all_reduce(tensor)
    return tensor


def all_sum_numbers(numbers: Iterable[float], device: torch.device) -> list[float]:
    """Sums over ranks of a few numbers, in float64."""
    return all_sum(torch.tensor(list(numbers), dtype=torch.float64, device=device)).tolist()


def any_rank(flag: bool, device: torch.device) -> bool:
    """Whether it is so in any process."""
    return flag if world() == 1 else all_sum_numbers([flag], device)[0] > 0


def all_sum_gradients(parameters: Iterable[Tensor]) -> None:
    """Replaces every gradient by its sum over ranks, in one message a dtype and device."""
    if world() == 1:
        return
    alike: dict[tuple, list[Tensor]] = {}
    for parameter in parameters:
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
        alike.setdefault((parameter.dtype, parameter.device), []).append(parameter.grad)
    for gradients in alike.values():
        total = all_sum(torch.cat([gradient.flatten() for gradient in gradients]))
        for gradient, part in zip(gradients, total.split([g.numel() for g in gradients]), strict=True):
            gradient.copy_(part.view_as(gradient))


def gather_rows(rows: Tensor, counts: Iterable[int]) -> Tensor:
    """Rows of all ranks, one after the other; `counts` says how many each has."""
    if world() == 1:
        return rows
    counts = list(counts)
    most = max(counts)
    padded = torch.zeros(most, *rows.shape[1:], dtype=rows.dtype, device=rows.device)
    padded[: len(rows)] = rows
    parts = [torch.empty_like(padded) for _ in counts]
    dist.all_gather(parts, padded)
    return torch.cat([part[:count] for part, count in zip(parts, counts, strict=True)])


def same_everywhere(tensors: Iterable[Tensor]) -> None:
    """Copies rank 0's values to all ranks, in place."""
    if world() > 1:
        for tensor in tensors:
            dist.broadcast(tensor, 0)
