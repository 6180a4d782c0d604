"""How many of torch's intra-operation threads a piece of work gets: one where it is small, all of them where it is large.

Threads that wait for one another spin. Beside another busy process that costs small operations far more than a second
thread can bring: a solver's steps became 18 times slower on two cores (docs/PERFORMANCE.md).

The rule: work whose largest operation has fewer than `ENOUGH` multiply-adds runs on one thread, all other work on torch's
default. It reads sizes only, never a clock or the machine's load, so that a run resumed is the run uninterrupted.

It leaves the count alone where the user has set one: in the environment (OMP_NUM_THREADS or MKL_NUM_THREADS), or by
`torch.set_num_threads`, before pinntk is imported or later; and for networks that are not on the CPU. The count is torch's own
again after the work, also after an exception.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from functools import wraps
from threading import local
from typing import Any, ParamSpec, TypeVar

import torch
from torch import Tensor, nn

_ELEMENTWISE = 90  # multiply-adds that an elementwise operation on one entry costs
_BLOCK = 32  # columns that LAPACK works on at a time
ENOUGH = 2**22  # multiply-adds of the largest operation, from which a second thread gains (docs/PERFORMANCE.md)

Given = ParamSpec("Given")
Result = TypeVar("Result")
Item = TypeVar("Item")


def cores() -> int:
    """That this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _default() -> int | None:
    """torch's own count; None where somebody chose another."""
    if os.environ.get("OMP_NUM_THREADS") or os.environ.get("MKL_NUM_THREADS"):
        return None
    logical, allowed = os.cpu_count() or 1, cores()
    found = torch.get_num_threads()
    # torch counts physical cores, of which a logical one may be the half.
    return found if found in (logical, allowed, logical // 2, allowed // 2) else None


_DEFAULT = _default()
_inside = local()  # .chosen: the count that the innermost `threads_for` of this thread has set


@contextmanager
def threads_for(*work: float | None) -> Iterator[None]:
    """Inside, this thread's operations run on one thread if all `work` is less than `ENOUGH`, else on torch's default.

    work: multiply-adds of the largest operations; None leaves the count alone

    The innermost of nested ones decides.
    """
    before, outer = torch.get_num_threads(), getattr(_inside, "chosen", None)
    known = [amount for amount in work if amount is not None]
    if len(known) < len(work) or _DEFAULT is None or before != (outer or _DEFAULT):
        yield
        return
    chosen = 1 if max(known) < ENOUGH else _DEFAULT
    torch.set_num_threads(chosen)
    _inside.chosen = chosen
    try:
        yield
    finally:
        _inside.chosen = outer
        if torch.get_num_threads() == chosen:  # else the user's own code has set another
            torch.set_num_threads(before)


def run_in_parallel(task: Callable[[Item], None], items: Iterable[Item], device: torch.device) -> None:
    """task(item) for every item, as many at a time as torch has threads, each on one thread.

    For tasks that write to different places. Python's threads wait for one another once, at the end; torch's wait in every
    operation, which beside another busy process is most of the time.
    """
    items = list(items)
    count = min(len(items), torch.get_num_threads() if device.type == "cpu" else 1)
    if count <= 1:
        for item in items:
            task(item)
        return
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with ThreadPoolExecutor(count, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            for _ in pool.map(task, items):  # raises what a task raised
                pass
    finally:
        torch.set_num_threads(before)


def with_threads_for(measure: Callable[..., float | None]) -> Callable[[Callable[Given, Result]], Callable[Given, Result]]:
    """Decorates a function to run in `threads_for(measure(...))`, where `measure` takes those of its arguments that it names.

    Arguments that `measure` cannot read are the function's own to refuse.
    """

    def decorate(function: Callable[Given, Result]) -> Callable[Given, Result]:
        signature = inspect.signature(function)
        names = tuple(inspect.signature(measure).parameters)

        @wraps(function)
        def decorated(*args: Given.args, **kwargs: Given.kwargs) -> Result:
            try:
                given = signature.bind(*args, **kwargs).arguments
                work = measure(*(given[name] for name in names))
            except (TypeError, ValueError, AttributeError, KeyError, IndexError, RuntimeError):
                work = None
            with threads_for(work) if work is not None else nullcontext():
                return function(*args, **kwargs)

        return decorated

    return decorate


def of_step(network: nn.Module, problem: Any, points: Mapping[str, Tensor]) -> float | None:
    """Work of the errors of `points` and their gradients: rows times Taylor components times the largest weight's entries."""
    if any(p.device.type != "cpu" for p in network.parameters()):
        return None
    largest = max((p.numel() for p in network.parameters()), default=1)
    rows = {name: len(given) * problem.basis([name]).size for name, given in points.items()}
    return largest * max(rows.values(), default=0)


def of_kernel(network: nn.Module, problem: Any, points: Mapping[str, Tensor]) -> float | None:
    """Work of a kernel: of its errors, or of one product of its assembly, half of n^2 times components times width."""
    found, step = of_cross_kernel(network, problem, points, points), of_step(network, problem, points)
    return None if found is None or step is None else max(step, found / 2)


def of_cross_kernel(
    network: nn.Module, problem: Any, rows: Mapping[str, Tensor], columns: Mapping[str, Tensor]
) -> float | None:
    """The same between two sets of points, for all entries."""
    first, second = of_step(network, problem, rows), of_step(network, problem, columns)
    if first is None or second is None:
        return None
    components = problem.basis([*rows, *columns]).size
    width = max((max(p.shape, default=1) for p in network.parameters()), default=1)
    n, m = (sum(map(len, points.values())) for points in (rows, columns))
    return max(first, second, n * m * components * width)


def of_infinite_kernel(points: Mapping[str, Tensor]) -> float:
    """Work of a kernel of infinite width: elementwise operations on its entries, each at the price of 90 multiply-adds."""
    return of_infinite_cross_kernel(points, points)


def of_infinite_cross_kernel(rows: Mapping[str, Tensor], columns: Mapping[str, Tensor]) -> float:
    """The same between two sets of points."""
    n, m = (sum(map(len, points.values())) for points in (rows, columns))
    return _ELEMENTWISE * n * m


def of_factorization(A: Tensor) -> float | None:
    """Work of the eigenvalues, or of a QR or Cholesky factorization, of A (n, m): of one block of columns on all others."""
    return A.numel() * min(_BLOCK, *A.shape) if A.device.type == "cpu" else None
