"""Linear layers with activations between them, and what they may do beside: factorized weights, adaptive activations."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from itertools import pairwise
from math import isfinite, sqrt
from typing import Any, TypedDict, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pinntk._util.likeness import nearest
from pinntk.nn._layers import ACTIVATIONS, INITIALIZATIONS, PARAMETRIZATIONS, check_known, draw
from pinntk.nn._output import OutputScales

_FACTORS = (1.0, 0.1)  # mean and deviation that the paper takes
Factorized = bool | Sequence[float] | None


class DenseOptions(TypedDict, total=False):
    """The keywords of `Dense` that networks made of it take too; `MLP` says what they mean."""

    activation: str
    parametrization: str
    initialization: str
    beta: float
    gain: float
    factorized: Factorized
    adaptive_slopes: float | None


class NetworkOptions(DenseOptions, total=False):
    """And those that belong to the network as a whole."""

    output_scales: OutputScales


def option_names(kind: type[nn.Module]) -> list[str]:
    """The keywords of a network's class, those of its `OPTIONS` among them."""
    parameters = inspect.signature(kind).parameters.values()
    named = (p.name for p in parameters if p.kind is not p.VAR_KEYWORD)
    return [*dict.fromkeys([*named, *getattr(kind, "OPTIONS", {})])]


def check_options(kind: type[nn.Module], options: Any) -> None:
    """Raises TypeError, with the nearest one, for an option that a network's class does not have."""
    names = option_names(kind)
    for name in options:
        if name not in names:
            close = nearest(name, names)
            hint = f"did you mean {close!r}?" if close else f"options are {', '.join(names)}"
            raise TypeError(f"{kind.__name__} has no option {name!r}; {hint}")


def split_options(kind: type[nn.Module], options: NetworkOptions) -> tuple[DenseOptions, OutputScales]:
    """Those of the layers, and `output_scales`. Raises TypeError as `check_options` does."""
    check_options(kind, options)
    layers = {name: value for name, value in options.items() if name in DenseOptions.__annotations__}
    return cast(DenseOptions, layers), options.get("output_scales")


class Dense(nn.Module):
    r"""Linear layers of the sizes given, an activation between two of them; (n, first) to (n, last).

    generator: draws the weights, layer by layer, in float64
    ends_active: whether the activation follows the last layer too
    activation, parametrization, initialization, beta, gain: as for `MLP`
    factorized: W = diag(exp(s)) V in every layer, both trained (Wang, Wang, Seidman & Perdikaris 2022, arXiv 2210.01274), with
        s ~ N(mean, deviation^2) and V = diag(exp(-s)) W, so that the function at the start is that of W, to rounding
    adaptive_slopes: n of the activations s(n a z) with one trained a for each layer, 1 / n at the start, so that the function
        there is that of s(z) (Jagtap, Kawaguchi & Karniadakis 2020: JCP 404:109136 with one a for all layers; Proc. R. Soc. A
        476:20200334 with one for each, and with a term of the loss that raises slopes, which is not here)

    `affine` and `activate` are the steps of `forward`, for networks that do something between them.
    Raises ValueError for an unknown name, a gain that is not above 0, or factors and slopes that are no such numbers.
    """

    def __init__(
        self,
        sizes: Sequence[int],
        generator: torch.Generator,
        *,
        ends_active: bool = False,
        activation: str = "tanh",
        parametrization: str = "standard",
        initialization: str = "xavier",
        beta: float = 1.0,
        gain: float = 1.0,
        factorized: Factorized = None,
        adaptive_slopes: float | None = None,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ):
        super().__init__()
        check_known("activation", activation, ACTIVATIONS)
        check_known("parametrization", parametrization, PARAMETRIZATIONS)
        check_known("initialization", initialization, INITIALIZATIONS)
        if not 0 < gain < float("inf"):
            raise ValueError(f"gain={gain!r}: a finite number above 0; 1 is the usual initialization")
        self.options: DenseOptions = {
            "activation": activation,
            "parametrization": parametrization,
            "initialization": initialization,
            "beta": beta,
            "gain": gain,
            "factorized": parse_factorized(factorized),
            "adaptive_slopes": _parse_slopes(adaptive_slopes),
        }
        self.activation, self.parametrization, self.beta, self.ends_active = activation, parametrization, beta, ends_active
        dtype = dtype or torch.get_default_dtype()

        def parameters(values: Sequence[Tensor]) -> nn.ParameterList:
            return nn.ParameterList(nn.Parameter(value.to(device, dtype)) for value in values)

        rule = "ntk" if parametrization == "ntk" else initialization
        drawn = [draw(fan_in, fan_out, rule, generator) for fan_in, fan_out in pairwise(sizes)]
        weights, scales = [gain * weight for weight, _ in drawn], []
        if self.options["factorized"]:
            scales = draw_log_scales(self.options["factorized"], sizes[1:], apart(generator))
            weights = [weight / torch.exp(s)[:, None] for weight, s in zip(weights, scales, strict=True)]
        self.weights = parameters(weights)  # V where factorized
        self.biases = parameters([bias for _, bias in drawn])
        self.log_scales = parameters(scales)  # s
        active = len(drawn) - (not ends_active)
        slopes = torch.full((active,), 1 / adaptive_slopes, dtype=torch.float64) if adaptive_slopes else torch.empty(0)
        self.slopes = parameters([slope.clone() for slope in slopes])  # a, each a tensor of its own

    def forward(self, x: Tensor) -> Tensor:
        for layer in range(len(self.weights)):
            x = self.affine(self.activate(x, layer - 1) if layer else x, layer)
        return self.activate(x, len(self.weights) - 1) if self.ends_active else x

    def affine(self, x: Tensor, layer: int) -> Tensor:
        """W x + b, or W x / sqrt(fan-in) + beta b in the NTK parametrization; W = diag(exp(s)) V where factorized."""
        weight, bias = self.weights[layer], self.biases[layer]
        ntk = self.parametrization == "ntk"
        x = (1 / sqrt(weight.shape[1])) * x if ntk else x
        if not self.log_scales and (not ntk or self.beta == 1):
            return F.linear(x, weight, bias)
        y = F.linear(x, weight)
        if self.log_scales:
            y = torch.exp(self.log_scales[layer]) * y
        return y + (self.beta * bias if ntk else bias)

    def activate(self, x: Tensor, layer: int) -> Tensor:
        """s(x), or s(n a x) with the layer's a."""
        n = self.options["adaptive_slopes"]
        return ACTIVATIONS[self.activation](x if n is None else n * (self.slopes[layer] * x))


def parse_factorized(given: Any) -> list[float] | None:
    """[mean, deviation] of s; None for weights as they are."""
    if given is None or given is False:
        return None
    pair = list(_FACTORS) if given is True else list(given) if isinstance(given, Sequence) else []
    if len(pair) != 2 or not all(isinstance(a, (int, float)) and isfinite(a) for a in pair) or pair[1] < 0:
        raise ValueError(
            f"factorized={given!r}: True for {_FACTORS}, or mean and standard deviation of the logarithms of the rows' scales"
        )
    return [float(a) for a in pair]


def _parse_slopes(given: Any) -> float | None:
    if given is None:
        return None
    if isinstance(given, bool) or not isinstance(given, (int, float)) or not 1 <= given < float("inf"):
        raise ValueError(f"adaptive_slopes={given!r}: the factor n of trained slopes, s(n a x), a finite number of at least 1")
    return float(given)


def draw_log_scales(pair: Any, sizes: Sequence[int], generator: torch.Generator) -> list[Tensor]:
    """s of layers with so many outputs, float64."""
    mean, deviation = pair
    return [mean + deviation * torch.randn(size, generator=generator, dtype=torch.float64) for size in sizes]


def apart(generator: torch.Generator) -> torch.Generator:
    """Another generator, by the state of this one, which stays: what it draws next is as if nothing had been drawn."""
    peek = torch.Generator().set_state(generator.get_state())
    return torch.Generator().manual_seed(int(torch.randint(2**62, (), generator=peek)))
