"""A training step's losses and their gradient: eagerly in passes that fit the cache, or as one compiled graph."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Mapping
from math import ceil

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.fx import GraphModule
from torch.fx.experimental.proxy_tensor import make_fx

from pinntk._util import distributed
from pinntk._util.warn import warn_user
from pinntk.problem import EVEN, Points, Problem
from pinntk.residuals import errors
from pinntk.taylor._fused import plain

# Larger activations cost a page fault for every 4 KiB, pass after pass: 1.2 times the time at 25 MiB.
_PASS_BYTES = 8 * 2**20


def losses(
    network: nn.Module, problem: Problem, points: Points, counts: Mapping[str, int], point_weights: Points = EVEN
) -> dict[str, Tensor]:
    """sum(g_i e_i^2) / counts[i] for every condition in `points`: the losses mean(e_i^2), or these points' share of them.

    point_weights: g_i (n,) of some conditions; 1 for the others
    """
    squares = {name: e.square() for name, e in errors(network, problem, points).items()}
    squares |= {name: point_weights[name] * square for name, square in squares.items() if name in point_weights}
    return {name: square.sum() / counts[name] for name, square in squares.items()}


def error_values(network: nn.Module, problem: Problem, points: Points) -> dict[str, Tensor]:
    """The error vectors e_i as numbers, without a gradient, in passes."""
    parts: dict[str, list[Tensor]] = {name: [] for name in points}
    with torch.no_grad():
        for part, _ in _passes(network, problem, points):
            for name, e in errors(network, problem, part).items():
                parts[name].append(e.detach())
    return {name: torch.cat(values) for name, values in parts.items()}


def gradient_norms(
    network: nn.Module,
    problem: Problem,
    parameters: list[Tensor],
    points: Points,
    counts: Mapping[str, int],
    point_weights: Points = EVEN,
) -> dict[str, float]:
    """norm(grad L_i) of every condition in `counts`, over all processes, from this one's share of the points. Leaves
    `p.grad` alone."""
    found = {}
    for name in counts:
        slope = torch.zeros(sum(p.numel() for p in parameters), dtype=torch.float64, device=parameters[0].device)
        own = {name: points[name]} if name in points else {}
        given = {name: point_weights[name]} if name in point_weights and own else EVEN
        for part, weights in _passes(network, problem, own, given):
            loss = losses(network, problem, part, counts, weights)[name]
            if loss.requires_grad:
                gradients = torch.autograd.grad(loss, parameters, allow_unused=True, materialize_grads=True)
                slope += torch.cat([gradient.to(slope).flatten() for gradient in gradients])
        found[name] = float(distributed.all_sum(slope).norm())
    return found


def _passes(
    network: nn.Module, problem: Problem, points: Points, point_weights: Points = EVEN
) -> Iterator[tuple[dict[str, Tensor], dict[str, Tensor]]]:
    """Points and their weights in equal parts whose activations stay small on a CPU; conditions on one tensor stay
    together."""
    by_tensor: dict[int, list[str]] = {}
    for name, rows in points.items():
        by_tensor.setdefault(id(rows), []).append(name)
    width = max((max(p.shape, default=1) for p in network.parameters()), default=1)
    parts: dict[str, tuple[Tensor, ...]] = {}
    for names in by_tensor.values():
        rows = points[names[0]]
        row = problem.basis(names).size * width * rows.element_size()
        passes = min(len(rows), ceil(len(rows) * row / _PASS_BYTES)) if rows.device.type == "cpu" else 1
        shared = rows.tensor_split(passes)
        parts.update((name, shared) for name in names)
    shares = {name: weights.tensor_split(len(parts[name])) for name, weights in point_weights.items()}
    for i in range(max(map(len, parts.values()), default=0)):
        names = [name for name in points if i < len(parts[name])]
        yield {name: parts[name][i] for name in names}, {name: shares[name][i] for name in names if name in shares}


class Step:
    """Called, it returns the losses L_i = mean(g_i e_i^2) of every condition and leaves the gradient of sum_i weights_i L_i
    in `p.grad`.

    compiled: trace the step (jets and backward pass) into one graph of tensor operations and give it to `torch.compile`.
        The network's Python code runs once: what it would do otherwise at a later step is not seen. Where that fails, or
        gives other numbers than the eager step, a warning says why and the steps run eagerly.
    """

    def __init__(self, network: nn.Module, problem: Problem, compiled: bool = False):
        self.problem = problem
        self.model = nn.ModuleDict({"network": network, "coefficients": problem.coefficients})
        self.parameters = {name: p for name, p in self.model.named_parameters() if p.requires_grad}
        self.compiled = compiled
        self._graphs: dict[tuple, Callable] = {}

    def __call__(
        self, points: Points, counts: Mapping[str, int], weights: Mapping[str, float], point_weights: Points = EVEN
    ) -> dict[str, Tensor]:
        """points: {condition: (n, d)} in the network's dtype; counts: what the sums of squares are divided by;
        point_weights: {condition: g (n,)}, 1 for the others."""
        if self.compiled:
            key = (*((name, counts[name], rows.shape) for name, rows in points.items()), *_distinct(points)[1], *point_weights)
            try:
                if key not in self._graphs:
                    return self._first(key, points, counts, weights, point_weights)
                return self._replay(self._graphs[key], points, weights, point_weights)
            except _Unsuitable as reason:
                self.compiled = False
                warn_user(f"the training step runs eagerly: {reason}")
        return self._eager(points, counts, weights, point_weights)

    def _eager(
        self, points: Points, counts: Mapping[str, int], weights: Mapping[str, float], point_weights: Points
    ) -> dict[str, Tensor]:
        for p in self.parameters.values():
            p.grad = None
        total: dict[str, Tensor] = {}
        for part, share in _passes(self.model["network"], self.problem, points, point_weights):
            found = losses(self.model["network"], self.problem, part, counts, share)
            sum(weights[name] * loss for name, loss in found.items()).backward()
            for name, loss in found.items():
                total[name] = total[name] + loss.detach() if name in total else loss.detach()
        return {name: total[name] for name in points}

    # The compiled graph takes (parameters, weights, points, point weights) and returns (losses, gradients).

    def _first(
        self,
        key: tuple,
        points: Points,
        counts: Mapping[str, int],
        weights: Mapping[str, float],
        point_weights: Points,
    ) -> dict[str, Tensor]:
        """Compiles, and compares with the eager step, whose results stand."""
        expected = self._eager(points, counts, weights, point_weights)
        gradients = [torch.zeros_like(p) if p.grad is None else p.grad.clone() for p in self.parameters.values()]
        try:
            graph = torch.compile(self._traced(points, counts, weights, point_weights), fullgraph=True, mode=_mode(points))
            found = self._replay(graph, points, weights, point_weights)
        except Exception as error:
            reason = str(error).strip().splitlines() or [""]
            raise _Unsuitable(f"torch.compile failed with {type(error).__name__}: {reason[0]}") from error
        for what, ours, theirs in (
            ("losses", list(expected.values()), list(found.values())),
            ("gradient", gradients, [p.grad for p in self.parameters.values()]),
        ):
            scale = torch.stack([value.double().norm() for value in ours]).norm()
            off = torch.stack([(a.double() - b.double()).norm() for a, b in zip(ours, theirs, strict=True)]).norm()
            if not off <= scale * torch.finfo(next(iter(points.values())).dtype).eps ** 0.5 and torch.isfinite(scale):
                raise _Unsuitable(f"the compiled {what} is {off / scale:.1e} off, relative to the eager one")
        self._graphs[key] = graph
        return found

    def _traced(
        self, points: Points, counts: Mapping[str, int], weights: Mapping[str, float], point_weights: Points
    ) -> GraphModule:
        names = list(points)
        tensors, places = _distinct(points)

        def step(
            parameters: dict[str, Tensor], weights: list[Tensor], tensors: list[Tensor], point_weights: dict[str, Tensor]
        ) -> tuple[list, list]:
            rows = {name: tensors[place] for name, place in zip(names, places, strict=True)}
            found = functional_call(_Losses(self.model, self.problem), _prefixed(parameters), (rows, counts, point_weights))
            total = sum(weight * loss for weight, loss in zip(weights, found.values(), strict=True))
            gradient = torch.autograd.grad(total, list(parameters.values()), allow_unused=True, materialize_grads=True)
            return list(found.values()), list(gradient)

        leaves = {name: p.detach().clone().requires_grad_() for name, p in self.parameters.items()}
        with torch.enable_grad(), plain():
            graph = make_fx(step)(leaves, self._weights(points, weights), tensors, dict(point_weights))
        return _without_restacking(graph)

    def _replay(
        self, graph: Callable, points: Points, weights: Mapping[str, float], point_weights: Points
    ) -> dict[str, Tensor]:
        with torch.no_grad():
            parameters = {name: p.detach() for name, p in self.parameters.items()}
            found, gradient = graph(parameters, self._weights(points, weights), _distinct(points)[0], dict(point_weights))
        for p, slope in zip(self.parameters.values(), gradient, strict=True):
            p.grad = slope.clone() if p.is_cuda else slope  # a CUDA graph writes its next result to the same place
        return {name: loss.clone() for name, loss in zip(points, found, strict=True)}

    def _weights(self, points: Points, weights: Mapping[str, float]) -> list[Tensor]:
        like = next(iter(points.values()))
        return [like.new_tensor(weights[name]) for name in points]


class _Unsuitable(Exception):
    """Why this step is not compiled."""


class _Losses(nn.Module):
    """`losses` as a module, whose parameters `functional_call` replaces."""

    def __init__(self, model: nn.ModuleDict, problem: Problem):
        super().__init__()
        self.model, self.problem = model, problem

    def forward(self, points: Points, counts: Mapping[str, int], point_weights: Points) -> dict[str, Tensor]:
        return losses(self.model["network"], self.problem, points, counts, point_weights)


def _prefixed(parameters: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {f"model.{name}": p for name, p in parameters.items()}


def _distinct(points: Points) -> tuple[list[Tensor], list[int]]:
    """The different tensors among the points, and which of them each condition has."""
    tensors = list({id(rows): rows for rows in points.values()}.values())
    order = {id(rows): place for place, rows in enumerate(tensors)}
    return tensors, [order[id(rows)] for rows in points.values()]


def _mode(points: Points) -> str | None:
    """CUDA graphs on a device: there a step of a small network is mostly the launching of kernels."""
    return "reduce-overhead" if next(iter(points.values())).is_cuda else None


def _without_restacking(graph: GraphModule) -> GraphModule:
    """Takes a component that was just put into a stack directly, so that neighbouring operations fuse into one loop over
    the points instead of writing all components and reading them back: 1.3 times faster."""
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
