"""K_ij = J_i J_j^T from factored Jacobians, without the Jacobians."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pinntk._util.threads import run_in_parallel
from pinntk.ntk._factored import Factors, Outer

# Measured on 2 cores with 2 MiB of second-level cache each (docs/PERFORMANCE.md).
TILE_ENTRIES = 65_536  # of a structured tile, rows x S' columns: three of them in float64 fit the second-level cache
DEVICE_TILE_ENTRIES = 16_777_216  # elsewhere: products large enough that launching them is nothing; 0.4 GB in float64
PANEL_ENTRIES = 262_144  # of the explicit columns of J formed at a time on a CPU: they stay in its cache
CHUNK_ENTRIES = 8_388_608  # the same elsewhere, and the most anywhere
ELEMENTWISE_COST = 25  # of a structured tile's elementwise work, in multiply-adds of a matrix product


def gram(left: Factors, right: Factors, dtype: torch.dtype = torch.float64) -> Tensor:
    """The block K_ij = J_i J_j^T, (n_i, n_j), accumulated in `dtype`.

    For each weight matrix, whichever is cheaper: the structured form, the sum over components s, s' of
    (A_i^s . A_j^s') (B_i^s . B_j^s'), at S S' (in + out) operations per entry; or the explicit columns of J, at in x out.
    Where left is right only one triangle is computed and then mirrored: the block is symmetric to the last bit.
    """
    symmetric = left is right
    K = torch.zeros(left.n, right.n, dtype=dtype, device=left.device)
    shared = [name for name in left.sizes if left.has(name) and right.has(name)]
    structured = [name for name in shared if is_structured(left, right, name)]
    sides = [left] if symmetric else [left, right]
    for panels in explicit_panels(sides, [name for name in shared if name not in structured], _panel_width(sides), dtype):
        add_product(K, panels[0], panels[-1], symmetric)
    for name in structured:
        _add_structured(K, left.outers[name], right.outers[name], symmetric)
    if symmetric:
        K = K.tril_().add_(K.tril(-1).T)
    return K


def is_structured(left: Factors, right: Factors, name: str) -> bool:
    """Whether the structured form is the cheaper one for that parameter."""
    if not _same_order([left, right], name):
        return False
    a, b = left.outers[name], right.outers[name]
    (pairs, width_in, width_out) = (len(a.A) * len(b.A), a.A.shape[2], a.B.shape[2])
    return pairs * (width_in + width_out + ELEMENTWISE_COST) < width_in * width_out


def _same_order(sides: Sequence[Factors], name: str) -> bool:
    """Whether all keep that parameter as factors in the same order."""
    orders = {side.outers[name].transposed if name in side.outers else None for side in sides}
    return len(orders) == 1 and None not in orders


def explicit_panels(
    sides: Sequence[Factors], names: Sequence[str], width: int, dtype: torch.dtype = torch.float64
) -> Iterator[list[Tensor]]:
    """The same columns of several Jacobians, [(n_i, width), ...], in buffers that are used again: those of the parameters
    `names`, about `width` at a time (at least one output of a weight), in an order of their own.
    """
    factored = {name: _same_order(sides, name) for name in names}
    widest = max((sides[0].outers[name].A.shape[2] for name in names if factored[name]), default=1)
    width = min(max(width, widest), sum(sides[0].sizes[name] for name in names))
    buffers = [torch.empty(side.n, width, dtype=dtype, device=side.device) for side in sides]
    filled = 0
    for name in names:
        columns = [_columns(side, name, factored[name], dtype) for side in sides]
        start, size, unit = 0, columns[0].size, columns[0].unit
        while start < size:
            step = min((width - filled) // unit * unit, size - start)
            for side, buffer in zip(columns, buffers, strict=True):
                side.write(start, buffer[:, filled : filled + step])
            start, filled = start + step, filled + step
            if start < size:
                yield [buffer[:, :filled] for buffer in buffers]
                filled = 0
    if filled:
        yield [buffer[:, :filled] for buffer in buffers]


def _panel_width(sides: Sequence[Factors]) -> int:
    rows = max(1, sum(side.n for side in sides))
    most = CHUNK_ENTRIES // rows
    return max(1, min(most, max(512, PANEL_ENTRIES // rows)) if sides[0].device.type == "cpu" else most)


@dataclass(frozen=True)
class _Rows:
    """Columns of J that are there."""

    rows: Tensor  # (n, size)
    unit: int = 1

    @property
    def size(self) -> int:
        return self.rows.shape[1]

    def write(self, start: int, out: Tensor) -> None:
        out.copy_(self.rows[:, start : start + out.shape[1]])


@dataclass(frozen=True)
class _Products:
    """Columns of J from factors, output by output: sum_s B^s (x) A^s."""

    A: Tensor  # [n, S, in]
    B: Tensor  # [n, out, S]

    @property
    def unit(self) -> int:
        return self.A.shape[2]

    @property
    def size(self) -> int:
        return self.A.shape[2] * self.B.shape[1]

    def write(self, start: int, out: Tensor) -> None:
        first, outputs = start // self.unit, out.shape[1] // self.unit
        torch.bmm(self.B[:, first : first + outputs], self.A, out=out.view(len(out), outputs, self.unit))


def _columns(side: Factors, name: str, factored: bool, dtype: torch.dtype) -> _Rows | _Products:
    if not side.has(name):
        return _Rows(torch.zeros(1, 1, dtype=dtype, device=side.device).expand(side.n, side.sizes[name]))
    if not factored:
        return _Rows(side.explicit(name, dtype))
    outer = side.outers[name]
    return _Products(outer.A.transpose(0, 1).to(dtype).contiguous(), outer.B.permute(1, 2, 0).to(dtype).contiguous())


def add_product(K: Tensor, x: Tensor, y: Tensor, symmetric: bool) -> None:
    """K += x y^T; only the lower triangle, in strips, if symmetric."""
    if not symmetric:
        K.addmm_(x, y.T)
        return
    strip = max(64, -(-len(x) // 8))
    for start in range(0, len(x), strip):
        stop = min(start + strip, len(x))
        K[start:stop, :stop].addmm_(x[start:stop], y[:stop].T)


def _add_structured(K: Tensor, left: Outer, right: Outer, symmetric: bool) -> None:
    """K += sum over s, s' of (A^s . A^s') (B^s . B^s'), tile by tile: for each s both products against all s' at once,
    multiplied and summed in long contiguous rows, and the sum over s' at the end.

    A tile on the diagonal of a symmetric block is P + P^T, P the sum over s' > s and half of s' = s.
    """
    n, m, S = *K.shape, len(right.A)
    entries = TILE_ENTRIES if K.device.type == "cpu" else DEVICE_TILE_ENTRIES
    width = max(32, int(0.75 * (entries / S) ** 0.5) // 16 * 16)
    height = max(width, entries // (S * width) // 16 * 16)

    def strip(j: int) -> None:
        stop = min(j + width, m)
        buffers = K.new_empty(3, min(height, n) * S * min(width, m))
        Aj, Bj = (t[:, j:stop].to(K.dtype).flatten(0, 1).T for t in (right.A, right.B))
        if symmetric:
            P = _tile(left, slice(j, stop), Aj, Bj, stop - j, buffers, upper=True)
            K[j:stop, j:stop] += P + P.T
        for i in range(stop if symmetric else 0, n, height):
            K[i : i + height, j:stop] += _tile(left, slice(i, min(i + height, n)), Aj, Bj, stop - j, buffers)

    run_in_parallel(strip, range(0, m, width), K.device)


def _tile(left: Outer, rows: slice, Aj: Tensor, Bj: Tensor, columns: int, buffers: Tensor, upper: bool = False) -> Tensor:
    """The sum over s, s' of one tile, (rows, columns); with `upper`, over s' > s and half of s' = s.

    Aj, Bj: [in or out, S' columns]
    """
    height, wide = rows.stop - rows.start, Aj.shape[1]
    sums = buffers[2, : height * wide].view(height, wide)
    for s in range(len(left.A)):
        first = s * columns if upper else 0
        GA, GB = (buffer[: height * (wide - first)].view(height, wide - first) for buffer in buffers[:2])
        torch.mm(left.A[s, rows].to(Aj.dtype), Aj[:, first:], out=GA)
        torch.mm(left.B[s, rows].to(Bj.dtype), Bj[:, first:], out=GB)
        if upper:
            GA[:, :columns] /= 2
        if s == 0:
            torch.mul(GA, GB, out=sums)
        else:
            sums[:, first:].addcmul_(GA, GB)
    return sums.view(height, -1, columns).sum(1)
