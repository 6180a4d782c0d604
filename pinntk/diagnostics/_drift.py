"""How far the kernel and the parameters have moved, and for how long a frozen kernel predicts the training."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import inf

import numpy as np
import scipy
import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

from pinntk.diagnostics._dynamics import Losses, dynamics
from pinntk.ntk import KernelBlocks, kernel
from pinntk.ntk._finite import check_finite_kernel
from pinntk.problem import Points, Problem
from pinntk.residuals import errors

LAZY, FEATURE_LEARNING = "lazy", "feature-learning"

_SHARE, _MOST = 0.99, 20  # of the trace that the leading eigenspace holds, and its dimension at most


@dataclass(frozen=True, eq=False)
class Drift:
    """The change of a kernel during training, from `drift`.

    kernel: norm_F(K - K_0) / norm_F(K_0)
    blocks: the same of every diagonal block, {name: change}
    trace: (Tr K - Tr K_0) / Tr K_0
    traces: the same of every diagonal block, {name: change}
    alignment: <K, K_0>_F / (norm_F(K) norm_F(K_0)); 1 where K has only been scaled
    angles: (r,) principal angles in [0, pi/2] between both kernels' r leading eigenspaces, in radians, the largest first
    """

    kernel: float
    blocks: dict[str, float]
    trace: float
    traces: dict[str, float]
    alignment: float
    angles: np.ndarray

    @property
    def rotation(self) -> float:
        """The largest principal angle."""
        return float(self.angles[0])


@dataclass(frozen=True, eq=False)
class Horizon:
    """For how long a prediction held, from `prediction_horizon`.

    step: the last one before the prediction first left the band; the last of all if it never did; 0 if at the first already
    regime: "lazy" if it never left, else "feature-learning"
    deviation: (T,) |predicted - observed| / observed
    """

    step: int
    regime: str
    deviation: np.ndarray


def drift(first: KernelBlocks, now: KernelBlocks, rank: int | None = None) -> Drift:
    """The change from one kernel to another, both on the same points.

    rank: r, of the eigenspaces to compare; by default as many dimensions as hold 99 % of first's trace, at most 20. Where
        eigenvalue r is close to the next one the eigenspace is ill-defined, and its angles are too

    Raises ValueError for kernels of other conditions or points, or with NaN or infinity, and for a zero first kernel.
    """
    _check_same_points(first, now)
    for name, K in (("first", first), ("now", now)):
        check_finite_kernel(K, name)
    K_0, K_1 = first.numpy().astype(float), now.numpy().astype(float)
    norm_0, norm = float(np.linalg.norm(K_0)), float(np.linalg.norm(K_1))
    if norm_0 == 0:
        raise ValueError("first is zero: no condition depends on a trained parameter; relative changes are undefined")
    if rank is not None and (not isinstance(rank, int) or not 1 <= rank <= len(K_1)):
        raise ValueError(f"rank={rank!r}: a whole number from 1 to {len(K_1)}, the number of points, or None")
    values, modes_0 = (part.cpu().numpy() for part in first.eigh())
    _, modes = (part.cpu().numpy() for part in now.eigh())
    r = _leading(values[::-1]) if rank is None else rank
    return Drift(
        kernel=float(np.linalg.norm(K_1 - K_0) / norm_0),
        blocks={name: _relative((now[name] - first[name]).norm(), first[name].norm()) for name in first.names},
        trace=(now.trace() - first.trace()) / first.trace(),
        traces={name: _relative(now.trace(name) - first.trace(name), first.trace(name)) for name in first.names},
        alignment=float((K_1 / norm * K_0 / norm_0).sum()) if norm else 0.0,
        angles=scipy.linalg.subspace_angles(modes_0[:, -r:], modes[:, -r:]),
    )


def parameter_drift(initial: nn.Module | Iterable[Tensor], network: nn.Module) -> float:
    """norm(theta - theta_0) / norm(theta_0) over all parameters of the network, as a run's history has it.

    initial: a copy of the network as it was, or its parameters in the same order. Raises ValueError if they do not fit.
    """
    start = [p.detach() for p in (initial.parameters() if isinstance(initial, nn.Module) else initial)]
    end = [p.detach() for p in network.parameters()]
    if [p.shape for p in start] != [p.shape for p in end]:
        raise ValueError(
            f"initial has parameters of shapes {[tuple(p.shape) for p in start]}, network {[tuple(p.shape) for p in end]}; "
            "give a copy.deepcopy of the network, made before training"
        )
    moved = [float((p.double() - p_0.to(p.device).double()).norm()) for p_0, p in zip(start, end, strict=True)]
    return _relative(float(np.linalg.norm(moved)), float(np.linalg.norm([float(p.double().norm()) for p in start])))


def prediction_horizon(steps: ArrayLike, observed: ArrayLike, predicted: ArrayLike, tolerance: float = 0.1) -> Horizon:
    """How long a predicted loss curve stays within `tolerance` (a fraction) of the observed one.

    steps: (T,) ascending, on which both curves are given; NaN and infinity are outside the band

    Raises ValueError for curves of other lengths, and where they differ at step 0, where a prediction has to be exact.
    """
    steps, observed, predicted = (np.asarray(part, dtype=float) for part in (steps, observed, predicted))
    if steps.ndim != 1 or not len(steps) or observed.shape != steps.shape or predicted.shape != steps.shape:
        raise ValueError(
            f"steps, observed and predicted have shapes {steps.shape}, {observed.shape}, {predicted.shape}; expected (T,) each"
        )
    if (np.diff(steps) <= 0).any():
        raise ValueError("steps do not ascend; give each step once, in order")
    if not 0 < tolerance < inf:
        raise ValueError(f"tolerance={tolerance!r}: a fraction above 0, such as 0.1 for 10 %")
    with np.errstate(divide="ignore", invalid="ignore"):
        deviation = np.where(predicted == observed, 0.0, np.abs(predicted - observed) / np.abs(observed))
    outside = ~(np.isfinite(observed) & (deviation <= tolerance))
    if outside[0] and steps[0] == 0:
        raise ValueError(
            f"at step 0 the prediction is {predicted[0]:.4g}, observed was {observed[0]:.4g}: not the same training; predict "
            "from the initial network, on the training points, with the training's weights"
        )
    if not outside.any():
        return Horizon(int(steps[-1]), LAZY, deviation)
    left = int(outside.argmax())
    return Horizon(int(steps[left - 1]) if left else 0, FEATURE_LEARNING, deviation)


def frozen_prediction(
    network: nn.Module,
    problem: Problem,
    points: Points,
    weights: Mapping[str, float],
    lr: float,
    steps: ArrayLike,
    momentum: float = 0.0,
) -> Losses:
    """Loss curves of gradient descent from this network on, if its kernel stayed as it is; to be called before training.

    points, weights, lr: of the training, all of them constant: optimizer="gradient-descent", schedule="constant"
    steps: at which to predict, such as np.arange(0, 2001, 100), or `run.column("loss")[0]` from an equal run

    Raises ValueError as `pinntk.kernel` and `dynamics` do.
    """
    points = problem.check(points)
    K = kernel(network, problem, points)
    with torch.no_grad():
        start = errors(network, problem, points)
    return dynamics(K, start, weights).losses_after(steps, lr, momentum)


def _check_same_points(first: KernelBlocks, now: KernelBlocks) -> None:
    theirs, ours = (dict(zip(K.names, K.sizes, strict=True)) for K in (first, now))
    if list(theirs.items()) != list(ours.items()):
        raise ValueError(f"first is on {theirs}, now on {ours}; give kernels of the same conditions and points")
    for name in first.names:
        if name not in first.points or name not in now.points:
            continue
        a, b = (K.points[name].detach().cpu().double() for K in (first, now))
        if a.shape != b.shape or not torch.equal(a, b):
            raise ValueError(f"first and now are on different points of {name!r}; give kernels on the same points")


def _leading(values: np.ndarray) -> int:
    """How many of the eigenvalues, descending, hold 99 % of their sum; at most 20."""
    held = np.cumsum(values) >= _SHARE * values.sum()
    return min(int(held.argmax()) + 1, _MOST)


def _relative(change: float | Tensor, size: float | Tensor) -> float:
    """change / size; 0 where nothing is left as nothing."""
    change, size = float(change), float(size)
    return change / size if size else (inf if change else 0.0)
