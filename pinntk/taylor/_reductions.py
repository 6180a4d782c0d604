"""Rules that reduce features: sums, means, products, norms, extremes. Dimension 0, the points, stays as it is."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from pinntk.taylor._choices import maximum, minimum
from pinntk.taylor._jet import RULES, DependentPointsError, Jet, UnsupportedOperationError
from pinntk.taylor._rules import mul, rule


def feature_dim(x: Jet, dim: int, operation: str, extra: int = 0) -> int:
    """Where dimension `dim` of the value sits in x.components; refuses the dimension of the points."""
    ndim = x.ndim + extra
    if isinstance(dim, bool) or not isinstance(dim, int):
        raise UnsupportedOperationError(f"{operation} with dim={dim!r}")
    if not -ndim <= dim < ndim:
        raise IndexError(f"{operation}: dimension {dim} is out of range for shape {tuple(x.shape)}")
    if dim % ndim == 0:
        raise DependentPointsError(f"{operation} over dimension 0 mixes points; dimension 0 of {tuple(x.shape)} is the points")
    return dim % ndim + 1


def feature_dims(x: Jet, dim: Any, operation: str) -> tuple[int, ...]:
    if dim is None or (isinstance(dim, (tuple, list)) and not dim):
        raise DependentPointsError(f"{operation} without a dimension mixes points; write dim=-1 to reduce features")
    return tuple(feature_dim(x, d, operation) for d in ((dim,) if isinstance(dim, int) else dim))


def cast(x: Jet, dtype: torch.dtype | None) -> Jet:
    return x if dtype is None else x.like(x.components.to(dtype))


@rule("sum")
def total(input: Jet, dim: Any = None, keepdim: bool = False, *, dtype: torch.dtype | None = None) -> Jet:
    x = cast(input, dtype)
    return x.like(x.components.sum(feature_dims(x, dim, "sum"), keepdim))


@rule("mean")
def mean(input: Jet, dim: Any = None, keepdim: bool = False, *, dtype: torch.dtype | None = None) -> Jet:
    x = cast(input, dtype)
    return x.like(x.components.mean(feature_dims(x, dim, "mean"), keepdim))


@rule("prod")
def prod(input: Jet, dim: int | None = None, keepdim: bool = False, *, dtype: torch.dtype | None = None) -> Jet:
    x = cast(input, dtype)
    (data_dim,) = feature_dims(x, dim, "prod")
    factors = [x.like(part) for part in x.components.unbind(data_dim)]
    product = factors[0]
    for factor in factors[1:]:
        product = mul(product, factor)
    return product.like(product.components.unsqueeze(data_dim)) if keepdim else product


@rule("var")
def var(input: Jet, dim: Any = None, unbiased: bool = True, keepdim: bool = False, *, correction: float | None = None) -> Jet:
    size = 1
    for data_dim in feature_dims(input, dim, "var"):
        size *= input.components.shape[data_dim]
    centered = input - mean(input, dim, True)
    return total(mul(centered, centered), dim, keepdim) / (size - (int(unbiased) if correction is None else correction))


@rule("std")
def std(input: Jet, dim: Any = None, unbiased: bool = True, keepdim: bool = False, *, correction: float | None = None) -> Jet:
    return _root(var(input, dim, unbiased, keepdim, correction=correction))


def _root(x: Any) -> Any:
    """The square root of a sum of squares. Where that is 0, so are its derivatives: the subgradient that torch takes."""
    zero = x.value == 0
    return torch.where(zero, 0.0, torch.sqrt(torch.where(zero, 1.0, x)))


# Norms. torch has three functions of that name, with arguments of their own.


@rule("vector_norm")
def vector_norm(x: Jet, ord: Any = 2, dim: Any = None, keepdim: bool = False, *, dtype: torch.dtype | None = None) -> Jet:
    x = cast(x, dtype)
    feature_dims(x, dim, "norm")
    if ord == 1:
        return total(abs(x), dim, keepdim)
    if ord == float("inf"):
        return amax(abs(x), dim, keepdim)
    if ord != 2:
        raise UnsupportedOperationError(f"norm(p={ord!r})")
    return _root(total(mul(x, x), dim, keepdim))


@rule("norm", spaces=(torch, Tensor))
def norm(
    input: Jet, p: Any = "fro", dim: Any = None, keepdim: bool = False, out: None = None, dtype: torch.dtype | None = None
) -> Jet:
    if isinstance(p, str) and p != "fro":
        raise UnsupportedOperationError(f"norm(p={p!r})")
    return vector_norm(input, 2 if p in ("fro", None) else p, dim, keepdim, dtype=dtype)


@rule("norm", spaces=(torch.linalg,))
def linalg_norm(A: Jet, ord: Any = None, dim: Any = None, keepdim: bool = False, *, dtype: torch.dtype | None = None) -> Jet:
    matrix = isinstance(dim, (tuple, list)) and len(dim) == 2
    if ord is None or not (matrix or isinstance(ord, str)):
        return vector_norm(A, 2 if ord is None else ord, dim, keepdim, dtype=dtype)
    if not matrix:
        raise UnsupportedOperationError(f"torch.linalg.norm(ord={ord!r}, dim={dim!r})")
    return matrix_norm(A, ord, dim, keepdim, dtype=dtype)


@rule("matrix_norm")
def matrix_norm(
    A: Jet, ord: Any = "fro", dim: Any = (-2, -1), keepdim: bool = False, *, dtype: torch.dtype | None = None
) -> Jet:
    if ord != "fro":
        raise UnsupportedOperationError(f"a matrix norm with ord={ord!r}")
    return vector_norm(A, 2, dim, keepdim, dtype=dtype)


# Extremes.


@rule("amax")
def amax(input: Jet, dim: Any = (), keepdim: bool = False) -> Jet:
    return _extreme(input, dim, keepdim, torch.amax)


@rule("amin")
def amin(input: Jet, dim: Any = (), keepdim: bool = False) -> Jet:
    return _extreme(input, dim, keepdim, torch.amin)


def _extreme(x: Jet, dim: Any, keepdim: bool, function: Any) -> Jet:
    """torch spreads the derivative evenly over entries that are equally extreme."""
    dims = feature_dims(x, dim, "amax")
    kept = (x.value == function(x.value.detach(), dim, keepdim=True)).to(x.dtype)
    share = kept / kept.sum([d - 1 for d in dims], keepdim=True)
    return total(torch.where(share > 0, x * share, 0.0), dim, keepdim)


@rule("max")
def maximum_along(input: Jet, dim: Any = None, keepdim: bool = False, *, other: Any = None) -> Any:
    return _extremes(input, dim if other is None else other, keepdim, torch.max, maximum)


@rule("min")
def minimum_along(input: Jet, dim: Any = None, keepdim: bool = False, *, other: Any = None) -> Any:
    return _extremes(input, dim if other is None else other, keepdim, torch.min, minimum)


def _extremes(x: Any, dim: Any, keepdim: bool, function: Any, of_two: Any) -> Any:
    if isinstance(dim, (Tensor, Jet)):
        return of_two(x, dim)
    (data_dim,) = feature_dims(x, dim, function.__name__)
    indices = function(x.value.detach(), dim, keepdim=True).indices
    values = x.components.gather(data_dim, indices.expand(x.basis.size, *indices.shape))
    if not keepdim:
        values, indices = values.squeeze(data_dim), indices.squeeze(data_dim - 1)
    return getattr(torch.return_types, function.__name__)((x.like(values), indices))


for _function in (torch.argmax, torch.argmin):

    def _argument(input: Jet, dim: Any = None, keepdim: bool = False, *, _function: Any = _function) -> Tensor:
        feature_dims(input, dim, _function.__name__)
        return _function(input.value, dim, keepdim)

    RULES[_function] = RULES[getattr(Tensor, _function.__name__)] = _argument


# Exponentials of features.


@rule("logsumexp")
def logsumexp(input: Any, dim: Any, keepdim: bool = False) -> Any:
    feature_dims(input, dim, "logsumexp")
    top = input.value.detach().amax(dim, keepdim=True)
    found = torch.log(total(torch.exp(input - top), dim, True)) + top
    return found if keepdim else found.squeeze(tuple(dim) if isinstance(dim, list) else dim)


def _softmax(x: Any, dim: int, dtype: torch.dtype | None) -> Any:
    feature_dims(x, dim, "softmax")
    x = cast(x, dtype)
    e = torch.exp(x - x.value.detach().amax(dim, keepdim=True))
    return e / e.sum(dim, keepdim=True)


def _log_softmax(x: Any, dim: int, dtype: torch.dtype | None) -> Any:
    x = cast(x, dtype)
    return x - logsumexp(x, dim, True)


def _implicit_dim(x: Jet, dim: int | None) -> int:
    """The dimension that torch takes where none is given."""
    return dim if dim is not None else 0 if x.ndim in (0, 1, 3) else 1


for _name, _rule in (("softmax", _softmax), ("log_softmax", _log_softmax)):

    @rule(_name, spaces=(torch, Tensor, torch.special))
    def _along(input: Jet, dim: int, dtype: torch.dtype | None = None, *, _rule: Any = _rule) -> Jet:
        return _rule(input, dim, dtype)


@rule("softmax", spaces=(F,))
def softmax(input: Jet, dim: int | None = None, _stacklevel: int = 3, dtype: torch.dtype | None = None) -> Jet:
    return _softmax(input, _implicit_dim(input, dim), dtype)


@rule("softmin", spaces=(F,))
def softmin(input: Any, dim: int | None = None, _stacklevel: int = 3, dtype: torch.dtype | None = None) -> Jet:
    return _softmax(-input, _implicit_dim(input, dim), dtype)


@rule("log_softmax", spaces=(F,))
def log_softmax(input: Jet, dim: int | None = None, _stacklevel: int = 3, dtype: torch.dtype | None = None) -> Jet:
    return _log_softmax(input, _implicit_dim(input, dim), dtype)
