"""Several processes (torchrun): points sharded over ranks through torch.distributed. Without it, one rank of one."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

Found = TypeVar("Found")

_alone: ContextVar[bool] = ContextVar("alone", default=False)


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
    return dist.get_rank() if dist.is_available() and dist.is_initialized() and not _alone.get() else 0


def world() -> int:
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() and not _alone.get() else 1


@contextmanager
def alone() -> Iterator[None]:
    """Work that this process does by itself: inside there are no others, and it waits for none."""
    token = _alone.set(True)
    try:
        yield
    finally:
        _alone.reset(token)


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


def largest_span(n: int) -> int:
    """The most rows of n that a rank has."""
    return -(-n // world())


def shard(points: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """This rank's rows of every condition; what conditions share stays shared. Conditions may end up with no rows."""
    shards = {id(rows): rows[span(len(rows))] for rows in points.values()}
    return {name: shards[id(rows)] for name, rows in points.items()}


def own_rows(points: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """This rank's rows, of the conditions of which it has any."""
    return {name: rows for name, rows in shard(points).items() if len(rows)}


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


def unshard(shares: Mapping[str, Tensor], sizes: Mapping[str, int], device: torch.device) -> dict[str, Tensor]:
    """{condition: (n,)} in float64, the same in all processes, from the share of each: {condition: (rows,)} of those with rows.

    sizes: {condition: n}
    """
    empty = torch.empty(0, dtype=torch.float64, device=device)
    found = {}
    for name, n in sizes.items():
        spans = [span_of(n, rank) for rank in range(world())]
        found[name] = gather_rows(shares[name].double() if name in shares else empty, [s.stop - s.start for s in spans])
    return found


def same_everywhere(tensors: Iterable[Tensor]) -> None:
    """Copies rank 0's values to all ranks, in place."""
    if world() > 1:
        for tensor in tensors:
            dist.broadcast(tensor, 0)


def agreed(number: float, device: torch.device) -> float:
    """The first process's number, in all of them."""
    if world() == 1:
        return number
    sent = torch.tensor(number, dtype=torch.float64, device=device)
    same_everywhere([sent])
    return sent.item()


def of_first(compute: Callable[[], Found]) -> Found:
    """What the first process computes alone, or the exception that it raises, in all of them. To be sent, it is pickled."""
    if world() == 1:
        return compute()
    sent: list[Any] = [None, None]
    if rank() == 0:
        try:
            with alone():
                sent[0] = compute()
        except Exception as error:  # the others are not to wait for it
            sent[1] = error
    dist.broadcast_object_list(sent, 0)
    if sent[1] is not None:
        raise sent[1]
    return sent[0]


def tensors_of_first(compute: Callable[[], Sequence[Tensor] | None], like: Tensor) -> list[Tensor] | None:
    """As `of_first`, of tensors with the dtype and device of `like`: with factors of their own, processes would part ways by a
    rounding.
    """
    if world() == 1:
        computed = compute()
        return None if computed is None else list(computed)
    found: list[Tensor] | None = None

    def shapes() -> list[torch.Size] | None:
        nonlocal found
        computed = compute()
        found = None if computed is None else [tensor.contiguous() for tensor in computed]
        return None if found is None else [tensor.shape for tensor in found]

    shaped = of_first(shapes)
    if shaped is not None and found is None:
        found = [like.new_empty(shape) for shape in shaped]
    same_everywhere(found or ())
    return found


@contextmanager
def together(kind: type[Exception]) -> Iterator[None]:
    """An exception of this kind in one process is raised in all."""
    own: Exception | None = None
    try:
        yield
    except kind as error:
        own = error
    errors: list[Any] = [own]
    if world() > 1:
        errors = [None] * world()
        dist.all_gather_object(errors, own)
    if own is not None:
        raise own
    for found in errors:
        if found is not None:
            raise found
