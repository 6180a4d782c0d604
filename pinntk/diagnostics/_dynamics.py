"""Training as the kernel K predicts it: every error mode decays at a rate of its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from math import inf, log
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

from pinntk.ntk import KernelBlocks, cross_kernel
from pinntk.ntk._blocks import rows_of
from pinntk.ntk._finite import check_finite_kernel
from pinntk.problem import Points, Problem, field_problem, with_field_values

_MOST_STEPS = 2**62  # that `steps_to` looks ahead


class Losses(NamedTuple):
    """Predicted losses, one entry a time or step.

    conditions: {name: mean(e_i^2)}
    total: L = sum_i lambda_i mean(e_i^2)
    """

    conditions: dict[str, np.ndarray]
    total: np.ndarray


@dataclass(frozen=True, eq=False)
class Dynamics:
    r"""Gradient descent on L = sum_i lambda_i mean(e_i^2) while the kernel K stays as it is, from `dynamics`.

    With D = blockdiag(2 lambda_i / n_i) and D^1/2 K D^1/2 = V diag(l) V^T, mode k of D^1/2 e is multiplied by exp(-l_k t) in
    gradient flow and by (1 - eta l_k)^steps in gradient descent with step eta.

    names, sizes, weights: the conditions, their numbers of points n_i and weights lambda_i
    rates: (n,) l, ascending; those below `floor` are zero
    floor: n eps lambda_max, below which a rate is rounding: its mode is taken not to decay
    modes: (n, n) V, a mode in each column
    components: (n,) of D^1/2 e(0) along the modes
    start: (n,) e(0)

    Arrays are float64. `times` and `steps` are numbers or arrays; results then have their shape in front.
    """

    names: tuple[str, ...]
    sizes: tuple[int, ...]
    weights: dict[str, float]
    rates: np.ndarray
    floor: float
    modes: np.ndarray
    components: np.ndarray
    start: np.ndarray
    _kernel: KernelBlocks

    # Errors and losses.

    def errors(self, times: ArrayLike) -> dict[str, np.ndarray]:
        """e(t) = exp(-K D t) e(0) of gradient flow, {name: (..., n_i)}."""
        times = _times(times)
        return self._errors(np.exp(-self.rates * times[..., None]), _flow_sums(self.rates, times))

    def errors_after(self, steps: ArrayLike, lr: float, momentum: float = 0.0) -> dict[str, np.ndarray]:
        """e after so many steps of gradient descent, {name: (..., n_i)}; inf where it has overflowed.

        momentum: heavy-ball, as `torch.optim.SGD(momentum=...)` without dampening: b' = m b + gradient, theta' = theta - lr b'
        """
        return self._errors(*self._descent(steps, lr, momentum))

    def losses(self, times: ArrayLike) -> Losses:
        """Every condition's loss mean(e_i^2) and the weighted total in gradient flow."""
        return self._losses(self.errors(times))

    def losses_after(self, steps: ArrayLike, lr: float, momentum: float = 0.0) -> Losses:
        """The same after so many steps of gradient descent; inf where they have overflowed."""
        return self._losses(self.errors_after(steps, lr, momentum))

    # Predictions at other points.

    def changes(self, cross: Mapping[tuple[str, str], Tensor], times: ArrayLike) -> dict[str, np.ndarray]:
        """What gradient flow adds to other quantities: -K_test,train D (1 - exp(-l t)) / l e(0), {quantity: (..., m)}.

        cross: {(quantity, condition): (m, n_i)} their kernel with the errors, from `pinntk.cross_kernel` for errors at test
            points, from `field_kernel` for the fields

        Raises ValueError where a condition is missing, or has another number of points.
        """
        return self._changes(cross, _flow_sums(self.rates, _times(times)))

    def changes_after(
        self, cross: Mapping[tuple[str, str], Tensor], steps: ArrayLike, lr: float, momentum: float = 0.0
    ) -> dict[str, np.ndarray]:
        """The same after so many steps of gradient descent; inf where they have overflowed."""
        return self._changes(cross, self._descent(steps, lr, momentum)[1])

    # Steps.

    def largest_stable_step(self, momentum: float = 0.0) -> float:
        """The learning rate above which gradient descent diverges: 2 (1 + momentum) / lambda_max."""
        _check_momentum(momentum)
        largest = float(self.rates[-1])
        return 2 * (1 + momentum) / largest if largest > 0 else inf

    def steps_to(self, loss_fraction: float, lr: float, momentum: float = 0.0) -> float:
        """The first step at which the weighted loss is at most this fraction of the first one.

        inf if never: too much of the loss lies in modes whose rates are below `floor`, or lr is above the largest stable step.
        """
        if not 0 < loss_fraction <= 1:
            raise ValueError(f"loss_fraction={loss_fraction!r}: above 0 and at most 1, such as 0.01")
        energy = self.components**2
        target = loss_fraction * (np.ones_like(energy) @ energy)  # as the losses below are summed, to the last bit
        _check_lr(lr)
        if lr > self.largest_stable_step(momentum) or energy[self.rates == 0].sum() > target:
            return inf

        # Momentum makes modes swing, by sqrt(momentum)^k; when that is rounding, the loss falls steadily.
        swinging = 0 if momentum == 0 else round(2 * log(np.finfo(float).eps) / log(momentum))
        z, buffer = np.ones_like(energy), np.zeros_like(energy)
        for step in range(swinging):
            if z**2 @ energy <= target:
                return float(step)
            buffer = z + momentum * buffer
            z = z - lr * self.rates * buffer

        def reached(steps: int) -> bool:
            return bool(self._descent(steps, lr, momentum)[0] ** 2 @ energy <= target)

        if reached(swinging):
            return float(swinging)
        low, high = swinging, max(1, 2 * swinging)
        while not reached(high):
            if high >= _MOST_STEPS:
                return inf
            low, high = high, 2 * high
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if reached(middle) else (middle, high)
        return float(high)

    # What all of them share.

    @cached_property
    def _root(self) -> np.ndarray:
        """(n,) the diagonal of D^1/2."""
        return _root(self.names, self.sizes, self.weights)

    def _errors(self, factors: np.ndarray, sums: np.ndarray) -> dict[str, np.ndarray]:
        """factors, sums: (..., n) what each mode is multiplied by, and its sum over time (`_flow_sums`)."""
        found = {}
        with np.errstate(over="ignore", invalid="ignore"):
            for name in self.names:
                rows = rows_of(name, self.names, self.sizes)
                if self.weights[name] > 0:
                    e = (factors * self.components) @ self.modes[rows].T / self._root[rows]
                else:  # moved by the others, as a quantity that is not trained on
                    e = self.start[rows] + self._moved(_array(self._kernel.values[rows]), sums)
                found[name] = np.where(np.isnan(e), inf, e)
        return found

    def _moved(self, cross: np.ndarray, sums: np.ndarray) -> np.ndarray:
        with np.errstate(over="ignore", invalid="ignore"):
            moved = -(sums * self.components) @ (cross @ (self._root[:, None] * self.modes)).T
        return np.where(np.isnan(moved), inf, moved)

    def _losses(self, errors: Mapping[str, np.ndarray]) -> Losses:
        with np.errstate(over="ignore"):
            conditions = {name: np.mean(e**2, -1) for name, e in errors.items()}
        total = np.zeros(np.shape(conditions[self.names[0]]))
        for name, loss in conditions.items():
            if self.weights[name] > 0:  # 0 times an overflow is 0
                total = total + self.weights[name] * loss
        return Losses(conditions, total)

    def _changes(self, cross: Mapping[tuple[str, str], Tensor], sums: np.ndarray) -> dict[str, np.ndarray]:
        found = {}
        for quantity in dict.fromkeys(quantity for quantity, _ in cross):
            if missing := [name for name in self.names if (quantity, name) not in cross]:
                raise ValueError(f"cross has no kernel of {quantity!r} with {missing}; give one with each of {self.names}")
            blocks = [_array(cross[quantity, name]) for name in self.names]
            for name, n, block in zip(self.names, self.sizes, blocks, strict=True):
                if block.ndim != 2 or block.shape[1] != n:
                    raise ValueError(f"cross[{quantity!r}, {name!r}] has shape {block.shape}; expected (m, {n})")
            found[quantity] = self._moved(np.concatenate(blocks, 1), sums)
        return found

    def _descent(self, steps: ArrayLike, lr: float, momentum: float) -> tuple[np.ndarray, np.ndarray]:
        """Factors and sums of gradient descent after so many steps, two (..., n) arrays.

        With x = eta l and m the momentum, mode and momentum buffer follow z' = (1 - x) z - x m b, b' = z + m b, and their sum
        s' = s + b' is what parameters have moved by. Powers of that matrix come by squaring, as N in I + N: tiny x are not
        lost beside 1, and double roots, where formulas by roots of the characteristic polynomial fail, are nothing special.
        """
        _check_lr(lr)
        _check_momentum(momentum)
        steps = _steps(steps)
        x, m = lr * self.rates, np.full_like(self.rates, momentum)
        one, zero = np.ones_like(x), np.zeros_like(x)
        N = np.stack([np.stack(row, -1) for row in ((-x, -x * m, zero), (one, m - 1, zero), (one, m, zero))], -2)  # (n, 3, 3)
        state = np.broadcast_to([1.0, 0.0, 0.0], (*steps.shape, len(x), 3))
        with np.errstate(over="ignore", invalid="ignore"):
            for bit in range(int(steps.max(initial=0)).bit_length()):
                taken = (steps >> bit & 1)[..., None, None] == 1
                state = np.where(taken, state + np.einsum("nij,...nj->...ni", N, state), state)
                N = 2 * N + N @ N
        state = np.where(np.isnan(state), inf, state)  # an unstable mode that has overflowed
        return state[..., 0], lr * state[..., 2]


def dynamics(kernel: KernelBlocks, errors: Mapping[str, Tensor], weights: Mapping[str, float]) -> Dynamics:
    """Decomposes D^1/2 K D^1/2 once, for all predictions of training with K frozen.

    kernel: from `pinntk.kernel` at the network where training starts
    errors: {name: (n_i,)} there, on the same points, from `pinntk.errors`
    weights: lambda_i by name; a condition of weight 0 is predicted, not trained on

    Raises ValueError for errors or weights that do not fit the kernel, or are not finite.
    """
    if missing := [name for name in kernel.names if name not in errors]:
        raise ValueError(f"errors of {missing} are missing; give them for each of {kernel.names}")
    if unknown := [name for name in errors if name not in kernel.names]:
        raise ValueError(f"errors of {unknown}: the kernel has no such conditions, only {kernel.names}")
    parts = {name: _array(errors[name]) for name in kernel.names}
    for name, n in zip(kernel.names, kernel.sizes, strict=True):
        if parts[name].shape != (n,):
            raise ValueError(f"errors[{name!r}] has shape {parts[name].shape}; expected ({n},), on the kernel's points")
        if not np.isfinite(parts[name]).all():
            raise ValueError(f"errors[{name!r}] holds NaN or infinity; give those of a network that has not diverged")
    check_finite_kernel(kernel)
    rates, modes = (_array(part) for part in kernel.eigh(weights))
    n = len(rates)
    floor = n * torch.finfo(kernel.values.dtype).eps * float(rates[-1])
    start = np.concatenate(list(parts.values()))
    components = modes.T @ (_root(kernel.names, kernel.sizes, weights) * start)
    rates = np.where(rates <= floor, 0.0, rates)
    return Dynamics(kernel.names, kernel.sizes, dict(weights), rates, floor, modes, components, start, kernel)


def field_kernel(
    network: nn.Module, problem: Problem, test: Tensor, points: Points, **options: Any
) -> dict[tuple[str, str], Tensor]:
    """The kernel of the fields' values at test points with the training errors, {(field, condition): (m, n_i)}.

    test: (m, d) points of the domain
    points: {condition: (n_i, d)}
    options: of `pinntk.cross_kernel`

    Raises ValueError for points that do not fit the problem.
    """
    values = field_problem(problem)
    cross = cross_kernel(network, with_field_values(problem), dict.fromkeys(values.names, test), points, **options)
    fields = dict(zip(values.names, problem.fields, strict=True))
    return {(fields[value], name): block for (value, name), block in cross.items()}


def _flow_sums(rates: np.ndarray, times: np.ndarray) -> np.ndarray:
    """(1 - exp(-l t)) / l, the integral of exp(-l s) over s from 0 to t; t where l = 0. (..., n)."""
    x = rates * times[..., None]
    safe = np.where(x == 0, 1.0, x)
    return times[..., None] * np.where(x == 0, 1.0, -np.expm1(-safe) / safe)


def _root(names: tuple[str, ...], sizes: tuple[int, ...], weights: Mapping[str, float]) -> np.ndarray:
    return np.concatenate([np.full(n, np.sqrt(2 * weights[name] / n)) for name, n in zip(names, sizes, strict=True)])


def _array(values: Tensor | ArrayLike) -> np.ndarray:
    return np.asarray(values.detach().cpu() if isinstance(values, Tensor) else values, dtype=float)


def _times(times: ArrayLike) -> np.ndarray:
    found = _array(times)
    if not (np.isfinite(found) & (found >= 0)).all():
        raise ValueError(f"times={times!r}: finite and at least 0")
    return found


def _steps(steps: ArrayLike) -> np.ndarray:
    found = np.asarray(steps)
    whole = found.astype(np.int64) if found.size and np.isfinite(found.astype(float)).all() else np.zeros(found.shape, np.int64)
    if not ((whole == found) & (whole >= 0)).all():
        raise ValueError(f"steps={steps!r}: whole numbers of at least 0")
    return whole


def _check_lr(lr: float) -> None:
    if not 0 < lr < inf:
        raise ValueError(f"lr={lr!r}: a learning rate, finite and above 0")


def _check_momentum(momentum: float) -> None:
    if not 0 <= momentum < 1:
        raise ValueError(f"momentum={momentum!r}: at least 0 and below 1")
