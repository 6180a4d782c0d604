"""Functions of a problem's points as compiled graphs: the training step, and the errors that point weights are made from."""

from __future__ import annotations

import operator
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import GraphModule
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils._pytree import tree_flatten

from pinntk._util.progress import Progress
from pinntk._util.stand_in import call_with
from pinntk._util.stopwatch import own_stopwatch
from pinntk._util.warn import warn_user
from pinntk.problem import Points, Problem
from pinntk.taylor._fused import plain

Parts = tuple[list[Tensor], ...]


class UnsuitableError(Exception):
    """Why something is not compiled, or not vectorized over several trainings."""


class Compiled:
    """Functions of tensors, each traced into one graph of tensor operations for each form of its arguments and given to
    `torch.compile`.

    The network's Python code runs once: what it would do otherwise at a later call is not seen. Where compiling fails, or gives
    other numbers than the eager function, a warning says why and all runs eagerly from there on.

    what: what is compiled, for the warning
    parts: names of the lists of tensors that the functions return
    wanted: False for eager calls alone
    """

    def __init__(self, what: str, parts: Sequence[str], problem: Problem, wanted: bool):
        self._what, self._parts = what, parts
        self._graphs: dict[Hashable, Callable] = {}
        self.on = wanted and not problem.foreign
        if wanted and problem.foreign:
            warn_user(f"{what} runs eagerly: condition {problem.foreign[0]!r} is foreign, and its code may keep state")

    def __call__(
        self, key: Hashable, function: Callable[..., Parts], arguments: Sequence[Any], eager: Callable[[], Parts], like: Tensor
    ) -> Parts:
        """function(*arguments), which is eager().

        key: the form of the arguments
        arguments: what `detached` returns, then tensors in lists and dicts
        like: a tensor of the points' dtype and device
        """
        if self.on:
            dtypes = [tensor.dtype for tensors in arguments[:2] for tensor in tensors.values()]
            key = (key, like.dtype, *dtypes, torch.get_num_threads())
            try:
                if key not in self._graphs:
                    with own_stopwatch().stopped(), _said():
                        self._graphs[key] = self._compile(key, function, arguments, eager(), like)
                return _run(self._graphs[key], arguments, like)
            except UnsuitableError as reason:
                self.on = False
                warn_user(f"{self._what} runs eagerly: {reason}")
        return eager()

    def _compile(
        self, key: Hashable, function: Callable[..., Parts], arguments: Sequence[Any], expected: Parts, like: Tensor
    ) -> Callable:
        alike, place = _OF_ALIKE.get({}), (self._what, key)
        try:
            graph, shared = alike.get(place), True
            if graph is None:
                graph, shared = _compiled_graph(_trace(function, arguments, like.device), arguments, like)
            found = _run(graph, arguments, like)
        except Exception as error:
            reason = str(error).strip().splitlines() or [""]
            raise UnsuitableError(f"torch.compile failed with {type(error).__name__}: {reason[0]}") from error
        for part, ours, theirs in zip(self._parts, expected, found, strict=True):
            check_equal(part, ours, theirs, like.dtype)
        if shared:
            alike[place] = graph
        return graph


class OnModel(nn.Module):
    """function(*arguments), of a network and coefficients, called with other tensors in their places.

    model: what the function closes over
    """

    def __init__(self, model: nn.Module, function: Callable[..., Any]):
        super().__init__()
        self.model, self._function = model, function

    def forward(self, *arguments: Any) -> Any:
        return self._function(*arguments)

    def at(self, tensors: Mapping[str, Tensor], *arguments: Any) -> Any:
        """With parameters and buffers by their names in the model."""
        return call_with(self, {f"model.{name}": tensor for name, tensor in tensors.items()}, *arguments)


def form_of(points: Points) -> tuple:
    """What a graph is compiled for: conditions, numbers of points, their strides, and which conditions share them."""
    return (*((name, rows.shape, rows.stride()) for name, rows in points.items()), *distinct(points)[1])


def distinct(points: Points) -> tuple[list[Tensor], list[int]]:
    """The different tensors among the points, and which of them each condition has."""
    tensors = list({id(rows): rows for rows in points.values()}.values())
    order = {id(rows): place for place, rows in enumerate(tensors)}
    return tensors, [order[id(rows)] for rows in points.values()]


def gathered(names: Iterable[str], tensors: Sequence[Tensor], places: Sequence[int]) -> dict[str, Tensor]:
    """The points of each condition, from what `distinct` returned."""
    return {name: tensors[place] for name, place in zip(names, places, strict=True)}


def detached(model: nn.Module) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Its trained parameters by name, and its other parameters and buffers: the first arguments of what is compiled."""
    trained: dict[str, Tensor] = {}
    others = dict(model.named_buffers())
    for name, p in model.named_parameters():
        (trained if p.requires_grad else others)[name] = p.detach()
    return trained, others


def check_equal(what: str, expected: Sequence[Tensor], found: Sequence[Tensor], dtype: torch.dtype) -> None:
    """Raises `UnsuitableError` where the compiled or vectorized numbers are not the eager ones."""
    scale = torch.stack([value.double().norm() for value in expected]).norm()
    off = torch.stack([(a.double() - b.double()).norm() for a, b in zip(expected, found, strict=True)]).norm()
    if not off <= scale * torch.finfo(dtype).eps ** 0.5 and torch.isfinite(scale):
        raise UnsuitableError(f"{what}: {off / scale:.1e} off, relative to the eager step")


def _trace(function: Callable[..., Parts], arguments: Sequence[Any], device: torch.device) -> GraphModule:
    parameters, others, *rest = arguments

    def with_others(leaves: Mapping[str, Tensor], _: Any, *rest: Any) -> Parts:
        return function(leaves, others, *rest)

    leaves = {name: p.clone().requires_grad_() for name, p in parameters.items()}
    with torch.enable_grad(), plain():
        try:
            graph = make_fx(function)(leaves, others, *rest)
        except Exception:  # of a buffer that is read as a number, perhaps
            graph = make_fx(with_others)(leaves, {name: tensor.clone() for name, tensor in others.items()}, *rest)
    return _without_restacking(_with_constants_on(graph, device))


def _run(graph: Callable, arguments: Sequence[Any], like: Tensor) -> Parts:
    with torch.no_grad():
        found = graph(*arguments)
    if like.is_cuda:  # a CUDA graph writes its next result to the same place
        found = tuple([value.clone() for value in part] for part in found)
    return tuple(list(part) for part in found)


def _said() -> AbstractContextManager[None]:
    """Beside the progress of the training."""
    return nullcontext() if Progress.current is None else Progress.current.telling("compiling")


_SHARED: OrderedDict[tuple, Callable] = OrderedDict()  # the newest last
_MOST_SHARED = 32
_WRITTEN_OUT = torch.ops.aten.lift_fresh_copy.default  # what a trace makes of torch.tensor(2.0)
_OF_ALIKE: ContextVar[dict[Hashable, Callable]] = ContextVar("graphs of trainings that are alike")


@contextmanager
def trainings_alike() -> Iterator[None]:
    """Trainings in it are of one configuration: what the first has traced serves the others, too, on a CPU, if it looks at no
    tensors beside its arguments. Numbers in the code of the problem or the network have to be the same in each. The first step
    of each is compared with the eager one.
    """
    token = _OF_ALIKE.set({})
    try:
        yield
    finally:
        _OF_ALIKE.reset(token)


def _compiled_graph(graph: GraphModule, arguments: Sequence[Any], like: Tensor) -> tuple[Callable, bool]:
    """On a CPU, one for all trainings of this process that do the same operations, such as those of other seeds: True. A graph
    that looks at tensors beside its arguments is the training's own, since another training may have others; so is a GPU's,
    whose memory then goes with the training: False.
    """
    literals = None if like.is_cuda else _literals(graph)
    if literals is None:
        return torch.compile(graph, fullgraph=True, options=_options(like)), False
    key = (graph.code, literals, _forms(arguments), torch.get_default_dtype(), torch.get_num_threads())
    if key not in _SHARED:
        _SHARED[key] = torch.compile(graph, fullgraph=True, options=_options(like))
    _SHARED.move_to_end(key)
    if len(_SHARED) > _MOST_SHARED:
        _SHARED.popitem(last=False)
    return _SHARED[key], True


def _literals(graph: GraphModule) -> tuple | None:
    """The tensors of numbers that its code writes out; None where it looks at others, which somebody may change."""
    found = {}
    for node in graph.graph.nodes:
        if node.op == "get_attr":
            value = getattr(graph, str(node.target))
            if not isinstance(value, Tensor) or any(user.target is not _WRITTEN_OUT for user in node.users):
                return None
            found[str(node.target)] = (value.dtype, value.shape, tuple(value.flatten().tolist()))
    return tuple(found.items())


def _forms(arguments: Sequence[Any]) -> tuple:
    """Names, sizes, strides and dtypes."""
    leaves, structure = tree_flatten(list(arguments))
    return (str(structure), *((leaf.shape, leaf.stride(), leaf.dtype) for leaf in leaves))


def _options(like: Tensor) -> dict[str, Any]:
    """CUDA graphs on a device: there a step of a small network is mostly the launching of kernels. And no look, at every call,
    at whether the graph still suits its arguments (0.2 ms, a tenth of a small step): each is called with one form of them,
    whose sizes and strides what is compiled asserts itself.
    """
    options: dict[str, Any] = {"triton.cudagraphs": True} if like.is_cuda else {}
    if hasattr(torch.compiler, "skip_all_guards_unsafe"):  # torch 2.6 has none
        options["guard_filter_fn"] = torch.compiler.skip_all_guards_unsafe
    return options


def _with_constants_on(graph: GraphModule, device: torch.device) -> GraphModule:
    """Takes its numbers and constants to the device. x[0] = 1 of an x on a GPU is traced as a tensor on the CPU, and a single
    one keeps a graph of operations from becoming a CUDA graph.
    """
    for node in graph.graph.nodes:
        if node.target is torch.ops.aten.scalar_tensor.default:
            node.update_kwarg("device", device)
        elif node.op == "get_attr":
            setattr(graph, node.target, getattr(graph, node.target).to(device))
    graph.recompile()
    return graph


def _without_restacking(graph: GraphModule) -> GraphModule:
    """Takes a component that was just put into a stack directly, so that neighboring operations fuse into one loop over
    the points instead of writing all components and reading them back: 1.3 times faster.
    """
    aten = torch.ops.aten
    for node in graph.graph.nodes:
        if node.target is aten.select.int and node.args[1] == 0:
            source, index = node.args[0], node.args[2]
        elif node.target is operator.getitem and node.args[0].target is aten.unbind.int and node.args[0].args[1:] in ((), (0,)):
            source, index = node.args[0].args[0], node.args[1]
        else:
            continue
        if source.target is aten.stack.default and source.args[1:] in ((), (0,)):
            node.replace_all_uses_with(source.args[0][index])
    graph.graph.eliminate_dead_code()
    graph.recompile()
    return graph
