"""Networks that use their parameters in every way the library must follow, listed once and fed to every test."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pinntk.nn import MLP, HardConstraint, ModifiedMLP, MscaleDNN, MultiscaleFourier, PirateNet, SeparableMLP, Siren
from pinntk.problem import Box, Problem, residual


class Plain(nn.Module):
    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(inputs, 12), nn.Tanh(), nn.Linear(12, 10), nn.Tanh(), nn.Linear(10, outputs))

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


class Gated(nn.Module):
    """Two encoders mixed by every layer, concatenated features and a hard constraint x (1 - x) N on the first coordinate."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.encode_u, self.encode_v = nn.Linear(2 * inputs, 8), nn.Linear(2 * inputs, 8)
        self.first, self.second = nn.Linear(2 * inputs, 8), nn.Linear(8, 8)
        self.last = nn.Linear(8, outputs)

    def forward(self, x: Tensor) -> Tensor:
        features = torch.cat([x, torch.sin(2 * x)], 1)
        U, V = torch.tanh(self.encode_u(features)), torch.tanh(self.encode_v(features))
        z = torch.sigmoid(self.first(features))
        z = z * U + (1 - z) * V
        z = torch.sigmoid(self.second(z))
        z = z * U + (1 - z) * V
        s = x[:, :1]
        return s * (1 - s) * self.last(z)


class Fourier(nn.Module):
    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.register_buffer("B", 1.5 * torch.randn(inputs, 6))
        self.hidden, self.last = nn.Linear(12, 9), nn.Linear(9, outputs)

    def forward(self, x: Tensor) -> Tensor:
        phase = x @ self.B
        return self.last(torch.tanh(self.hidden(torch.cat([torch.sin(phase), torch.cos(phase)], -1))))


class Shared(nn.Module):
    """The same layer twice."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.first, self.shared, self.last = nn.Linear(inputs, 8), nn.Linear(8, 8), nn.Linear(8, outputs)

    def forward(self, x: Tensor) -> Tensor:
        h = torch.tanh(self.first(x))
        return self.last(torch.tanh(self.shared(torch.tanh(self.shared(h)))))


class Scaled(nn.Module):
    """Parameters used elementwise: one number, one row, and a row that is used twice."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.scale = nn.Parameter(1 + 0.3 * torch.randn(inputs))
        self.shift = nn.Parameter(0.5 * torch.randn(inputs))
        self.amplitude = nn.Parameter(torch.tensor(1.3))
        self.slope = nn.Parameter(1 + 0.3 * torch.randn(8))
        self.first, self.second, self.last = nn.Linear(inputs, 8), nn.Linear(8, 8, bias=False), nn.Linear(8, outputs)

    def forward(self, x: Tensor) -> Tensor:
        h = torch.tanh(self.slope * self.first(x * self.scale + self.shift))
        return self.amplitude * self.last(torch.tanh(self.second(h) * self.slope))


class Factorized(nn.Module):
    """W = diag(exp(s)) V in every layer (Wang et al. 2022, random weight factorisation)."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        sizes = [inputs, 9, 8, outputs]
        pairs = list(zip(sizes[1:], sizes[:-1], strict=True))
        self.s = nn.ParameterList([0.5 * torch.randn(rows) for rows, _ in pairs])
        self.V = nn.ParameterList([torch.randn(rows, columns) / columns**0.5 for rows, columns in pairs])
        self.b = nn.ParameterList([0.5 * torch.randn(rows) for rows, _ in pairs])

    def forward(self, x: Tensor) -> Tensor:
        for layer, (s, V, b) in enumerate(zip(self.s, self.V, self.b, strict=True)):
            x = F.linear(torch.tanh(x) if layer else x, torch.diag(torch.exp(s)) @ V, b)
        return x


class InputsFirst(nn.Module):
    """Weights stored (in, out)."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.W0, self.b0 = nn.Parameter(torch.randn(inputs, 11)), nn.Parameter(torch.randn(11))
        self.W1, self.b1 = nn.Parameter(torch.randn(11, 7) / 3), nn.Parameter(torch.randn(1, 7))
        self.W2 = nn.Parameter(torch.randn(7, outputs) / 3)

    def forward(self, x: Tensor) -> Tensor:
        h = torch.tanh(x @ self.W0 + self.b0)
        h = torch.tanh(torch.addmm(self.b1, h, self.W1))
        return h.matmul(self.W2)


class Tied(nn.Module):
    """An encoder and a decoder of one square matrix, used as W and as its transpose."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.first, self.last = nn.Linear(inputs, 8), nn.Linear(8, outputs)
        self.W = nn.Parameter(torch.randn(8, 8) / 8**0.5)

    def forward(self, x: Tensor) -> Tensor:
        h = torch.tanh(F.linear(torch.tanh(self.first(x)), self.W))
        return self.last(torch.tanh(h @ self.W))


def _anywhere(inputs: int, outputs: int) -> Problem:
    """Coordinates x1, x2, ... and fields u1, u2, ... for the networks that ask a problem for them."""
    domain = Box.cube(inputs, (-0.4, 1.7))

    @residual(domain)
    def equation(points):
        return points[:, 0]

    return Problem(domain, [equation], tuple(f"u{i}" for i in range(1, outputs + 1)))


def embedded(inputs: int, outputs: int) -> nn.Module:
    """The first and the last coordinate periodic (one of them with two harmonics), then random Fourier features."""
    problem = _anywhere(inputs, outputs)
    periodic = {f"x{inputs}": 1, "x1": 2}
    return MLP(problem, width=8, depth=2, initialization="normal", periodic=periodic, fourier=(5, 0.1), seed=_seed())


def weighed(inputs: int, outputs: int) -> nn.Module:
    """Fourier features of chosen frequencies, with amplitudes, before sRelu units."""
    fourier = {"frequencies": [[0.2 + 0.1 * i, *[0.3] * (inputs - 1)] for i in range(3)], "amplitudes": [1.0, 0.5, 0.25]}
    settings = {"width": 9, "depth": 2, "activation": "srelu", "initialization": "normal", "fourier": fourier}
    return MLP(inputs=inputs, outputs=outputs, seed=_seed(), **settings)


def multiscale_fourier(inputs: int, outputs: int) -> nn.Module:
    """Two branches through one trunk."""
    settings = {"sigmas": (0.5, 1.5), "features": 3, "width": 7, "initialization": "normal", "seed": _seed()}
    return MultiscaleFourier(_anywhere(inputs, outputs), **settings)


def grouped(inputs: int, outputs: int) -> nn.Module:
    """MscaleDNN of version 1, in the NTK parametrization."""
    settings = {"scales": (1, 2), "version": 1, "width": 8, "depth": 2, "parametrization": "ntk", "seed": _seed()}
    return MscaleDNN(inputs=inputs, outputs=outputs, **settings)


def summed_scales(inputs: int, outputs: int) -> nn.Module:
    """MscaleDNN of version 2."""
    settings = {"scales": (0.5, 1, 2), "width": 12, "depth": 2, "activation": "sin", "initialization": "normal"}
    return MscaleDNN(inputs=inputs, outputs=outputs, seed=_seed(), **settings)


def separable(inputs: int, outputs: int) -> nn.Module:
    """Products of three networks of one coordinate each."""
    return SeparableMLP(inputs=inputs, outputs=outputs, rank=3, width=5, depth=1, initialization="normal", seed=_seed())


def modified(inputs: int, outputs: int) -> nn.Module:
    """Gates between encoders, with factorized weights and adaptive activations that have left their start."""
    settings = {
        "width": 6,
        "depth": 2,
        "initialization": "normal",
        "factorized": (0.5, 0.3),
        "adaptive_slopes": 3,
        "seed": _seed(),
    }
    return moved(ModifiedMLP(inputs=inputs, outputs=outputs, **settings), "slopes")


def pirate(inputs: int, outputs: int) -> nn.Module:
    """Residual blocks whose gates have left zero."""
    settings = {"width": 5, "depth": 2, "initialization": "normal", "fourier": (4, 0.15), "seed": _seed()}
    return moved(PirateNet(inputs=inputs, outputs=outputs, **settings), "alphas")


def siren(inputs: int, outputs: int) -> nn.Module:
    """Sine units, of frequencies that four derivatives can be told apart at."""
    return Siren(inputs=inputs, outputs=outputs, width=6, depth=2, omega=3.0, hidden_omega=2.0, seed=_seed())


def moved(network: nn.Module, *words: str) -> nn.Module:
    """Its parameters of such names, a little away from where they begin."""
    with torch.no_grad():
        for name, p in network.named_parameters():
            if any(word in name for word in words):
                p += 0.2 + 0.1 * torch.rand_like(p)
    return network


def _seed() -> int:
    return int(torch.randint(1000, ()))


def constrained(inputs: int, outputs: int) -> nn.Module:
    """A hard constraint with functions of a coordinate, of all points, and a number for the last field."""

    def offset(x1, points):
        return (*[torch.sin(x1) * points[:, -1]] * (outputs - 1), 0.5)

    def factor(x1):
        return (*[x1 * (1 - x1)] * (outputs - 1), 2 + x1**2)

    return HardConstraint(_anywhere(inputs, outputs), Plain(inputs, outputs), offset=offset, factor=factor)


class Summed(nn.Module):
    """No Taylor rule: torch.cumsum."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.first, self.last = nn.Linear(inputs, 7), nn.Linear(7, outputs)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(torch.cumsum(torch.tanh(self.first(x)), 1) / 3)


class Spectral(nn.Module):
    """No Taylor rule: torch.fft."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.first, self.last = nn.Linear(inputs, 6), nn.Linear(6, outputs)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(torch.fft.fft(torch.tanh(self.first(x)), dim=1).real / 2)


NETWORKS = {
    "plain": Plain,
    "gated": Gated,
    "fourier": Fourier,
    "shared": Shared,
    "scaled": Scaled,
    "factorized": Factorized,
    "inputs first": InputsFirst,
    "tied": Tied,
    "embedded": embedded,
    "constrained": constrained,
    "weighed features": weighed,
    "multiscale fourier": multiscale_fourier,
    "scale groups": grouped,
    "scale sum": summed_scales,
    "separable": separable,
    "modified": modified,
    "pirate": pirate,
    "siren": siren,
}
WITHOUT_RULE = {"cumsum": Summed, "fft": Spectral}


def build(name: str, inputs: int, outputs: int = 1, seed: int = 0) -> nn.Module:
    """A float64 network; the global random state stays as it is."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return {**NETWORKS, **WITHOUT_RULE}[name](inputs, outputs).double()
