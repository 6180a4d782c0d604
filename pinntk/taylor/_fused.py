"""Composition and linear maps of jets as single autograd nodes.

Written with plain tensor operations, each slice of a jet costs its backward pass a zero-filled copy of the whole. Here the
backward passes are explicit, and need the input only: coefficients are computed again, which is cheaper than keeping them.
Differentiated twice (create_graph=True), they fall back to the plain form, which is also the reference in tests.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from math import prod
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from pinntk.taylor._basis import Basis

Series = Callable[[Tensor, int], list[Tensor]]
_BLOCK_BYTES = 2**22
_KEPT_BYTES = 2**25


_plain = ContextVar("plain", default=False)


@contextmanager
def plain() -> Iterator[None]:
    """Inside, everything is written with plain tensor operations, for a compiler that fuses them itself."""
    token = _plain.set(True)
    try:
        yield
    finally:
        _plain.reset(token)


def writes_plainly() -> bool:
    """Whether a compiler records what is computed now, or a transform of torch.func, which does not know the nodes below."""
    return _plain.get() or torch._C._are_functorch_transforms_active()


def compose(data: Tensor, function: Series, basis: Basis) -> Tensor:
    """[S, n, ...] -> [S, n, ...]: f(x0 + h) = sum_k c_k h^k, exact because h, the part without value, is nilpotent."""
    if basis.order not in (1, 2) or writes_plainly():
        return compose_plain(data, function, basis)
    return _Compose.apply(data, function, basis)


def compose_plain(data: Tensor, function: Series, basis: Basis) -> Tensor:
    """The same, to any order, differentiable any number of times."""
    x = data.unbind(0)
    c = function(x[0], basis.order)
    out = [c[0], *(c[1] * h for h in x[1:])]
    power = dict(enumerate(x))  # h^k by component
    for k in range(2, basis.order + 1):
        power = {s: weighted_sum(terms, x, power) for s, terms in basis.power_terms(k).items()}
        for s, value in power.items():
            out[s] = torch.addcmul(out[s], c[k], value)
    return torch.stack(out)


def weighted_sum(terms: tuple[tuple[int, int, float], ...], left: Any, right: Any, times: Callable = torch.mul) -> Tensor:
    """Sum of c times(left[a], right[b]) over (a, b, c)."""
    total: Tensor | None = None
    for a, b, factor in terms:
        product = times(left[a], right[b])
        if factor != 1:
            product = factor * product
        total = product if total is None else total + product
    assert total is not None  # a basis has no coefficient without terms
    return total


class _Compose(torch.autograd.Function):
    """`compose` for orders 1 and 2. With c_k = f^(k) / k!: dc_k / dx0 = (k + 1) c_(k+1).

    No `setup_context`: with it, torch reads the signature of `forward` in every call, 30 us a layer.
    """

    @staticmethod
    def forward(ctx: Any, data: Tensor, function: Series, basis: Basis) -> Tensor:
        ctx.function, ctx.basis = function, basis
        ctx.save_for_backward(data)
        keep = ctx.needs_input_grad[0] and data.nbytes <= _KEPT_BYTES  # beyond, memory costs more than computing again
        ctx.kept = []
        out = torch.empty_like(data)
        for x, y in _blocks(data, out):
            c = function(x[0], basis.order + keep)
            if keep:
                ctx.kept.append(c)
            y[0] = c[0]
            torch.mul(c[1], x[1:], out=y[1:])
            for s, a, b, factor in _second(basis):
                y[s].addcmul_(c[2], _sum(x[a] * x[b], y[s]), value=factor)
        return out

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, None, None]:
        (data,) = ctx.saved_tensors
        if torch.is_grad_enabled():  # differentiated again
            plain = compose_plain(data, ctx.function, ctx.basis)
            return torch.autograd.grad(plain, data, g, create_graph=True)[0], None, None
        result = torch.empty_like(data)
        for i, (x, gy, gx) in enumerate(_blocks(data, g, result)):
            c = ctx.kept[i] if ctx.kept else ctx.function(x[0], ctx.basis.order + 1)
            torch.mul(c[1], gy, out=gx)
            slope = gy[1] * x[1]
            for k in range(2, len(x)):
                slope.addcmul_(gy[k], x[k])
            gx[0].addcmul_(c[2], slope, value=2)
            for s, a, b, factor in _second(ctx.basis):
                part = gy[s] * x[a]
                gx[b].addcmul_(c[2], _sum(part, gx[b]), value=factor if a != b else 2 * factor)
                if a != b:
                    gx[a].addcmul_(c[2], _sum(gy[s] * x[b], gx[a]), value=factor)
                part *= x[b]  # c3 (h^2)_s g_s
                gx[0].addcmul_(c[3], _sum(part, gx[0]), value=3 * factor)
        return result, None, None


def _sum(product: Tensor, like: Tensor) -> Tensor:
    """Over the components of a run, where it ends in one component."""
    return product.sum(0) if product.ndim > like.ndim else product


def _blocks(*tensors: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """[S, n, ...] tensors in slices along n that stay in a second-level cache through all the passes over them."""
    S, n, *features = tensors[0].shape
    step = (
        max(1, _BLOCK_BYTES // max(1, S * prod(features) * tensors[0].element_size())) if tensors[0].device.type == "cpu" else n
    )
    if n <= step:
        yield tensors
        return
    for start in range(0, n, step):
        yield tuple(t[:, start : start + step] for t in tensors)


Run = tuple[int | slice, int | slice, int | slice, float]


@cache
def _second(basis: Basis) -> tuple[Run, ...]:
    """The terms (s, a, b, factor) of h^2, (h^2)_s = sum of factor h_a h_b, as few operations on slices: neighboring terms
    whose components are the same, or equally spaced, are one.
    """
    if basis.order < 2:
        return ()
    runs: list[list[tuple[int, int, int, float]]] = []
    for s, terms in basis.power_terms(2).items():
        for a, b, factor in terms:
            term = (s, a, b, factor)
            if runs and _continues(runs[-1], term):
                runs[-1].append(term)
            else:
                runs.append([term])
    found = []
    for run in runs:
        outputs, lefts, rights = [term[0] for term in run], [term[1] for term in run], [term[2] for term in run]
        found.append((_span(outputs), _span(lefts), _span(rights), run[0][3]))
    return tuple(found)


def _continues(run: list[tuple[int, int, int, float]], term: tuple[int, int, int, float]) -> bool:
    steps = [now - before for now, before in zip(term[:3], run[-1], strict=False)]
    if term[3] != run[0][3] or min(steps) < 0 or (run[0][1] == run[0][2]) != (term[1] == term[2]):
        return False
    return len(run) == 1 or steps == [last - before for last, before in zip(run[-1][:3], run[-2], strict=False)]


def _span(components: list[int]) -> int | slice:
    first, last = components[0], components[-1]
    if first == last:
        return first
    return slice(first, last + 1, components[1] - first)


def linear(data: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """[S, n, ..., in] -> [S, n, ..., out]: x weight^T, and the bias, if any, on the value component only."""
    if bias is None:
        return F.linear(data, weight)
    if writes_plainly():
        value, *rest = F.linear(data, weight).unbind(0)
        return torch.stack([value + bias, *rest])
    return _Linear.apply(data, weight, bias)


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, data: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        ctx.save_for_backward(data, weight)
        out = F.linear(data, weight)
        out[0].add_(bias)
        return out

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        data, weight = ctx.saved_tensors
        needs = ctx.needs_input_grad
        return (
            g @ weight if needs[0] else None,
            _weight_gradient(g.flatten(0, -2), data.flatten(0, -2)) if needs[1] else None,
            g[0].flatten(0, -2).sum(0) if needs[2] else None,
        )


def _weight_gradient(g: Tensor, x: Tensor) -> Tensor:
    """g^T x, (out, in). A product with few columns is 6 times slower than its transpose: 2 inputs, 128 outputs, 5,000 rows."""
    return (x.T @ g).T if x.shape[1] < g.shape[1] else g.T @ x
