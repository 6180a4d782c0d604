"""The largest eigenvalues of K on any number of points: in a stated memory, with a forecast, and resumable."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pinntk._util import distributed
from pinntk._util.files import replacing
from pinntk._util.interrupt import deferred_interrupt
from pinntk._util.memory import parse_bytes
from pinntk._util.precision import without_autocast
from pinntk._util.progress import Progress, short
from pinntk._util.resumable import Resumable
from pinntk._util.threads import of_factorization, threads_for
from pinntk._util.warn import warn_user
from pinntk.ntk import _krylov as krylov
from pinntk.ntk._assemble import device_of
from pinntk.ntk._blocks import Weights
from pinntk.ntk._factored import Factors
from pinntk.ntk._factors import trained_parameters
from pinntk.ntk._gram import add_product
from pinntk.ntk._jacobian import JacobianOperator
from pinntk.ntk._passes import GRAM, LANCZOS, Forecast, Plan, Work, held, make_plan
from pinntk.ntk.graph import size_of
from pinntk.problem import Points, Problem
from pinntk.residuals import check_network, errors
from pinntk.residuals._points import to_network

_ITERATIONS = 200
_MORE = 2 * 2**30  # bytes beside what is held, where no limit is given
_LOOKED = 12  # points of a condition by which another equation is told


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
    max_memory: int | str | None = None,
    tolerance: float = 1e-8,
    seed: int = 0,
    checkpoint: str | os.PathLike | None = None,
    announce: Callable[[Forecast], None] | None = None,
) -> LeadingEigenvalues:
    """The k largest eigenvalues of K = J J^T, and its exact traces, without any (n, n) or (n, p) array.

    They are those of J^T J. Where that is the cheaper way, and fits, J^T J (p, p) is summed over blocks of points, and all of
    its eigenvalues are found, to rounding. Else block Lanczos finds the leading ones, by about 8 passes over the points.

    weights, dtype: as for `KernelOperator`
    max_memory: of the process, with what it holds already ("2GiB" or bytes); of a GPU, of what is on it; None for 2 GiB more
        than what is held already
    tolerance, seed: of block Lanczos: residual norms, relative to the largest eigenvalue; the first vectors
    checkpoint: a file, written every minute or less often and removed at the end: where it is there, the same call goes on
        from it. Of several processes (torchrun), each of which has its share of the points, each has one of its own, but
        with block Lanczos, which then keeps none
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
    plan = distributed.of_first(lambda: _plan(n, p, k, max_memory, device))
    with distributed.together(ValueError):
        kept = Resumable(_path(checkpoint, plan.method), _parts(network, problem, points, weights, (dtype, k, seed)))
        if kept.state:
            plan = _as_begun(plan, kept)
    budget = plan.cache
    jacobian = JacobianOperator(network, problem, points, weights=weights, dtype=dtype, max_memory=budget, chunk=plan.chunk)
    with deferred_interrupt() as interrupted:
        work = Work(jacobian, plan, kept, interrupted, announce)
        find = _by_gram if plan.method == GRAM else _by_lanczos
        values, bounds, directions = find(work, plan.k, tolerance, seed)
    kept.remove()
    traces = distributed.all_sum_numbers([work.traces[name] for name in points], device)
    sizes = {name: len(rows) for name, rows in points.items()}
    return LeadingEigenvalues(values, bounds, directions, dict(zip(points, traces, strict=True)), sizes, plan.method)


def _plan(n: int, p: int, k: int, max_memory: int | str | None, device: torch.device) -> Plan:
    already = held(device)
    return make_plan(n, p, k, int(already) + _MORE if max_memory is None else parse_bytes(max_memory), already)


def _as_begun(plan: Plan, kept: Resumable) -> Plan:
    """With the blocks of the checkpoint: more or less memory may be in use than then. Raises ValueError for another method."""
    if kept.state["method"] != plan.method:
        raise ValueError(
            f"{kept.path} was begun by method {kept.state['method']!r}, and max_memory allows {plan.method!r} now; give as "
            "much memory as then, or remove it"
        )
    return replace(plan, chunk=kept.state["chunk"])


def _path(checkpoint: str | os.PathLike | None, method: str) -> Path | None:
    if checkpoint is None:
        return None
    path = Path(checkpoint)
    if distributed.world() == 1:
        return path
    if method == LANCZOS:
        if distributed.rank() == 0:
            warn_user("block Lanczos keeps no checkpoint of several processes: killed, they stop in different passes")
        return None
    return path.with_name(f"{path.name}.rank{distributed.rank()}of{distributed.world()}")


def _parts(network: nn.Module, problem: Problem, points: Points, weights: Weights | None, settings: tuple) -> list[Any]:
    """What the result depends on; the equations by some of their errors."""
    few = {name: rows[:_LOOKED] for name, rows in points.items()}
    with torch.no_grad():
        seen = errors(network, problem, to_network(network, few))
    parts = [problem.name, settings, *points, *points.values(), *trained_parameters(network, problem).values(), *seen.values()]
    return [*parts, *((weights or {}).keys()), *((weights or {}).values())]


def _by_gram(work: Work, k: int, tolerance: float, seed: int) -> tuple[Tensor, Tensor, Tensor]:
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


def _by_lanczos(work: Work, k: int, tolerance: float, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    jacobian = work.jacobian
    n, p = jacobian.shape
    like = torch.zeros(min(n, p), dtype=jacobian.dtype, device=jacobian.device)
    products = _Products(work, like)
    found = krylov.leading_eigenpairs(
        products.normal if p < n else products.kernel,
        like,
        k,
        tolerance=tolerance,
        iterations=_ITERATIONS,
        seed=seed,
        report=products.report,
        begun=products.begun,
        keep=products.keep,
    )
    values, directions = found.values.clamp_min(0), found.vectors
    if p >= n:
        directions = jacobian.rmatmat(directions) / values.sqrt().clamp_min(torch.finfo(like.dtype).tiny)
    return values, found.residuals + _rounding(values, len(like)), directions


class _Products:
    """J^T J V and J J^T V by passes over the points, and the state of block Lanczos between them.

    begun: the state of the checkpoint; None where there is none
    """

    def __init__(self, work: Work, like: Tensor):
        self._work, self._saved = work, work.kept.state
        self._passes, self._residual = 0, "block Lanczos"
        self._outer: dict[str, Any] = {}
        self.begun: krylov.State | None = None
        if "outer" in self._saved:
            Q, KQ, products, done = self._saved["outer"]
            self.begun = (Q.to(like), KQ.to(like), products, done)

    def keep(self, state: krylov.State) -> None:
        self._outer = {"outer": list(state)}

    def report(self, iteration: int, residual: float) -> None:
        self._residual = f"residual {short(residual)}"

    def normal(self, V: Tensor) -> Tensor:
        """J^T J V, (p, b)."""
        total, first, inner = torch.zeros_like(V), 0, self._saved.pop("inner", None)
        if inner is not None and torch.equal(inner["V"].to(V), V):
            total, first = inner["total"].to(V), inner["done"]

        def each(rows: slice, scale: Tensor, part: Factors) -> None:
            total.add_(part.rmatmat(scale**2 * part.matmat(V)))

        def state(done: int) -> dict[str, Any]:
            return {**self._outer, "inner": {"V": V, "total": total, "done": done}}

        self._over(each, first, state)
        return distributed.all_sum(total)

    def kernel(self, V: Tensor) -> Tensor:
        """J J^T V, (n, b)."""
        W, result = V.new_zeros(self._work.jacobian.shape[1], V.shape[1]), torch.zeros_like(V)

        def pull(rows: slice, scale: Tensor, part: Factors) -> None:
            W.add_(part.rmatmat(scale * V[rows]))

        def push(rows: slice, scale: Tensor, part: Factors) -> None:
            result[rows] = scale * part.matmat(W)

        self._over(pull, 0, lambda done: self._outer)
        distributed.all_sum(W)
        self._over(push, 0, lambda done: self._outer)
        return distributed.all_sum(result)

    def _over(self, each: Callable[[slice, Tensor, Factors], None], first: int, state: Callable[[int], dict[str, Any]]) -> None:
        self._passes += 1
        self._work.over(f"{self._residual}, pass {self._passes}", each, first, state)


def _rounding(values: Tensor, n: int) -> float:
    """What of eigenvalues is rounding."""
    return n * torch.finfo(values.dtype).eps * float(values[0])
