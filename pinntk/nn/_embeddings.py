"""What an MLP may do to its inputs before the first layer: exact periodicity, random Fourier features."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from math import comb, factorial, isfinite, pi, sqrt
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pinntk.problem import Problem


class Periodic(nn.Module):
    r"""x -> a cos(2 pi m (x - low) / L), a sin(2 pi m (x - low) / L) with m = 1 .. harmonics, L = high - low.

    What follows repeats in x with all its derivatives (Dong & Ni 2021, JCP 435:110242): both ends have the same features,
    to the bit. Maps (n, d) to (n, features): the other coordinates as they are, then all cosines, then all sines.

    Where only the value and k derivatives are to repeat, one more feature leaves the next one free, after the sines: the
    Bernoulli polynomial B_(k+2)((x - low) / L), with the mean square of the others.

    bounds: (d, 2), low and high of every coordinate
    harmonics: {axis: number of harmonics}
    amplitude: a; sqrt(2) gives each feature the mean square 1
    levels: {axis: k} of axes where not all derivatives repeat
    """

    low: Tensor
    high: Tensor
    rate: Tensor

    def __init__(
        self,
        bounds: Tensor,
        harmonics: Mapping[int, int],
        amplitude: float,
        levels: Mapping[int, int] = MappingProxyType({}),
    ):
        super().__init__()
        self.amplitude = amplitude
        self.others = [axis for axis in range(len(bounds)) if axis not in harmonics]
        self.axes = [axis for axis, count in harmonics.items() for _ in range(count)]
        self.register_buffer("low", bounds[self.axes, 0])
        self.register_buffer("high", bounds[self.axes, 1])
        m = [m for count in harmonics.values() for m in range(1, count + 1)]
        self.register_buffer("rate", 2 * pi * torch.tensor(m, dtype=bounds.dtype))
        self.seams = [(self.axes.index(axis), *bernoulli(k + 2)) for axis, k in levels.items()]
        self.features = len(self.others) + 2 * len(self.axes) + len(self.seams)

    def forward(self, x: Tensor) -> Tensor:
        turns = (x[:, self.axes] - self.low) / (self.high - self.low)
        # Turn 1 is turn 0: else sin(2 pi) = 2e-7 in float32, and the kernel of a periodic condition is small, but not 0.
        phase = (turns - torch.floor(turns)) * self.rate
        waves = [x[:, self.others], self.amplitude * torch.cos(phase), self.amplitude * torch.sin(phase)]
        for at, polynomial, size in self.seams:
            waves.append(self.amplitude / sqrt(2) / size * _horner(polynomial, turns[:, [at]]))
        return torch.cat(waves, 1)


def bernoulli(n: int) -> tuple[list[float], float]:
    """The coefficients of B_n(s), highest power first, and its root mean square on [0, 1]. It and its first n - 2 derivatives
    are the same at 0 and 1, the next one is not.

    >>> bernoulli(3)[0]
    [1.0, -1.5, 0.5, 0.0]
    """
    numbers = [Fraction(1)]
    for m in range(1, 2 * n + 1):
        numbers.append(-sum((comb(m + 1, k) * numbers[k] for k in range(m)), Fraction(0)) / (m + 1))
    mean_square = float(abs(numbers[2 * n]) * factorial(n) ** 2 / factorial(2 * n))
    return [float(comb(n, k) * numbers[k]) for k in range(n + 1)], sqrt(mean_square)


def _horner(coefficients: Sequence[float], s: Tensor) -> Tensor:
    value = s * coefficients[0] + coefficients[1]
    for c in coefficients[2:]:
        value = value * s + c
    return value


class FourierFeatures(nn.Module):
    """x -> [a_j cos(2 pi b_j . x), a_j sin(2 pi b_j . x)] with fixed b_j, the rows of B (count, d) (Tancik et al. 2020). Maps
    (n, d) to (n, 2 count), cosines first.

    amplitudes: a (count,); all 1 if None
    """

    B: Tensor
    amplitudes: Tensor | None

    def __init__(self, B: Tensor, amplitudes: Tensor | None = None):
        super().__init__()
        self.register_buffer("B", B)
        self.register_buffer("amplitudes", amplitudes)
        self.features = 2 * len(B)

    def forward(self, x: Tensor) -> Tensor:
        phase = 2 * pi * F.linear(x, self.B)
        if self.amplitudes is None:
            return torch.cat([torch.cos(phase), torch.sin(phase)], 1)
        return torch.cat([self.amplitudes * torch.cos(phase), self.amplitudes * torch.sin(phase)], 1)


def power_law(count: int, p: float) -> dict[str, list[float]]:
    """Features of one coordinate with b_j = j and a_j = j^-p, j = 1 .. count, for `MLP(fourier=...)`.

    The larger p, the narrower the kernel's spectrum (Tancik et al. 2020, section 5). With p = inf all but a_1 are 0.

    >>> power_law(3, 1.0)["amplitudes"]
    [1.0, 0.5, 0.3333333333333333]
    >>> power_law(3, float("inf"))["amplitudes"]
    [1.0, 0.0, 0.0]
    """
    if not isinstance(count, int) or count < 1 or not p >= 0:
        raise ValueError(f"power_law({count!r}, {p!r}): a whole number of frequencies, and a power of at least 0")
    return {"frequencies": [float(j) for j in range(1, count + 1)], "amplitudes": [float(j) ** -p for j in range(1, count + 1)]}


def embeddings(
    bounds: Tensor,
    harmonics: Mapping[int, int],
    amplitude: float,
    fourier: Sequence | Mapping[str, Any] | None,
    generator: torch.Generator,
    levels: Mapping[int, int] = MappingProxyType({}),
) -> nn.Sequential:
    """`Periodic`, then `FourierFeatures`, where they are asked for; empty otherwise. B is drawn in float64."""
    chain, features = nn.Sequential(), len(bounds)
    if harmonics:
        periodic = Periodic(bounds, harmonics, amplitude, levels)
        chain.append(periodic)
        features = periodic.features
    if isinstance(fourier, Mapping):
        chain.append(_given_features(fourier, features))
    elif fourier is not None:
        count, sigma = fourier
        chain.append(FourierFeatures(sigma * torch.randn(count, features, generator=generator, dtype=torch.float64)))
    return chain


def embedded_size(chain: nn.Sequential, inputs: int) -> int:
    """How many features `embeddings` make of so many inputs."""
    return next((part.features for part in reversed(chain) if isinstance(part, (Periodic, FourierFeatures))), inputs)


def _given_features(fourier: Mapping[str, Any], inputs: int) -> FourierFeatures:
    B, a = (torch.tensor(fourier[name], dtype=torch.float64) for name in ("frequencies", "amplitudes"))
    B = B[:, None] if B.ndim == 1 else B
    if B.shape[1] != inputs:
        raise ValueError(
            f"fourier has frequencies of {B.shape[1]} coordinates; the network has {inputs} inputs here (a periodic coordinate "
            "counts as its cosines and sines): give a list of so many numbers for each frequency"
        )
    return FourierFeatures(B, a / a.norm())


def parse_harmonics(periodic: Any, problem: Problem | None) -> dict[str, int]:
    """{coordinate: number of harmonics} from a name, several names, or such a mapping; checked."""
    if not periodic:
        return {}
    if problem is None:
        raise ValueError(f"periodic={periodic!r} needs a problem, whose domain says how long the period is")
    names = (periodic,) if isinstance(periodic, str) else periodic
    harmonics = dict(names) if isinstance(names, Mapping) else dict.fromkeys(names, 1)
    for name, count in harmonics.items():
        if name not in problem.domain.coordinates:
            raise ValueError(f"periodic={periodic!r}: no coordinate {name!r}; the domain has {problem.domain.coordinates}")
        if not isinstance(count, int) or count < 1:
            raise ValueError(f"periodic={periodic!r}: the harmonics of {name!r} are a whole number of at least 1")
    return harmonics


def parse_fourier(fourier: Any) -> Any:
    """None, [count, sigma], or {"frequencies": ..., "amplitudes": ...} as lists. Raises ValueError for anything else."""
    if fourier is None:
        return None
    if isinstance(fourier, Mapping):
        return _parse_features(fourier)
    try:
        count, sigma = fourier
        valid = isinstance(count, int) and count >= 1 and sigma > 0 and isfinite(sigma)
    except (TypeError, ValueError):
        valid = False
    if not valid:
        raise ValueError(f"fourier={fourier!r}: a whole number of frequencies and their standard deviation, as in (64, 1.0)")
    return [count, sigma]


def _parse_features(fourier: Mapping[str, Any]) -> dict[str, list]:
    if "frequencies" not in fourier or set(fourier) - {"frequencies", "amplitudes"}:
        raise ValueError(f"fourier has {sorted(fourier)}: give 'frequencies', and 'amplitudes' if they differ")
    try:
        B = torch.as_tensor(fourier["frequencies"], dtype=torch.float64)
        a = torch.as_tensor(fourier.get("amplitudes", [1.0] * len(B)), dtype=torch.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"fourier: frequencies and amplitudes are numbers ({error})") from error
    if B.ndim not in (1, 2) or not B.numel() or a.shape != B.shape[:1]:
        raise ValueError(
            f"fourier has frequencies of shape {tuple(B.shape)} and amplitudes of shape {tuple(a.shape)}; expected (count,) or "
            "(count, inputs), and (count,)"
        )
    if not (B.isfinite().all() and a.isfinite().all() and a.any()):
        raise ValueError("fourier: frequencies and amplitudes are finite, and not all amplitudes are 0")
    return {"frequencies": B.tolist(), "amplitudes": a.tolist()}
