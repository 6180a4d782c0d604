"""Eigenvalues and eigenvectors of the kernel that trains a network, and how the errors lie in them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from heapq import heappop, heappush
from itertools import product
from math import inf, isfinite, nan
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from pinntk.ntk import KernelBlocks
from pinntk.ntk._blocks import Weights, loss_scales, rows_of
from pinntk.ntk._finite import check_finite_kernel

_HEAD = 100  # the decay is fitted from mode rank / _HEAD on: the first few modes are the domain's, not the activation's


@dataclass(frozen=True, eq=False)
class Spectrum:
    """The spectrum of D^1/2 K D^1/2, D = blockdiag(2 lambda_i / n_i).

    Its eigenvalues are the rates of gradient flow on L = sum_i lambda_i mean(e_i^2).

    values: (n,) eigenvalues lambda_k, descending, float64; those below `floor` are rounding and may be negative
    vectors: (n, n) orthonormal eigenvectors in columns, in the same order; rows as in the kernel
    floor: n eps lambda_max, eps that of the kernel's dtype
    blocks: {condition: (n_i,)} eigenvalues of K_ii / n_i, descending
    names, sizes, weights: of the conditions; weights are the lambda_i, or point weights g (n_i,), for which D is 2 g / n_i

    `errors` are everywhere {condition: (n_i,)}, as from `pinntk.errors`, on the kernel's points. Time is learning rate times
    steps of gradient descent.
    """

    values: Tensor
    vectors: Tensor
    floor: float
    blocks: Mapping[str, Tensor]
    names: tuple[str, ...]
    sizes: tuple[int, ...]
    weights: Weights

    @cached_property
    def rank(self) -> int:
        """Number of eigenvalues above the floor."""
        return int((self.values > self.floor).sum())

    @cached_property
    def condition(self) -> float:
        """lambda_max over the smallest eigenvalue above the floor; NaN for a zero kernel."""
        return float(self.values[0] / self.values[self.rank - 1]) if self.rank else nan

    @cached_property
    def effective_rank(self) -> float:
        """exp(-sum_k p_k log p_k) with p_k = lambda_k / sum of lambda: the number of equal eigenvalues with that entropy
        (Roy & Vetterli 2007, "The effective rank", EUSIPCO). From 1 to n; 0 for a zero kernel.
        """
        p = self.values[: self.rank] / self.values[: self.rank].sum()
        return float(torch.special.entr(p).sum().exp()) if self.rank else 0.0

    @cached_property
    def decay(self) -> float:
        """a of the power law lambda_k ~ k^-a: minus the slope of log lambda_k against log k by least squares, k from
        max(1, rank / 100) to rank with weight 1 / k, so that each octave of k counts alike. NaN for fewer than 3 modes.
        """
        k = np.arange(max(1, -(-self.rank // _HEAD)), self.rank + 1)
        if len(k) < 3:
            return nan
        heights = self.values[k[0] - 1 : self.rank].log().cpu().numpy()
        return -float(np.polyfit(np.log(k), heights, 1, w=k**-0.5)[0])

    @property
    def stable_step(self) -> float:
        """2 / lambda_max: gradient descent diverges at larger learning rates. Infinite for a zero kernel."""
        return 2 / float(self.values[0]) if self.rank else inf

    @cached_property
    def participation(self) -> dict[str, Tensor]:
        """How much of each mode lies on a condition: {condition: (n,) sum of v_k^2 over its rows}, with sum 1."""
        return {name: self.vectors[rows_of(name, self.names, self.sizes)].square().sum(0) for name in self.names}

    def project(self, errors: Mapping[str, Tensor]) -> Tensor:
        """Coefficients V^T D^1/2 e of the scaled error in the eigenvectors, (n,). Half of their squares' sum is the loss."""
        e = stacked_errors(errors, self.names, self.sizes).to(self.vectors.device)
        return self.vectors.T @ (e * loss_scales(self.weights, self.names, self.sizes).sqrt().to(e))

    def share(self, errors: Mapping[str, Tensor]) -> Tensor:
        """The share of the loss in each mode, (n,): squares of `project`, with sum 1. Zeros where there is no error."""
        c = self.project(errors)
        largest = c.abs().max()
        squares = (c / (largest if largest > 0 else 1)).square()  # errors of 1e-200 must not underflow
        return squares / squares.sum() if largest > 0 else squares

    def remaining(self, errors: Mapping[str, Tensor], time: float) -> Tensor:
        """What gradient flow of that kernel leaves of the loss after `time`, by mode, as a share of today's loss:
        share_k exp(-2 lambda_k time), (n,). Its sum is the predicted L(time) / L(0).
        """
        return self.share(errors) * (-2 * self.values.clamp(min=0) * _checked_time(time)).exp()

    def unlearned(self, errors: Mapping[str, Tensor], time: float) -> float:
        """The share of the loss in modes with lambda_k time < 1, which hardly change in that time. From 0 to 1."""
        return float(self.share(errors)[self.values * _checked_time(time) < 1].sum())

    def __repr__(self) -> str:
        return f"Spectrum(n={len(self.values)}, rank={self.rank}, lambda_max={float(self.values[0]):.3g})"


def spectrum(kernel: KernelBlocks, weights: Weights | None = None) -> Spectrum:
    """Eigenvalues and eigenvectors of D^1/2 K D^1/2, D = blockdiag(2 lambda_i / n_i), and those of each block K_ii / n_i.

    weights: the loss weights lambda_i by condition, or point weights g (n_i,), as in `Run.point_weights`; all 1 if None

    Raises TypeError for what is no `KernelBlocks`, ValueError for weights that do not fit and for a kernel with NaN.
    """
    if not isinstance(kernel, KernelBlocks):
        raise TypeError(f"kernel is a {type(kernel).__name__}; expected KernelBlocks, as from pinntk.kernel")
    weights = dict.fromkeys(kernel.names, 1.0) if weights is None else dict(weights)
    check_finite_kernel(kernel)
    values, vectors = kernel.eigh(weights)
    values, vectors = values.flip(0), vectors.flip(1)
    floor = len(values) * torch.finfo(kernel.values.dtype).eps * max(0.0, float(values[0]))
    blocks = {
        name: torch.linalg.eigvalsh(kernel[name].double() / n).flip(0)
        for name, n in zip(kernel.names, kernel.sizes, strict=True)
    }
    return Spectrum(values, vectors, floor, blocks, kernel.names, kernel.sizes, weights)


def stacked_errors(errors: Mapping[str, Tensor], names: Sequence[str], sizes: Sequence[int]) -> Tensor:
    """e of all conditions in the order of a kernel's rows, (n,), float64, detached.

    Raises TypeError for what is not a mapping, ValueError for a condition too many or too few, a wrong shape or NaN.
    """
    if not isinstance(errors, Mapping):
        raise TypeError(f"errors is a {type(errors).__name__}; expected {{condition: (n,) tensor}}, as from pinntk.errors")
    if set(errors) != set(names):
        raise ValueError(f"errors of {tuple(errors)}, but the kernel's conditions are {tuple(names)}; give one vector for each")
    parts = []
    for name, n in zip(names, sizes, strict=True):
        e = torch.as_tensor(errors[name]).detach().double()
        if e.shape != (n,):
            raise ValueError(f"errors[{name!r}] has shape {tuple(e.shape)}; expected ({n},), on the points of the kernel")
        if not e.isfinite().all():
            raise ValueError(f"errors[{name!r}] holds NaN or infinity: the network has diverged; use an earlier checkpoint")
        parts.append(e)
    return torch.cat(parts)


def _checked_time(time: float) -> float:
    if not (isfinite(time) and time >= 0):
        raise ValueError(f"time={time!r}: learning rate times steps, a finite number of at least 0")
    return time


# Spatial frequency on scattered points.

_WAVES = 2048  # wavevectors tried, at most
_COMPONENTS = 8  # waves that a function is taken apart into, at most
_EXPLAINED = 0.99  # of the squared norm, beyond which no more are sought
_FALSE_ALARM = 0.01  # probability that noise passes for another wave
_MOST_POINTS = 2048  # more are thinned at random
_COLUMNS = 64  # functions taken apart at a time
_VANISHING = 1e-6  # of the norm: a wave that is zero on the points, a mode on a condition
_EQUAL = 1e-6  # of the power: waves that take as much are the same on these points


class Frequency(NamedTuple):
    """Cycles per domain length: the power-weighted mean |f| of the waves found, and |f| of the strongest."""

    mean: float
    dominant: float


def error_frequency(points: Tensor, values: Tensor, bounds: Sequence[tuple[float, float]] | None = None) -> Frequency:
    r"""The spatial frequency of a function known on scattered points: a residual, or an error of the solution.

    points: (n, d), or (n, more) with coordinates first if bounds are given
    values: (n,)
    bounds: (low, high) of every coordinate, as in `problem.domain.bounds`; the range of the points if None

    Least-squares spectral analysis (Lomb 1976) by orthogonal matching pursuit (Pati, Rezaiifar & Krishnaprasad 1993).
    With x scaled to [0, 1]^d, the wavevectors f are multiples of 1/2 in every coordinate (half a cycle is the lowest mode
    between two walls), up to |f| = n / 2 and at most min(10 n, 2048) of them. Again and again the f is sought whose
    cos(2 pi f.x), sin(2 pi f.x) take most from the squared norm of what is left (the smallest such |f| where several are
    equal, as they are on a grid), all waves found are fitted anew, and the decrease is its power P_f. It ends at 99 %, after
    8 waves, or when the next one could be noise with probability above 0.01. Then mean = sum P_f |f| / sum P_f, with
    |f| the Euclidean norm: sin(2 pi m x) has m, sin(2 pi m x) sin(2 pi m y) has sqrt(2) m, a constant has 0.

    Limits: the highest |f| tried is n / 2 cycles in 1D, about 18 in 2D, 5 in 3D and 1 in 10D; what is higher is missed. More
    than 2,048 points are thinned at random to as many. Waves
    weaker than about 20 / n of what is left count as noise. Of noise itself the strongest wave is returned, which means
    nothing. Values that are all zero have frequency 0.

    >>> x = torch.linspace(0, 1, 100, dtype=torch.float64)
    >>> error_frequency(x[:, None], torch.sin(2 * torch.pi * 3 * x)).dominant
    3.0
    """
    points, values = torch.as_tensor(points).detach(), torch.as_tensor(values).detach()
    if points.ndim != 2 or not len(points):
        raise ValueError(f"points has shape {tuple(points.shape)}; expected (n, d) with at least one point")
    if values.shape != (len(points),):
        raise ValueError(f"values has shape {tuple(values.shape)} for {len(points)} points; expected ({len(points)},)")
    mean, dominant = _frequencies(_unit(points, bounds), _check_finite(values, "values")[:, None])
    return Frequency(float(mean[0]), float(dominant[0]))


def mode_frequency(
    kernel: KernelBlocks, vectors: Tensor, name: str, bounds: Sequence[tuple[float, float]] | None = None
) -> Tensor:
    """The spatial frequency of modes on one condition's points, (modes,), in cycles per domain length.

    kernel: with the points it was computed on
    vectors: (n, modes), such as some columns of `Spectrum.vectors`; the rows of condition `name` are looked at
    bounds: (low, high) of every coordinate, as in `problem.domain.bounds`; the range of the condition's points if None

    The mean of `error_frequency`, with its formula and limits; 0 where a mode vanishes on the condition. On a boundary the
    frequency is that along the boundary. Raises KeyError for an unknown condition, ValueError for a kernel without points
    and for a wrong shape.
    """
    rows = rows_of(name, kernel.names, kernel.sizes)
    if name not in kernel.points:
        raise ValueError(
            f"the kernel does not know the points of {name!r}; compute it with pinntk.kernel, or use error_frequency"
        )
    if vectors.ndim != 2 or len(vectors) != sum(kernel.sizes):
        raise ValueError(f"vectors has shape {tuple(vectors.shape)}; expected ({sum(kernel.sizes)}, modes)")
    points = torch.as_tensor(kernel.points[name]).detach()
    if bounds is None:  # measured columns follow the coordinates in data conditions only
        points = points[:, : min(part.shape[1] for part in kernel.points.values())]
    V = _check_finite(vectors.detach(), "vectors")
    here = V[rows].norm(dim=0) > _VANISHING * V.norm(dim=0)
    return _frequencies(_unit(points, bounds), torch.where(here, V[rows], 0))[0].to(vectors.device)


def _check_finite(values: Tensor, argument: str) -> Tensor:
    if not values.isfinite().all():
        raise ValueError(f"{argument} holds NaN or infinity; only finite values have a frequency")
    return values.double().cpu()


def _unit(points: Tensor, bounds: Sequence[tuple[float, float]] | None) -> Tensor:
    """Coordinates scaled to [0, 1]; those without extent are left out."""
    x = _check_finite(points, "points")
    if bounds is None:
        low, high = x.amin(0), x.amax(0)
    else:
        low, high = torch.as_tensor(bounds, dtype=torch.float64).reshape(-1, 2).unbind(1)
        if len(low) > x.shape[1] or not (low < high).all():
            raise ValueError(f"bounds={bounds!r}: (low, high) with low < high for each of at most {x.shape[1]} coordinates")
        x = x[:, : len(low)]
    extended = (high > low) & (x.amax(0) > x.amin(0))
    return (x[:, extended] - low[extended]) / (high - low)[extended]


def _wavevectors(n: int, d: int) -> Tensor:
    """Multiples of 1/2, one of f and -f each, by increasing length, (waves, d)."""
    found: list[tuple[int, ...]] = []
    most, queue = min(_WAVES, 10 * n), [(0, (0,) * d)]  # of (|k|^2, k) with k in half cycles, no entry negative
    while queue and len(found) < most:
        length, k = heappop(queue)
        nonzero = [axis for axis in range(d) if k[axis]]
        for signs in product((1, -1), repeat=max(0, len(nonzero) - 1)):
            by_axis = dict(zip(nonzero[1:], signs, strict=True))
            found.append(tuple(by_axis.get(axis, 1) * entry for axis, entry in enumerate(k)))
        for axis in range(nonzero[-1] if nonzero else 0, d):  # so that each k is reached once, from a shorter one
            longer = length + 2 * k[axis] + 1
            if longer <= n * n:
                heappush(queue, (longer, (*k[:axis], k[axis] + 1, *k[axis + 1 :])))
    return torch.tensor(found[:most], dtype=torch.float64).reshape(min(len(found), most), d) / 2


def _frequencies(x: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and dominant |f| of each column of `values` (n, columns) at x (n, d) in [0, 1]^d."""
    if len(x) > _MOST_POINTS:
        kept = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))[:_MOST_POINTS]
        x, values = x[kept], values[kept]
    f = _wavevectors(*x.shape)
    phase = 2 * torch.pi * x @ f.T
    C, S = phase.cos(), phase.sin()
    # Lomb's shift of the phase makes cosine and sine of one wave orthogonal on these points.
    shift = torch.atan2(2 * (C * S).sum(0), (C * C - S * S).sum(0)) / 2
    waves = torch.stack([(phase - shift).cos(), (phase - shift).sin()])  # [2, n, waves]
    norms = torch.linalg.vector_norm(waves, dim=1, keepdim=True)
    waves = torch.where(norms > _VANISHING * len(x) ** 0.5, waves / norms, 0)  # sin(0), or what a grid cannot see
    parts = [_pursuit(waves, f, part) for part in values.split(_COLUMNS, 1)]
    power, lengths = (torch.cat(both, 1) for both in zip(*parts, strict=True))  # [components, columns]
    total = power.sum(0)
    mean = torch.where(total > 0, (power * lengths).sum(0) / total, 0)
    strongest = lengths.gather(0, power.argmax(0, keepdim=True))[0]
    return mean, torch.where(total > 0, strongest, 0)


def _pursuit(waves: Tensor, f: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
    """Powers and |f| of the waves that each column of `values` (n, m) is made of, both [components, m]."""
    n, m = values.shape
    largest = values.abs().amax(0)
    left = (values / torch.where(largest > 0, largest, 1)).T.clone()  # (m, n)
    whole = left.square().sum(1)
    # A wave takes a share of noise that is Beta(1, (n - 2) / 2) distributed; the best of all waves is compared.
    noise = 1 - (_FALSE_ALARM / len(f)) ** (2 / max(1, n - 2))
    sought = whole > 0
    basis, powers, lengths = left.new_zeros(m, n, 0), [], []
    for component in range(_COMPONENTS):
        taken = (left @ waves).square().sum(0)  # [2, m, waves] -> (m, waves)
        best = taken.amax(1, keepdim=True)
        first = (taken >= (1 - _EQUAL) * best).byte().argmax(1)  # the shortest of those that are alike
        before = left.square().sum(1)
        sought = sought & (before > (1 - _EXPLAINED) * whole)
        if component:
            sought = sought & (best[:, 0] > noise * before)
        if not sought.any():
            break
        for column in waves[:, :, first].transpose(1, 2):  # (m, n)
            for _ in range(2):  # twice is enough
                column = column - (basis @ (basis.transpose(1, 2) @ column[:, :, None]))[:, :, 0]
            norm = column.norm(dim=1, keepdim=True)
            column = torch.where((norm > _VANISHING) & sought[:, None], column / norm, 0)
            basis = torch.cat([basis, column[:, :, None]], 2)
            left = left - (left * column).sum(1, keepdim=True) * column
        powers.append(torch.where(sought, before - left.square().sum(1), 0).clamp(min=0))
        lengths.append(f.norm(dim=1)[first])
    if not powers:
        powers, lengths = [torch.zeros(m, dtype=left.dtype)], [torch.zeros(m, dtype=left.dtype)]
    return _pad(powers), _pad(lengths)


def _pad(rows: list[Tensor]) -> Tensor:
    stacked = torch.stack(rows)
    return torch.cat([stacked, stacked.new_zeros(_COMPONENTS - len(stacked), stacked.shape[1])])
