"""The largest eigenvalues of K on any number of points: in a stated memory, with a forecast, and resumable."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pinntk._util import distributed
from pinntk._util.files import replacing
from pinntk._util.interrupt import Interrupted, deferred_interrupt
from pinntk._util.memory import gib, parse_bytes, peak, resident
from pinntk._util.precision import without_autocast
from pinntk._util.progress import Progress, clock, short
from pinntk._util.resumable import Resumable
from pinntk._util.threads import of_factorization, threads_for
from pinntk.ntk import _krylov as krylov
from pinntk.ntk._assemble import device_of
from pinntk.ntk._blocks import Weights
from pinntk.ntk._factored import Factors
from pinntk.ntk._factors import trained_parameters
from pinntk.ntk._gram import add_product
from pinntk.ntk._jacobian import JacobianOperator
from pinntk.ntk._store import CHUNK
from pinntk.ntk.graph import size_of
from pinntk.problem import Points, Problem
from pinntk.residuals import check_network, errors
from pinntk.residuals._points import to_network

GRAM, LANCZOS = "gram", "lanczos"
_PASSES = 8  # of block Lanczos over all points, as a rule
_COMPONENTS = 4  # of a Taylor jet, as a rule: by so many times a product by factors is dearer than one by J
_SQUARE = 4  # (p, p) matrices at once: J^T J, a copy of it, and what finding its eigenvalues takes
_BASES = 6  # matrices as large as the basis of block Lanczos at once
_PANELS = 3  # copies of a block's J at once
_FEWEST = 64  # points in a block
_ITERATIONS = 200
_LOOKED = 12  # points of a condition by which another equation is told


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


@dataclass(frozen=True, eq=False)
class LeadingEigenvalues:
    """The k largest eigenvalues of K, or of D^1/2 K D^1/2.

    values: (k,), falling
    bounds: (k,): K has an eigenvalue within so much of each; residual norm and rounding
    directions: (p, k), orthonormal, in the parameters: eigenvectors v of J^T J. Those of K are J v / sqrt(value)
    traces: {condition: exact trace of its block}
    sizes: {condition: points}
    method: as in `Forecast`
    """

    values: Tensor
    bounds: Tensor
    directions: Tensor
    traces: Mapping[str, float]
    sizes: Mapping[str, int]
    method: str

    @property
    def rest(self) -> float:
        """The sum of all other eigenvalues, by the traces: none of them is larger."""
        return max(sum(self.traces.values()) - float(self.values.sum()), 0.0)

    def save(self, path: str | os.PathLike) -> None:
        """Writes an .npz file, whole or not at all."""
        arrays = {name: getattr(self, name).cpu().numpy() for name in ("values", "bounds", "directions")}
        with replacing(Path(path)) as temporary, open(temporary, "wb") as file:
            np.savez(
                file,
                names=list(self.sizes),
                sizes=list(self.sizes.values()),
                traces=[self.traces[name] for name in self.sizes],
                method=self.method,
                **arrays,
            )

    @classmethod
    def load(cls, path: str | os.PathLike) -> LeadingEigenvalues:
        """Reads what `save` wrote. Raises ValueError for a file of another kind, FileNotFoundError for a missing one."""
        try:
            with np.load(path, allow_pickle=False) as archive:
                names = [str(name) for name in archive["names"]]
                values, bounds, directions = (torch.from_numpy(archive[name]) for name in ("values", "bounds", "directions"))
                traces = dict(zip(names, archive["traces"].tolist(), strict=True))
                sizes = dict(zip(names, archive["sizes"].tolist(), strict=True))
                return cls(values, bounds, directions, traces, sizes, str(archive["method"]))
        except (KeyError, ValueError) as error:
            raise ValueError(f"{path} holds no leading eigenvalues ({error}); write them by LeadingEigenvalues.save") from error


@without_autocast
def leading_eigenvalues(
    network: nn.Module,
    problem: Problem,
    points: Points,
    k: int = 50,
    *,
    weights: Weights | None = None,
    dtype: torch.dtype = torch.float64,
    max_memory: int | str = "2GiB",
    tolerance: float = 1e-8,
    seed: int = 0,
    checkpoint: str | os.PathLike | None = None,
    announce: Callable[[Forecast], None] | None = None,
) -> LeadingEigenvalues:
    """The k largest eigenvalues of K = J J^T, and its exact traces, without any (n, n) or (n, p) array.

    They are those of J^T J. Where that is the cheaper way, and fits, J^T J (p, p) is summed over blocks of points, and all of
    its eigenvalues are found, to rounding. Else block Lanczos finds the leading ones, by about 8 passes over the points.

    weights, dtype: as for `KernelOperator`
    max_memory: of the process, with what it holds already ("2GiB" or bytes); of a GPU, of what is on it
    tolerance, seed: of block Lanczos: residual norms, relative to the largest eigenvalue; the first vectors
    checkpoint: a file, written every minute or less often and removed at the end: where it is there, the same call goes on
        from it. Of several processes (torchrun), each of which has its share of the points, each has one of its own
    announce: is told the `Forecast` once, after the first two blocks of points

    Ctrl-C ends the block under way, keeps it in the checkpoint and raises Interrupted. Raises MemoryError, before long work,
    for what needs more than `max_memory`; ValueError for a checkpoint of other work; and as `KernelOperator` does.

    >>> import pinntk
    >>> problem = pinntk.load("poisson1d")
    >>> network = pinntk.nn.MLP(problem, width=8, depth=1)
    >>> points = problem.sample(residual=500, boundary=2, seed=0)
    >>> found = leading_eigenvalues(network, problem, points, 3)
    >>> exact = pinntk.kernel(network, problem, points).eigvalsh().flip(0)[:3]
    >>> torch.allclose(found.values, exact), found.method
    (True, 'gram')
    """
    points = problem.check(points)
    check_network(network, problem, points)
    if k < 1:
        raise ValueError(f"k={k}: a whole number of at least 1")
    device = device_of(network)
    n, p = sum(map(len, points.values())), sum(map(size_of, trained_parameters(network, problem).values()))
    plan = _plan(n, p, k, parse_bytes(max_memory), _held(device))
    kept = Resumable(_path(checkpoint, plan.method), _parts(network, problem, points, weights, (dtype, k, seed)))
    if kept.state:
        plan = _as_begun(plan, kept)
    budget = plan.cache
    jacobian = JacobianOperator(network, problem, points, weights=weights, dtype=dtype, max_memory=budget, chunk=plan.chunk)
    with deferred_interrupt() as interrupted:
        work = _Work(jacobian, plan, kept, interrupted, announce)
        find = _by_gram if plan.method == GRAM else _by_lanczos
        values, bounds, directions = find(work, plan.k, tolerance, seed)
    kept.remove()
    traces = distributed.all_sum_numbers([work.traces[name] for name in points], device)
    sizes = {name: len(rows) for name, rows in points.items()}
    return LeadingEigenvalues(values, bounds, directions, dict(zip(points, traces, strict=True)), sizes, plan.method)


@dataclass(frozen=True)
class _Plan:
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


def _plan(n: int, p: int, k: int, limit: int, held: float) -> _Plan:
    """By multiply-adds, where J^T J fits. Raises MemoryError where neither way does."""
    k, room = min(k, n, p), limit - held
    side, block = min(n, p), krylov.block_of(k)
    gram, lanczos = n * p**2 / 2 + 10 * p**3, _PASSES * n * p * 2 * _COMPONENTS * block
    square = 8 * _SQUARE * p**2
    if p <= n and gram <= lanczos and square + 8 * _PANELS * _FEWEST * p <= room:
        chunk = int(min((room - square) // (8 * _PANELS * p), CHUNK))
        return _Plan(GRAM, n, p, k, chunk, square, 1, limit)
    bases = 8 * _BASES * side * krylov.columns_of(side, k, min(side, block))
    if bases > room:
        raise MemoryError(
            f"{k} eigenvalues for {p:,} parameters take {gib(bases)} GiB beside the {gib(held)} GiB in use, and "
            f"{gib(limit)} GiB are allowed; allow more memory, or ask for fewer eigenvalues"
        )
    return _Plan(LANCZOS, n, p, k, CHUNK, bases, max(1, int(room - bases) // 2), limit)


def _as_begun(plan: _Plan, kept: Resumable) -> _Plan:
    """With the blocks of the checkpoint: more or less memory may be in use than then. Raises ValueError for another method."""
    if kept.state["method"] != plan.method:
        raise ValueError(
            f"{kept.path} was begun by method {kept.state['method']!r}, and max_memory allows {plan.method!r} now; give as "
            "much memory as then, or remove it"
        )
    return replace(plan, chunk=kept.state["chunk"])


def _held(device: torch.device) -> float:
    return torch.cuda.memory_allocated(device) if device.type == "cuda" else resident()


def _peak(device: torch.device) -> float:
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else peak()


def _path(checkpoint: str | os.PathLike | None, method: str) -> Path | None:
    if checkpoint is None:
        return None
    path = Path(checkpoint)
    if distributed.world() == 1:
        return path
    if method == LANCZOS:
        raise ValueError(
            f"checkpoint={str(checkpoint)!r}: block Lanczos keeps one in a single process only, since processes that are "
            "killed stop in different passes; leave it out"
        )
    return path.with_name(f"{path.name}.rank{distributed.rank()}of{distributed.world()}")


def _parts(network: nn.Module, problem: Problem, points: Points, weights: Weights | None, settings: tuple) -> list[Any]:
    """What the result depends on; the equations by some of their errors."""
    few = {name: rows[:_LOOKED] for name, rows in points.items()}
    with torch.no_grad():
        seen = errors(network, problem, to_network(network, few))
    parts = [problem.name, settings, *points, *points.values(), *trained_parameters(network, problem).values(), *seen.values()]
    return [*parts, *((weights or {}).keys()), *((weights or {}).values())]


class _Work:
    """Passes over the blocks of points of this process.

    traces: {condition: of its block of K}, of this process's points, as far as the first pass has come
    announce: is told the forecast after two blocks
    """

    def __init__(
        self,
        jacobian: JacobianOperator,
        plan: _Plan,
        kept: Resumable,
        interrupted: threading.Event,
        announce: Callable[[Forecast], None] | None,
    ):
        self.jacobian, self.kept = jacobian, kept
        self._plan, self._interrupted, self._announce = plan, interrupted, announce
        self.traces = {**dict.fromkeys(jacobian.names, 0.0), **kept.state.get("traces", {})}
        self._traced: int = kept.state.get("traced", 0)
        self._seen = 0

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

    def keep(self, state: dict[str, Any]) -> None:
        plan = {"method": self._plan.method, "chunk": self._plan.chunk}
        self.kept.save({**state, **plan, "traces": dict(self.traces), "traced": self._traced})

    def _how_to_go_on(self) -> str:
        return "" if self.kept.path is None else "; the same again goes on from there"

    def _look(self, number: int, seconds: float) -> None:
        self._seen += 1
        later = range(number + 1, self.jacobian.blocks)
        if self._seen == 2 or (self._seen == 1 and not later):
            self._foresee(seconds / self.jacobian.block_size(number), sum(map(self.jacobian.block_size, later)))

    def _foresee(self, seconds: float, left: int) -> None:
        """From the seconds of a row of J, and the rows that are left of this pass. Raises MemoryError for too much memory."""
        plan, device = self._plan, self.jacobian.device
        gram = plan.method == GRAM
        extra = plan.taken * (_SQUARE - 1) / _SQUARE if gram else plan.taken + plan.cache
        memory = max(_peak(device), _held(device) + extra)
        if memory > plan.limit:
            raise MemoryError(
                f"{plan.k} eigenvalues for {plan.p:,} parameters in blocks of {plan.chunk} points need about {gib(memory)} "
                f"GiB, and {gib(plan.limit)} GiB are allowed; allow more memory"
            )
        rows = sum(map(self.jacobian.block_size, range(self.jacobian.blocks)))
        # Eigenvalues of J^T J take about 10 p^3 operations, and a row p^2.
        later = seconds * (10 * plan.p if gram else (_PASSES - 1) * rows)
        if self._announce is not None and distributed.rank() == 0:
            blocks = self.jacobian.blocks
            self._announce(Forecast(plan.method, plan.n, plan.p, blocks, seconds * left + later, memory))


def _by_gram(work: _Work, k: int, tolerance: float, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    jacobian, saved = work.jacobian, work.kept.state
    p = jacobian.shape[1]
    M = torch.zeros(p, p, dtype=jacobian.dtype, device=jacobian.device)
    if "M" in saved:
        M.copy_(saved.pop("M"))

    def each(rows: slice, scale: Tensor, part: Factors) -> None:
        columns = part.matrix(jacobian.dtype).mul_(scale).T
        with threads_for(of_factorization(columns)):
            add_product(M, columns, columns, symmetric=True)

    def state(done: int) -> dict[str, Any]:
        return {"M": M, "done": done}

    work.over("J^T J", each, saved.get("done", 0), state)
    if distributed.world() > 1:
        work.keep(state(jacobian.blocks))  # the others may be cut off
        distributed.all_sum(M)
    M.tril_()
    M += M.tril(-1).T
    with Progress("eigenvalues"), threads_for(of_factorization(M)):
        found = distributed.tensors_of_first(lambda: tuple(torch.linalg.eigh(M)), M)
    assert found is not None
    values, directions = found[0].flip(0)[:k].clamp_min(0), found[1].flip(1)[:, :k]
    return values, (M @ directions - directions * values).norm(dim=0) + _rounding(values, p), directions


def _by_lanczos(work: _Work, k: int, tolerance: float, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    jacobian, saved = work.jacobian, work.kept.state
    n, p = jacobian.shape
    outer: dict[str, Any] = {}
    begun = tuple(saved["outer"]) if "outer" in saved else None
    passes, worst = [0], ["block Lanczos"]

    def label() -> str:
        passes[0] += 1
        return f"{worst[0]}, pass {passes[0]}"

    def normal(V: Tensor) -> Tensor:
        """J^T J V, (p, b)."""
        total, first, inner = torch.zeros_like(V), 0, saved.pop("inner", None)
        if inner is not None and torch.equal(inner["V"].to(V), V):
            total, first = inner["total"].to(V), inner["done"]

        def each(rows: slice, scale: Tensor, part: Factors) -> None:
            total.add_(part.rmatmat(scale**2 * part.matmat(V)))

        work.over(label(), each, first, lambda done: {**outer, "inner": {"V": V, "total": total, "done": done}})
        return distributed.all_sum(total)

    def kernel(V: Tensor) -> Tensor:
        """J J^T V, (n, b)."""
        W, result = V.new_zeros(p, V.shape[1]), torch.zeros_like(V)

        def pull(rows: slice, scale: Tensor, part: Factors) -> None:
            W.add_(part.rmatmat(scale * V[rows]))

        def push(rows: slice, scale: Tensor, part: Factors) -> None:
            result[rows] = scale * part.matmat(W)

        work.over(label(), pull, state=lambda done: outer)
        distributed.all_sum(W)
        work.over(label(), push, state=lambda done: outer)
        return distributed.all_sum(result)

    def keep(state: krylov.State) -> None:
        outer["outer"] = list(state)

    def report(_: int, residual: float) -> None:
        worst[0] = f"residual {short(residual)}"

    like = torch.zeros(min(n, p), dtype=jacobian.dtype, device=jacobian.device)
    if begun is not None:
        begun = (begun[0].to(like), begun[1].to(like), begun[2], begun[3])
    found = krylov.leading_eigenpairs(
        normal if p < n else kernel,
        like,
        k,
        tolerance=tolerance,
        iterations=_ITERATIONS,
        seed=seed,
        report=report,
        begun=begun,
        keep=keep,
    )
    values = found.values.clamp_min(0)
    directions = found.vectors
    if p >= n:
        directions = jacobian.rmatmat(directions) / values.sqrt().clamp_min(torch.finfo(like.dtype).tiny)
    return values, found.residuals + _rounding(values, len(like)), directions


def _rounding(values: Tensor, n: int) -> float:
    """What of eigenvalues is rounding."""
    return n * torch.finfo(values.dtype).eps * float(values[0])
