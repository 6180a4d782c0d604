"""Rows of J from the arrangement where parameters enter a graph: linear maps, elementwise operations, and anything else by
vector-Jacobian products of that one operation.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from pinntk.ntk._factored import Collector, Outer
from pinntk.ntk.graph._points import Captured, SpreadOf, parameters_behind
from pinntk.ntk.graph._reverse import CHUNK, flat_rows, pull_back, stack_gradients, without_batching_warnings
from pinntk.ntk.graph._walk import Entry, Graph, Node, UnstructuredError, is_transpose, operation, saved_value, source

# {operation: (names of its saved operands, their positions among its inputs)}
_PRODUCTS = {
    "MmBackward0": (("self", "mat2"), (0, 1)),
    "AddmmBackward0": (("mat1", "mat2"), (1, 2)),
    "BmmBackward0": (("self", "mat2"), (0, 1)),
}


class Uses:
    """Turns the entries of a graph into `Factors`' parts, one after the other."""

    def __init__(self, graph: Graph, captured: Captured, spread: SpreadOf):
        self._graph, self._captured, self._spread_of = graph, captured, spread
        self._collector = Collector()
        self._sources = graph.sources
        self._outers: dict[str, dict[tuple, _Product]] = {}
        self._computed: dict[tuple[Node, int], tuple[Entry, Tensor]] = {}
        self.one_by_one: list[str] = []  # operations that needed a vector-Jacobian product for each point

    def add(self, entry: Entry) -> None:
        gradients = self._captured.get(entry.node)
        if gradients is None or all(g is None for g in gradients):
            return  # e does not depend on it
        kind = entry.node.name()
        real = not any(g is not None and g.is_complex() for g in gradients)
        if real and kind in _PRODUCTS and gradients[0] is not None:
            names, positions = _PRODUCTS[kind]
            if self._add_product(entry, gradients[0], names, positions):
                return
        direct = self._elementwise(entry, gradients)
        if direct is None:
            self.one_by_one.append(operation(entry.node))
            direct = self._by_products(entry, gradients)
        self._add_rows(entry, direct)

    def result(self) -> tuple[dict[str, Outer], dict[str, Tensor]]:
        for name, products in self._outers.items():
            for product in products.values():
                self._collector.add_outer(name, product.outer)
        for entry, rows in self._computed.values():
            for name, part in pull_back(entry.edge, parameters_behind(self._graph, entry.target), rows).items():
                self._collector.add_rows(name, part)
        return self._collector.result()

    # Linear maps.

    def _add_product(self, entry: Entry, g: Tensor, names: tuple[str, str], positions: tuple[int, int]) -> bool:
        """left @ right with one of them trained. False where it is not a linear map of one matrix, or a matrix is missing."""
        if entry.position not in positions:
            return False
        trained_right = entry.position == positions[1]
        other = saved_value(entry.node, names[0] if trained_right else names[1])
        if other is None or other.is_complex():
            return False
        if g.ndim == 3:  # a batch of one matrix product
            if g.shape[0] != 1:
                return False
            g, other = g.squeeze(0), other.squeeze(0)
        spread = self._spread_of(entry.node, g)
        if spread.axis != (0 if trained_right else 1):
            raise UnstructuredError(f"a trained matrix in '{operation(entry.node)}' meets points where features belong")
        scale = saved_value(entry.node, "alpha") if entry.node.name() == "AddmmBackward0" else 1
        known, sensitivity = spread.rows(other), spread.rows(g if scale == 1 else scale * g)  # (n, k, features)
        left, right = (known, sensitivity) if trained_right else (sensitivity, known)
        name, arrangement = self._source(entry) or ("", left.new_empty(0))
        for swapped in (False, True) if arrangement.ndim == 2 else ():
            if _is_outer(arrangement.T if swapped else arrangement, left.shape[2], right.shape[2]):
                self._add_use(name, other, known, sensitivity, known_first=trained_right != swapped)
                return True
        self._add_rows(entry, torch.einsum("nka,nkb->nab", left, right).reshape(len(left), *entry.shape))
        return True

    def _add_use(self, name: str, operand: Tensor, known: Tensor, sensitivity: Tensor, known_first: bool) -> None:
        """Uses that share one saved operand are one use: their sensitivities add up."""
        products = self._outers.setdefault(name, {})
        address = operand.data_ptr() or id(operand)  # wrapper tensors have none
        key = (address, operand.shape, operand.stride(), known.shape, sensitivity.shape, known_first)
        before = products.get(key)
        total = sensitivity if before is None else before.sensitivity + sensitivity
        products[key] = _Product(operand, known, total, known_first)

    # Elementwise operations: (n, *shape of the target), or None.

    def _elementwise(self, entry: Entry, gradients: tuple[Tensor | None, ...]) -> Tensor | None:
        """An operation's own backward pass leaves it to the engine to sum over what broadcasting repeated; here points are
        kept apart instead.
        """
        gradient = gradients[0]
        if len(gradients) != 1 or gradient is None:
            return None
        full = gradient if entry.node.name() == "ExpandBackward0" else _backward(entry)(gradient)
        if full is None or full.shape != gradient.shape:
            return None
        spread = self._spread_of(entry.node, gradient)
        shape = (1,) * (full.ndim - len(entry.shape)) + entry.shape  # as it met the points
        if len(shape) != full.ndim or shape[spread.axis] != 1 or full.shape[spread.axis] == 1:
            return None  # an entry for each point
        kept = [size for axis, size in enumerate(shape) if axis != spread.axis]
        rows = spread.rows(full).sum(1)
        repeated = [axis for axis, size in enumerate(kept, start=1) if size == 1 and rows.shape[axis] != 1]
        rows = rows.sum(repeated, keepdim=True) if repeated else rows
        return rows.reshape(len(rows), *entry.shape)

    # Anything else.

    def _by_products(self, entry: Entry, gradients: tuple[Tensor | None, ...]) -> Tensor:
        """The backward pass of one operation for one point at a time: (n, *shape of the target)."""
        given = [(self._spread_of(entry.node, g), g) for g in gradients if g is not None]
        apply = _backward(entry)

        def one(*masked: Tensor) -> Tensor | None:
            rest = iter(masked)
            found = apply(*(None if g is None else next(rest) for g in gradients))
            return found if found is None or found.shape == entry.shape else found.sum_to_size(entry.shape)

        n, device, parts = self._graph.n, self._graph.e.device, []
        for start in range(0, n, CHUNK):
            points = torch.arange(start, min(n, start + CHUNK), device=device)
            masked = [spread.masks(points, g) * g for spread, g in given]
            parts.append(_each(one, masked, self._graph.e, entry.shape))
        return torch.cat(parts)

    # Gathering.

    def _source(self, entry: Entry) -> tuple[str, Tensor] | None:
        key = (entry.target, entry.index)
        if key not in self._sources:
            self._sources[key] = source(entry, self._graph)
        return self._sources[key]

    def _add_rows(self, entry: Entry, rows: Tensor) -> None:
        """rows: (n, *shape of the target)."""
        found = self._source(entry)
        if found is not None:
            name, arrangement = found
            self._collector.add_rows(name, flat_rows(rows.reshape(len(rows), -1)[:, arrangement.flatten()]))
            return
        entry, rows = _before_transposes(entry, rows)
        key = (entry.target, entry.index)
        self._computed[key] = (entry, self._computed[key][1] + rows if key in self._computed else rows)


@dataclass(frozen=True)
class _Product:
    """A use of a matrix; `operand` is kept so that its memory names it."""

    operand: Tensor
    known: Tensor  # (n, k, features)
    sensitivity: Tensor  # (n, k, features)
    known_first: bool  # the matrix is stored (known, sensitivity), not (sensitivity, known)

    @property
    def outer(self) -> Outer:
        known, sensitivity = self.known.transpose(0, 1), self.sensitivity.transpose(0, 1)
        return Outer(sensitivity, known) if self.known_first else Outer(known, sensitivity)


def _before_transposes(entry: Entry, rows: Tensor) -> tuple[Entry, Tensor]:
    """The same rows for the matrix that was transposed: a layer and its derivatives use both, and one pass serves both."""
    while is_transpose(entry.target):
        target, index = entry.target.next_functions[0]
        entry, rows = replace(entry, target=target, index=index), rows.transpose(1, 2)
    return entry, rows


def _is_outer(arrangement: Tensor, first: int, second: int) -> bool:
    """Whether a parameter is a (first, second) matrix whose entries are those of an operand in reading order."""
    if arrangement.shape != (first, second):
        return False
    return torch.equal(arrangement.reshape(-1), torch.arange(arrangement.numel(), device=arrangement.device))


def _backward(entry: Entry) -> Callable[..., Tensor | None]:
    """The backward pass of one operation: gradients of its outputs to that of the entry's target."""
    custom = not callable(entry.node)
    apply = entry.node.apply if custom else entry.node

    def backward(*gradients: Tensor | None) -> Tensor | None:
        if custom:  # which torch gives zeros for outputs without gradient
            shapes = entry.node._input_metadata
            gradients = tuple(g if g is not None else _zeros(m) for g, m in zip(gradients, shapes, strict=True))
        with torch.no_grad():
            found = apply(*gradients)
        return found[entry.position] if isinstance(found, tuple) else found

    return backward


def _zeros(metadata: Any) -> Tensor:
    return torch.zeros(metadata.shape, dtype=metadata.dtype, device=metadata.device)


def _each(one: Callable, masked: list[Tensor], like: Tensor, shape: tuple[int, ...]) -> Tensor:
    """one(*seeds) for every seed along the first axis, (c, *shape)."""
    count = len(masked[0])
    try:
        with without_batching_warnings():
            found = torch.vmap(one)(*masked)
        if found.shape == (count, *shape):
            return found
    except (RuntimeError, NotImplementedError, TypeError, ValueError):  # it cannot be batched, or returns None
        pass
    try:
        found = stack_gradients([one(*seeds) for seeds in zip(*masked, strict=True)])
    except Exception as error:  # whatever the user's own backward raises
        raise UnstructuredError(f"one backward pass alone raised {type(error).__name__}: {error}") from error
    return like.new_zeros(count, *shape) if found is None else found
