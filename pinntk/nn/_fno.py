"""Fourier neural operators in one dimension: they map functions on a periodic grid to functions on it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from operator import add
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pinntk.nn._layers import ACTIVATIONS, check_known, check_sizes, draw, parse_scales


class FNO1d(nn.Module):
    r"""A Fourier neural operator (Li et al. 2021, arXiv 2010.08895): with v_0 = P [a, x],

        v_(l+1) = s(W_l v_l + b_l + F^-1(R_l F v_l)),    u = Q_2 s(Q_1 v_L)

    where F is the Fourier transform over the grid, R_l a complex matrix for each of the lowest modes (the others are cut off),
    and P, W_l, Q_1, Q_2 act at every grid point; no activation after the last layer but that of Q_1. It knows the grid by x
    alone: the same function on a finer grid has the same image, but for what the activations alias.

    modes: Fourier modes kept, the constant one among them; at most grid // 2 + 1
    width: channels of v
    depth: Fourier layers L
    inputs, outputs: channels of a and u
    hidden: channels between Q_1 and Q_2
    activation: one of those of `MLP`; the paper's is "gelu", that of `MscaleFNO` "sin"
    seed: draws the weights from a generator of their own

    Maps (batch, grid, inputs) to (batch, grid, outputs), and (batch, grid) to (batch, grid) where there is one channel each.
    Its input is not a point of a domain, so no problem trains it and no jet passes it. `pinntk.ntk.function_kernel` is its
    kernel.
    Raises ValueError for an unknown name, a size below 1, a wrong number of channels or a grid too coarse for the modes.
    """

    def __init__(
        self,
        *,
        modes: int = 16,
        width: int = 32,
        depth: int = 4,
        inputs: int = 1,
        outputs: int = 1,
        hidden: int = 128,
        activation: str = "gelu",
        seed: int = 0,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ):
        super().__init__()
        check_sizes(modes=modes, width=width, depth=depth, inputs=inputs, outputs=outputs, hidden=hidden)
        check_known("activation", activation, ACTIVATIONS)
        self.config = {
            "modes": modes,
            "width": width,
            "depth": depth,
            "inputs": inputs,
            "outputs": outputs,
            "hidden": hidden,
            "activation": activation,
            "seed": seed,
        }
        self.activation, self.modes, self.inputs, self.outputs = activation, modes, inputs, outputs
        generator = torch.Generator().manual_seed(seed)
        dtype = dtype or torch.get_default_dtype()
        self.weights, self.biases = nn.ParameterList(), nn.ParameterList()  # P, W_0, ..., W_(L-1), Q_1, Q_2
        sizes = [(inputs + 1, width), *[(width, width)] * depth, (width, hidden), (hidden, outputs)]
        for fan_in, fan_out in sizes:
            weight, bias = draw(fan_in, fan_out, "kaiming", generator)
            self.weights.append(nn.Parameter(weight.to(device, dtype)))
            self.biases.append(nn.Parameter(bias.to(device, dtype)))
        self.spectral = nn.ParameterList()  # R_l (modes, width, width, 2): real and imaginary parts
        for _ in range(depth):
            R = torch.rand(modes, width, width, 2, generator=generator, dtype=torch.float64) / width**2
            self.spectral.append(nn.Parameter(R.to(device, dtype)))

    def forward(self, a: Tensor, x: Tensor | None = None) -> Tensor:
        """x: the coordinate at the grid points, (grid,); j / grid if None."""
        plain = a.ndim == 2 and self.inputs == 1
        v = a.unsqueeze(-1) if plain else a
        if v.ndim != 3 or v.shape[-1] != self.inputs:
            raise ValueError(f"input of shape {tuple(a.shape)}: expected (batch, grid, {self.inputs})")
        grid = v.shape[1]
        if self.modes > grid // 2 + 1:
            raise ValueError(f"a grid of {grid} points has {grid // 2 + 1} modes; use modes={grid // 2 + 1} or a finer grid")
        x = _coordinate(a) if x is None else x
        v = torch.cat([v, x[:, None].expand(*v.shape[:2], 1)], -1)
        s, (W, b) = ACTIVATIONS[self.activation], (self.weights, self.biases)
        v = F.linear(v, W[0], b[0])
        for layer, R in enumerate(self.spectral):
            v = s(v) if layer else v
            v = F.linear(v, W[layer + 1], b[layer + 1]) + self._convolve(v, R)
        v = F.linear(s(F.linear(v, W[-2], b[-2])), W[-1], b[-1])
        return v.squeeze(-1) if plain and self.outputs == 1 else v

    def _convolve(self, v: Tensor, R: Tensor) -> Tensor:
        """F^-1(R F v), (batch, grid, width)."""
        spectrum = torch.fft.rfft(v, dim=1)[:, : self.modes]
        product = torch.einsum("bmi,mio->bmo", spectrum, torch.complex(R[..., 0], R[..., 1]))
        return torch.fft.irfft(product, n=v.shape[1], dim=1)  # modes beyond `modes` are zeros


class MscaleFNO(nn.Module):
    r"""u = sum_i gamma_i FNO_i(c_i x, c_i a(x)), with trained gamma_i (You, Xu & Cai 2024, arXiv 2412.20183).

    Fourier neural operators that see the coordinate and the function at several scales.

    scales: the c_i
    activation: "sin", as in the paper, unless another of `FNO1d` is named
    settings: further arguments of each `FNO1d`
    seed: of the first FNO; those that follow have seed + 1, seed + 2, ...

    The gamma_i begin with 1 / (number of scales). Maps functions as `FNO1d` does, with its errors; ValueError for a scale that
    is not above 0.
    """

    def __init__(
        self,
        *,
        scales: Sequence[float] = (1.0, 2.0, 4.0, 8.0),
        activation: str = "sin",
        seed: int = 0,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
        **settings: Any,
    ):
        super().__init__()
        self.scales = parse_scales("scales", scales)
        settings = {**settings, "activation": activation, "dtype": dtype, "device": device}
        networks = [FNO1d(**settings, seed=seed + i) for i in range(len(self.scales))]
        self.networks = nn.ModuleList(networks)
        self.config = {**networks[0].config, "scales": self.scales}
        dtype = dtype or torch.get_default_dtype()
        self.gamma = nn.Parameter(torch.full((len(self.scales),), 1 / len(self.scales), dtype=dtype, device=device))

    def forward(self, a: Tensor) -> Tensor:
        x = _coordinate(a)
        parts = [network(c * a, c * x) for c, network in zip(self.scales, self.networks, strict=True)]
        return reduce(add, [gamma * part for gamma, part in zip(self.gamma, parts, strict=True)])


def _coordinate(a: Tensor) -> Tensor:
    grid = a.shape[1]
    return torch.arange(grid, dtype=a.dtype, device=a.device) / grid
