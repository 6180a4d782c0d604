"""Jacobians of errors with respect to parameters, J_i = d e_i / d theta, kept as factors instead of (n, p) arrays."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

import torch
from torch import Tensor

from pinntk._util.html import facts, folded, page, table

_SHOWN = 12  # parameters, above which a notebook folds the rest
_CPU = torch.device("cpu")
_PRODUCT_ENTRIES = 8_388_608  # of the temporaries of a product, [S, n, out, k]
_PANEL_ENTRIES = 1_048_576  # of explicit rows that are formed for a product: in part they stay in the cache
_WIDEST = 32_768  # columns, of which such a panel has 32 rows: of more, too few for a fast product


@dataclass(frozen=True)
class Outer:
    """Rows of J for one weight matrix: the gradient at a point is sum_s B[s] (x) A[s].

    A: [S, n, in] inputs of the weight, one a Taylor component and use
    B: [S, n, out] sensitivities of the error to its outputs
    transposed: the weight is stored (in, out), as in x @ W, not (out, in)
    """

    A: Tensor
    B: Tensor
    transposed: bool = False

    @property
    def size(self) -> int:
        return self.A.shape[2] * self.B.shape[2]

    def panels(self, k: int, dtype: torch.dtype) -> Iterator[tuple[slice, Tensor]] | None:
        """(points, their rows of J) for a product with k vectors, where that is faster than one by factors: components are then
        summed once, not in each of the k products. None where it is not.
        """
        if k <= len(self.A) or self.size > _WIDEST:
            return None
        step = max(1, _PANEL_ENTRIES // self.size)
        places = (slice(start, start + step) for start in range(0, self.A.shape[1], step))
        return ((rows, Outer(self.A[:, rows], self.B[:, rows], self.transposed).rows(dtype=dtype)) for rows in places)

    def rows(self, start: int = 0, stop: int | None = None, dtype: torch.dtype = torch.float64) -> Tensor:
        """Columns of J for outputs start to stop, (n, (stop - start) in): all of them in the weight's order by default.

        Summed in `dtype`: rounded to float32 first, K = J J^T of a float32 network would lose its zero eigenvalues.
        """
        A, B = self.A.to(dtype), self.B[:, :, start:stop].to(dtype)
        left, right = (A, B) if self.transposed else (B, A)
        return torch.einsum("sna,snb->nab", left, right).flatten(1)


@dataclass(frozen=True)
class Origin:
    """How factors were obtained, and how well they are known to be right.

    path: "taylor" (one forward pass of jets), "graph" (read from the autograd graph of the error vector) or "rows" (reverse
        mode, a row at a time: exact by definition, and slow)
    certificate: the largest deviation of J^T z by the factors from J^T z by autograd, relative, over random z; None where
        this call made no check, since the same network, condition and number of points passed it before
    seconds: what obtaining them took
    reason: why no faster path was taken; empty for "taylor"
    """

    path: str
    certificate: float | None = field(compare=False)
    seconds: float = field(compare=False)
    reason: str = ""

    def and_then(self, other: Origin) -> Origin:
        """Of both together: the slower path, the larger certificate, the sum of seconds."""
        slower = max(self, other, key=lambda origin: ("taylor", "graph", "rows").index(origin.path))
        certificates = [origin.certificate for origin in (self, other) if origin.certificate is not None]
        seconds = self.seconds + other.seconds
        return Origin(slower.path, max(certificates, default=None), seconds, slower.reason)

    def __str__(self) -> str:
        checked = "" if self.certificate is None else f", certificate {self.certificate:.1e}"
        return f"{self.path}{checked}, {self.seconds:.3g} s" + (f" ({self.reason})" if self.reason else "")


@dataclass(frozen=True, repr=False)
class Factors:
    """J of one condition, (n, p), by parameter: `Outer` for weight matrices, explicit (n, size) rows for the others.

    sizes: entries of each trained parameter, in the order of the columns of J (a complex entry counts twice: its real and
        its imaginary part); a parameter that e does not depend on has neither an Outer nor rows
    device: of the errors, and of all factors
    origin: how they were obtained
    """

    name: str
    n: int
    sizes: Mapping[str, int]
    outers: Mapping[str, Outer]
    rows: Mapping[str, Tensor]
    device: torch.device = _CPU
    origin: Origin | None = None

    def __repr__(self) -> str:
        how = "" if self.origin is None else f"; {self.origin}"
        return f"Factors({self.name}: J of {self.n} errors and {sum(self.sizes.values())} parameters, {self.device}{how})"

    def _repr_html_(self) -> str:
        """Shape, origin and memory, and in a table how the columns of each parameter are kept."""
        p = sum(self.sizes.values())
        rows = [[name, size, self._kept(name)] for name, size in self.sizes.items()]
        lines = [
            ("obtained by", "" if self.origin is None else str(self.origin)),
            ("memory", f"{self.nbytes / 1e6:,.3g} MB; all of J in float64 would be {8e-6 * self.n * p:,.3g} MB"),
        ]
        head = ["parameter", "entries", "kept as"]
        parts = [facts(lines), table(head, rows[:_SHOWN])]
        if len(rows) > _SHOWN:
            parts.append(folded(f"and {len(rows) - _SHOWN} more", table(head, rows[_SHOWN:])))
        return page(f"J of {self.name}, {self.n:,} x {p:,}", *parts, remark=self.device)

    def _kept(self, name: str) -> str:
        if name in self.rows:
            return f"rows {list(self.rows[name].shape)}"
        if name not in self.outers:
            return "nothing: the errors do not depend on it"
        outer = self.outers[name]
        return f"products of A {list(outer.A.shape)} and B {list(outer.B.shape)}"

    def has(self, name: str) -> bool:
        """Whether e depends on that parameter."""
        return name in self.rows or name in self.outers

    def explicit(self, name: str, dtype: torch.dtype = torch.float64) -> Tensor:
        """The columns of J for one parameter, (n, size)."""
        return self.rows[name].to(dtype) if name in self.rows else self.outers[name].rows(dtype=dtype)

    @property
    def nbytes(self) -> int:
        """Memory of the factors."""
        tensors = [*self.rows.values(), *(t for outer in self.outers.values() for t in (outer.A, outer.B))]
        return sum(t.numel() * t.element_size() for t in tensors)

    def matrix(self, dtype: torch.dtype = torch.float64) -> Tensor:
        """J, (n, p)."""
        zero = torch.zeros(self.n, 1, dtype=dtype, device=self.device)
        columns = (
            self.explicit(name, dtype) if self.has(name) else zero.expand(self.n, size) for name, size in self.sizes.items()
        )
        return torch.cat(list(columns), 1)

    def of_points(self, rows: slice | Tensor) -> Factors:
        """The factors of some of the points: a slice of them, or their numbers (k,)."""
        outers = {name: Outer(outer.A[:, rows], outer.B[:, rows], outer.transposed) for name, outer in self.outers.items()}
        explicit = {name: part[rows] for name, part in self.rows.items()}
        n = len(rows) if isinstance(rows, Tensor) else len(range(self.n)[rows])
        return replace(self, n=n, outers=outers, rows=explicit)

    def matmat(self, W: Tensor) -> Tensor:
        """J W, (p, k) -> (n, k), in W's dtype."""
        k = W.shape[1]
        result = W.new_zeros(self.n, k)
        for name, block in zip(self.sizes, W.split(list(self.sizes.values())), strict=True):
            if name in self.rows:
                result.addmm_(self.rows[name].to(W.dtype), block)
            elif name in self.outers:
                outer = self.outers[name]
                if (panels := outer.panels(k, W.dtype)) is not None:
                    for place, panel in panels:
                        result[place].addmm_(panel, block)
                    continue
                width_in, width_out = outer.A.shape[2], outer.B.shape[2]
                if outer.transposed:
                    weights = block.view(width_in, width_out, k).transpose(1, 2)
                else:
                    weights = block.view(width_out, width_in, k).permute(1, 2, 0)
                weights = weights.reshape(width_in, k * width_out)
                for A, B, rows in _pieces(outer.A, outer.B, k):
                    moved = (A.to(W.dtype).flatten(0, 1) @ weights).view(*A.shape[:2], k, width_out)
                    result[rows] += torch.einsum("snko,sno->nk", moved, B.to(W.dtype))
        return result

    def rmatmat(self, V: Tensor) -> Tensor:
        """J^T V, (n, k) -> (p, k), in V's dtype."""
        k = V.shape[1]
        columns = []
        for name, size in self.sizes.items():
            if name in self.rows:
                columns.append(self.rows[name].to(V.dtype).T @ V)
            elif name in self.outers:
                outer = self.outers[name]
                if (panels := outer.panels(k, V.dtype)) is not None:
                    column = V.new_zeros(size, k)
                    for place, panel in panels:
                        column.addmm_(panel.T, V[place])
                    columns.append(column)
                    continue
                total = torch.zeros(k * outer.B.shape[2], outer.A.shape[2], dtype=V.dtype, device=V.device)
                for A, B, rows in _pieces(outer.A, outer.B, k):
                    weighted = (B.to(V.dtype).unsqueeze(2) * V[rows].unsqueeze(-1)).flatten(2).flatten(0, 1)  # [S n, k out]
                    total.addmm_(weighted.T, A.to(V.dtype).flatten(0, 1))
                total = total.view(k, outer.B.shape[2], outer.A.shape[2])
                columns.append((total.transpose(1, 2) if outer.transposed else total).reshape(k, size).T)
            else:
                columns.append(V.new_zeros(size, k))
        return torch.cat(columns)

    @cached_property
    def diagonal(self) -> Tensor:
        """Squared norms of the rows of J, (n,), in float64: the diagonal of K without K.

        Exact: sum over layers and component pairs of (A^s . A^s') (B^s . B^s'), not the product of two sums.
        """
        total = None
        for outer in self.outers.values():
            part = (_component_gram(outer.A) * _component_gram(outer.B)).sum((1, 2))
            total = part if total is None else total + part
        for rows in self.rows.values():
            part = torch.linalg.vector_norm(rows, dim=1, dtype=torch.float64) ** 2
            total = part if total is None else total + part
        return torch.zeros(self.n, dtype=torch.float64, device=self.device) if total is None else total


def _component_gram(A: Tensor) -> Tensor:
    """[S, n, f] -> (n, S, S) inner products of a point's components, accumulated in float64."""
    by_point = A.transpose(0, 1).double()
    return by_point @ by_point.transpose(1, 2)


def _pieces(A: Tensor, B: Tensor, k: int) -> Iterator[tuple[Tensor, Tensor, slice]]:
    """Points in pieces whose temporaries [S, n, k, out] stay bounded."""
    step = max(1, _PRODUCT_ENTRIES // (k * len(B) * B.shape[2]))
    for start in range(0, A.shape[1], step):
        rows = slice(start, start + step)
        yield A[:, rows], B[:, rows], rows


class Collector:
    """Gathers all uses of every parameter by one condition into one `Outer` or into explicit rows."""

    def __init__(self) -> None:
        self._outers: dict[str, list[Outer]] = {}
        self._rows: dict[str, list[Tensor]] = {}

    def add_outer(self, name: str, outer: Outer) -> None:
        self._outers.setdefault(name, []).append(outer)

    def add_rows(self, name: str, rows: Tensor) -> None:
        """rows: (n, size)."""
        self._rows.setdefault(name, []).append(rows)

    def result(self) -> tuple[dict[str, Outer], dict[str, Tensor]]:
        """(outers, rows) for `Factors`: a parameter whose uses do not fit one Outer has rows."""
        rows = {name: sum(parts[1:], parts[0]) for name, parts in self._rows.items()}
        outers = {}
        for name, uses in self._outers.items():
            if name in rows or len({use.transposed for use in uses}) > 1:
                for use in uses:
                    explicit = use.rows(dtype=use.A.dtype)
                    rows[name] = rows[name] + explicit if name in rows else explicit
            elif len(uses) == 1:
                outers[name] = uses[0]
            else:
                A, B = torch.cat([use.A for use in uses]), torch.cat([use.B for use in uses])
                outers[name] = Outer(A, B, uses[0].transposed)
        return outers, rows
