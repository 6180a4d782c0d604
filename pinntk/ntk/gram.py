"""K_ij = J_i J_j^T from factored Jacobians, without the Jacobians."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from pinntk.ntk.factored import Factors, Outer

# Measured on 2 cores with 2 MiB of second-level cache each (docs/PERFORMANCE.md).
TILE_ENTRIES = 65_536  # of a structured tile, tile x S' tile: three of them in float64 fit the second-level cache
CHUNK_ENTRIES = 8_388_608  # of an explicit Jacobian formed at a time
ELEMENTWISE_COST = 90  # of a structured tile's elementwise work, in multiply-adds of a matrix product


def gram(left: Factors, right: Factors, dtype: torch.dtype = torch.float64) -> Tensor:
    """The block K_ij = J_i J_j^T, (n_i, n_j), accumulated in `dtype`.

    For each weight matrix, whichever is cheaper: the structured form, the sum over components s, s' of
    (A_i^s . A_j^s') (B_i^s . B_j^s'), at S S' (in + out) operations an entry; or the explicit columns of J, at in x out.
    Where left is right only one triangle is computed and then mirrored: the block is symmetric to the last bit.
    """
    symmetric = left is right
    K = torch.zeros(left.n, right.n, dtype=dtype, device=left.device)
    structured = [name for name in left.sizes if is_structured(left, right, name)]
    for x, y in _explicit_columns(left, right, [name for name in left.sizes if name not in structured], dtype):
        add_product(K, x, y, symmetric)
    for name in structured:
        _add_structured(K, left.outers[name], right.outers[name], symmetric)
    if symmetric:
        K = K.tril_().add_(K.tril(-1).T)
    return K


def is_structured(left: Factors, right: Factors, name: str) -> bool:
    """Whether the structured form is the cheaper one for that parameter."""
    if name not in left.outers or name not in right.outers:
        return False
    a, b = left.outers[name], right.outers[name]
    if a.transposed != b.transposed:
        return False
    (pairs, width_in, width_out) = (len(a.A) * len(b.A), a.A.shape[2], a.B.shape[2])
    return pairs * (width_in + width_out + ELEMENTWISE_COST) < width_in * width_out


def _explicit_columns(left: Factors, right: Factors, names: list[str], dtype: torch.dtype) -> Iterator[tuple[Tensor, Tensor]]:
    """Matching columns of both Jacobians: all narrow ones joined, a wide one in chunks."""
    most = max(1, CHUNK_ENTRIES // (left.n + right.n))
    narrow: list[tuple[Tensor, Tensor]] = []
    gathered = 0
    for name in names:
        if not (left.has(name) and right.has(name)):
            continue
        for pair in _columns(left, right, name, most, dtype):
            narrow.append(pair)
            gathered += pair[0].shape[1]
            if gathered >= most:
                yield _join(narrow)
                narrow, gathered = [], 0
    if narrow:
        yield _join(narrow)


def _columns(left: Factors, right: Factors, name: str, most: int, dtype: torch.dtype) -> Iterator[tuple[Tensor, Tensor]]:
    a, b = left.outers.get(name), right.outers.get(name)
    if a is None or b is None or a.transposed != b.transposed:
        x = left.explicit(name, dtype)
        yield x, x if left is right else right.explicit(name, dtype)
        return
    outputs, width = a.B.shape[2], a.A.shape[2]
    step = max(1, most // width)
    for start in range(0, outputs, step):
        x = a.rows(start, start + step, dtype)
        yield x, x if left is right else b.rows(start, start + step, dtype)


def _join(pairs: list[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    if len(pairs) == 1:
        return pairs[0]
    x = torch.cat([x for x, _ in pairs], 1)
    return x, x if all(x is y for x, y in pairs) else torch.cat([y for _, y in pairs], 1)


def add_product(K: Tensor, x: Tensor, y: Tensor, symmetric: bool) -> None:
    """K += x y^T; only the lower triangle, in strips, if symmetric."""
    if not symmetric:
        K.addmm_(x, y.T)
        return
    strip = max(128, -(-len(x) // 8))
    for start in range(0, len(x), strip):
        stop = min(start + strip, len(x))
        K[start:stop, :stop].addmm_(x[start:stop], y[:stop].T)


def _add_structured(K: Tensor, left: Outer, right: Outer, symmetric: bool) -> None:
    """K += sum over s, s' of (A^s . A^s') (B^s . B^s'), tile by tile: for each s both products against all s' at once,
    multiplied and summed in long contiguous rows, and the sum over s' at the end."""
    dtype, n, m, S = K.dtype, *K.shape, len(right.A)
    tile = max(32, int((TILE_ENTRIES / S) ** 0.5) // 16 * 16)
    GA, GB, total = K.new_empty(3, min(tile, n) * S * min(tile, m))
    for j in range(0, m, tile):
        Aj, Bj = (t[:, j : j + tile].to(dtype).flatten(0, 1).T for t in (right.A, right.B))  # [width, S' tile]
        for i in range(j if symmetric else 0, n, tile):
            rows, columns = min(tile, n - i), Aj.shape[1]
            ga, gb, sums = (buffer[: rows * columns].view(rows, columns) for buffer in (GA, GB, total))
            for s in range(len(left.A)):
                torch.mm(left.A[s, i : i + tile].to(dtype), Aj, out=ga)
                torch.mm(left.B[s, i : i + tile].to(dtype), Bj, out=gb)
                sums = torch.mul(ga, gb, out=sums) if s == 0 else sums.addcmul_(ga, gb)
            block = K[i : i + tile, j : j + tile]
            for part in sums.view(rows, S, -1).unbind(1):
                block += part
