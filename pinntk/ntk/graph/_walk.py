"""The autograd graph of an error vector: which nodes lead to trained parameters, and where those enter."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import GradientEdge, get_gradient_edge

Node = Any  # torch.autograd.graph.Node, whose stubs know nothing of what operations save

# They pass their input's entries on, each once.
_VIEWS = {
    "AliasBackward0",
    "CloneBackward0",
    "PermuteBackward0",
    "ReshapeAliasBackward0",
    "SqueezeBackward0",
    "SqueezeBackward1",
    "SqueezeBackward2",
    "TBackward0",
    "TransposeBackward0",
    "UnsafeViewBackward0",
    "UnsqueezeBackward0",
    "ViewBackward0",
}
_BATCH_NORMS = {"NativeBatchNormBackward0", "CudnnBatchNormBackward0", "MiopenBatchNormBackward0"}
_REPEATING = {"ExpandBackward0", "RepeatBackward0", "IndexBackward0", "IndexSelectBackward0", "EmbeddingBackward0"}


class UnstructuredError(Exception):
    """The graph cannot be read as one row per point; the reason names the operation."""


@dataclass(frozen=True)
class Entry:
    """Where a parameter, or something computed from parameters alone, meets values that differ from point to point: input
    `position` of `node` is output `index` of `target`.
    """

    node: Node
    position: int
    target: Node
    index: int

    @property
    def shape(self) -> tuple[int, ...]:
        return shape_of(self.target, self.index)

    @property
    def edge(self) -> GradientEdge:
        return GradientEdge(self.target, self.index)


class Graph:
    """The autograd graph of e, (n,), and where it leads to trained parameters.

    parameters: {name: leaf tensor}
    whole: the graph of a vector that e is a part of, or that all parts of e are parts of: what it knows of its nodes
    """

    leaves: dict[Node, str]
    leads: dict[Node, bool]  # whether trained parameters are behind a node
    _only: dict[Node, bool]  # whether those, and nothing else that can be seen, are
    _order: list[Node]

    def __init__(self, e: Tensor, parameters: Mapping[str, Tensor], whole: Graph | None = None):
        self.e, self.parameters, self.n = e, parameters, len(e)
        self._root: Node = e.grad_fn
        self.sources: dict[tuple[Node, int], tuple[str, Tensor] | None] = {} if whole is None else whole.sources
        if whole is not None:
            self.leaves, self._order, self.leads, self._only = whole.leaves, whole._order, whole.leads, whole._only
            self.batch_statistics = whole.batch_statistics
            return
        self.leaves = {get_gradient_edge(p).node: name for name, p in parameters.items()}
        self._order = post_order(self._root)
        if any(node.name() == "CheckpointFunctionBackward" for node in self._order):
            raise ValueError(
                "torch.utils.checkpoint with use_reentrant=True hides parameters from autograd.grad; use use_reentrant=False"
            )
        self.leads, self._only = {}, {}
        for node in self._order:
            inputs = [m for m, _ in node.next_functions]
            self.leads[node] = node in self.leaves or any(m is not None and self.leads[m] for m in inputs)
            self._only[node] = node in self.leaves or (bool(inputs) and all(m is not None and self._only[m] for m in inputs))

    def entries(self, sizes: set[int] | None = None) -> list[Entry]:
        """All arrangement where parameters enter, seen from e.

        sizes: how many rows a batch of points may have; None: a multiple of n, points first

        Raises UnstructuredError if what is computed from parameters at one place depends on points too.
        """
        found, stack, seen = [], [self._root], {self._root}
        while stack:
            node = stack.pop()
            for position, (target, index) in enumerate(node.next_functions):
                if target is None or not self.leads[target]:
                    continue
                if not self._has_points(target, index, sizes):
                    found.append(Entry(node, position, target, index))
                elif target not in seen:
                    seen.add(target)
                    stack.append(target)
        if sizes is None and self.batch_sizes != {self.n}:
            lost = next((entry for entry in found if not self._only[entry.target]), None)
            if lost is not None:
                raise UnstructuredError(f"'{operation(lost.node)}' takes errors out of a batch of {lost.shape}")
        self._refuse_points_below({entry.target for entry in found}, seen)
        return found

    def _has_points(self, node: Node, index: int, sizes: set[int] | None) -> bool:
        """Whether an output holds a value for each point, by its shape."""
        if node in self.leaves or points_axis(shape_of(node, index), self.n, sizes) is None:
            return False
        if not self._only[node] or node.name() in _REPEATING:
            return True
        # Made from parameters alone; a matrix may have as many rows as there are points.
        counts = {self.n} if sizes is None else sizes
        return not any(counts.intersection(shape_of(m, i)) or m in self.leaves for m, i in node.next_functions)

    def _refuse_points_below(self, targets: set[Node], visited: set[Node]) -> None:
        """Gradients of visited nodes hold what comes through the targets too: one below a target would count twice."""
        below, stack = set(), list(targets)
        while stack:
            node = stack.pop()
            if node in below:
                continue
            if node in visited:
                raise UnstructuredError(f"'{operation(node)}' is reached by a way that does not keep points apart")
            below.add(node)
            stack += [m for m, _ in node.next_functions if m is not None and self.leads[m]]

    @cached_property
    def batch_sizes(self) -> set[int]:
        """Numbers of rows that went through matrix products, and n."""
        sizes = set()
        for node in self._order:
            left = saved_value(node, "mat1") if node.name() == "AddmmBackward0" else None
            left = saved_value(node, "self") if node.name() in ("MmBackward0", "MvBackward0") else left
            if left is not None and left.ndim:
                sizes.add(left.shape[0])
        return sizes - {p.shape[0] for p in self.parameters.values() if p.ndim} | {self.n}

    @cached_property
    def batch_statistics(self) -> str:
        """The name of a batch normalization in training mode, or nothing."""
        training = (n for n in self._order if n.name() in _BATCH_NORMS and getattr(n, "_saved_training", False))
        several = (n for n in training if saved_value(n, "input").shape[0] > 1)  # 1: an instance normalization
        return next(map(operation, several), "")


def points_axis(shape: tuple[int, ...], n: int, sizes: set[int] | None) -> int | None:
    """Which axis of a tensor counts the points (each perhaps several times, one after the other): the first one that is
    not 1 if its size is a multiple of n, else the last one that is n. With `sizes`: the first one, if it is one of those.
    """
    first = next((axis for axis, size in enumerate(shape) if size != 1), 0)
    if not shape:
        return None
    if sizes is not None:
        return first if shape[first] in sizes else None
    if shape[first] and shape[first] % n == 0:
        return first
    return next((axis for axis in range(len(shape) - 1, first, -1) if shape[axis] == n), None)


def shape_of(node: Node, index: int) -> tuple[int, ...]:
    """Shape of an output of the operation behind a node, or of a leaf."""
    if not node.next_functions and hasattr(node, "variable"):
        return tuple(node.variable.shape)
    return tuple(node._input_metadata[index].shape)


def saved_value(node: Node, name: str) -> Any:
    """What the operation kept for its backward pass, without its own graph; None where it kept nothing.

    Raises UnstructuredError where the tensor changed since; RuntimeError where the graph was freed.
    """
    try:
        value = getattr(node, f"_saved_{name}", None)
    except RuntimeError as error:
        if "graph a second time" in str(error):
            raise
        reason = str(error).strip().splitlines()[0]
        raise UnstructuredError(f"'{operation(node)}' lost what it had saved: {reason}") from error
    return value.detach().as_subclass(Tensor) if isinstance(value, Tensor) else value


def operation(node: Node) -> str:
    """The name of an operation as a user knows it: 'prelu_kernel' of PreluKernelBackward0."""
    name = re.sub(r"Backward\d*$", "", node.name())
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


def source(entry: Entry, graph: Graph) -> tuple[str, Tensor] | None:
    """The parameter whose entries the target of an entry holds, in any arrangement, and that arrangement: for each entry of
    the parameter its place in the target, counted in reading order. None for what is computed in any other way.
    """
    node = entry.target
    transposed: bool | None = False  # None: in another way
    while node.name() in _VIEWS and len(node.next_functions) == 1:
        transposed = not transposed if is_transpose(node) and transposed is not None else None
        node = node.next_functions[0][0]
    if node not in graph.leaves:
        return None
    parameter = graph.parameters[graph.leaves[node]]
    arrangement = torch.arange(parameter.numel(), device=parameter.device)
    if transposed is not None:
        return graph.leaves[node], arrangement.view(entry.shape).T if transposed else arrangement.view(entry.shape)
    found, digit = torch.zeros_like(arrangement).view(parameter.shape), 1
    while digit < parameter.numel():  # in digits that every dtype of a parameter holds exactly
        seed = (arrangement // digit % 256).to(parameter.dtype).view(entry.shape)
        (moved,) = torch.autograd.grad([entry.edge], [parameter], [seed], retain_graph=True)
        found += moved.real.round().long() * digit
        digit *= 256
    if not torch.equal(found.flatten().sort().values, arrangement):
        raise UnstructuredError(f"a hook changes the gradient of parameter {graph.leaves[node]!r}")
    return graph.leaves[node], found


def is_transpose(node: Node) -> bool:
    """Of a matrix, as in every nn.Linear."""
    if len(shape_of(node, 0)) != 2:
        return False
    return node.name() == "TBackward0" or (node.name() == "PermuteBackward0" and tuple(node._saved_dims) == (1, 0))


def post_order(root: Node) -> list[Node]:
    """All nodes behind root, inputs before what uses them."""
    order: list[Node] = []
    seen: set[Node] = set()
    stack: list[tuple[Node, bool]] = [(root, False)]
    while stack:
        node, expanded = stack.pop()
        if expanded:
            order.append(node)
        elif node not in seen:
            seen.add(node)
            stack.append((node, True))
            stack += [(m, False) for m, _ in node.next_functions if m is not None]
    return order
