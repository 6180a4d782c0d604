"""A network's layers at work: units that are saturated or dead, gradients that vanish, and what the first layer receives."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import sqrt
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from pinntk._util.precision import without_autocast
from pinntk.diagnostics._sampling import domain_points, network_points, quotient
from pinntk.problem import Points, Problem
from pinntk.residuals import errors

_SATURATED = 0.1  # of the activation's steepest slope; a unit is saturated at a point where its slope is below that,
_MOST = 0.9  # and saturated altogether if it is so at more than that share of the points
_LAYER_POINTS = 4096
_LINEAR: dict[Callable, int] = {  # where the weight stands among the arguments
    **dict.fromkeys((F.linear, torch.matmul, Tensor.matmul, Tensor.__matmul__, torch.mm, Tensor.mm), 1),
    torch.addmm: 2,
}
_ACTIVATIONS: dict[Callable, float] = {  # their steepest slopes
    **dict.fromkeys((torch.tanh, Tensor.tanh, F.tanh, torch.sin, Tensor.sin, torch.cos, Tensor.cos), 1.0),
    **dict.fromkeys((torch.sigmoid, Tensor.sigmoid, F.sigmoid), 0.25),
    **dict.fromkeys((torch.erf, Tensor.erf), 2 / sqrt(torch.pi)),
    **dict.fromkeys((torch.relu, Tensor.relu, F.relu, F.leaky_relu, F.elu, F.celu, F.softplus, F.logsigmoid), 1.0),
    **dict.fromkeys((torch.atan, Tensor.atan, F.softsign, F.hardtanh, F.relu6), 1.0),
    **dict.fromkeys((F.silu, F.gelu, F.mish, F.selu), 1.1),
}


@dataclass(frozen=True)
class LayerHealth:
    """One weight at work.

    name: the weight's, among the network's parameters; "weight K" (use K in the forward pass, from 0) if it is computed
    units: outputs of the layer
    activation: the function that follows; "" for none (the last layer) or one that is not known
    mean, std: over points and units, of the pre-activations; of the layer's outputs where no activation follows
    saturated: share of units whose slope is below a tenth of the activation's steepest at more than 90 % of the points;
        None without an activation
    dead: share of units whose output (after the activation) is the same at all points, to rounding, and cannot change: where
        the activation is known, its slope is zero to rounding as well (a layer with weights of zero gives the same value too)
    gradient: norm of dL/dW over norm of W, with L = sum_i mean(e_i^2); None for a weight that is computed or frozen
    """

    name: str
    units: int
    activation: str
    mean: float
    std: float
    saturated: float | None
    dead: float
    gradient: float | None


@dataclass
class _Use:
    """A layer on the way through the network: inputs (n, in), pre-activations and outputs (n, out), and the activation's
    slope (n, out), relative to its steepest.
    """

    weight: Tensor
    inputs: Tensor
    received: Tensor
    output: Tensor
    activation: str = ""
    slope: Tensor | None = None


class _Recorder(TorchFunctionMode):
    """Records weights at work and the activations after them, whether a module or plain code calls the function.

    An activation belongs to the layer whose output it receives, or else (a bias, a scale or a norm came in between) to the
    last layer if that has none yet. Maps by fixed buffers, such as Fourier features, are not layers.
    """

    def __init__(self, network: nn.Module):
        super().__init__()
        self._parameters = {id(parameter) for parameter in network.parameters()}
        self._results: list[Tensor] = []  # of the layers, as the next function receives them
        self.uses: list[_Use] = []

    def __torch_function__(self, func: Callable, types: tuple, args: tuple = (), kwargs: dict | None = None) -> Any:
        kwargs = kwargs or {}
        if func in _ACTIVATIONS and args and self.uses:
            self._record_activation(func, args, kwargs)
        result = func(*args, **kwargs)
        if func in _LINEAR:
            self._record_layer(_LINEAR[func], args, kwargs, result)
        return result

    def _record_layer(self, place: int, args: tuple, kwargs: Mapping[str, Any], result: Tensor) -> None:
        weight = args[place] if len(args) > place else kwargs.get("weight")
        # A weight may be computed from parameters, as in weight normalization, and then requires a gradient like them.
        if not isinstance(weight, Tensor) or not (id(weight) in self._parameters or weight.requires_grad):
            return
        if len(args) >= place and weight.ndim == result.ndim == 2:
            self._results.append(result)
            received, output = (t.detach().as_subclass(Tensor) for t in (args[place - 1], result))
            self.uses.append(_Use(weight, received, output, output))

    def _record_activation(self, func: Callable, args: tuple, kwargs: Mapping[str, Any]) -> None:
        direct = [use for use, result in zip(self.uses, self._results, strict=True) if result is args[0]]
        last = self.uses[-1]
        if not direct and (last.slope is not None or last.output.shape != args[0].shape):
            return
        with torch.enable_grad():
            z = args[0].detach().as_subclass(Tensor).clone().requires_grad_()
            values = func(z.clone(), *args[1:], **kwargs)  # of a clone, since it may work in place
            (slope,) = torch.autograd.grad(values.sum(), z)
        use = direct[-1] if direct else last
        use.received, use.output = z.detach(), values.detach()
        use.activation, use.slope = func.__name__, slope.abs() / _ACTIVATIONS[func]


def _uses(network: nn.Module, rows: Tensor) -> list[_Use]:
    with torch.enable_grad(), _Recorder(network) as recorder:
        network(rows.clone())
    return recorder.uses


@without_autocast
def layers(network: nn.Module, problem: Problem, points: Points) -> list[LayerHealth]:
    """The health of every layer with a weight, in the order of use, on the points of all conditions.

    points: {condition: (n, d)}; of more than 4096 in all, as many at equal steps

    Linear maps and activations are seen as torch functions, so this works for any nn.Module that maps (n, d) tensors; a network
    without such layers has an empty list. Raises as `pinntk.kernel` does. Saturation and gradients, layer by layer: Glorot &
    Bengio 2010 (AISTATS).
    """
    points = network_points(network, problem, points)
    rows = torch.cat([part[:, : problem.domain.dimension] for part in points.values()])
    rows = rows[torch.linspace(0, len(rows) - 1, min(len(rows), _LAYER_POINTS)).round().long()]
    gradients = _gradients(network, problem, points)
    names = {id(parameter): name for name, parameter in network.named_parameters()}
    return [_health(use, names.get(id(use.weight), f"weight {i}"), gradients) for i, use in enumerate(_uses(network, rows))]


def _gradients(network: nn.Module, problem: Problem, points: Points) -> dict[str, Tensor]:
    """dL/dW of every parameter that is trained."""
    trained = {name: parameter for name, parameter in network.named_parameters() if parameter.requires_grad}
    with torch.enable_grad():
        loss = torch.stack([e.square().mean() for e in errors(network, problem, points).values()]).sum()
    if not trained or not loss.requires_grad:
        return {}
    found = torch.autograd.grad(loss, list(trained.values()), allow_unused=True, materialize_grads=True)
    return dict(zip(trained, found, strict=True))


def _health(use: _Use, name: str, gradients: Mapping[str, Tensor]) -> LayerHealth:
    received, output = use.received.double(), use.output.double()
    saturated = None
    if use.slope is not None:
        saturated = float(((use.slope < _SATURATED).double().mean(0) > _MOST).double().mean())
    rounding = 16 * torch.finfo(use.output.dtype).eps * output.abs().amax()
    same = output.amax(0) - output.amin(0) <= rounding
    if use.slope is not None:
        same &= use.slope.amax(0) <= 16 * torch.finfo(use.output.dtype).eps
    dead = float(same.double().mean())
    gradient = None
    if name in gradients:
        gradient = quotient(float(gradients[name].double().norm()), float(use.weight.detach().double().norm()))
    mean, std = float(received.mean()), float(received.std(correction=0))
    return LayerHealth(name, received.shape[1], use.activation, mean, std, saturated, dead, gradient)


# What the first layer receives.


@dataclass(frozen=True, eq=False)
class InputScale:
    """What the first layer with a weight receives over the domain.

    mean, std, low, high: (f,) of its f input features
    offset: the largest |mean|; 0 for normalized inputs
    largest, smallest: of the standard deviations; 1 for normalized inputs
    """

    mean: np.ndarray
    std: np.ndarray
    low: np.ndarray
    high: np.ndarray
    offset: float
    largest: float
    smallest: float


def input_scale(network: nn.Module, problem: Problem, *, samples: int = 1024, seed: int = 0) -> InputScale | None:
    """The first weight layer's inputs over the domain, after the network's own normalization and embedding.

    None for a network without such a layer.

    samples, seed: Sobol points of the domain

    Initializations are made for inputs of mean 0 and variance 1 (LeCun, Bottou, Orr & Mueller 1998, Efficient BackProp,
    section 4.3); coordinates on [0, 1000] saturate the first layer. Raises ValueError for fewer than 2 samples, and as
    `pinntk.kernel` does.
    """
    uses = _uses(network, domain_points(network, problem, samples, seed))
    if not uses:
        return None
    features = uses[0].inputs.double().cpu().numpy()
    mean, std, low, high = features.mean(0), features.std(0), features.min(0), features.max(0)
    return InputScale(mean, std, low, high, float(np.abs(mean).max()), float(std.max()), float(std.min()))
