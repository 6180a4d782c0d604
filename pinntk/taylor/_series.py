"""Scalar Taylor coefficients c_k = f^(k)(x) / k! of the functions that networks use, from their differential equations.

Every function here maps (x, order) to the list [c_0, ..., c_order] of tensors shaped like x.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from math import comb, factorial, pi, sqrt
from math import log as ln
from operator import add

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
        square = reduce(add, [coefficients[j] * coefficients[k - 1 - j] for j in range(k)])
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


def integrate(value: Tensor, derivative: list[Tensor]) -> list[Tensor]:
    """The series of a function from its value and the series of its derivative."""
    return [value, *(c / k for k, c in enumerate(derivative, start=1))]


def log(x: Tensor, order: int) -> list[Tensor]:
    return integrate(torch.log(x), reciprocal(x, order - 1))


def log1p(x: Tensor, order: int) -> list[Tensor]:
    return integrate(torch.log1p(x), reciprocal(1 + x, order - 1))


def log2(x: Tensor, order: int) -> list[Tensor]:
    return integrate(torch.log2(x), [c / ln(2) for c in reciprocal(x, order - 1)])


def log10(x: Tensor, order: int) -> list[Tensor]:
    return integrate(torch.log10(x), [c / ln(10) for c in reciprocal(x, order - 1)])


def exp2(x: Tensor, order: int) -> list[Tensor]:
    c = [torch.exp2(x)]
    for k in range(1, order + 1):
        c.append(c[-1] * (ln(2) / k))
    return c


def logit(x: Tensor, order: int) -> list[Tensor]:
    """log x - log(1 - x)."""
    below, above = reciprocal(x, order - 1), reciprocal(1 - x, order - 1)
    slope = [b + (-1) ** k * a for k, (b, a) in enumerate(zip(below, above, strict=True))]
    return integrate(torch.logit(x), slope)


def reciprocal(x: Tensor, order: int) -> list[Tensor]:
    c: list[Tensor] = []
    for _ in range(order + 1):
        c.append(-c[-1] * c[0] if c else 1 / x)
    return c


def power(exponent: float | Tensor) -> Series:
    """x^exponent, also for a tensor of exponents. Whole exponents >= 0 are polynomials, exact at x <= 0 too."""
    if isinstance(exponent, Tensor):
        return _tensor_power(exponent)
    number = exponent

    def polynomial(x: Tensor, order: int) -> list[Tensor]:
        n = int(number)
        return [comb(n, k) * x ** (n - k) if k <= n else torch.zeros_like(x) for k in range(order + 1)]

    def general(x: Tensor, order: int) -> list[Tensor]:
        c, factor = [x**number], 1.0
        for k in range(1, order + 1):
            factor *= (number - k + 1) / k
            c.append(factor * x ** (number - k))
        return c

    return polynomial if number >= 0 and float(number).is_integer() else general


def _tensor_power(exponent: Tensor) -> Series:
    def series(x: Tensor, order: int) -> list[Tensor]:
        c, factor = [x**exponent], torch.ones_like(exponent)
        for k in range(1, order + 1):
            factor = factor * (exponent - k + 1) / k
            ended = (factor == 0) & (x == 0)  # a polynomial of lower degree: 0, not 0 / 0
            term = factor * torch.where(ended, torch.ones_like(x), x) ** (exponent - k)
            c.append(torch.where(ended, torch.zeros_like(term), term))
        return c

    return series


def exponential(base: Tensor) -> Series:
    """base^x; 0^x is 0 and stays 0, as x moves."""

    def series(x: Tensor, order: int) -> list[Tensor]:
        c = [torch.pow(base, x)]
        rate = torch.log(torch.where(base == 0, torch.ones_like(base), base))
        for k in range(1, order + 1):
            c.append(c[-1] * rate / k)
        if order:
            c[1:] = [torch.where(base == 0, torch.zeros_like(part), part) for part in c[1:]]
        return c

    return series


def sqrt_(x: Tensor, order: int) -> list[Tensor]:
    return power(0.5)(x, order)


def rsqrt(x: Tensor, order: int) -> list[Tensor]:
    return power(-0.5)(x, order)


def _inverse(x: Tensor, b: float, order: int) -> list[Tensor]:
    """r = 1 / (1 + b x^2), from r (1 + b x^2) = 1."""
    r: list[Tensor] = []
    for k in range(order + 1):
        if k == 0:
            r.append(1 / (1 + b * x * x))
        else:
            before = r[k - 2] if k >= 2 else 0.0
            r.append(-b * (2 * x * r[k - 1] + before) * r[0])
    return r


def _inverse_root(x: Tensor, a: float, b: float, order: int) -> list[Tensor]:
    """g = (a + b x^2)^(-1/2), from (a + b x^2) g' = -b x g."""
    q = a + b * x * x
    g: list[Tensor] = [torch.rsqrt(q)] if order >= 0 else []
    for k in range(order):
        before = k * g[k - 1] if k else 0.0
        g.append(-b / (k + 1) * ((2 * k + 1) * x * g[k] + before) / q)
    return g


def atan(x: Tensor, order: int) -> list[Tensor]:
    return integrate(torch.atan(x), _inverse(x, 1.0, order - 1))


def atanh(x: Tensor, order: int) -> list[Tensor]:
    return integrate(torch.atanh(x), _inverse(x, -1.0, order - 1))


def asin(x: Tensor, order: int) -> list[Tensor]:
    return integrate(torch.asin(x), _inverse_root(x, 1.0, -1.0, order - 1))


def acos(x: Tensor, order: int) -> list[Tensor]:
    return integrate(torch.acos(x), [-c for c in _inverse_root(x, 1.0, -1.0, order - 1)])


def asinh(x: Tensor, order: int) -> list[Tensor]:
    return integrate(torch.asinh(x), _inverse_root(x, 1.0, 1.0, order - 1))


def acosh(x: Tensor, order: int) -> list[Tensor]:
    return integrate(torch.acosh(x), _inverse_root(x, -1.0, 1.0, order - 1))


def sinc(x: Tensor, order: int) -> list[Tensor]:
    """sin(pi x) / (pi x): its power series where |x| < 1, from x c = sin(pi x) / pi elsewhere."""
    near, far = torch.clamp(x, -1, 1), torch.where(x.abs() < 1, torch.ones_like(x), x)
    sine = [c * pi ** (k - 1) for k, c in enumerate(sin(pi * far, order))]
    found: list[Tensor] = []
    c: list[Tensor] = []
    for k in range(order + 1):
        terms = [(-1) ** m * pi ** (2 * m) / factorial(2 * m + 1) * comb(2 * m, k) for m in range((k + 1) // 2, 21)]
        inner = torch.zeros_like(x)
        for term in reversed(terms):
            inner = inner * near * near + term
        inner = inner * near if k % 2 else inner
        c.append((sine[k] - c[-1]) / far if c else sine[0] / far)
        found.append(torch.where(x.abs() < 1, inner, c[k]))
    return found


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
    return integrate(torch.erf(x), [2 / sqrt(pi) * c for c in _gaussian(x, 1.0, order - 1)])


def erfc(x: Tensor, order: int) -> list[Tensor]:
    return integrate(torch.erfc(x), [-2 / sqrt(pi) * c for c in _gaussian(x, 1.0, order - 1)])


def ndtr(x: Tensor, order: int) -> list[Tensor]:
    return integrate(torch.special.ndtr(x), [c / sqrt(2 * pi) for c in _gaussian(x, 0.5, order - 1)])


def times_x(x: Tensor, c: list[Tensor]) -> list[Tensor]:
    """The series of x f(x) from that of f."""
    return [x * c[0], *(x * c[k] + c[k - 1] for k in range(1, len(c)))]


def silu(x: Tensor, order: int) -> list[Tensor]:
    return times_x(x, sigmoid(x, order))


def gelu(x: Tensor, order: int) -> list[Tensor]:
    """x Phi(x), the exact form."""
    density = [c / sqrt(2 * pi) for c in _gaussian(x, 0.5, order - 1)]
    return times_x(x, integrate(0.5 * (1 + torch.erf(x / sqrt(2))), density))


def softplus(beta: float = 1.0, threshold: float = 20.0) -> Series:
    """log(1 + e^(beta x)) / beta, and x itself where beta x > threshold."""

    def series(x: Tensor, order: int) -> list[Tensor]:
        c, scaled = [F.softplus(x, beta, threshold)], beta * x
        inside = torch.where(scaled < threshold, scaled, scaled.detach())
        for k, slope in enumerate(sigmoid(inside, order - 1) if order else []):
            curved = slope * beta**k / (k + 1)
            if k == 0:
                c.append(torch.where(scaled > threshold, torch.ones_like(x), curved))
            else:
                c.append(torch.where(scaled < threshold, curved, torch.zeros_like(x)))
        return c

    return series


def logsigmoid(x: Tensor, order: int) -> list[Tensor]:
    slope = [(-1) ** k * c for k, c in enumerate(sigmoid(-x, order - 1))] if order else []
    return integrate(F.logsigmoid(x), slope)
