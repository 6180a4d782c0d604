"""Normalization layers by their formulas, on tensors and on jets alike.

The third derivatives of torch 2.13's own layer_norm and instance_norm kernels are wrong (by their whole size), and so is every
gradient of a loss that holds second derivatives. The others agree with their formulas on a CPU; here they are the jets' rules.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode


def layer_norm(
    input: Any, normalized_shape: Any, weight: Any = None, bias: Any = None, eps: float = 1e-5, cudnn_enable: bool = True
) -> Any:
    return _affine(_standardize(input, tuple(range(-len(normalized_shape), 0)), eps), weight, bias)


def rms_norm(input: Any, normalized_shape: Any, weight: Any = None, eps: float | None = None) -> Any:
    eps = torch.finfo(input.dtype).eps if eps is None else eps
    dims = tuple(range(-len(normalized_shape), 0))
    return _affine(input * (input.square().mean(dims, keepdim=True) + eps) ** -0.5, weight, None)


def group_norm(
    input: Any, num_groups: int, weight: Any = None, bias: Any = None, eps: float = 1e-5, cudnn_enabled: bool = True
) -> Any:
    shape = tuple(input.shape)
    y = _standardize(input.reshape(shape[0], num_groups, -1), (-1,), eps).reshape(*shape)
    return _affine(y, per_channel(weight, len(shape)), per_channel(bias, len(shape)))


def instance_norm(
    input: Any,
    running_mean: Any = None,
    running_var: Any = None,
    weight: Any = None,
    bias: Any = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Any:
    if not use_input_stats:
        return by_statistics(input, running_mean, running_var, weight, bias, eps)
    dims = tuple(range(2, input.ndim))
    if running_mean is not None:
        with torch.no_grad():
            running_mean.lerp_(input.mean(dims).mean(0), momentum)
            running_var.lerp_(input.var(dims).mean(0), momentum)
    y = _standardize(input, dims, eps)
    return _affine(y, per_channel(weight, input.ndim), per_channel(bias, input.ndim))


def by_statistics(input: Any, mean: Any, var: Any, weight: Any, bias: Any, eps: float) -> Any:
    """Batch normalization in evaluation mode: by given statistics of the channels, which are dimension 1."""
    mean, var, weight, bias = (per_channel(t, input.ndim) for t in (mean, var, weight, bias))
    return _affine((input - mean) * (var + eps) ** -0.5, weight, bias)


def per_channel(t: Tensor | None, ndim: int) -> Tensor | None:
    """(C,), to meet values of shape (n, C, ...)."""
    return t if t is None or ndim == 2 else t.reshape(-1, *(1,) * (ndim - 2))


def _standardize(x: Any, dims: tuple[int, ...], eps: float) -> Any:
    centered = x - x.mean(dims, keepdim=True)
    return centered * (centered.square().mean(dims, keepdim=True) + eps) ** -0.5


def _affine(y: Any, weight: Any, bias: Any) -> Any:
    y = y if weight is None else y * weight
    return y if bias is None else y + bias


def _torch_instance_norm(input: Any, weight: Any, bias: Any, mean: Any, var: Any, *settings: Any) -> Any:
    """torch.instance_norm has the arguments of torch.nn.functional.instance_norm in another order."""
    return instance_norm(input, mean, var, weight, bias, *settings[:3])


FORMULAS: dict[Callable, Callable] = {
    F.layer_norm: layer_norm,
    torch.layer_norm: layer_norm,
    F.rms_norm: rms_norm,
    torch.rms_norm: rms_norm,
    F.group_norm: group_norm,
    torch.group_norm: group_norm,
    F.instance_norm: instance_norm,
    torch.instance_norm: _torch_instance_norm,
}


class ExactNormalizations(TorchFunctionMode):
    """Inside, normalization layers are computed by their formulas, so that autograd differentiates them rightly."""

    def __torch_function__(self, func: Callable, types: tuple, args: tuple = (), kwargs: dict | None = None) -> Any:
        return FORMULAS.get(func, func)(*args, **(kwargs or {}))
