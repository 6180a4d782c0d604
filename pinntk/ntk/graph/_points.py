"""Which error each row of a batch belongs to, and gradients taken apart by it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.autograd.graph import GradientEdge

from pinntk.ntk.graph._walk import Entry, Graph, Node, UnstructuredError, operation, points_axis

Captured = dict[Node, tuple[Tensor | None, ...]]  # gradients of a node's outputs


@dataclass(frozen=True)
class Spread:
    """Takes a tensor apart by error: rows of the batch that belong to one error are gathered.

    n: number of errors
    axis: which axis of the tensors counts rows
    index: (n, k) rows of each error, the number of all rows where it has fewer; None: rows are the errors, in order, each k
        times
    start: where errors have one row each, in order, the row of the first; None where they do not
    """

    n: int
    axis: int
    index: Tensor | None = None
    start: int | None = None

    def rows(self, t: Tensor, axis: int | None = None) -> Tensor:
        """(n, k, *rest)."""
        t = t.movedim(self.axis if axis is None else axis, 0)
        if self.index is None:
            return t.reshape(self.n, len(t) // self.n, *t.shape[1:])
        if self.start is not None:
            return t[self.start : self.start + self.n].unsqueeze(1)
        return torch.cat([t, t.new_zeros(1, *t.shape[1:])])[self.index]

    def masks(self, points: Tensor, like: Tensor) -> Tensor:
        """(c, *ones, N, *ones): for each of c errors one on the rows that belong to it, zero elsewhere."""
        size = like.shape[self.axis]
        if self.index is None:
            owner = torch.arange(size, device=like.device) // (size // self.n)
        else:
            owner = torch.full((size + 1,), self.n, device=like.device)
            owner[self.index] = torch.arange(self.n, device=like.device).unsqueeze(1).expand_as(self.index)
            owner = owner[:size]
        masks = owner == points.unsqueeze(1)
        shape = [1] * like.ndim
        shape[self.axis] = size
        return masks.to(like.dtype).view(len(points), *shape)


SpreadOf = Callable[[Node, Tensor], Spread]  # (node, gradient of an output) -> how its rows belong to errors


def captured_gradients(graph: Graph, entries: list[Entry], seeds: Tensor) -> Captured:
    """The gradients of seeds . e in the outputs of every node where parameters enter, by one backward pass that does not go
    on to the parameters.
    """
    nodes = list(dict.fromkeys(entry.node for entry in entries))
    edges = [GradientEdge(node, index) for node in nodes for index in range(len(node._input_metadata))]
    if not edges:
        return {}
    found = iter(torch.autograd.grad(graph.e, edges, seeds, retain_graph=True, allow_unused=True))
    return {node: tuple(_plain(next(found)) for _ in node._input_metadata) for node in nodes}


def _plain(gradient: Tensor | None) -> Tensor | None:
    return None if gradient is None else gradient.detach().as_subclass(Tensor)


def spread_in_order(graph: Graph) -> SpreadOf:
    """Rows of the batch are the errors, in order (each several times perhaps, one after the other)."""

    def spread(node: Node, gradient: Tensor) -> Spread:
        axis = points_axis(tuple(gradient.shape), graph.n, None)
        if axis is None:
            raise UnstructuredError(f"'{operation(node)}' does not keep points apart")
        return Spread(graph.n, axis)

    return spread


def spread_by_owners(graph: Graph, owners: Tensor) -> SpreadOf:
    """owners: (m,) the error that each row of a batch of m belongs to, -1 for none."""
    indices = {graph.n: torch.arange(graph.n, device=owners.device).unsqueeze(1), len(owners): _index(owners, graph.n)}
    starts = {size: _start(index) for size, index in indices.items()}

    def spread(node: Node, gradient: Tensor) -> Spread:
        axis = points_axis(tuple(gradient.shape), graph.n, set(indices))
        if axis is None:
            raise UnstructuredError(f"'{operation(node)}' has no batch of {len(owners)} rows")
        size = gradient.shape[axis]
        return Spread(graph.n, axis, indices[size], starts[size])

    return spread


def spread_by_passes(graph: Graph, entries: list[Entry], captured: Captured) -> SpreadOf:
    """Owners found by more backward passes, seeded with the errors' numbers, digit by digit: where a row belongs to one error
    only, the ratio of its gradient to that of the sum of errors is the number.

    Raises UnstructuredError for a row that belongs to several errors.
    """
    base = 2**20 if graph.e.dtype == torch.float64 else 32  # so that gradients' rounding cannot be taken for a digit
    numbers = torch.arange(graph.n, device=graph.e.device)
    owner: dict[Node, Tensor] = {}
    digit = 1
    while digit <= max(graph.n - 1, 1):
        seeds = (1 + numbers // digit % base).to(graph.e)  # from 1 on, so that no seed hides a row
        found = captured_gradients(graph, entries, seeds)
        for node, gradients in found.items():
            part = _digit(node, captured[node], gradients, graph) - 1
            owner[node] = part * digit if digit == 1 else owner[node] + (part * digit).clamp_min(0)
        digit *= base
    indices = {node: _index(rows, graph.n) for node, rows in owner.items()}

    def spread(node: Node, gradient: Tensor) -> Spread:
        axis = points_axis(tuple(gradient.shape), graph.n, graph.batch_sizes)
        if axis is None or gradient.shape[axis] != len(owner[node]):
            raise UnstructuredError(f"'{operation(node)}' has batches of several sizes")
        return Spread(graph.n, axis, indices[node])

    return spread


def _digit(node: Node, ones: tuple, seeded: tuple, graph: Graph) -> Tensor:
    """(N,) one digit of every row's owner, plus one; 0 where no error depends on the row."""
    g1, g2 = next((a, b) for a, b in zip(ones, seeded, strict=True) if a is not None)
    axis = points_axis(tuple(g1.shape), graph.n, graph.batch_sizes)
    if axis is None:
        raise UnstructuredError(f"'{operation(node)}' does not keep points apart")
    a, b = (g.movedim(axis, 0).reshape(g.shape[axis], -1).double() for g in (g1, g2))
    scale = a.square().sum(1)
    label = torch.where(scale > 0, (a * b).sum(1) / scale, 0.0)
    rest = (b - label.unsqueeze(1) * a).norm(dim=1)
    if (label - label.round()).abs().max() > 0.1 or (rest > 0.1 * label * scale.sqrt()).any():
        raise UnstructuredError(f"a row of the batch at '{operation(node)}' belongs to several errors")
    return label.round().long()


def _start(index: Tensor) -> int | None:
    """index: (n, k), as of a `Spread`."""
    if index.shape[1] != 1:
        return None
    first = int(index[0, 0])
    return first if torch.equal(index[:, 0], torch.arange(first, first + len(index), device=index.device)) else None


def _index(owner: Tensor, n: int) -> Tensor:
    """(m,) owners, -1 for none -> (n, k) rows of each owner, m where it has fewer than k."""
    m = len(owner)
    order = torch.argsort(owner, stable=True)
    order = order[owner[order] >= 0]
    counts = torch.bincount(owner[order], minlength=n)
    starts = counts.cumsum(0) - counts
    index = torch.full((n, max(1, int(counts.max()) if len(order) else 1)), m, device=owner.device)
    index[owner[order], torch.arange(len(order), device=owner.device) - starts[owner[order]]] = order
    return index


def parameters_behind(graph: Graph, node: Node) -> Mapping[str, Tensor]:
    """Parameters that a node leads to."""
    seen, stack, found = set(), [node], {}
    while stack:
        at = stack.pop()
        if at in seen:
            continue
        seen.add(at)
        if at in graph.leaves:
            found[graph.leaves[at]] = graph.parameters[graph.leaves[at]]
        stack += [m for m, _ in at.next_functions if m is not None and graph.leads[m]]
    return found
