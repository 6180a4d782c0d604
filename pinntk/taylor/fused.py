"""Composition and linear maps of jets as single autograd nodes.

Written with plain tensor operations, each slice of a jet costs its backward pass a zero-filled copy of the whole. Here the
backward passes are explicit, and need the input only: coefficients are computed again, which is cheaper than keeping them.
Differentiated twice (create_graph=True), they fall back to the plain form, which is also the reference in tests.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from math import prod
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from pinntk.taylor.basis import Basis

Series = Callable[[Tensor, int], list[Tensor]]
_BLOCK_BYTES = 2**20


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
    """Whether a compiler records what is computed now."""
    return _plain.get()


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
    total = None
    for a, b, factor in terms:
        product = times(left[a], right[b])
        if factor != 1:
            product = factor * product
        total = product if total is None else total + product
    return total


class _Compose(torch.autograd.Function):
    """`compose` for orders 1 and 2. With c_k = f^(k) / k!: dc_k / dx0 = (k + 1) c_(k+1)."""

    @staticmethod
    def forward(data: Tensor, function: Series, basis: Basis) -> Tensor:
        out = torch.empty_like(data)
        for x, y in _blocks(data, out):
            c = function(x[0], basis.order)
            y[0] = c[0]
            for s in range(1, len(x)):
                torch.mul(c[1], x[s], out=y[s])
            for s, terms in _second(basis):
                y[s].addcmul_(c[2], weighted_sum(terms, x, x))
        return out

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Tensor) -> None:
        data, ctx.function, ctx.basis = inputs
        ctx.save_for_backward(data)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, None, None]:
        (data,) = ctx.saved_tensors
        if torch.is_grad_enabled():  # differentiated again
            plain = compose_plain(data, ctx.function, ctx.basis)
            return torch.autograd.grad(plain, data, g, create_graph=True)[0], None, None
        result = torch.empty_like(data)
        for x, gy, gx in _blocks(data, g, result):
            c = ctx.function(x[0], ctx.basis.order + 1)
            for s in range(len(x)):
                torch.mul(c[1], gy[s], out=gx[s])
            slope = gy[1] * x[1]
            for s in range(2, len(x)):
                slope.addcmul_(gy[s], x[s])
            gx[0].addcmul_(c[2], slope, value=2)
            if ctx.basis.order == 2:
                curvature = torch.zeros_like(slope)  # sum of g_s (h^2)_s
                for s, terms in _second(ctx.basis):
                    for a, b, factor in terms:
                        part = gy[s] * x[a]
                        curvature.addcmul_(part, x[b], value=factor)
                        gx[b].addcmul_(c[2], part, value=factor if a != b else 2 * factor)
                        if a != b:
                            gx[a].addcmul_(c[2], gy[s] * x[b], value=factor)
                gx[0].addcmul_(c[3], curvature, value=3)
        return result, None, None


def _blocks(*tensors: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """[S, n, ...] tensors in slices along n that stay in a second-level cache through all the passes over them."""
    S, n, *features = tensors[0].shape
    step = (
        max(1, _BLOCK_BYTES // max(1, S * prod(features) * tensors[0].element_size())) if tensors[0].device.type == "cpu" else n
    )
    for start in range(0, n, step):
        yield tuple(t[:, start : start + step] for t in tensors)


def _second(basis: Basis) -> Any:
    return basis.power_terms(2).items() if basis.order == 2 else ()


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
    def forward(data: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        out = F.linear(data, weight)
        out[0] += bias
        return out

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Tensor) -> None:
        data, weight, _ = inputs
        ctx.save_for_backward(data, weight)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        data, weight = ctx.saved_tensors
        needs = ctx.needs_input_grad
        return (
            g @ weight if needs[0] else None,
            g.flatten(0, -2).T @ data.flatten(0, -2) if needs[1] else None,
            g[0].flatten(0, -2).sum(0) if needs[2] else None,
        )
