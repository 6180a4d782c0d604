"""J as an operator: products with J and J^T, without any (n, p) array."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import torch
from torch import Tensor, nn

from pinntk._util import distributed
from pinntk._util.memory import parse_bytes
from pinntk._util.precision import without_autocast
from pinntk._util.threads import of_step, with_threads_for
from pinntk.ntk._blocks import Weights, loss_scales, sizes_text
from pinntk.ntk._factored import Factors, Origin
from pinntk.ntk._factors import trained_parameters
from pinntk.ntk._store import CHUNK, FactorStore
from pinntk.ntk.graph import size_of
from pinntk.problem import Points, Problem
from pinntk.residuals import check_network


class JacobianOperator:
    """J = d e / d theta, (n, p), or D^1/2 J if weights are given, by its products.

    They have the names of scipy.sparse.linalg.LinearOperator: `matvec` and `matmat` multiply by J, `rmatvec` and `rmatmat` by
    J^T.

    Arguments and errors as for `KernelOperator`, whose `jacobian` it is.
    """

    @without_autocast
    def __init__(
        self,
        network: nn.Module,
        problem: Problem,
        points: Points,
        *,
        weights: Weights | None = None,
        dtype: torch.dtype = torch.float64,
        max_memory: int | str = "2GiB",
        chunk: int = CHUNK,
    ):
        points = problem.check(points)
        check_network(network, problem, points)
        if chunk < 1:
            raise ValueError(f"chunk={chunk}: at least 1 point")
        self._work = of_step(network, problem, points)  # of a product with one vector
        self.dtype = dtype
        self.names = tuple(points)
        self.sizes = tuple(len(points[name]) for name in self.names)
        trained = trained_parameters(network, problem)
        self.parameter_sizes = {name: size_of(p) for name, p in trained.items()}
        self.shape = (sum(self.sizes), sum(self.parameter_sizes.values()))
        offsets = dict(zip(points, np.cumsum((0, *self.sizes)).tolist(), strict=False))
        firsts = {name: offsets[name] + distributed.span(len(rows)).start for name, rows in points.items()}
        self._store = FactorStore(network, problem, distributed.shard(points), parse_bytes(max_memory), chunk, firsts)
        self.device = next(iter(trained.values())).device
        D = torch.ones(self.shape[0]) if weights is None else loss_scales(weights, self.names, self.sizes)
        self._root = D.sqrt().unsqueeze(1).to(self.device, dtype)

    @property
    def origins(self) -> Mapping[str, Origin]:
        """How J of each condition was obtained in the products so far: path, certificate, seconds."""
        return self._store.origins

    def matvec(self, w: Tensor) -> Tensor:
        """J w, (p,) -> (n,)."""
        return self.matmat(w.unsqueeze(1)).squeeze(1)

    def rmatvec(self, v: Tensor) -> Tensor:
        """J^T v, (n,) -> (p,)."""
        return self.rmatmat(v.unsqueeze(1)).squeeze(1)

    @without_autocast
    @with_threads_for(lambda self, W: self._work * W.shape[1])
    def matmat(self, W: Tensor) -> Tensor:
        """J W, (p, k) -> (n, k)."""
        W = self._operand(W, self.shape[1])
        result = self._zeros(self.shape[0], W.shape[1])
        for rows, scale, part in self._chunks():
            result[rows] = scale * part.matmat(W)
        return distributed.all_sum(result)

    @without_autocast
    @with_threads_for(lambda self, V: self._work * V.shape[1])
    def rmatmat(self, V: Tensor) -> Tensor:
        """J^T V, (n, k) -> (p, k)."""
        V = self._operand(V, self.shape[0])
        total = self._zeros(self.shape[1], V.shape[1])
        for rows, scale, part in self._chunks():
            total += part.rmatmat(scale * V[rows])
        return distributed.all_sum(total)

    @without_autocast
    @with_threads_for(lambda self, W: self._work * W.shape[1])
    def normal_matmat(self, W: Tensor) -> Tensor:
        """J^T J W, (p, k) -> (p, k), each chunk factored once."""
        W = self._operand(W, self.shape[1])
        total = torch.zeros_like(W)
        for _, scale, part in self._chunks():
            total += part.rmatmat(scale**2 * part.matmat(W))
        return distributed.all_sum(total)

    @without_autocast
    @with_threads_for(lambda self: self._work)
    def squared_row_norms(self) -> Tensor:
        """The diagonal of J J^T, (n,), in float64."""
        result = torch.zeros(self.shape[0], dtype=torch.float64, device=self.device)
        for rows, scale, part in self._chunks():
            result[rows] = scale.squeeze(1) ** 2 * part.diagonal
        return distributed.all_sum(result)

    def _chunks(self) -> Iterator[tuple[slice, Tensor, Factors]]:
        """(rows of J, square root of D there (rows, 1), J of these rows), chunk by chunk."""
        for number in range(self.blocks):
            for _, rows, scale, part in self.block(number):
                yield rows, scale, part

    @property
    def blocks(self) -> int:
        """How many blocks of points this process has."""
        return len(self._store.blocks)

    def block_size(self, number: int) -> int:
        """The rows of J in one of them."""
        return sum(chunk.stop - chunk.start for chunk in self._store.blocks[number])

    def block(self, number: int) -> Iterator[tuple[str, slice, Tensor, Factors]]:
        """(condition, rows of J, square root of D there (rows, 1), J of these rows) in one of them."""
        for chunk, part in self._store.of_block(number):
            yield chunk.name, chunk.rows, self._root[chunk.rows], part

    def _operand(self, V: Tensor, rows: int) -> Tensor:
        if V.ndim != 2 or V.shape[0] != rows:
            raise ValueError(f"an operand of shape {tuple(V.shape)}; expected ({rows}, k)")
        return V.to(self.device, self.dtype)

    def _zeros(self, *shape: int) -> Tensor:
        return torch.zeros(shape, dtype=self.dtype, device=self.device)

    def __repr__(self) -> str:
        return f"JacobianOperator({sizes_text(self.names, self.sizes)}; p = {self.shape[1]}, {self.dtype}, {self.device})"
