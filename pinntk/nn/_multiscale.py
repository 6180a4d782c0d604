"""Networks that see their inputs at several scales: Fourier features of several spreads, and MscaleDNN."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from math import pi
from operator import add
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from pinntk.nn._dense import Dense, NetworkOptions, split_options
from pinntk.nn._embeddings import FourierFeatures
from pinntk.nn._layers import check_sizes, dimensions, parse_scales
from pinntk.nn._scaled import ScaledNetwork
from pinntk.problem import Problem

if TYPE_CHECKING:
    from typing_extensions import Unpack


class MultiscaleFourier(ScaledNetwork):
    """u(x) = W [s(T(g_1(x~))), ..., s(T(g_N(x~)))] + b (Wang, Wang & Perdikaris 2021, CMAME 384:113938).

    Random Fourier features g_i of N spreads, one trunk T that all of them share, and one linear layer that joins them.

    sigmas: of each branch, g_i(x~) = [cos(B_i x~), sin(B_i x~)] with fixed B_i ~ N(0, sigma_i^2). There is no 2 pi here, as in
        the authors' code: sigma_i is an angular frequency, that of `MLP(fourier=(count, sigma_i / (2 pi)))`. x~ is the input,
        normalized unless `normalize` is False, and a wave of f cycles a domain length has the angular frequency
        2 pi f / sqrt(12) = 1.8 f of normalized inputs
    features: random frequencies in each branch
    width, depth: units in each hidden layer of the trunk, number of hidden layers
    problem, normalize, inputs, outputs, activation, parametrization, initialization, beta, gain, factorized,
        adaptive_slopes, output_scales: as for `MLP`
    seed: draws frequencies, then weights, from a generator of their own

    Maps (n, d) to (n, fields). Raises ValueError for an unknown name, a size below 1 or a sigma that is not above 0.
    """

    def __init__(
        self,
        problem: Problem | None = None,
        *,
        sigmas: Sequence[float] = (1.0, 10.0),
        features: int = 50,
        width: int = 64,
        depth: int = 2,
        normalize: bool | None = None,
        inputs: int | None = None,
        outputs: int | None = None,
        seed: int = 0,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
        **options: Unpack[NetworkOptions],
    ):
        super().__init__()
        layers, asked = split_options(type(self), options)
        inputs, outputs = dimensions("MultiscaleFourier", problem, inputs, outputs)
        check_sizes(features=features, width=width, depth=depth)
        sigmas = parse_scales("sigmas", sigmas)
        generator = torch.Generator().manual_seed(seed)
        dtype = dtype or torch.get_default_dtype()
        self.branches = nn.ModuleList()
        for sigma in sigmas:
            angular = sigma * torch.randn(features, inputs, generator=generator, dtype=torch.float64)
            self.branches.append(FourierFeatures(angular / (2 * pi)).to(device, dtype))
        self.trunk = Dense([2 * features, *[width] * depth], generator, ends_active=True, dtype=dtype, device=device, **layers)
        self.last = Dense([len(sigmas) * width, outputs], generator, dtype=dtype, device=device, **layers)
        taken = self._take_scales(problem, inputs, normalize, asked, dtype=dtype, device=device)
        self.config = {
            "sigmas": sigmas,
            "features": features,
            "width": width,
            "depth": depth,
            **self.trunk.options,
            **taken,
            "seed": seed,
        }

    def forward(self, x: Tensor) -> Tensor:
        """(n, d) -> (n, fields)."""
        x = self._normalized(x)
        values = self.last(torch.cat([self.trunk(branch(x)) for branch in self.branches], 1))
        return self._rescaled(values)


class MscaleDNN(ScaledNetwork):
    """A network that sees its inputs at the scales a_1 x~, ..., a_N x~, and so high frequencies as if they were low ones.

    Liu, Cai & Xu 2020 (CiCP 28:1970, arXiv 2007.11207).

    scales: the a_i, as from `linear_scales` (a_i = i) or `octaves` (a_i = 2^(i-1), the default up to 32)
    version: 2, u(x) = sum_i f_i(a_i x~), sub-networks of their own, which the paper prefers; 1, one network whose first layer
        has N groups of units, group i with the input a_i x~
    width: units in each hidden layer, all scales together; a multiple of N
    depth: hidden layers
    activation: "phi" (the default) or "srelu", bumps of bounded support, or any other of `MLP`
    problem, inputs, outputs, parametrization, initialization, beta, gain, factorized, adaptive_slopes,
        output_scales: as for `MLP`; each group of units is drawn as a layer
    normalize: map each coordinate to mean 0 and standard deviation 1 over the domain before it is scaled; False, as in the
        paper, by default
    seed: draws the weights from a generator of their own

    Maps (n, d) to (n, fields). Raises ValueError for an unknown name, a size below 1, a scale that is not above 0 or a width
    that does not divide among the scales.
    """

    def __init__(
        self,
        problem: Problem | None = None,
        *,
        scales: Sequence[float] = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0),
        version: int = 2,
        width: int = 96,
        depth: int = 3,
        normalize: bool = False,
        inputs: int | None = None,
        outputs: int | None = None,
        seed: int = 0,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
        **options: Unpack[NetworkOptions],
    ):
        super().__init__()
        layers, asked = split_options(type(self), options)
        inputs, outputs = dimensions("MscaleDNN", problem, inputs, outputs)
        check_sizes(width=width, depth=depth)
        scales = parse_scales("scales", scales)
        if version not in (1, 2):
            raise ValueError(f"version={version!r}: 1 (groups of units in the first layer) or 2 (a sum of sub-networks)")
        if width % len(scales):
            raise ValueError(f"width={width} does not divide among {len(scales)} scales; use a multiple of {len(scales)}")
        self.scales, self.version = scales, version
        generator = torch.Generator().manual_seed(seed)
        dtype = dtype or torch.get_default_dtype()
        layers.setdefault("activation", "phi")
        share = width // len(scales)
        sizes = [inputs, share] if version == 1 else [inputs, *[share] * depth, outputs]

        def dense(sizes: Sequence[int], ends_active: bool = False) -> Dense:
            return Dense(sizes, generator, ends_active=ends_active, dtype=dtype, device=device, **layers)

        parts = [dense(sizes, ends_active=version == 1) for _ in scales]
        self.parts = nn.ModuleList(parts)
        self.rest = dense([width] * depth + [outputs]) if version == 1 else None
        taken = self._take_scales(problem, inputs, normalize, asked, dtype=dtype, device=device)
        self.config = {
            "scales": scales,
            "version": version,
            "width": width,
            "depth": depth,
            **parts[0].options,
            **taken,
            "seed": seed,
        }

    def forward(self, x: Tensor) -> Tensor:
        """(n, d) -> (n, fields)."""
        x = self._normalized(x)
        parts = [part(a * x) for a, part in zip(self.scales, self.parts, strict=True)]
        values = reduce(add, parts) if self.rest is None else self.rest(torch.cat(parts, 1))
        return self._rescaled(values)


def linear_scales(count: int) -> list[float]:
    """1, 2, 3, ..., count."""
    return [float(i) for i in range(1, count + 1)]


def octaves(count: int) -> list[float]:
    """1, 2, 4, ..., 2^(count - 1)."""
    return [2.0**i for i in range(count)]
