"""The arithmetic of jets: sums, products, compositions and linear maps. Shapes and layers are in `shapes` and `layers`.

Every rule keeps dimension 0 (the points) intact; what would mix points raises DependentPoints.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from pinntk.taylor import fused, series
from pinntk.taylor.jet import RULES, DependentPoints, Jet, UnsupportedOperation
from pinntk.taylor.series import Series

_NAMESPACES = (torch, Tensor, F, torch.special)


def rule(*names: str) -> Callable[[Callable], Callable]:
    """Registers a handler for every function of these names in torch, Tensor, torch.nn.functional and torch.special."""

    def register(handler: Callable) -> Callable:
        for name in names:
            functions = [getattr(space, name) for space in _NAMESPACES if hasattr(space, name)]
            assert functions, name
            RULES.update(dict.fromkeys(functions, handler))
        return handler

    return register


def compose(x: Jet, function: Series) -> Jet:
    """f(x) for an elementwise f given by its scalar Taylor coefficients at the value of x."""
    return x.like(fused.compose(x.data, function, x.basis))


def elementwise(function: Series, *names: str) -> None:
    @rule(*names)
    def handler(x: Jet) -> Jet:
        return compose(x, function)


for _names, _function in {
    ("exp",): series.exp,
    ("expm1",): series.expm1,
    ("log",): series.log,
    ("log1p",): series.log1p,
    ("sin",): series.sin,
    ("cos",): series.cos,
    ("tan",): series.tan,
    ("sinh",): series.sinh,
    ("cosh",): series.cosh,
    ("tanh",): series.tanh,
    ("atan", "arctan"): series.atan,
    ("sigmoid", "expit"): series.sigmoid,
    ("sqrt",): series.sqrt_,
    ("rsqrt",): series.rsqrt,
    ("reciprocal",): series.reciprocal,
    ("square",): series.power(2),
    ("erf",): series.erf,
    ("abs", "absolute"): series.absolute,
}.items():
    elementwise(_function, *_names)


@rule("neg", "negative")
def neg(x: Jet) -> Jet:
    return x.like(-x.data)


@rule("relu")
def relu(x: Jet) -> Jet:
    return compose(x, series.relu)


@rule("clamp", "clip")
def clamp(x: Jet, min: Any = None, max: Any = None) -> Jet:
    function = series.clamp(min, max)
    if isinstance(min, Tensor) or isinstance(max, Tensor):  # may be trained, which only the plain form follows
        return x.like(fused.compose_plain(x.data, function, x.basis))
    return compose(x, function)


# Sums and products.


def constant(x: Jet, t: Any) -> Any:
    """`t`, made to meet the jet x in an elementwise operation: checked not to broadcast across points, on x's
    device, and recorded by the tape where it is trained."""
    if not hasattr(t, "__array__"):  # a Python number
        return t
    if not isinstance(t, Tensor):
        t = torch.as_tensor(t, dtype=x.dtype, device=x.device)
    check_alignment(x, t.shape)
    if x.tape is not None and t.requires_grad:
        return x.tape.per_point(t, x.shape[0], x.ndim)
    return t


def check_alignment(x: Jet, shape: torch.Size) -> None:
    """Raises DependentPoints if (n, ...) values x and values of `shape` would broadcast across points."""
    n = x.shape[0]
    if len(shape) > x.ndim or (len(shape) == x.ndim and shape[0] not in (1, n)):
        raise DependentPoints(
            f"shapes {tuple(x.shape)} and {tuple(shape)} would broadcast across the {n} points; "
            "give both the same number of dimensions, points first"
        )


def value_mask(x: Jet, ndim: int) -> Tensor:
    """1 for the value component, 0 for the others; [S, 1, ..., 1] with `ndim` ones."""
    mask = x.data.new_zeros((x.basis.size,) + (1,) * ndim)
    mask[0] = 1
    return mask


@rule("add")
def add(x: Any, y: Any, *, alpha: float = 1) -> Jet:
    if not isinstance(x, Jet):
        x, y, alpha = (y if alpha == 1 else alpha * y), x, 1
    if isinstance(y, Jet):
        _check_jets(x, y)
        return x.like(torch.add(x.data, y.data, alpha=alpha))
    y = constant(x, y)
    if alpha != 1:
        y = alpha * y
    if x.basis.size == 1:
        return x.like(x.data + y)
    return x.like(x.data + value_mask(x, x.ndim) * y)


@rule("sub", "subtract")
def sub(x: Any, y: Any, *, alpha: float = 1) -> Jet:
    return add(x, -y if alpha == 1 else -alpha * y)


@rule("rsub")
def rsub(x: Any, y: Any, *, alpha: float = 1) -> Jet:
    return add(y, -x if alpha == 1 else -alpha * x)


def _check_jets(x: Jet, y: Jet) -> None:
    if x.ndim != y.ndim:
        check_alignment(*((x, y.shape) if x.ndim < y.ndim else (y, x.shape)))
        raise UnsupportedOperation("an operation on values of different dimensions", "is ambiguous; unsqueeze one")


@rule("mul", "multiply")
def mul(x: Any, y: Any) -> Jet:
    if isinstance(x, Jet) and isinstance(y, Jet):
        _check_jets(x, y)
        return convolve(x, y, torch.mul)
    if not isinstance(x, Jet):
        x, y = y, x
    return x.like(x.data * constant(x, y))


def convolve(x: Jet, y: Jet, times: Callable) -> Jet:
    """The truncated product of two jets under any bilinear operation `times`."""
    if x.basis.size == 1:
        return x.like(times(x.data, y.data))
    return x.like(torch.stack([fused.weighted_sum(terms, x.data, y.data, times) for terms in x.basis.product_terms]))


@rule("div", "divide", "true_divide")
def div(x: Any, y: Any, *, rounding_mode: str | None = None) -> Jet:
    if rounding_mode is not None:
        raise UnsupportedOperation("torch.div(rounding_mode=...)")
    if isinstance(y, Jet):
        return mul(compose(y, series.reciprocal), x)
    return x.like(x.data / constant(x, y))


@rule("pow")
def power(x: Any, exponent: Any) -> Jet:
    if hasattr(exponent, "__array__") and not isinstance(exponent, Tensor):
        exponent = torch.as_tensor(exponent)
    if isinstance(exponent, Tensor) and exponent.numel() == 1 and not exponent.requires_grad:
        exponent = exponent.item()  # a number: through logarithms it would be NaN at x <= 0
    if isinstance(x, Jet) and isinstance(exponent, (int, float)):
        return x.like(x.data.clone()) if exponent == 1 else compose(x, series.power(exponent))
    if isinstance(x, Jet):
        return RULES[torch.exp](mul(RULES[torch.log](x), exponent))
    if not isinstance(x, Tensor):
        x = torch.as_tensor(x, dtype=exponent.dtype, device=exponent.device)
    return RULES[torch.exp](mul(exponent, torch.log(x)))


RULES[Tensor.__rpow__] = lambda exponent, base: power(base, exponent)
RULES[Tensor.__rdiv__] = RULES[Tensor.__rtruediv__] = lambda y, x: div(x, y)
RULES[Tensor.__rsub__] = lambda x, y: rsub(x, y)


@rule("addcmul")
def addcmul(x: Any, y: Any, z: Any, *, value: float = 1) -> Jet:
    product = mul(y, z) if isinstance(y, Jet) or isinstance(z, Jet) else y * z
    return add(x, product if value == 1 else value * product)


@rule("lerp")
def lerp(start: Any, end: Any, weight: Any) -> Jet:
    return start + weight * (end - start)


# Linear maps.


@rule("linear")
def linear(x: Jet, weight: Tensor, bias: Tensor | None = None) -> Jet:
    if not isinstance(x, Jet) or isinstance(weight, Jet):
        raise UnsupportedOperation("torch.nn.functional.linear with a weight that depends on the input")
    if x.ndim < 2:
        raise DependentPoints("linear on values of shape (n,) takes the points for features; unsqueeze(-1) first")
    if weight.ndim == 1:
        product = linear(x, weight.unsqueeze(0))
        product = product.like(product.data.squeeze(-1))
        return product if bias is None else add(product, bias)
    if x.tape is not None:
        return x.like(x.tape.linear(x.data, weight, bias))
    return x.like(fused.linear(x.data, weight, bias))


@rule("matmul", "mm", "bmm")
def matmul(x: Any, y: Any) -> Jet:
    if isinstance(x, Jet) and isinstance(y, Jet):
        if x.ndim < 3 or y.ndim < 3:
            raise DependentPoints("a matrix product of two values of the network mixes points; use (n, a, b) operands")
        _check_jets(x, y)
        return convolve(x, y, torch.matmul)
    if not isinstance(x, Jet) or x.ndim < 2:
        raise UnsupportedOperation("torch.matmul(constant, x)", "has no Taylor rule (write x @ matrix)")
    y = y if isinstance(y, Tensor) else torch.as_tensor(y, dtype=x.dtype, device=x.device)
    if y.ndim == 1:
        product = matmul(x, y.unsqueeze(-1))
        return product.like(product.data.squeeze(-1))
    if y.ndim != 2:
        raise UnsupportedOperation("torch.matmul(x, tensor of 3 or more dimensions)")
    if x.tape is not None:
        return x.like(x.tape.linear(x.data, y, transposed=True))
    return x.like(x.data @ y)


@rule("addmm")
def addmm(bias: Any, x: Any, y: Any, *, beta: float = 1, alpha: float = 1) -> Jet:
    product = matmul(x, y)
    return add(product if alpha == 1 else alpha * product, bias if beta == 1 else beta * bias)


@rule("einsum")
def einsum(equation: str, *operands: Any) -> Jet:
    """Contractions that are linear in the one operand that is a jet."""
    equation = equation.replace(" ", "")
    operands = operands[0] if len(operands) == 1 and isinstance(operands[0], (list, tuple)) else operands
    inputs, arrow, output = equation.partition("->")
    terms = inputs.split(",")
    jets = [i for i, operand in enumerate(operands) if isinstance(operand, Jet)]
    if len(jets) != 1 or not arrow or "." in equation:
        raise UnsupportedOperation(f"torch.einsum({equation!r})")
    (position,) = jets
    x = operands[position]
    point = terms[position][0]
    if output[:1] != point:
        raise DependentPoints(f"torch.einsum({equation!r}) does not keep the points first, or sums over them")
    if x.tape is not None and any(isinstance(t, Tensor) and t.requires_grad for t in operands):
        raise UnsupportedOperation(f"torch.einsum({equation!r}) with a trained operand")
    component = next(letter for letter in "STUVWXYZ" if letter not in equation)
    terms[position] = component + terms[position]
    data = [operand.data if isinstance(operand, Jet) else operand for operand in operands]
    return x.like(torch.einsum(f"{','.join(terms)}->{component}{output}", *data))
