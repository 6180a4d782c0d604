"""The gradient of a training step: eagerly, or as one compiled graph."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import GraphModule
from torch.fx.experimental.proxy_tensor import make_fx

from pinntk._util.stand_in import call_with
from pinntk._util.warn import warn_user
from pinntk.problem import Points, Problem
from pinntk.taylor._fused import plain
from pinntk.training._batch import Batch
from pinntk.training._losses import losses, passes, weighted_sum


class Step:
    """The losses of every condition, and their gradient.

    Called with a `Batch`, it returns the losses L_i = mean(g_i e_i^2) and leaves the gradient of sum_i lambda_i L_i in
    `p.grad`.

    compiled: trace the step (jets and backward pass) into one graph of tensor operations and give it to `torch.compile`.
        The network's Python code runs once: what it would do otherwise at a later step is not seen. Where that fails, or
        gives other numbers than the eager step, a warning says why and the steps run eagerly.
    """

    def __init__(self, network: nn.Module, problem: Problem, compiled: bool = False):
        self.problem = problem
        coefficients: Any = problem.coefficients
        self.model = nn.ModuleDict({"network": network, "coefficients": coefficients})
        self.parameters = {name: p for name, p in self.model.named_parameters() if p.requires_grad}
        self.compiled = compiled and not problem.foreign
        if compiled and problem.foreign:
            warn_user(
                f"the training step runs eagerly: condition {problem.foreign[0]!r} is foreign, and its code may keep state"
            )
        self._graphs: dict[tuple, Callable] = {}
        self.prepared: tuple[dict[str, Tensor], list[Tensor]] | None = None  # losses and gradient that the next call hands out

    def __call__(self, batch: Batch) -> dict[str, Tensor]:
        if self.prepared is not None:
            (found, gradient), self.prepared = self.prepared, None
            for p, slope in zip(self.parameters.values(), gradient, strict=True):
                p.grad = slope
            return found
        if self.compiled:
            shapes = ((name, batch.counts[name], rows.shape) for name, rows in batch.points.items())
            key = (*shapes, *distinct(batch.points)[1], *(batch.point_weights or ()))
            try:
                if key not in self._graphs:
                    return self._first(key, batch)
                return self._replay(self._graphs[key], batch)
            except UnsuitableError as reason:
                self.compiled = False
                warn_user(f"the training step runs eagerly: {reason}")
        return self._eager(batch)

    def _eager(self, batch: Batch) -> dict[str, Tensor]:
        for p in self.parameters.values():
            p.grad = None
        total: dict[str, Tensor] = {}
        for part in passes(self.model["network"], self.problem, batch):
            found = losses(self.model["network"], self.problem, part.points, batch.counts, part.point_weights)
            weighted_sum(found, batch.weights).backward()
            for name, loss in found.items():
                total[name] = total[name] + loss.detach() if name in total else loss.detach()
        return {name: total[name] for name in batch.points}

    # The compiled graph takes (parameters, weights, points, point weights) and returns (losses, gradients).

    def _first(self, key: tuple, batch: Batch) -> dict[str, Tensor]:
        """Compiles, and compares with the eager step, whose results stand."""
        expected = self._eager(batch)
        gradients = [torch.zeros_like(p) if p.grad is None else p.grad.clone() for p in self.parameters.values()]
        try:
            graph = torch.compile(self._trace(batch), fullgraph=True, mode=_mode(batch))
            found = self._replay(graph, batch)
        except Exception as error:
            reason = str(error).strip().splitlines() or [""]
            raise UnsuitableError(f"torch.compile failed with {type(error).__name__}: {reason[0]}") from error
        dtype = batch.like.dtype
        check_equal("losses", list(expected.values()), list(found.values()), dtype)
        check_equal("gradient", gradients, [p.grad for p in self.parameters.values() if p.grad is not None], dtype)
        self._graphs[key] = graph
        return found

    def _trace(self, batch: Batch) -> GraphModule:
        names = list(batch.points)
        tensors, places = distinct(batch.points)
        counts = batch.counts

        def step(
            parameters: dict[str, Tensor], weights: list[Tensor], tensors: list[Tensor], point_weights: dict[str, Tensor]
        ) -> tuple[list, list]:
            rows = {name: tensors[place] for name, place in zip(names, places, strict=True)}
            found = call_with(LossModule(self.model, self.problem), _prefix(parameters), rows, counts, point_weights)
            total = sum(weight * loss for weight, loss in zip(weights, found.values(), strict=True))
            gradient = torch.autograd.grad(total, list(parameters.values()), allow_unused=True, materialize_grads=True)
            return list(found.values()), list(gradient)

        leaves = {name: p.detach().clone().requires_grad_() for name, p in self.parameters.items()}
        with torch.enable_grad(), plain():
            graph = make_fx(step)(leaves, _weights(batch), tensors, dict(batch.point_weights or {}))
        return _without_restacking(_with_constants_on(graph, batch.like.device))

    def _replay(self, graph: Callable, batch: Batch) -> dict[str, Tensor]:
        with torch.no_grad():
            parameters = {name: p.detach() for name, p in self.parameters.items()}
            tensors = distinct(batch.points)[0]
            found, gradient = graph(parameters, _weights(batch), tensors, dict(batch.point_weights or {}))
        for p, slope in zip(self.parameters.values(), gradient, strict=True):
            p.grad = slope.clone() if p.is_cuda else slope  # a CUDA graph writes its next result to the same place
        return {name: loss.clone() for name, loss in zip(batch.points, found, strict=True)}


class UnsuitableError(Exception):
    """Why this step is not compiled, or several not vectorized."""


class LossModule(nn.Module):
    """`losses` as a module, whose parameters `call_with` replaces."""

    def __init__(self, model: nn.ModuleDict, problem: Problem):
        super().__init__()
        self.model, self.problem = model, problem

    def forward(self, points: Points, counts: Mapping[str, int], point_weights: Points) -> dict[str, Tensor]:
        return losses(self.model["network"], self.problem, points, counts, point_weights)


def check_equal(what: str, expected: Sequence[Tensor], found: Sequence[Tensor], dtype: torch.dtype) -> None:
    """Raises `UnsuitableError` where the compiled or vectorized numbers are not the eager ones."""
    scale = torch.stack([value.double().norm() for value in expected]).norm()
    off = torch.stack([(a.double() - b.double()).norm() for a, b in zip(expected, found, strict=True)]).norm()
    if not off <= scale * torch.finfo(dtype).eps ** 0.5 and torch.isfinite(scale):
        raise UnsuitableError(f"{what}: {off / scale:.1e} off, relative to the eager step")


def _weights(batch: Batch) -> list[Tensor]:
    return [batch.like.new_tensor(batch.weights[name]) for name in batch.points]


def _prefix(parameters: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {f"model.{name}": p for name, p in parameters.items()}


def distinct(points: Points) -> tuple[list[Tensor], list[int]]:
    """The different tensors among the points, and which of them each condition has."""
    tensors = list({id(rows): rows for rows in points.values()}.values())
    order = {id(rows): place for place, rows in enumerate(tensors)}
    return tensors, [order[id(rows)] for rows in points.values()]


def _mode(batch: Batch) -> str | None:
    """CUDA graphs on a device: there a step of a small network is mostly the launching of kernels."""
    return "reduce-overhead" if batch.like.is_cuda else None


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
