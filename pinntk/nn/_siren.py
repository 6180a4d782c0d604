"""SIREN: sine units whose initial weights keep the spread of their inputs through all layers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from math import sqrt
from typing import TYPE_CHECKING, Any, ClassVar, TypedDict

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pinntk.nn._dense import check_options
from pinntk.nn._embedded import EmbeddedNetwork
from pinntk.nn._layers import check_sizes, dimensions
from pinntk.nn._output import OutputScales
from pinntk.problem import Problem

if TYPE_CHECKING:
    from typing_extensions import Unpack


class SirenOptions(TypedDict, total=False):
    periodic: str | Sequence[str] | Mapping[str, int] | None
    hard: str | Sequence[str] | None
    output_scales: OutputScales


class Siren(EmbeddedNetwork):
    r"""h_l = sin(omega_l (W_l h_(l-1) + b_l)), u = W_L h + b_L (Sitzmann, Martel, Bergman, Lindell & Wetzstein 2020, NeurIPS).

    As in the paper and its code W_0 ~ U(-1, 1) / n and later W ~ U(-1, 1) sqrt(6 / n) / omega with n the fan-in, so that what
    weights bring to sines after the first layer has standard deviation 1, and sines give about the arcsine law, of variance
    1/2; b ~ U(-1, 1) / sqrt(n). The last layer is drawn like the hidden ones.

    omega: omega_0 of the first layer, which says how many waves there are at the start. The paper takes 30, for images; of a
        coordinate that spans [-1, 1] it makes angular frequencies of up to omega / d, omega / (pi d) waves over the domain
    hidden_omega: omega of the layers after it, 30 in the paper, where it cancels from the function at the start and multiplies
        gradients
    normalize: map each coordinate to [-1, 1], as in the paper; True by default where a problem is given
    width, depth: units in each hidden layer, number of hidden layers
    problem, inputs, outputs and **options (periodic, hard, output_scales): as for `MLP`
    seed: draws the weights, layer by layer, from a generator of their own

    Maps (n, d) to (n, fields). Raises ValueError as `MLP` does, and for an omega that is not above 0.

    >>> import pinntk
    >>> network = Siren(pinntk.load("burgers"), width=8, depth=2, omega=10.0)
    >>> network(torch.rand(5, 2)).shape
    torch.Size([5, 1])
    """

    OPTIONS: ClassVar[Mapping[str, Any]] = SirenOptions.__annotations__

    def __init__(
        self,
        problem: Problem | None = None,
        *,
        width: int = 64,
        depth: int = 3,
        omega: float = 30.0,
        hidden_omega: float = 30.0,
        normalize: bool | None = None,
        inputs: int | None = None,
        outputs: int | None = None,
        seed: int = 0,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
        **options: Unpack[SirenOptions],
    ):
        super().__init__()
        check_options(type(self), options)
        inputs, outputs = dimensions("Siren", problem, inputs, outputs)
        check_sizes(width=width, depth=depth)
        for name, value in (("omega", omega), ("hidden_omega", hidden_omega)):
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < float("inf"):
                raise ValueError(f"{name}={value!r}: a finite number above 0, as in {name}=30.0")
        generator = torch.Generator().manual_seed(seed)
        place: Any = {"dtype": dtype, "device": device}
        features, embedded = self._embed(
            problem,
            inputs,
            generator,
            normalize=normalize,
            periodic=options.get("periodic"),
            fourier=None,
            hard=options.get("hard"),
            asked=options.get("output_scales"),
            deviation_is=1 / sqrt(3),
            **place,
        )
        del embedded["fourier"]
        self.omegas = [float(omega), *[float(hidden_omega)] * (depth - 1)]
        self.weights, self.biases = nn.ParameterList(), nn.ParameterList()
        for layer, (fan_in, fan_out) in enumerate(pairwise([features, *[width] * depth, outputs])):
            bound = sqrt(6 / fan_in) / hidden_omega if layer else 1 / fan_in
            self.weights.append(nn.Parameter(_uniform(bound, (fan_out, fan_in), generator).to(device, self.mean.dtype)))
            self.biases.append(nn.Parameter(_uniform(1 / sqrt(fan_in), (fan_out,), generator).to(device, self.mean.dtype)))
        sizes = {"width": width, "depth": depth, "omega": float(omega), "hidden_omega": float(hidden_omega)}
        self.config = {**sizes, **embedded, "seed": seed}

    def core(self, features: Tensor) -> Tensor:
        h = features
        for omega, weight, bias in zip(self.omegas, self.weights, self.biases, strict=False):
            h = torch.sin(omega * F.linear(h, weight, bias))
        return F.linear(h, self.weights[-1], self.biases[-1])

    def last_layer(self) -> list[nn.Parameter]:
        return [self.weights[-1], self.biases[-1]]


def _uniform(bound: float, size: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """U(-bound, bound) in float64, so that a seed gives the same network in every dtype."""
    return bound * (2 * torch.rand(size, generator=generator, dtype=torch.float64) - 1)
