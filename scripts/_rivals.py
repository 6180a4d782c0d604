"""K = J J^T of a second-derivative operator in plain torch.func, in every way that a careful user would write it.

Each form is the error at one point as a function of (theta, x); `vmap(grad(form))` over chunks of points gives J. Which
form and which chunk is the fastest differs from network to network by a factor of ten, so both are tuned. Not among them:
`jacrev` of a batch's errors, which pulls every row back through the whole batch (n times the work).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.func import grad, jacfwd, jacrev, jvp, vmap
from torch.nn import functional as F

Theta = list[tuple[Tensor, Tensor]]  # weight and bias of every layer
Function = Callable[[Tensor], Tensor]

CHUNKS = (32, 64, 128, 256)  # and all points at once
clock = time.perf_counter  # seconds, of the wall or of the processor


def output(theta: Theta, x: Tensor) -> Tensor:
    """A tanh network with one output at one point, (d,) -> ()."""
    for weight, bias in theta[:-1]:
        x = torch.tanh(F.linear(x, weight, bias))
    return F.linear(x, *theta[-1]).squeeze(-1)


def _second(f: Function, x: Tensor, direction: Tensor) -> Tensor:
    return jvp(lambda y: jvp(f, (y,), (direction,))[1], (x,), (direction,))[1]


def nested_jvp(f: Function, x: Tensor, axes: int) -> Tensor:
    return sum(_second(f, x, direction) for direction in torch.eye(len(x), dtype=x.dtype)[:axes])


def vmapped_jvp(f: Function, x: Tensor, axes: int) -> Tensor:
    return vmap(lambda direction: _second(f, x, direction))(torch.eye(len(x), dtype=x.dtype)[:axes]).sum()


def _trace(outer: Callable, inner: Callable) -> Callable[[Function, Tensor, int], Tensor]:
    return lambda f, x, axes: outer(inner(f))(x)[:axes, :axes].trace()


FORMS: dict[str, Callable[[Function, Tensor, int], Tensor]] = {  # sum of the second derivatives along the first axes
    "nested jvp": nested_jvp,
    "vmapped jvp": vmapped_jvp,
    "fwd over rev": _trace(jacfwd, jacrev),  # torch.func.hessian
    "fwd over fwd": _trace(jacfwd, jacfwd),
    "rev over rev": _trace(jacrev, jacrev),
    "rev over fwd": _trace(jacrev, jacfwd),
}


@dataclass(frozen=True)
class Task:
    """One network and operator at n points."""

    theta: Theta
    points: Tensor  # (n, d)
    axes: int

    @classmethod
    def of(cls, network: nn.Sequential, points: Tensor, laplacian: bool) -> Task:
        layers = [layer for layer in network if isinstance(layer, nn.Linear)]
        theta = [(layer.weight.detach(), layer.bias.detach()) for layer in layers]
        return cls(theta, points, points.shape[1] if laplacian else 1)

    def rows(self, form: str, points: Tensor, chunk: int | None) -> list[Tensor]:
        """J at `points`, (n, size) for each weight and bias; `chunk` points at a time, or all of them."""

        def error(theta: Theta, x: Tensor) -> Tensor:
            return FORMS[form](lambda y: output(theta, y), x, self.axes)

        gradients = vmap(grad(error), (None, 0), chunk_size=chunk)(self.theta, points)
        return [part.flatten(1) for layer in gradients for part in layer]

    def kernel(self, form: str, chunk: int | None) -> Tensor:
        return product(self.rows(form, self.points, chunk))

    def tuned(self, form: str) -> Tuned:
        """The best chunk, by one short run of every size; larger ones are left out once they are slower."""
        n = len(self.points)
        first = product(self.rows(form, self.points[: min(n, CHUNKS[0])], None))  # nothing is timed in the first call
        best = Tuned(form, None, float("inf"), first)
        for size in [size for size in CHUNKS if size < n] + [n]:
            start = clock()
            self.rows(form, self.points[:size], None)
            seconds = (clock() - start) * n / size
            if seconds < best.seconds:
                best = Tuned(form, size if size < n else None, seconds, first)
            elif seconds > 1.15 * best.seconds:
                break
        return best


@dataclass(frozen=True)
class Tuned:
    """A form at its best: chunk (None: all points), seconds of all rows of J, scaled up from a short run, and K of the
    first points."""

    form: str
    chunk: int | None
    seconds: float
    first: Tensor


def product(rows: list[Tensor]) -> Tensor:
    """J J^T, parameter by parameter: no copy of J."""
    K = rows[0].new_zeros(len(rows[0]), len(rows[0]))
    for part in rows:
        K.addmm_(part, part.T)
    return K
