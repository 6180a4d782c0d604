"""Rules that rearrange or select features, copies and casts. Dimension 0, the points, stays as it is."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from pinntk.taylor._jet import RULES, DependentPointsError, Jet, UnsupportedOperationError
from pinntk.taylor._reductions import feature_dim, feature_dims
from pinntk.taylor._rules import constant, embed, first_jet, rule

_MOVED = "moves the points away from dimension 0 and has no Taylor rule"


def _own_dim(x: Jet, dim: int, operation: str, extra: int = 0) -> int:
    """As `feature_dim`, for what would move the points and not mix them."""
    if dim in (0, -x.ndim - extra):
        raise UnsupportedOperationError(operation, _MOVED)
    return feature_dim(x, dim, operation, extra)


def _reshape(x: Jet, shape: tuple[int, ...], operation: str) -> Jet:
    n = x.shape[0]
    shape = tuple(torch.empty(x.shape, device="meta").reshape(shape).shape)  # resolves -1
    if shape[:1] != (n,):
        raise UnsupportedOperationError(f"{operation} to {shape}", _MOVED)
    return x.view_like(x.components.reshape(x.basis.size, *shape))


def _sizes(sizes: tuple) -> tuple[int, ...]:
    return tuple(sizes[0]) if len(sizes) == 1 and not isinstance(sizes[0], int) else sizes


@rule("reshape", "view")
def reshape(input: Jet, *sizes: Any, shape: Any = None) -> Jet:
    return _reshape(input, _sizes(sizes) or tuple(shape), "reshape")


@rule("view_as", "reshape_as")
def reshape_as(input: Jet, other: Any) -> Jet:
    return _reshape(input, tuple(other.shape), "reshape")


@rule("flatten")
def flatten(input: Jet, start_dim: int = 0, end_dim: int = -1) -> Jet:
    shape = torch.empty(input.shape, device="meta").flatten(start_dim, end_dim).shape
    return _reshape(input, tuple(shape), "flatten")


@rule("ravel")
def ravel(input: Jet) -> Jet:
    return flatten(input)


@rule("unflatten")
def unflatten(input: Jet, dim: int, sizes: Any) -> Jet:
    return input.view_like(input.components.unflatten(_own_dim(input, dim, "unflatten"), sizes))


@rule("unsqueeze")
def unsqueeze(input: Jet, dim: int) -> Jet:
    return input.view_like(input.components.unsqueeze(_own_dim(input, dim, "unsqueeze", extra=1)))


@rule("squeeze")
def squeeze(input: Jet, dim: Any = None) -> Jet:
    """Without a dimension, one point is still a batch of one."""
    if dim is None:
        return _reshape(input, (input.shape[0], *(size for size in input.shape[1:] if size != 1)), "squeeze")
    dims = (dim,) if isinstance(dim, int) else dim
    return input.view_like(input.components.squeeze(tuple(_own_dim(input, d, "squeeze") for d in dims)))


@rule("transpose", "swapaxes", "swapdims")
def transpose(input: Jet, dim0: int, dim1: int) -> Jet:
    dims = (_own_dim(input, dim, "transpose") for dim in (dim0, dim1))
    return input.view_like(input.components.transpose(*dims))


@rule("permute")
def permute(input: Jet, *sizes: Any, dims: Any = None) -> Jet:
    return _permute(input, _sizes(sizes) or tuple(dims))


@rule("movedim", "moveaxis")
def movedim(input: Jet, source: Any, destination: Any) -> Jet:
    order = torch.movedim(torch.empty(tuple(range(1, input.ndim + 1)), device="meta"), source, destination).shape
    return _permute(input, tuple(size - 1 for size in order))


def _permute(x: Jet, dims: tuple[int, ...]) -> Jet:
    if dims[0] not in (0, -x.ndim):
        raise UnsupportedOperationError("permute", _MOVED)
    return x.view_like(x.components.permute(0, 1, *(_own_dim(x, dim, "permute") for dim in dims[1:])))


@rule("expand")
def expand(input: Jet, *sizes: Any, size: Any = None) -> Jet:
    sizes = _sizes(sizes) or tuple(size)
    if len(sizes) != input.ndim:
        raise UnsupportedOperationError("expand to more dimensions", _MOVED)
    if sizes[0] not in (-1, input.shape[0]):
        raise DependentPointsError("expand along dimension 0 would repeat the points")
    return input.view_like(input.components.expand(input.basis.size, *sizes))


@rule("broadcast_to")
def broadcast_to(input: Jet, size: Any) -> Jet:
    return expand(input, *size)


@rule("expand_as")
def expand_as(input: Jet, other: Any) -> Jet:
    return expand(input, *other.shape)


@rule("repeat")
def repeat(input: Jet, *sizes: Any) -> Jet:
    sizes = _sizes(sizes)
    if len(sizes) != input.ndim:
        raise UnsupportedOperationError("repeat to more dimensions", _MOVED)
    if sizes[0] != 1:
        raise DependentPointsError("repeat along dimension 0 would repeat the points")
    return input.like(input.components.repeat(1, *sizes))


@rule("tile")
def tile(input: Jet, *sizes: Any, dims: Any = None) -> Jet:
    sizes = _sizes(sizes) or tuple(dims)
    return repeat(input, *(1,) * (input.ndim - len(sizes)), *sizes)


@rule("repeat_interleave")
def repeat_interleave(input: Jet, repeats: Any, dim: int | None = None, *, output_size: int | None = None) -> Jet:
    (data_dim,) = feature_dims(input, dim, "repeat_interleave")
    return input.like(input.components.repeat_interleave(repeats, data_dim))


@rule("unbind")
def unbind(input: Jet, dim: int = 0) -> tuple[Jet, ...]:
    return tuple(input.view_like(part) for part in input.components.unbind(feature_dim(input, dim, "unbind")))


@rule("split", "split_with_sizes")
def split(tensor: Jet, split_size_or_sections: Any, dim: int = 0) -> tuple[Jet, ...]:
    parts = tensor.components.split(split_size_or_sections, feature_dim(tensor, dim, "split"))
    return tuple(tensor.view_like(part) for part in parts)


@rule("tensor_split")
def tensor_split(input: Jet, indices_or_sections: Any, dim: int = 0) -> tuple[Jet, ...]:
    parts = input.components.tensor_split(indices_or_sections, feature_dim(input, dim, "tensor_split"))
    return tuple(input.view_like(part) for part in parts)


@rule("chunk")
def chunk(input: Jet, chunks: int, dim: int = 0) -> tuple[Jet, ...]:
    return tuple(input.view_like(part) for part in input.components.chunk(chunks, feature_dim(input, dim, "chunk")))


@rule("narrow")
def narrow(input: Jet, dim: int, start: int, length: int) -> Jet:
    return input.view_like(input.components.narrow(feature_dim(input, dim, "narrow"), start, length))


@rule("select")
def select(input: Jet, dim: int, index: int) -> Jet:
    return input.view_like(input.components.select(feature_dim(input, dim, "select"), index))


@rule("index_select")
def index_select(input: Jet, dim: int, index: Tensor) -> Jet:
    return input.like(input.components.index_select(feature_dim(input, dim, "index_select"), index))


@rule("gather")
def gather(input: Jet, dim: int, index: Tensor) -> Jet:
    data_dim = feature_dim(input, dim, "gather")
    if index.shape[0] != input.shape[0]:
        raise UnsupportedOperationError("gather at some of the points")
    return input.like(input.components.gather(data_dim, index.expand(input.basis.size, *index.shape)))


@rule("flip")
def flip(input: Jet, *sizes: Any, dims: Any = None) -> Jet:
    dims = _sizes(sizes) or dims
    return input.like(input.components.flip(feature_dims(input, dims, "flip")))


@rule("roll")
def roll(input: Jet, shifts: Any, dims: Any = None) -> Jet:
    return input.like(input.components.roll(shifts, feature_dims(input, dims, "roll")))


@rule("diff")
def diff(input: Jet, n: int = 1, dim: int = -1) -> Jet:
    return input.like(input.components.diff(n, feature_dim(input, dim, "diff")))


@rule("pad", spaces=(F,))
def pad(input: Jet, pad: Any, mode: str = "constant", value: float | None = None) -> Jet:
    if mode != "constant" or len(pad) > 2 * (input.ndim - 1):
        raise UnsupportedOperationError(f"torch.nn.functional.pad(mode={mode!r}) of {len(pad) // 2} dimensions")
    padded = F.pad(input.components, pad)
    if value:
        outside = F.pad(torch.ones_like(input.value), pad) == 0
        padded = padded + embed(input, value * outside.to(padded.dtype))
    return input.like(padded)


@rule("__getitem__", spaces=(Tensor,))
def getitem(input: Jet, index: Any) -> Jet:
    index = index if isinstance(index, tuple) else (index,)
    index = tuple(np.asarray(entry) if isinstance(entry, (list, range)) else entry for entry in index)
    spelled = f"x[{', '.join(map(repr, index))}]"
    if not index or index[0] is None or any(isinstance(entry, (bool, np.bool_)) for entry in index):
        raise UnsupportedOperationError(spelled, _MOVED)
    advanced = [i for i, entry in enumerate(index) if isinstance(entry, (Tensor, np.ndarray)) and entry.ndim > 0]
    if advanced and advanced[-1] - advanced[0] >= len(advanced):  # torch then moves their dimension to the front
        raise UnsupportedOperationError(spelled, "has no Taylor rule (index once for each dimension)")
    taken = sum(_indexed_dims(entry) for entry in index)
    keeps_points = _is_whole(index[0], input.shape[0]) or (index[0] is Ellipsis and taken < input.ndim)
    if not keeps_points or any(isinstance(entry, Jet) for entry in index):
        raise DependentPointsError(f"{spelled} selects points; keep them all: x[:, ...]")
    return input.view_like(input.components[(slice(None), *index)])


def _indexed_dims(entry: Any) -> int:
    """How many dimensions an entry of an index stands for."""
    if entry is None or entry is Ellipsis:
        return 0
    mask = isinstance(entry, (Tensor, np.ndarray)) and entry.dtype in (torch.bool, torch.uint8, np.bool_)
    return entry.ndim if mask else 1


def _is_whole(entry: Any, n: int) -> bool:
    return isinstance(entry, slice) and range(n)[entry] == range(n)


# Joining.


def _join(tensors: Any, operation: str, dim: int, extra: int) -> tuple[Jet, list[Tensor], int]:
    first = first_jet(*tensors)
    data_dim = (_own_dim if extra else feature_dim)(first, dim, operation, extra)
    parts = []
    for entry in tensors:
        if not isinstance(entry, Jet) and entry.ndim != first.ndim:
            raise UnsupportedOperationError(f"{operation} of values of different dimensions")
        parts.append(entry.components if isinstance(entry, Jet) else embed(first, constant(first, entry)))
    return first, parts, data_dim


@rule("cat", "concat", "concatenate")
def cat(tensors: Any, dim: int = 0) -> Jet:
    first, parts, data_dim = _join(tensors, "cat", dim, 0)
    return first.like(torch.cat(parts, data_dim))


@rule("hstack")
def hstack(tensors: Any) -> Jet:
    return cat(tensors, min(1, first_jet(*tensors).ndim - 1))


@rule("dstack")
def dstack(tensors: Any) -> Jet:
    if first_jet(*tensors).ndim == 1:
        raise UnsupportedOperationError("dstack", _MOVED)
    return cat([entry.unsqueeze(2) if entry.ndim == 2 else entry for entry in tensors], 2)


@rule("column_stack")
def column_stack(tensors: Any) -> Jet:
    return cat([entry.unsqueeze(1) if entry.ndim == 1 else entry for entry in tensors], 1)


@rule("stack")
def stack(tensors: Any, dim: int = 0) -> Jet:
    first, parts, data_dim = _join(tensors, "stack", dim, 1)
    return first.like(torch.stack(parts, data_dim))


# Copies, casts and constants of the same shape.


@rule("clone")
def clone(input: Jet, *, memory_format: Any = None) -> Jet:
    return input.like(input.components.clone())


@rule("contiguous")
def contiguous(input: Jet, memory_format: Any = None) -> Jet:
    return input.view_like(input.components)


@rule("type_as")
def type_as(input: Jet, other: Any) -> Any:
    return _move(input, Tensor.to, other.dtype)


def _move(x: Any, method: Any, *args: Any, **kwargs: Any) -> Any:
    """A jet; or, in a dtype that jumps from value to value, plain numbers, whose derivatives are 0. A tensor moved to where a
    jet is stays a tensor.
    """
    args = tuple(arg.components if isinstance(arg, Jet) else arg for arg in args)
    if not isinstance(x, Jet):
        return method(x, *args, **kwargs)
    components = method(x.components, *args, **kwargs)
    if components.is_floating_point() or components.is_complex():
        return x.view_like(components)
    return components[0]


for _name in ("to", "type", "float", "double", "half", "bfloat16", "long", "int", "short", "bool", "cpu", "cuda"):
    _method = getattr(Tensor, _name)
    RULES[_method] = lambda input, *args, _method=_method, **kwargs: _move(input, _method, *args, **kwargs)
for _name in ("zeros_like", "ones_like", "empty_like", "full_like", "rand_like", "randn_like"):
    _like = getattr(torch, _name)
    RULES[_like] = lambda input, *args, _like=_like, **kwargs: _like(input.value, *args, **kwargs)
RULES[torch.is_floating_point] = lambda input: True
RULES[torch.is_complex] = lambda input: False
