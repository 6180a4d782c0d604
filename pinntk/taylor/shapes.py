"""Rules that rearrange, reduce or select features. Dimension 0, the points, stays as it is."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from pinntk.taylor.jet import RULES, DependentPoints, Jet, UnsupportedOperation
from pinntk.taylor.rules import check_alignment, mul, rule, value_mask


def feature_dim(x: Jet, dim: int, operation: str, extra: int = 0) -> int:
    """Where dimension `dim` of the value sits in x.data; refuses the dimension of the points."""
    ndim = x.ndim + extra
    if not -ndim <= dim < ndim:
        raise IndexError(f"{operation}: dimension {dim} is out of range for shape {tuple(x.shape)}")
    if dim % ndim == 0:
        raise DependentPoints(f"{operation} over dimension 0 mixes points; dimension 0 of {tuple(x.shape)} is the points")
    return dim % ndim + 1


def _feature_dims(x: Jet, dim: Any, operation: str) -> tuple[int, ...]:
    if dim is None:
        raise DependentPoints(f"{operation} without a dimension mixes points; write dim=-1 to reduce features")
    return tuple(feature_dim(x, d, operation) for d in ((dim,) if isinstance(dim, int) else dim))


def _reshaped(x: Jet, shape: tuple[int, ...], operation: str) -> Jet:
    n = x.shape[0]
    shape = tuple(torch.empty(x.shape, device="meta").reshape(shape).shape)  # resolves -1
    if shape[:1] != (n,):
        raise UnsupportedOperation(operation, f"to {shape} moves the points away from dimension 0 and has no Taylor rule")
    return x.view_like(x.data.reshape(x.basis.size, *shape))


def _sizes(sizes: tuple) -> tuple[int, ...]:
    return tuple(sizes[0]) if len(sizes) == 1 and not isinstance(sizes[0], int) else sizes


@rule("reshape", "view")
def reshape(x: Jet, *shape: Any, **kwargs: Any) -> Jet:
    return _reshaped(x, _sizes(shape) or tuple(kwargs["shape"]), "reshape")


@rule("flatten")
def flatten(x: Jet, start_dim: int = 0, end_dim: int = -1) -> Jet:
    shape = torch.empty(x.shape, device="meta").flatten(start_dim, end_dim).shape
    return _reshaped(x, tuple(shape), "flatten")


@rule("unflatten")
def unflatten(x: Jet, dim: int, sizes: Any) -> Jet:
    return x.view_like(x.data.unflatten(feature_dim(x, dim, "unflatten"), sizes))


@rule("unsqueeze")
def unsqueeze(x: Jet, dim: int) -> Jet:
    return x.view_like(x.data.unsqueeze(feature_dim(x, dim, "unsqueeze", extra=1)))


@rule("squeeze")
def squeeze(x: Jet, dim: int | None = None) -> Jet:
    if dim is None:
        return _reshaped(x, (x.shape[0], *(size for size in x.shape[1:] if size != 1)), "squeeze")
    return x.view_like(x.data.squeeze(feature_dim(x, dim, "squeeze")))


@rule("transpose", "swapaxes")
def transpose(x: Jet, dim0: int, dim1: int) -> Jet:
    if dim0 % x.ndim == 0 or dim1 % x.ndim == 0:
        raise UnsupportedOperation("transpose", "moves the points away from dimension 0 and has no Taylor rule")
    return x.view_like(x.data.transpose(dim0 % x.ndim + 1, dim1 % x.ndim + 1))


@rule("permute")
def permute(x: Jet, *dims: Any) -> Jet:
    dims = tuple(d % x.ndim for d in _sizes(dims))
    if dims[0] != 0:
        raise UnsupportedOperation("permute", "moves the points away from dimension 0 and has no Taylor rule")
    return x.view_like(x.data.permute(0, *(d + 1 for d in dims)))


@rule("expand")
def expand(x: Jet, *sizes: Any) -> Jet:
    sizes = _sizes(sizes)
    if len(sizes) != x.ndim:
        raise UnsupportedOperation("expand to more dimensions")
    if sizes[0] not in (-1, x.shape[0]):
        raise DependentPoints("expand along dimension 0 would repeat the points")
    return x.view_like(x.data.expand(x.basis.size, *sizes))


@rule("expand_as")
def expand_as(x: Jet, other: Any) -> Jet:
    return expand(x, *other.shape)


@rule("repeat")
def repeat(x: Jet, *sizes: Any) -> Jet:
    sizes = _sizes(sizes)
    if len(sizes) != x.ndim or sizes[0] != 1:
        raise DependentPoints("repeat along dimension 0 would repeat the points")
    return x.like(x.data.repeat(1, *sizes))


@rule("sum")
def total(x: Jet, dim: Any = None, keepdim: bool = False) -> Jet:
    return x.like(x.data.sum(_feature_dims(x, dim, "sum"), keepdim))


@rule("mean")
def mean(x: Jet, dim: Any = None, keepdim: bool = False) -> Jet:
    return x.like(x.data.mean(_feature_dims(x, dim, "mean"), keepdim))


@rule("prod")
def prod(x: Jet, dim: int | None = None, keepdim: bool = False) -> Jet:
    (data_dim,) = _feature_dims(x, dim, "prod")
    factors = [x.like(part) for part in x.data.unbind(data_dim)]
    product = factors[0]
    for factor in factors[1:]:
        product = mul(product, factor)
    return product.like(product.data.unsqueeze(data_dim)) if keepdim else product


@rule("norm")
def norm(x: Jet, p: Any = 2, dim: Any = None, keepdim: bool = False) -> Jet:
    if p not in (2, "fro", None):
        raise UnsupportedOperation(f"norm(p={p!r})")
    return total(mul(x, x), dim, keepdim) ** 0.5


RULES[torch.linalg.norm] = RULES[torch.linalg.vector_norm] = norm


@rule("unbind")
def unbind(x: Jet, dim: int = 0) -> tuple[Jet, ...]:
    return tuple(x.view_like(part) for part in x.data.unbind(feature_dim(x, dim, "unbind")))


@rule("split", "split_with_sizes")
def split(x: Jet, sizes: Any, dim: int = 0) -> tuple[Jet, ...]:
    return tuple(x.view_like(part) for part in x.data.split(sizes, feature_dim(x, dim, "split")))


@rule("chunk")
def chunk(x: Jet, chunks: int, dim: int = 0) -> tuple[Jet, ...]:
    return tuple(x.view_like(part) for part in x.data.chunk(chunks, feature_dim(x, dim, "chunk")))


@rule("narrow")
def narrow(x: Jet, dim: int, start: int, length: int) -> Jet:
    return x.view_like(x.data.narrow(feature_dim(x, dim, "narrow"), start, length))


@rule("select")
def select(x: Jet, dim: int, index: int) -> Jet:
    return x.view_like(x.data.select(feature_dim(x, dim, "select"), index))


@rule("index_select")
def index_select(x: Jet, dim: int, index: Tensor) -> Jet:
    return x.like(x.data.index_select(feature_dim(x, dim, "index_select"), index))


@rule("flip")
def flip(x: Jet, *dims: Any) -> Jet:
    return x.like(x.data.flip(_feature_dims(x, _sizes(dims), "flip")))


RULES[Tensor.__getitem__] = lambda x, index: _getitem(x, index)


def _getitem(x: Jet, index: Any) -> Jet:
    index = index if isinstance(index, tuple) else (index,)
    taken = sum(entry is not None and entry is not Ellipsis for entry in index)
    keeps_points = index and (index[0] == slice(None) if isinstance(index[0], slice) else index[0] is Ellipsis)
    if not keeps_points or (index[0] is Ellipsis and taken >= x.ndim):
        raise DependentPoints(f"x[{', '.join(map(repr, index))}] selects points; keep them all: x[:, ...]")
    return x.view_like(x.data[(slice(None), *index)])


def _joined(jets: Any, operation: str, dim: int, extra: int) -> tuple[Jet, list[Tensor], int]:
    first = next(entry for entry in jets if isinstance(entry, Jet))
    parts = []
    for entry in jets:
        if isinstance(entry, Jet):
            parts.append(entry.data)
            continue
        if first.tape is not None and entry.requires_grad:
            raise UnsupportedOperation(f"{operation} of values with a trained tensor")
        if entry.shape[0] != first.shape[0]:
            check_alignment(first, entry.shape)
        parts.append(value_mask(first, entry.ndim) * entry)
    return first, parts, feature_dim(first, dim, operation, extra)


@rule("cat", "concat", "concatenate")
def cat(tensors: Any, dim: int = 0, axis: int | None = None) -> Jet:
    first, parts, data_dim = _joined(tensors, "cat", dim if axis is None else axis, 0)
    return first.like(torch.cat(parts, data_dim))


@rule("hstack", "column_stack")
def hstack(tensors: Any) -> Jet:
    jets = [entry.unsqueeze(1) if entry.ndim == 1 else entry for entry in tensors]
    return cat(jets, 1)


@rule("stack")
def stack(tensors: Any, dim: int = 0) -> Jet:
    first, parts, data_dim = _joined(tensors, "stack", dim, 1)
    return first.like(torch.stack(parts, data_dim))


@rule("where")
def where(condition: Tensor, x: Any, y: Any) -> Jet:
    jet = x if isinstance(x, Jet) else y
    for side in (condition, x, y):
        if isinstance(side, Tensor):
            check_alignment(jet, side.shape)
    sides = []
    for side in (x, y):
        if isinstance(side, Jet):
            sides.append(side.data)
        else:
            if isinstance(side, Tensor) and side.requires_grad and jet.tape is not None:
                raise UnsupportedOperation("torch.where with a trained tensor")
            sides.append(value_mask(jet, jet.ndim) * side)
    return jet.like(torch.where(condition, *sides))


RULES[Tensor.where] = lambda x, condition, y: where(condition, x, y)


# Copies, casts and constants of the same shape.


@rule("clone")
def clone(x: Jet, *args: Any, **kwargs: Any) -> Jet:
    return x.like(x.data.clone())


@rule("contiguous")
def contiguous(x: Jet, *args: Any, **kwargs: Any) -> Jet:
    return x.view_like(x.data)


RULES[Tensor.to] = lambda x, *args, **kwargs: x.view_like(x.data.to(*args, **kwargs))
RULES[Tensor.type] = lambda x, *args, **kwargs: x.view_like(x.data.type(*args, **kwargs))
for _name in ("float", "double", "cpu", "cuda"):
    RULES[getattr(Tensor, _name)] = lambda x, *args, _method=_name: x.view_like(getattr(x.data, _method)(*args))
for _name in ("zeros_like", "ones_like", "empty_like", "full_like", "rand_like", "randn_like"):
    _like = getattr(torch, _name)
    RULES[_like] = lambda x, *args, _like=_like, **kwargs: _like(x.value, *args, **kwargs)
for _name in ("lt", "le", "gt", "ge", "eq", "ne", "sign", "floor", "ceil", "round", "heaviside", "argmax", "argmin"):
    for _space in (torch, Tensor):
        if hasattr(_space, _name):
            _on_values = getattr(_space, _name)
            RULES[_on_values] = lambda *args, _on_values=_on_values, **kwargs: _on_values(
                *(arg.value if isinstance(arg, Jet) else arg for arg in args), **kwargs
            )
