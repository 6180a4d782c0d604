"""Passes over blocks of points: planned for a stated memory, foreseen after two blocks, kept, interrupted between blocks."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import torch
from torch import Tensor

from pinntk._util import distributed
from pinntk._util.interrupt import Interrupted
from pinntk._util.memory import gib, peak, resident
from pinntk._util.progress import Progress, clock
from pinntk._util.resumable import Resumable
from pinntk.ntk import _krylov as krylov
from pinntk.ntk._factored import Factors
from pinntk.ntk._jacobian import JacobianOperator
from pinntk.ntk._store import CHUNK

GRAM, LANCZOS = "gram", "lanczos"
_PASSES = 8  # of block Lanczos over all points, as a rule
_FORMED = 250  # multiply-adds of a matrix product for each entry of J, in whose time a pass computes it anew: 200 to 300
_SQUARE = 4  # (p, p) matrices at once: J^T J, a copy of it, and what finding its eigenvalues takes
_BASES = 6  # matrices as large as the basis of block Lanczos at once
_PANELS = 3  # copies of a block's J at once
_FEWEST = 64  # points in a block


@dataclass(frozen=True)
class Forecast:
    """What is left to do, by the first two blocks of points.

    method: "gram" (J^T J is formed, and all of its eigenvalues found) or "lanczos" (products with blocks of vectors)
    n, p: errors and parameters
    blocks: of points, of this process
    seconds: that are left; with "lanczos" by 8 passes over the points
    memory: bytes of the process at its peak
    """

    method: str
    n: int
    p: int
    blocks: int
    seconds: float
    memory: float

    def __str__(self) -> str:
        how = f"J^T J of {self.p:,} parameters" if self.method == GRAM else f"block Lanczos, about {_PASSES} passes"
        held = f", {gib(self.memory)} GiB of memory" if self.memory else ""
        return f"{self.n:,} errors in {self.blocks:,} blocks, {how}: about {clock(self.seconds)}{held}"


@dataclass(frozen=True)
class Plan:
    """How it is done.

    taken: bytes of matrices; cache: bytes for factors that are kept; limit: bytes of the process
    """

    method: str
    n: int
    p: int
    k: int
    chunk: int
    taken: float
    cache: int
    limit: int


def make_plan(n: int, p: int, k: int, limit: int, held: float) -> Plan:
    """By multiply-adds, where J^T J fits. Raises MemoryError where neither way does."""
    k, room = min(k, n, p), limit - held
    side, block = min(n, p), krylov.block_of(k)
    gram, lanczos = n * p**2 / 2 + 10 * p**3, _PASSES * n * p * (_FORMED + 2 * block)
    square = 8 * _SQUARE * p**2
    if p <= n and gram <= lanczos and square + 8 * _PANELS * _FEWEST * p <= room:
        chunk = int(min((room - square) // (8 * _PANELS * p), CHUNK))
        return Plan(GRAM, n, p, k, chunk, square, 1, limit)
    bases = 8 * _BASES * side * krylov.columns_of(side, k, min(side, block))
    if bases > room:
        raise MemoryError(
            f"{k} eigenvalues for {p:,} parameters take {gib(bases)} GiB beside the {gib(held)} GiB in use, and "
            f"{gib(limit)} GiB are allowed; allow more memory, or ask for fewer eigenvalues"
        )
    return Plan(LANCZOS, n, p, k, CHUNK, bases, max(1, int(room - bases) // 2), limit)


class Work:
    """Passes over the blocks of points of this process.

    traces: {condition: of its block of K}, of this process's points, as far as the first pass has come
    announce: is told the forecast after two blocks
    """

    def __init__(
        self,
        jacobian: JacobianOperator,
        plan: Plan,
        kept: Resumable,
        interrupted: threading.Event,
        announce: Callable[[Forecast], None] | None,
    ):
        self.jacobian, self.kept = jacobian, kept
        self._plan, self._interrupted, self._announce = plan, interrupted, announce
        self.traces = {**dict.fromkeys(jacobian.names, 0.0), **kept.state.get("traces", {})}
        self._traced: int = kept.state.get("traced", 0)
        self._seen, self._allowed = 0, False
        self._peak_before = _peak(jacobian.device)  # of other work

    def over(
        self,
        label: str,
        each: Callable[[slice, Tensor, Factors], None],
        first: int = 0,
        state: Callable[[int], dict[str, Any]] = lambda done: {},
    ) -> None:
        """each(rows of J, square root of D there, J of these rows) of the blocks from `first` on.

        state: what is kept after so many blocks
        """
        blocks = self.jacobian.blocks
        with Progress(label, blocks, done=first) as bar:
            for number in range(first, blocks):
                begun = perf_counter()
                for name, rows, scale, part in self.jacobian.block(number):
                    each(rows, scale, part)
                    if number >= self._traced:
                        self.traces[name] += float((scale.squeeze(1).double() ** 2 * part.diagonal).sum())
                self._traced = max(self._traced, number + 1)
                bar.advance()
                self._look(number, perf_counter() - begun)
                if self._interrupted.is_set() or self.kept.due:
                    self.keep(state(number + 1))
                if self._interrupted.is_set():
                    raise Interrupted(f"{label}: stopped after block {number + 1} of {blocks}{self._how_to_go_on()}")
        if not self._allowed:  # nothing was left to do here, while the other processes agree on it
            self._needed_memory()

    def keep(self, state: dict[str, Any]) -> None:
        plan = {"method": self._plan.method, "chunk": self._plan.chunk}
        self.kept.save({**state, **plan, "traces": dict(self.traces), "traced": self._traced})

    def _how_to_go_on(self) -> str:
        return "" if self.kept.path is None else "; the same again goes on from there"

    def _look(self, number: int, seconds: float) -> None:
        self._seen += 1
        later = range(number + 1, self.jacobian.blocks)
        if not self._allowed and (self._seen == 2 or not later):
            self._foresee(seconds / self.jacobian.block_size(number), sum(map(self.jacobian.block_size, later)))

    def _foresee(self, seconds: float, left: int) -> None:
        """From the seconds of a row of J, and the rows that are left of this pass. Raises MemoryError for too much memory."""
        plan, memory = self._plan, self._needed_memory()
        rows = sum(map(self.jacobian.block_size, range(self.jacobian.blocks)))
        # Eigenvalues of J^T J take about 10 p^3 operations, and a row p^2.
        later = seconds * (10 * plan.p if plan.method == GRAM else (_PASSES - 1) * rows)
        if self._announce is not None and distributed.rank() == 0:
            blocks = self.jacobian.blocks
            self._announce(Forecast(plan.method, plan.n, plan.p, blocks, seconds * left + later, memory))

    def _needed_memory(self) -> float:
        """Bytes of this process at the peak of this work. Raises MemoryError, in all processes, where one needs more than is
        allowed; each asks once, in its first pass.
        """
        self._allowed = True
        plan, device = self._plan, self.jacobian.device
        extra = plan.taken * (_SQUARE - 1) / _SQUARE if plan.method == GRAM else plan.taken + plan.cache
        with distributed.together(MemoryError):
            highest = _peak(device)
            memory = max(highest if highest > self._peak_before else 0.0, held(device) + extra)
            if memory > plan.limit:
                raise MemoryError(
                    f"{plan.k} eigenvalues for {plan.p:,} parameters in blocks of {plan.chunk} points need about "
                    f"{gib(memory)} GiB, and {gib(plan.limit)} GiB are allowed; allow more memory"
                )
        return memory


def held(device: torch.device) -> float:
    return torch.cuda.memory_allocated(device) if device.type == "cuda" else resident()


def _peak(device: torch.device) -> float:
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else peak()
