"""Rules for what networks are made of: activations, normalizations, dropout."""

from __future__ import annotations

from math import pi, sqrt
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from pinntk.taylor import _kinks as kinks
from pinntk.taylor import _normalizations as normalizations
from pinntk.taylor import _series as series
from pinntk.taylor._choices import clamp_min
from pinntk.taylor._jet import RULES, DependentPointsError, Jet, UnsupportedOperationError
from pinntk.taylor._reductions import feature_dim, total, vector_norm
from pinntk.taylor._rules import check_alignment, compose, first_jet, mul, rule

_SELU = (1.6732632423543772848170429916717, 1.0507009873554804934193349852946)


@rule("silu")
def silu(input: Jet) -> Jet:
    return compose(input, series.silu)


@rule("gelu")
def gelu(input: Any, *, approximate: str = "none") -> Jet:
    x = input
    if approximate == "none":
        return compose(x, series.gelu)
    if approximate != "tanh":
        raise UnsupportedOperationError(f"torch.nn.functional.gelu(approximate={approximate!r})")
    return 0.5 * x * (1 + torch.tanh(sqrt(2 / pi) * (x + 0.044715 * x**3)))


@rule("softplus")
def softplus(input: Jet, beta: float = 1.0, threshold: float = 20.0) -> Jet:
    return compose(input, series.softplus(beta, threshold))


@rule("logsigmoid")
def logsigmoid(input: Jet) -> Jet:
    return compose(input, series.logsigmoid)


@rule("mish")
def mish(input: Any) -> Jet:
    return input * torch.tanh(F.softplus(input))


@rule("softsign")
def softsign(input: Jet) -> Jet:
    return input / (1 + abs(input))


@rule("tanhshrink")
def tanhshrink(input: Any) -> Jet:
    return input - torch.tanh(input)


@rule("glu")
def glu(input: Jet, dim: int = -1) -> Jet:
    feature_dim(input, dim, "glu")
    left, right = input.chunk(2, dim)
    return left * torch.sigmoid(right)


# With kinks.


@rule("leaky_relu")
def leaky_relu(input: Jet, negative_slope: float = 0.01) -> Jet:
    return compose(input, kinks.leaky_relu(negative_slope))


@rule("rrelu")
def rrelu(input: Jet, lower: float = 1 / 8, upper: float = 1 / 3, training: bool = False) -> Jet:
    if training:
        raise DependentPointsError("rrelu in training mode makes the error random; call network.eval() or use leaky_relu")
    return compose(input, kinks.leaky_relu((lower + upper) / 2))


@rule("elu")
def elu(input: Jet, alpha: float = 1.0) -> Jet:
    return compose(input, kinks.elu(alpha))


@rule("selu")
def selu(input: Jet) -> Jet:
    return compose(input, kinks.elu(*_SELU))


@rule("celu")
def celu(input: Jet, alpha: float = 1.0) -> Jet:
    return compose(input, kinks.elu(alpha, 1.0, 1 / alpha))


@rule("hardtanh")
def hardtanh(input: Jet, min_val: float = -1.0, max_val: float = 1.0) -> Jet:
    return compose(input, kinks.hardtanh(min_val, max_val))


@rule("relu6")
def relu6(input: Jet) -> Jet:
    return compose(input, kinks.hardtanh(0.0, 6.0))


@rule("hardsigmoid")
def hardsigmoid(input: Jet) -> Jet:
    return compose(input, kinks.hardsigmoid)


@rule("hardswish")
def hardswish(input: Jet) -> Jet:
    return compose(input, kinks.hardswish)


@rule("threshold")
def threshold(input: Jet, threshold: float, value: float) -> Jet:
    return compose(input, kinks.threshold(threshold, value))


@rule("hardshrink")
def hardshrink(input: Jet, lambd: float = 0.5) -> Jet:
    return compose(input, kinks.hardshrink(lambd))


@rule("softshrink")
def softshrink(input: Jet, lambd: float = 0.5) -> Jet:
    return compose(input, kinks.softshrink(lambd))


@rule("prelu")
def prelu(input: Any, weight: Any) -> Any:
    if weight.numel() > 1:  # torch's channels are dimension 1
        weight = normalizations.per_channel(weight, input.ndim)
    return torch.where(input.value > 0, input, weight * input)


# Normalizations.

RULES.update(normalizations.FORMULAS)


@rule("instance_norm", spaces=(F,))
def instance_norm(
    input: Jet,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: Any = None,
    bias: Any = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Jet:
    if use_input_stats and (running_mean is not None or input.ndim < 3):
        raise UnsupportedOperationError("instance_norm that gathers statistics, or of values of shape (C, L)")
    return normalizations.instance_norm(input, running_mean, running_var, weight, bias, use_input_stats, momentum, eps)


@rule("instance_norm", spaces=(torch,))
def torch_instance_norm(
    input: Jet,
    weight: Any,
    bias: Any,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    use_input_stats: bool,
    momentum: float,
    eps: float,
    cudnn_enabled: bool,
) -> Jet:
    return instance_norm(input, running_mean, running_var, weight, bias, use_input_stats, momentum, eps)


@rule("batch_norm", spaces=(F,))
def batch_norm(
    input: Jet,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Any = None,
    bias: Any = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Jet:
    if training or running_mean is None:
        raise DependentPointsError("batch normalization with batch statistics mixes points; call network.eval() or remove it")
    return normalizations.by_statistics(input, running_mean, running_var, weight, bias, eps)


@rule("batch_norm", spaces=(torch,))
def torch_batch_norm(
    input: Jet,
    weight: Any,
    bias: Any,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    training: bool,
    momentum: float,
    eps: float,
    cudnn_enabled: bool,
) -> Jet:
    return batch_norm(input, running_mean, running_var, weight, bias, training, momentum, eps)


@rule("local_response_norm")
def local_response_norm(input: Any, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> Jet:
    if input.ndim < 3:
        raise UnsupportedOperationError("local_response_norm of values of fewer than 3 dimensions")
    channel = torch.arange(input.shape[1], device=input.device)
    offset = channel - channel[:, None]  # channels from i - size // 2 to i + (size - 1) // 2
    window = ((offset >= -(size // 2)) & (offset <= (size - 1) // 2)).to(input.dtype) / size
    squares = (input * input).movedim(1, -1)
    return input / (squares @ window.T * alpha + k).movedim(-1, 1) ** beta


@rule("normalize", spaces=(F,))
def normalize(input: Jet, p: Any = 2.0, dim: Any = 1, eps: float = 1e-12, out: None = None) -> Jet:
    return input / clamp_min(vector_norm(input, p, dim, True), eps)


@rule("cosine_similarity")
def cosine_similarity(x1: Any, x2: Any, dim: int = 1, eps: float = 1e-8) -> Jet:
    x = first_jet(x1, x2)
    feature_dim(x, dim, "cosine_similarity")
    shape = torch.broadcast_shapes(x1.shape, x2.shape)
    return total(mul(*(_unit_vectors(_broadcast(x, t, shape), dim, eps) for t in (x1, x2))), dim)


def _broadcast(x: Jet, t: Any, shape: torch.Size) -> Any:
    """A value of that shape, or a constant with one row for each point or one for all."""
    if isinstance(t, Jet):
        return t.expand(*shape)
    check_alignment(x, t.shape)
    rows = t.shape[0] if t.ndim == len(shape) else 1
    return t.expand(rows, *shape[1:])


def _unit_vectors(x: Any, dim: int, eps: float) -> Any:
    """x / max(norm(x), eps); torch cuts the norm off at eps and lets its derivatives pass."""
    norm = torch.linalg.vector_norm(x, dim=dim, keepdim=True)
    value = norm.value if isinstance(norm, Jet) else norm
    return x / (norm + (value.clamp_min(eps) - value).detach())


@rule("pairwise_distance", spaces=(torch, F))
def pairwise_distance(x1: Any, x2: Any, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False) -> Jet:
    return vector_norm(x1 - x2 + eps, p, -1, keepdim)


# Dropout.


@rule("dropout", spaces=(F,))
def dropout(input: Jet, p: float = 0.5, training: bool = True) -> Jet:
    if training and p > 0:
        raise DependentPointsError("dropout makes the error random; call network.eval() or remove it")
    return input


for _name in ("dropout1d", "dropout2d", "dropout3d"):
    rule(_name, spaces=(F,))(dropout)


@rule("alpha_dropout", "feature_alpha_dropout", spaces=(F,))
def alpha_dropout(input: Jet, p: float = 0.5, training: bool = False) -> Jet:
    return dropout(input, p, training)


@rule("dropout", "alpha_dropout", "feature_dropout", "feature_alpha_dropout", spaces=(torch,))
def torch_dropout(input: Jet, p: float, train: bool) -> Jet:
    return dropout(input, p, train)
