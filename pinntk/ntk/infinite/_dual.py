"""Dual activations: E[s(u) s(v)] over a Gaussian pair (u, v), with its Taylor coefficients in the pair's covariances.

With V(q11, q12, q22) = E[s(u) s(v)], Price's theorem gives every partial derivative as an expectation of the same kind,

    d^a/dq11^a d^b/dq12^b d^c/dq22^c V = E[s^(2a+b)(u) s^(2c+b)(v)] / 2^(a+c),

so the table of Taylor coefficients holds all that derivatives of kernels need, E[s'(u) s'(v)] = dV/dq12 among it.
Closed forms: Williams 1998 (erf), Cho & Saul 2009 (relu), Rahimi & Recht 2007 (sin, cos).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from functools import lru_cache
from itertools import product
from math import comb, factorial, pi, sqrt
from typing import Any

import torch
from numpy.polynomial import Polynomial
from torch import Tensor

from pinntk.taylor import Basis, Jet
from pinntk.taylor import _series as series

Index = tuple[int, int, int]
Value = Any  # a tensor or a jet: torch's functions and arithmetic take both
Dual = Callable[[Value, Value, Value], Value]
Smooth = str | Callable[[Value], Value]
Activation = Smooth | Polynomial
Table = dict[Index, Tensor]


def dual_table(activation: Activation, q11: Tensor, q12: Tensor, q22: Tensor, indices: Iterable[Index]) -> Table:
    """Taylor coefficients of V at pairs, {(a, b, c): (P,)}.

    q11, q12, q22: (P,) float64 covariances of (u, v)
    indices: powers (a, b, c) of the changes of q11, q12, q22

    Raises ValueError where a derivative does not exist (relu) or quadrature does not converge.
    """
    indices = sorted(set(indices))
    if activation == "relu":
        return _relu(q11, q12, q22, indices)
    if isinstance(activation, Polynomial):
        return _closed_form(_polynomial(activation), q11, q12, q22, indices)
    if isinstance(activation, str) and activation in CLOSED:
        return _closed_form(CLOSED[activation], q11, q12, q22, indices)
    return _hermite(activation, q11, q12, q22, indices)


# Closed forms, as functions that tensors and jets flow through alike.


def _erf(q11: Value, q12: Value, q22: Value) -> Value:
    return 2 / pi * torch.atan(2 * q12 * torch.rsqrt((1 + 2 * q11) * (1 + 2 * q22) - 4 * q12 * q12))  # arcsin, safe at 1


def _sin(q11: Value, q12: Value, q22: Value) -> Value:
    mean = 0.5 * (q11 + q22)  # not sinh(q12) exp(-mean): it overflows
    return 0.5 * (torch.exp(q12 - mean) - torch.exp(-q12 - mean))


def _cos(q11: Value, q12: Value, q22: Value) -> Value:
    mean = 0.5 * (q11 + q22)
    return 0.5 * (torch.exp(q12 - mean) + torch.exp(-q12 - mean))


def _exp(q11: Value, q12: Value, q22: Value) -> Value:
    return torch.exp(0.5 * (q11 + q22) + q12)


def _gaussian(q11: Value, q12: Value, q22: Value) -> Value:
    return torch.rsqrt((1 + q11) * (1 + q22) - q12 * q12)


def _identity(q11: Value, q12: Value, q22: Value) -> Value:
    return q12 + 0 * q11


def _polynomial(activation: Polynomial) -> Dual:
    """sum_ij c_i c_j E[u^i v^j], by Isserlis' theorem: k pairs across, the others within u and within v."""
    coefficients = activation.convert(domain=[-1, 1], window=[-1, 1]).coef.tolist()

    def within(n: int) -> int:
        return math.prod(range(n - 1, 0, -2))

    def dual(q11: Value, q12: Value, q22: Value) -> Value:
        total = 0 * q12
        for (i, ci), (j, cj) in product(enumerate(coefficients), repeat=2):
            for k in range(i % 2, min(i, j) + 1, 2):
                if (j - k) % 2 == 0:
                    ways = factorial(k) * comb(i, k) * comb(j, k) * within(i - k) * within(j - k)
                    total = total + ci * cj * ways * q12**k * q11 ** ((i - k) // 2) * q22 ** ((j - k) // 2)
        return total

    return dual


CLOSED: dict[str, Dual] = {
    "erf": _erf,
    "sin": _sin,
    "cos": _cos,
    "exp": _exp,
    "gaussian": _gaussian,
    "identity": _identity,
}


def _closed_form(dual: Dual, q11: Tensor, q12: Tensor, q22: Tensor, indices: list[Index]) -> Table:
    basis = Basis.spanning(indices, 3)
    q = Jet.seed(basis, torch.stack([q11, q12, q22], 1))
    data = dual(q[:, 0], q[:, 1], q[:, 2]).components
    return {index: data[basis.position(index)] for index in indices}


def _relu(q11: Tensor, q12: Tensor, q22: Tensor, indices: list[Index]) -> Table:
    """The arc-cosine kernels of orders 1 and 0 (Cho & Saul 2009)."""
    if beyond := [index for index in indices if index not in ((0, 0, 0), (0, 1, 0))]:
        raise ValueError(
            f"activation='relu' has a kernel of values only: derivatives of the kernel (here {beyond[-1]}) need those of relu, "
            "which jumps. Use a smooth activation, such as 'tanh' or 'gelu'"
        )
    height = (q11 * q22 - q12 * q12).clamp_min(0).sqrt()  # |u| |v| sin(angle)
    angle = torch.atan2(height, q12)
    value, slope = (height + q12 * (pi - angle)) / (2 * pi), (pi - angle) / (2 * pi)
    return {index: value if index == (0, 0, 0) else slope for index in indices}


# Hermite series, by quadrature.

SMOOTH: dict[str, series.Series] = {
    "tanh": series.tanh,
    "sigmoid": series.sigmoid,
    "silu": series.silu,
    "gelu": series.gelu,
    "softplus": series.softplus(threshold=50.0),  # torch cuts it off at 20, which is 2e-9 away
}
NAMES = ("relu", *CLOSED, *SMOOTH)
_REACH = 12.4  # standard deviations: where the root of the density is 1e-17 of its peak
_STEPS = [0.4 * 0.8**k for k in range(22)]
_TERMS = [2**k for k in range(5, 16)]
_TOLERANCE = 1e-12
_CHUNK = 2**18  # coefficients gathered at once


def check(activation: Activation) -> None:
    """Raises ValueError for an unknown name, TypeError for what is not a function."""
    if isinstance(activation, str):
        if activation not in NAMES:
            raise ValueError(
                f"activation={activation!r} has no infinite-width kernel here; use one of {', '.join(NAMES)}, a numpy "
                "Polynomial, or a smooth function of tensors and jets"
            )
    elif not callable(activation):
        raise TypeError(f"activation is a {type(activation).__name__}; give a name, a numpy Polynomial or a function")


def _series(activation: Smooth) -> series.Series:
    if isinstance(activation, str):
        return SMOOTH[activation]

    def coefficients(x: Tensor, order: int) -> list[Tensor]:
        jet = activation(Jet.seed(Basis.spanning([(order,)], 1), x.reshape(-1, 1)))
        return [c.reshape(x.shape) for c in jet.components]

    return coefficients


def _hermite(activation: Smooth, q11: Tensor, q12: Tensor, q22: Tensor, indices: list[Index]) -> Table:
    r"""E[f(u) g(v)] = sum_k f_k g_k rho^k (Mehler), f_k = E[f(sqrt(q) z) h_k(z)] with normalized Hermite polynomials h_k.

    f and g are derivatives of s; rho is the correlation. Nothing is divided by 1 - rho^2, so that repeated points are like
    any others. What is cut off is at most the root of the product of the tails of sum_k f_k^2 = E[f^2] and of that of g: they
    are made smaller than 1e-12 of the sum at the largest variance, where they are longest.
    """
    function = _series(activation)
    variances, positions = torch.unique(torch.cat([q11, q22]), return_inverse=True)
    order = max(2 * max(a, c) + b for a, b, c in indices)
    roots = variances.clamp_min(0).sqrt()
    terms, h = _resolution(activation, 1.1 ** math.ceil(math.log(max(float(roots[-1]), 1e-3), 1.1)), order)
    f = _coefficients(function, roots, order, terms, h)  # [variances, order + 1, terms]
    left, right = positions.split(len(q11))
    size = roots[left] * roots[right]
    rho = torch.where(size > 0, q12 / size, torch.zeros_like(size)).clamp(-1, 1)
    pairs = max(1, _CHUNK // (terms * (order + 1)))
    E = torch.cat([_mehler(f, *part) for part in zip(left.split(pairs), right.split(pairs), rho.split(pairs), strict=True)])
    return {
        (a, b, c): E[:, 2 * a + b, 2 * c + b] / (2 ** (a + c) * factorial(a) * factorial(b) * factorial(c))
        for a, b, c in indices
    }


def _mehler(f: Tensor, left: Tensor, right: Tensor, rho: Tensor) -> Tensor:
    """sum_k f_k f_k rho^k of every two derivatives, [P, order + 1, order + 1]."""
    powers = torch.cat([torch.ones_like(rho)[:, None], rho[:, None].expand(-1, f.shape[2] - 1)], 1).cumprod(1)
    return (f[left] * powers[:, None]) @ f[right].mT


def _coefficients(function: series.Series, roots: Tensor, order: int, terms: int, h: float) -> Tensor:
    """E[s^(j)(root z) h_k(z)], [root, j, k], by the trapezoidal rule of step h.

    For functions analytic in a strip of half-width w its error falls as exp(-2 pi w / h), faster than that of Gauss-Hermite
    rules (Trefethen & Weideman 2014, SIAM Review 56(3), section 4).
    """
    count = math.ceil(_REACH / h)
    z = h * torch.arange(-count, count + 1).to(roots)
    density = (h / sqrt(2 * pi)) ** 0.5 * torch.exp(-0.25 * z * z)  # its root: h_k times it stays small
    hermite = [density, z * density]
    for k in range(1, terms - 1):
        hermite.append((z * hermite[k] - sqrt(k) * hermite[k - 1]) / sqrt(k + 1))
    s = function(roots[:, None] * z, order)
    H = torch.stack(hermite[:terms], 1)
    return torch.stack([factorial(j) * (c * density @ H) for j, c in enumerate(s)], 1)


@lru_cache(maxsize=256)
def _resolution(activation: Smooth, largest: float, order: int) -> tuple[int, float]:
    """How many terms, and which step, make the Hermite series of s and its derivatives exact to `_TOLERANCE`."""
    function, root, lost = _series(activation), torch.tensor([largest], dtype=torch.float64), float("inf")
    for terms in _TERMS:
        h = _step(function, root, order, terms)
        if h is None:
            break
        f = _coefficients(function, root, order, terms, h)[0]
        squares = f.square().cumsum(1)
        tails = (_squares(function, root, order, h)[:, None] - squares).abs() / squares[:, -1:].clamp_min(1e-300)
        lost = float(tails[:, -1].max())
        if lost <= _TOLERANCE:
            return int((tails > _TOLERANCE).any(0).sum()) + 1, h
    raise ValueError(
        f"activation={activation}: its Hermite series at variance {largest**2:.3g} is only good to {lost:.0e}. It needs "
        f"{order} smooth derivatives; a kink (relu-like functions) or a very large variance spoils it: normalize the inputs, "
        "or use a smooth activation"
    )


def _step(function: series.Series, root: Tensor, order: int, terms: int) -> float | None:
    """The largest step at which the coefficients have settled, and Hermite polynomials are resolved; None for none."""
    for h in _STEPS:
        if h * (2 * sqrt(terms) + 6) > 2 * pi:
            continue
        coarse, fine = (_coefficients(function, root, order, terms, step) for step in (h, h / 2))
        if ((coarse - fine).abs() <= 0.1 * _TOLERANCE * fine.square().sum(2, keepdim=True).sqrt()).all():
            return h
    return None


def _squares(function: series.Series, root: Tensor, order: int, h: float) -> Tensor:
    """E[s^(j)(root z)^2], (order + 1,)."""
    count = math.ceil(_REACH / h)
    z = h * torch.arange(-count, count + 1).to(root)
    w = h / sqrt(2 * pi) * torch.exp(-0.5 * z * z)
    return torch.stack([(factorial(j) * c).square() @ w for j, c in enumerate(function(root * z, order))])
