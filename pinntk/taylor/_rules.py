"""The arithmetic of jets: sums, products, powers and compositions. Rules that choose between values are in `choices`, those
that move, reduce or contract features in `shapes`, `reductions` and `contractions`, what networks are made of in `layers`.

Every rule keeps dimension 0 (the points) intact; what would mix points raises DependentPointsError.
"""

from __future__ import annotations

from collections.abc import Callable
from math import pi
from numbers import Number
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from pinntk.taylor import _fused as fused
from pinntk.taylor import _kinks as kinks
from pinntk.taylor import _series as series
from pinntk.taylor._jet import RULES, DependentPointsError, Jet, UnsupportedOperationError
from pinntk.taylor._series import Series

# The last has torch's own functions where another package has put one of its own in their place, as torch_geometric does.
_NATIVE = torch._C._VariableFunctions
_NAMESPACES = (torch, Tensor, F, torch.special, torch.linalg, _NATIVE)


def rule(*names: str, spaces: tuple = _NAMESPACES) -> Callable[[Callable], Callable]:
    """Registers a handler for every function of these names in `spaces`."""

    def register(handler: Callable) -> Callable:
        for name in names:
            functions = [getattr(space, name) for space in spaces if hasattr(space, name)]
            assert functions, name
            RULES.update(dict.fromkeys(functions, handler))
        return handler

    return register


def compose(x: Jet, function: Series) -> Jet:
    """f(x) for an elementwise f given by its scalar Taylor coefficients at the value of x."""
    return x.like(fused.compose(x.components, function, x.basis))


def compose_plain(x: Jet, function: Series) -> Jet:
    """The same for an f that holds tensors, which may be trained or larger than x."""
    return x.like(fused.compose_plain(x.components, function, x.basis))


for _names, _function in {
    ("exp",): series.exp,
    ("exp2",): series.exp2,
    ("expm1",): series.expm1,
    ("log",): series.log,
    ("log2",): series.log2,
    ("log10",): series.log10,
    ("log1p",): series.log1p,
    ("sin",): series.sin,
    ("cos",): series.cos,
    ("tan",): series.tan,
    ("sinh",): series.sinh,
    ("cosh",): series.cosh,
    ("tanh",): series.tanh,
    ("asin", "arcsin"): series.asin,
    ("acos", "arccos"): series.acos,
    ("atan", "arctan"): series.atan,
    ("asinh", "arcsinh"): series.asinh,
    ("acosh", "arccosh"): series.acosh,
    ("atanh", "arctanh"): series.atanh,
    ("sinc",): series.sinc,
    ("sigmoid", "expit"): series.sigmoid,
    ("sqrt",): series.sqrt_,
    ("rsqrt",): series.rsqrt,
    ("reciprocal",): series.reciprocal,
    ("square",): series.power(2),
    ("erf",): series.erf,
    ("erfc",): series.erfc,
    ("ndtr",): series.ndtr,
    ("abs", "absolute"): kinks.absolute,
    ("relu",): kinks.relu,
}.items():
    rule(*_names)(lambda x, *, _function=_function: compose(x, _function))


@rule("neg", "negative")
def neg(x: Jet) -> Jet:
    return x.like(-x.components)


@rule("positive")
def positive(x: Jet) -> Jet:
    return x


@rule("deg2rad")
def deg2rad(x: Jet) -> Jet:
    return x.like(x.components * (pi / 180))


@rule("rad2deg")
def rad2deg(x: Jet) -> Jet:
    return x.like(x.components * (180 / pi))


# What jets meet.


def operand(x: Jet, t: Any) -> Any:
    """`t`, made to meet the jet x in an elementwise operation: checked not to broadcast across points, on x's
    device, in a dtype no less exact.
    """
    if isinstance(t, Number) and not isinstance(t, complex) and not isinstance(t, np.generic):
        return t
    if not isinstance(t, Tensor):
        if np.iscomplexobj(t) or not hasattr(t, "__array__"):
            raise UnsupportedOperationError(f"an operation with a {type(t).__name__}")
        t = torch.as_tensor(t, dtype=x.dtype, device=x.device)
    if t.is_complex():
        raise UnsupportedOperationError("an operation with a complex tensor")
    check_alignment(x, t.shape)
    return t if torch.promote_types(t.dtype, x.dtype) == t.dtype else t.to(x.dtype)


def constant(x: Jet, t: Any) -> Any:
    """`operand`, recorded by the tape where it is trained."""
    if x.tape is not None and isinstance(t, Tensor) and t.requires_grad and not t.is_complex():
        check_alignment(x, t.shape)
        copies = x.tape.per_point(t, x.shape[0], x.ndim)
        return copies if t.ndim else copies.to(x.dtype)
    return operand(x, t)


def check_alignment(x: Jet, shape: torch.Size) -> None:
    """Raises DependentPointsError if (n, ...) values x and values of `shape` would broadcast across points."""
    n = x.shape[0]
    if len(shape) > x.ndim or (len(shape) == x.ndim and shape[0] not in (1, n)):
        raise DependentPointsError(
            f"shapes {tuple(x.shape)} and {tuple(shape)} would broadcast across the {n} points; "
            "give both the same number of dimensions, points first"
        )


def first_jet(*operands: Any) -> Jet:
    """The first jet among them. Raises DependentPointsError if another has more or fewer dimensions."""
    first, *others = (operand for operand in operands if isinstance(operand, Jet))
    for jet in others:
        if jet.ndim != first.ndim:
            check_alignment(*((first, jet.shape) if first.ndim < jet.ndim else (jet, first.shape)))
    return first


def embed(x: Jet, t: Any) -> Tensor:
    """A constant as components like those of x: itself as the value, 0 as every derivative; [S, 1, ..., 1, *shape]."""
    shape = t.shape if isinstance(t, Tensor) else ()
    data = x.components.new_zeros((x.basis.size, *(1,) * (x.ndim - len(shape)), *shape), dtype=t.dtype if shape else x.dtype)
    data[0] = t
    return data


# Sums and products.


@rule("add")
def add(input: Any, other: Any, *, alpha: float = 1) -> Jet:
    x = first_jet(input, other)
    if isinstance(input, Jet) and isinstance(other, Jet):
        return x.like(torch.add(input.components, other.components, alpha=alpha))
    if isinstance(input, Jet):
        t, jet = constant(x, other), x
        t = t if alpha == 1 else alpha * t
    else:
        t, jet = constant(x, input), x if alpha == 1 else x.like(alpha * x.components)
    return x.like(jet.components + (t if x.basis.size == 1 else embed(x, t)))


@rule("sub", "subtract")
def sub(input: Any, other: Any, *, alpha: float = 1) -> Jet:
    return add(input, other, alpha=-alpha)


@rule("rsub")
def rsub(input: Any, other: Any, *, alpha: float = 1) -> Jet:
    return add(other, input, alpha=-alpha)


@rule("mul", "multiply")
def mul(input: Any, other: Any) -> Jet:
    x = first_jet(input, other)
    if isinstance(input, Jet) and isinstance(other, Jet):
        return convolve(input, other, torch.mul)
    return x.like(x.components * constant(x, other if isinstance(input, Jet) else input))


def convolve(x: Jet, y: Jet, times: Callable) -> Jet:
    """The truncated product of two jets under any bilinear operation `times`."""
    if x.basis.size == 1:
        return x.like(times(x.components, y.components))
    terms = x.basis.product_terms
    return x.like(torch.stack([fused.weighted_sum(term, x.components, y.components, times) for term in terms]))


@rule("div", "divide", "true_divide")
def div(input: Any, other: Any, *, rounding_mode: str | None = None) -> Jet:
    if rounding_mode is not None:
        raise UnsupportedOperationError("torch.div(rounding_mode=...)")
    if isinstance(other, Jet):
        return mul(compose(other, series.reciprocal), input)
    return input.like(input.components / constant(input, other))


@rule("remainder")
def remainder(input: Any, other: Any) -> Jet:
    return _wrap(input, other, torch.remainder)


@rule("fmod")
def fmod(input: Any, other: Any) -> Jet:
    return _wrap(input, other, torch.fmod)


@rule("frac")
def frac(input: Jet) -> Jet:
    return _wrap(input, 1.0, torch.fmod)


def _wrap(x: Any, y: Any, function: Callable) -> Jet:
    """x less a multiple of y that jumps: its slope is 1 everywhere, as in torch."""
    if not isinstance(x, Jet) or isinstance(y, Jet) or (isinstance(y, Tensor) and y.requires_grad):
        raise UnsupportedOperationError("a remainder by what is trained or depends on the input")
    y = constant(x, y)
    jumps = (function(x.value, y) - x.value).detach()
    return add(x, jumps) if jumps.shape == x.shape else add(mul(x, torch.ones_like(y)), jumps)


@rule("pow")
def power(input: Any, exponent: Any) -> Jet:
    if isinstance(exponent, Tensor) and exponent.ndim == 0 and not exponent.requires_grad:
        exponent = exponent.item()
    if isinstance(exponent, np.generic):
        exponent = exponent.item()
    if isinstance(input, Jet) and isinstance(exponent, Jet):
        if not fused.writes_plainly() and bool((input.value <= 0).any()):
            raise UnsupportedOperationError("x ** y with both from the network", "has no Taylor rule at x <= 0")
        return RULES[torch.exp](mul(RULES[torch.log](input), exponent))
    if not isinstance(input, Jet):
        base = constant(exponent, input)
        base = base if isinstance(base, Tensor) else exponent.components.new_tensor(base)
        return compose_plain(exponent, series.exponential(base))
    exponent = constant(input, exponent)
    if isinstance(exponent, Tensor):
        return compose_plain(input, series.power(exponent))
    return input.like(input.components.clone()) if exponent == 1 else compose(input, series.power(exponent))


RULES[Tensor.__rpow__] = lambda exponent, base: power(base, exponent)
RULES[Tensor.__rtruediv__] = lambda y, x: div(x, y)
RULES[Tensor.__rsub__] = lambda x, y: rsub(x, y)


def _scale(x: Jet, t: Any, factor: float) -> Any:
    """factor t, for a jet or a constant that meets x."""
    if factor == 1:
        return t
    return mul(t, factor) if isinstance(t, Jet) else factor * operand(x, t)


@rule("addcmul")
def addcmul(input: Any, tensor1: Any, tensor2: Any, *, value: float = 1) -> Jet:
    x = first_jet(input, tensor1, tensor2)
    jets = isinstance(tensor1, Jet) or isinstance(tensor2, Jet)
    return add(input, _scale(x, mul(tensor1, tensor2) if jets else operand(x, tensor1) * operand(x, tensor2), value))


@rule("addcdiv")
def addcdiv(input: Any, tensor1: Any, tensor2: Any, *, value: float = 1) -> Jet:
    x = first_jet(input, tensor1, tensor2)
    jets = isinstance(tensor1, Jet) or isinstance(tensor2, Jet)
    return add(input, _scale(x, div(tensor1, tensor2) if jets else operand(x, tensor1) / operand(x, tensor2), value))


@rule("lerp")
def lerp(input: Any, end: Any, weight: Any) -> Jet:
    return input + weight * (end - input)


@rule("hypot")
def hypot(input: Any, other: Any) -> Any:
    x = first_jet(input, other)
    input, other = (t if isinstance(t, Jet) else operand(x, t) for t in (input, other))
    return torch.sqrt(input * input + other * other)


@rule("atan2", "arctan2")
def atan2(input: Any, other: Any) -> Any:
    """The angle at the point, and that by which the vector turns away from it: exact in every quadrant."""
    x = first_jet(input, other)
    up, right = ((t.value if isinstance(t, Jet) else constant(x, t)).detach() for t in (input, other))
    angle, length = torch.atan2(up, right), torch.hypot(up, right)
    cosine, sine = right / length, up / length
    return torch.atan((input * cosine - other * sine) / (other * cosine + input * sine)) + angle


@rule("logaddexp")
def logaddexp(input: Any, other: Any) -> Jet:
    return other - compose(other - input, series.logsigmoid)
