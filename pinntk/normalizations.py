"""Normalization layers by their formulas, where torch's own higher derivatives are wrong."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode


class ExactLayerNorm(TorchFunctionMode):
    """Layer normalisation by its formula: the third derivatives of torch 2.13's own kernel are wrong."""

    def __torch_function__(self, func: Callable, types: tuple, args: tuple = (), kwargs: dict | None = None) -> Any:
        if func not in (F.layer_norm, torch.layer_norm):
            return func(*args, **(kwargs or {}))
        return self._formula(*args, **(kwargs or {}))

    @staticmethod
    def _formula(x: Tensor, shape: Any, weight: Any = None, bias: Any = None, eps: float = 1e-5, *_: Any) -> Tensor:
        dims = tuple(range(-len(shape), 0))
        centred = x - x.mean(dims, keepdim=True)
        y = centred * (centred.square().mean(dims, keepdim=True) + eps) ** -0.5
        y = y if weight is None else y * weight
        return y if bias is None else y + bias
