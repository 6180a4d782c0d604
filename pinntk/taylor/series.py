"""Scalar Taylor coefficients c_k = f^(k)(x) / k! of the functions that networks use, from their differential equations.

Every function here maps (x, order) to the list [c_0, ..., c_order] of tensors shaped like x.
"""

from __future__ import annotations

from collections.abc import Callable
from math import comb, pi, sqrt

import torch
from torch import Tensor
from torch.nn import functional as F

Series = Callable[[Tensor, int], list[Tensor]]


def exp(x: Tensor, order: int) -> list[Tensor]:
    c = [torch.exp(x)]
    for k in range(1, order + 1):
        c.append(c[-1] / k)
    return c


def expm1(x: Tensor, order: int) -> list[Tensor]:
    return [torch.expm1(x), *exp(x, order)[1:]]


def _cyclic(first: Tensor, derivatives: list[Tensor], order: int) -> list[Tensor]:
    """Coefficients of a function whose derivatives repeat: first, derivatives[0], derivatives[1], ..."""
    c, scale = [first], 1.0
    for k in range(1, order + 1):
        scale /= k
        c.append(derivatives[(k - 1) % len(derivatives)] * scale)
    return c


def sin(x: Tensor, order: int) -> list[Tensor]:
    s = torch.sin(x)
    if order == 0:
        return [s]
    c = torch.cos(x)
    return _cyclic(s, [c, -s, -c, s], order)


def cos(x: Tensor, order: int) -> list[Tensor]:
    c = torch.cos(x)
    if order == 0:
        return [c]
    s = torch.sin(x)
    return _cyclic(c, [-s, -c, s, c], order)


def sinh(x: Tensor, order: int) -> list[Tensor]:
    s = torch.sinh(x)
    return _cyclic(s, [torch.cosh(x), s], order) if order else [s]


def cosh(x: Tensor, order: int) -> list[Tensor]:
    c = torch.cosh(x)
    return _cyclic(c, [torch.sinh(x), c], order) if order else [c]


def _riccati(y: Tensor, a: float, b: float, c: float, order: int) -> list[Tensor]:
    """y' = a + b y + c y^2."""
    coefficients = [y]
    for k in range(1, order + 1):
        square = sum(coefficients[j] * coefficients[k - 1 - j] for j in range(k))
        right = c * square
        if b:
            right = right + b * coefficients[k - 1]
        if a and k == 1:
            right = right + a
        coefficients.append(right / k)
    return coefficients


def tanh(x: Tensor, order: int) -> list[Tensor]:
    y = torch.tanh(x)
    if order > 3:
        return _riccati(y, 1.0, 0.0, -1.0, order)
    c = [y]
    if order >= 1:
        square = y * y
        c.append(1 - square)
    if order >= 2:
        c.append(-y * c[1])
    if order >= 3:
        c.append((square - 1 / 3) * c[1])
    return c


def tan(x: Tensor, order: int) -> list[Tensor]:
    return _riccati(torch.tan(x), 1.0, 0.0, 1.0, order)


def sigmoid(x: Tensor, order: int) -> list[Tensor]:
    return _riccati(torch.sigmoid(x), 0.0, 1.0, -1.0, order)


def integrated(value: Tensor, derivative: list[Tensor]) -> list[Tensor]:
    """The series of a function from its value and the series of its derivative."""
    return [value, *(c / k for k, c in enumerate(derivative, start=1))]


def log(x: Tensor, order: int) -> list[Tensor]:
    return integrated(torch.log(x), reciprocal(x, order - 1))


def log1p(x: Tensor, order: int) -> list[Tensor]:
    return integrated(torch.log1p(x), reciprocal(1 + x, order - 1))


def reciprocal(x: Tensor, order: int) -> list[Tensor]:
    c: list[Tensor] = []
    for _ in range(order + 1):
        c.append(-c[-1] * c[0] if c else 1 / x)
    return c


def power(exponent: float) -> Series:
    """x^exponent. Whole exponents >= 0 are polynomials, exact at x = 0 too."""

    def polynomial(x: Tensor, order: int) -> list[Tensor]:
        n = int(exponent)
        return [comb(n, k) * x ** (n - k) if k <= n else torch.zeros_like(x) for k in range(order + 1)]

    def general(x: Tensor, order: int) -> list[Tensor]:
        c, factor = [x**exponent], 1.0
        for k in range(1, order + 1):
            factor *= (exponent - k + 1) / k
            c.append(factor * x ** (exponent - k))
        return c

    return polynomial if exponent >= 0 and float(exponent).is_integer() else general


def sqrt_(x: Tensor, order: int) -> list[Tensor]:
    return power(0.5)(x, order)


def rsqrt(x: Tensor, order: int) -> list[Tensor]:
    return power(-0.5)(x, order)


def atan(x: Tensor, order: int) -> list[Tensor]:
    first = 1 / (1 + x * x)
    derivative: list[Tensor] = []  # r (1 + x^2) = 1
    for k in range(order):
        if k == 0:
            derivative.append(first)
        else:
            before = derivative[k - 2] if k >= 2 else 0.0
            derivative.append(-(2 * x * derivative[k - 1] + before) * first)
    return integrated(torch.atan(x), derivative)


def _gaussian(x: Tensor, rate: float, order: int) -> list[Tensor]:
    """g = exp(-rate x^2): g' = -2 rate x g."""
    c: list[Tensor] = []
    for k in range(order + 1):
        if k == 0:
            c.append(torch.exp(-rate * x * x))
        else:
            before = c[k - 2] if k >= 2 else 0.0
            c.append(-2 * rate / k * (x * c[k - 1] + before))
    return c


def erf(x: Tensor, order: int) -> list[Tensor]:
    return integrated(torch.erf(x), [2 / sqrt(pi) * c for c in _gaussian(x, 1.0, order - 1)])


def times_x(x: Tensor, c: list[Tensor]) -> list[Tensor]:
    """The series of x f(x) from that of f."""
    return [x * c[0], *(x * c[k] + c[k - 1] for k in range(1, len(c)))]


def silu(x: Tensor, order: int) -> list[Tensor]:
    return times_x(x, sigmoid(x, order))


def gelu(x: Tensor, order: int) -> list[Tensor]:
    """x Phi(x), the exact form."""
    density = [c / sqrt(2 * pi) for c in _gaussian(x, 0.5, order - 1)]
    return times_x(x, integrated(0.5 * (1 + torch.erf(x / sqrt(2))), density))


def softplus(beta: float = 1.0, threshold: float = 20.0) -> Series:
    def series(x: Tensor, order: int) -> list[Tensor]:
        slope = [c * beta**k for k, c in enumerate(sigmoid(beta * x, order - 1))] if order else []
        return integrated(F.softplus(x, beta, threshold), slope)

    return series


def piecewise_linear(function: Callable[[Tensor], Tensor], slope: Callable[[Tensor], Tensor]) -> Series:
    """A function with kinks: derivatives hold away from them, and at them as torch's autograd has them."""

    def series(x: Tensor, order: int) -> list[Tensor]:
        zeros = [torch.zeros_like(x)] * max(order - 1, 0)
        return [function(x), slope(x).to(x.dtype), *zeros][: order + 1]

    return series


relu = piecewise_linear(torch.relu, lambda x: x > 0)
absolute = piecewise_linear(torch.abs, torch.sign)


def leaky_relu(negative_slope: float = 0.01) -> Series:
    return piecewise_linear(
        lambda x: F.leaky_relu(x, negative_slope),
        lambda x: torch.where(x > 0, torch.ones_like(x), negative_slope),
    )


def hardtanh(low: float, high: float) -> Series:
    return piecewise_linear(lambda x: torch.clamp(x, low, high), lambda x: (x > low) & (x < high))


def clamp(low: float | None, high: float | None) -> Series:
    def inside(x: Tensor) -> Tensor:
        keep = torch.ones_like(x, dtype=torch.bool)
        if low is not None:
            keep &= x >= low
        if high is not None:
            keep &= x <= high
        return keep

    return piecewise_linear(lambda x: torch.clamp(x, low, high), inside)


def elu(alpha: float = 1.0, scale: float = 1.0) -> Series:
    def series(x: Tensor, order: int) -> list[Tensor]:
        below = expm1(torch.clamp(x, max=0.0), order)
        above = [x, torch.ones_like(x), *[torch.zeros_like(x)] * order]
        return [scale * torch.where(x > 0, a, alpha * b) for a, b in zip(above, below, strict=False)]

    return series
