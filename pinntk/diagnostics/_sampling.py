"""Whether the points are good ones: rows of K that repeat others, gaps, what they miss."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy
import torch
from torch import Tensor, nn

from pinntk._util.precision import without_autocast
from pinntk.geometry._sampling import generator
from pinntk.ntk import KernelBlocks
from pinntk.ntk._finite import check_finite_kernel
from pinntk.ntk._store import FactorStore
from pinntk.problem import Faces, Measurements, PeriodicPair, Points, Problem, Region
from pinntk.residuals import check_network, errors
from pinntk.residuals._points import to_network

MOST_ROWS = 4000  # of a kernel that a diagnosis or a monitor computes, however many conditions there are
WHOLE = "all conditions"  # the entry of `redundancy` for all of K: no function can have this name
_SAME = 1e-10  # rows of J count as the same one if their correlation is that close to 1: rounding leaves 1e-14
_RIDGE = 1e-4  # of the mean eigenvalue, in the effective number of points
_DRAWS = 4  # Sobol samples that `coverage` compares with


def network_points(network: nn.Module, problem: Problem, points: Points) -> dict[str, Tensor]:
    """The points in the conditions' order, in the network's dtype. Raises as `pinntk.kernel` does."""
    if not isinstance(problem, Problem):
        raise TypeError(f"problem is a {type(problem).__name__}; the order is (network, problem, points)")
    points = problem.check(points)
    check_network(network, problem, points)
    return to_network(network, points)


def domain_points(network: nn.Module, problem: Problem, samples: int, seed: int) -> Tensor:
    """Sobol points (samples, d) of the domain in the network's dtype, after a check of the network."""
    whole_number("samples", samples, 2)
    if not isinstance(problem, Problem):
        raise TypeError(f"problem is a {type(problem).__name__}; the order is (network, problem)")
    check_network(network, problem, problem.sample(seed=seed))
    rows = torch.as_tensor(problem.domain.sample(samples, "sobol", generator(seed, "sanity")))
    return to_network(network, {"domain": rows})["domain"]


def at_most(most: int, conditions: int) -> int:
    """`most` points of a condition, or fewer where so many conditions would make the kernel larger than `MOST_ROWS`."""
    return max(1, min(most, MOST_ROWS // conditions))


def subset(points: Points, most: int, seed: int = 0) -> dict[str, Tensor]:
    """At most `most` of each condition's points, and 4,000 in all (but one of each), drawn by `seed`; points that conditions
    share stay shared.
    """
    most = at_most(most, len(points))
    kept: dict[int, Tensor] = {}
    for rows in points.values():
        if id(rows) not in kept and len(rows) > most:
            places = generator(seed, "kernel", len(rows)).permutation(len(rows))[:most]
            kept[id(rows)] = rows[torch.from_numpy(places).to(rows.device)]
    return {name: kept.get(id(rows), rows) for name, rows in points.items()}


def whole_number(name: str, value: int, least: int = 1) -> None:
    """Raises ValueError unless the argument is a whole number of at least `least`."""
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise ValueError(f"{name}={value!r}: a whole number of at least {least}")


# Rows of K that repeat others.


@dataclass(frozen=True)
class Redundancy:
    """How many of a condition's points say something of their own.

    points: n
    rank: eigenvalues of K_ii above its floor, n eps lambda_max
    share: 1 - rank / n, of the points that training could do without
    effective: sum_k lambda_k / (lambda_k + mu), mu = 1e-4 Tr K_ii / n: the degrees of freedom that fit the errors to about
        1 % of their prior size; from 1 (all rows alike) to n
    duplicates: points whose row of J is a multiple of an earlier one's
    """

    points: int
    rank: int
    share: float
    effective: float
    duplicates: int


def redundancy(kernel: KernelBlocks, *, floor: float | None = None) -> dict[str, Redundancy]:
    """Redundant points of every condition, and of all of K under `sampling.WHOLE`.

    floor: eigenvalues below floor * lambda_max are not part of the rank; n eps of K's dtype unless given. For the kernel of
        a float32 network, n * 1.2e-7

    A smooth network's spectrum falls fast, so the rank of many points in one dimension is far below n for good points as
    well: compare with the kernel on as many Sobol points. Duplicates need no comparison. Where K_ii is zero (a condition met by
    construction) rank and effective number are 0. Raises ValueError for NaN or infinity in K.
    Degrees of freedom: Zhang 2005 (Neural Computation 17:2077); the participation ratio (sum lambda)^2 / sum lambda^2 is
    between 1 and 2 for most PINNs, whatever their points, since one eigenvalue outweighs all others.
    """
    if not isinstance(kernel, KernelBlocks):
        raise TypeError(f"kernel is a {type(kernel).__name__}; give what pinntk.kernel returns")
    if floor is not None and not 0 <= floor < 1:
        raise ValueError(f"floor={floor!r}: a share of the largest eigenvalue, at least 0 and below 1, such as 1e-12")
    check_finite_kernel(kernel)
    blocks = {name: kernel[name] for name in kernel.names} | {WHOLE: kernel.matrix()}
    return {name: _redundancy(block, floor) for name, block in blocks.items()}


def _redundancy(K: Tensor, floor: float | None) -> Redundancy:
    n = len(K)
    floor = n * torch.finfo(K.dtype).eps if floor is None else floor
    K = K.double()
    if not K.any():
        return Redundancy(n, 0, 1.0, 0.0, 0)
    eigenvalues = torch.linalg.eigvalsh(K)
    rank = int((eigenvalues > floor * eigenvalues[-1]).sum())
    eigenvalues = eigenvalues.clamp_min(0)  # the smallest come out negative by rounding
    effective = float((eigenvalues / (eigenvalues + _RIDGE * eigenvalues.mean())).sum())
    sizes = K.diagonal().clamp_min(0).sqrt()
    alike = K.abs() > (1 - _SAME) * sizes[:, None] * sizes
    alike &= (sizes[:, None] > 0) & (sizes > 0)
    return Redundancy(n, rank, 1 - rank / n, effective, int(alike.tril(-1).any(1).sum()))


# Gaps and clusters.


@dataclass(frozen=True, eq=False)
class Coverage:
    """How well a condition's points fill its region, in coordinates that run from 0 to 1 over the domain.

    points: n
    duplicates: rows that repeat an earlier row; 0 on a region that is a few places only, such as the ends of an interval
    gap: the fill distance max_y min_i |y - x_i| over that of n Sobol points; large where a part of the region is empty,
        infinite where a place of such a region has no point
    hole: (d,) center of the largest empty ball, in the domain's coordinates
    spacing: the median distance to the nearest neighbor over that of n Sobol points; small where points cluster, NaN for
        a single point
    """

    points: int
    duplicates: int
    gap: float
    hole: np.ndarray
    spacing: float


def coverage(problem: Problem, points: Points, *, reference: int = 4096, seed: int = 0) -> dict[str, Coverage]:
    """Gaps and clusters of every condition's points, against as many Sobol points of the same region.

    reference: Sobol points at which the fill distance is measured; of at least 16 times the points
    seed: draws these

    Measurements are compared with points in the whole domain, so that a gap is where nothing was measured. Given points of a
    foreign condition are left out: of what region they are is not known. Raises as `Problem.check` does. The fill distance is
    the h of convergence theory (Wendland 2005, Scattered Data Approximation).
    """
    if not isinstance(problem, Problem):
        raise TypeError(f"problem is a {type(problem).__name__}; the order is (problem, points)")
    whole_number("reference", reference, 16)
    d = problem.domain.dimension
    rows = {name: rows[:, :d].detach().cpu().double().numpy() for name, rows in problem.check(points).items()}
    regions = {name: problem[name].region for name in rows}
    return {
        name: _coverage(region, rows[name], reference, seed)
        for name, region in regions.items()
        if region.given is None or isinstance(region, Measurements)
    }


def _coverage(region: Region, rows: np.ndarray, reference: int, seed: int) -> Coverage:
    box = region.domain
    region = box if isinstance(region, Measurements) else region
    n, scale = len(rows), box.high - box.low

    def sobol(count: int, key: int) -> np.ndarray:
        return (region.sample(count, "sobol", generator(seed, "coverage", key)) - box.low) / scale

    given, dense = (rows - box.low) / scale, sobol(max(reference, 16 * n), 0)
    far = np.asarray(scipy.spatial.cKDTree(given).query(dense)[0])
    hole = box.low + scale * dense[far.argmax()]
    if _places(region):
        # Float32 coordinates of an end differ from the end by rounding.
        return Coverage(n, 0, 1.0 if far.max() < 1e-4 else float("inf"), hole, 1.0)
    draws = [sobol(n, key) for key in range(1, 1 + _DRAWS)]
    gap = far.max() / np.mean([np.max(scipy.spatial.cKDTree(draw).query(dense)[0]) for draw in draws])
    spacing = _spacing(given) / np.mean([_spacing(draw) for draw in draws])
    return Coverage(n, n - len(np.unique(rows, axis=0)), float(gap), hole, float(spacing))


def _spacing(rows: np.ndarray) -> float:
    """The median distance to the nearest neighbor; NaN for one point."""
    if len(rows) < 2:
        return float("nan")
    return float(np.median(np.asarray(scipy.spatial.cKDTree(rows).query(rows, k=2)[0])[:, 1]))


def _places(region: Region) -> bool:
    """Whether the region is a few places only, where many points can but repeat each other."""
    faces = region.lower if isinstance(region, PeriodicPair) else region
    return isinstance(faces, Faces) and all(len(dict(piece)) == faces.dimension for piece in faces.pieces)


# What the points miss.


@dataclass(frozen=True, eq=False)
class Missing:
    """A condition's errors between its training points.

    points: (k, d) fresh points of the largest scores, the best first
    scores: (k,) K_ii e_i^2 there = |d (e_i^2 / 2) / d theta|^2, how hard a point would pull at the parameters, float64
    fresh, trained: mean(e^2) on fresh and on training points
    ratio: fresh / trained; about 1 where the training points stand for the region, large where they were overfitted
    score_ratio: the mean score on fresh points over that on training points
    """

    points: Tensor
    scores: Tensor
    fresh: float
    trained: float
    ratio: float
    score_ratio: float


@without_autocast
def where_missing(
    network: nn.Module, problem: Problem, points: Points, *, dense: int = 2000, top: int = 20, seed: int = 0
) -> dict[str, Missing]:
    """Errors on `dense` fresh Sobol points of every condition against those at the training points, {condition: Missing}.

    points: {condition: (n, d)}, on which the network was trained
    top: candidates to return, by score
    seed: draws the fresh points

    Data and other given points are left out: there are no fresh ones. Raises ValueError for sizes below 1 and as
    `pinntk.kernel` does. Scores: importance sampling by gradient norms (Katharopoulos & Fleuret 2018, arXiv 1803.00942),
    here exact and by the kernel; adding points where errors are large: Lu, Meng, Mao & Karniadakis 2021 (SIAM Review 63:208).
    """
    whole_number("dense", dense)
    whole_number("top", top)
    points = {
        name: rows for name, rows in network_points(network, problem, points).items() if problem[name].region.given is None
    }
    if not points:
        return {}
    drawn: dict[Region, Tensor] = {}  # conditions of one region share a tensor, and so one pass of the network
    for name in points:
        region = problem[name].region
        if region not in drawn:
            rows = region.sample(dense, "sobol", generator(seed, "fresh", region.describe()))
            drawn[region] = torch.as_tensor(rows)
    fresh = to_network(network, {name: drawn[problem[name].region] for name in points})
    square, score = _importance(network, problem, fresh)
    trained_square, trained_score = _importance(network, problem, points)
    found = {}
    for name in points:
        best = score[name].topk(min(top, len(score[name])))
        fresh_square, seen_square, fresh_score, seen_score = (
            float(part[name].mean()) for part in (square, trained_square, score, trained_score)
        )
        chosen = fresh[name][best.indices]
        ratio, score_ratio = quotient(fresh_square, seen_square), quotient(fresh_score, seen_score)
        found[name] = Missing(chosen, best.values, fresh_square, seen_square, ratio, score_ratio)
    return found


def _importance(network: nn.Module, problem: Problem, points: Points) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """e^2 and K_ii e^2 at every point, {condition: (n,)} in float64."""
    diagonal = kernel_diagonal(network, problem, points)
    square = squared_errors(network, problem, points)
    return square, {name: square[name] * diagonal[name] for name in square}


def kernel_diagonal(network: nn.Module, problem: Problem, points: Points) -> dict[str, Tensor]:
    """The diagonal of K at checked points, {condition: (n,)} in float64, without K."""
    found: dict[str, Tensor] = {}
    for chunk, part in FactorStore(network, problem, points, 0):
        whole = found.setdefault(chunk.name, part.diagonal.new_empty(len(points[chunk.name])))
        whole[chunk.start : chunk.stop] = part.diagonal
    return found


def squared_errors(network: nn.Module, problem: Problem, points: Points) -> dict[str, Tensor]:
    """e^2 at every point, {condition: (n,)} in float64."""
    with torch.no_grad():
        return {name: e.double().square() for name, e in errors(network, problem, points).items()}


def quotient(above: float, below: float) -> float:
    """above / below; 1 for 0 / 0, infinite for anything else over 0."""
    if below:
        return above / below
    return 1.0 if above == 0 else float("inf") if above == above else above
