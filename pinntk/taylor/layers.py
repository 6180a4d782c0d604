"""Rules for activations and normalisations of torch.nn.functional that are built from the arithmetic in `rules`."""

from __future__ import annotations

from math import pi, sqrt
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from pinntk.taylor import series
from pinntk.taylor.jet import RULES, DependentPoints, Jet
from pinntk.taylor.rules import compose, rule
from pinntk.taylor.shapes import feature_dim


@rule("silu")
def silu(x: Jet) -> Jet:
    return compose(x, series.silu)


@rule("gelu")
def gelu(x: Jet, approximate: str = "none") -> Jet:
    if approximate == "none":
        return compose(x, series.gelu)
    return 0.5 * x * (1 + torch.tanh(sqrt(2 / pi) * (x + 0.044715 * x**3)))


@rule("softplus")
def softplus(x: Jet, beta: float = 1.0, threshold: float = 20.0) -> Jet:
    return compose(x, series.softplus(beta, threshold))


@rule("leaky_relu")
def leaky_relu(x: Jet, negative_slope: float = 0.01) -> Jet:
    return compose(x, series.leaky_relu(negative_slope))


@rule("elu")
def elu(x: Jet, alpha: float = 1.0) -> Jet:
    return compose(x, series.elu(alpha))


@rule("selu")
def selu(x: Jet) -> Jet:
    return compose(x, series.elu(1.6732632423543772848170429916717, 1.0507009873554804934193349852946))


@rule("celu")
def celu(x: Jet, alpha: float = 1.0) -> Jet:
    return alpha * compose(x / alpha, series.elu())


@rule("mish")
def mish(x: Jet) -> Jet:
    return x * torch.tanh(F.softplus(x))


@rule("logsigmoid")
def logsigmoid(x: Jet) -> Jet:
    return -F.softplus(-x)


@rule("softsign")
def softsign(x: Jet) -> Jet:
    return x / (1 + abs(x))


@rule("tanhshrink")
def tanhshrink(x: Jet) -> Jet:
    return x - torch.tanh(x)


@rule("hardtanh")
def hardtanh(x: Jet, min_val: float = -1.0, max_val: float = 1.0) -> Jet:
    return compose(x, series.hardtanh(min_val, max_val))


@rule("relu6")
def relu6(x: Jet) -> Jet:
    return compose(x, series.hardtanh(0.0, 6.0))


@rule("prelu")
def prelu(x: Jet, weight: Tensor) -> Jet:
    if x.ndim > 2:
        weight = weight.reshape(-1, *(1,) * (x.ndim - 2))  # torch's channels are dimension 1
    return compose(x, series.relu) - weight * compose(-x, series.relu)


@rule("softmax")
def softmax(x: Jet, dim: int | None = None, _stacklevel: int = 3, dtype: torch.dtype | None = None) -> Jet:
    dim = -1 if dim is None else dim
    feature_dim(x, dim, "softmax")
    e = torch.exp(x - x.value.amax(dim, keepdim=True).detach())
    return e / e.sum(dim, keepdim=True)


@rule("layer_norm")
def layer_norm(x: Jet, normalized_shape: Any, weight: Any = None, bias: Any = None, eps: float = 1e-5) -> Jet:
    dims = tuple(range(-len(normalized_shape), 0))
    centred = x - x.mean(dims, keepdim=True)
    y = centred * (centred.square().mean(dims, keepdim=True) + eps) ** -0.5
    y = y if weight is None else y * weight
    return y if bias is None else y + bias


@rule("batch_norm")
def batch_norm(
    x: Jet,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Any = None,
    bias: Any = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Jet:
    if training or running_mean is None:
        raise DependentPoints("batch normalisation with batch statistics mixes points; call network.eval() or remove it")
    y = (x - running_mean) * (running_var + eps) ** -0.5
    y = y if weight is None else y * weight
    return y if bias is None else y + bias


@rule("dropout")
def dropout(x: Jet, p: float = 0.5, training: bool = True) -> Jet:
    if training and p > 0:
        raise DependentPoints("dropout makes the error random; call network.eval() or remove it")
    return x


for _name in ("alpha_dropout", "feature_alpha_dropout", "dropout1d"):
    RULES[getattr(F, _name)] = lambda x, p=0.5, training=False: dropout(x, p, training)
