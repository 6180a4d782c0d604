"""Convergence along the kernel's principal components (Jacot, Gabriel & Hongler 2018, section 5 and figure 3).

In the limit of infinite width the error of least squares, along eigenvector k of the kernel on the data, falls as
exp(-lambda_k t): training is fastest along the largest components. The paper trains toward f(0) + 0.5 f_2 on 512 digits of
MNIST, f_2 the second component, with widths 100, 1,000 and 10,000: the network should move along f_2 only. Here the inputs are
32 points drawn from N(0, 1) in the plane and the widest network has 4,000 units; the kernel of f_2 is that of infinite width.
A second training, of width 1,000, starts with one and the same error along all components of the network's own kernel, of root
mean square 1 or 0.1 over the points: the smaller the error, the less the kernel has to change.

    python scripts/principal_components.py            1 minute on one core
    python scripts/principal_components.py --quick    seconds, for a look
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import sqrt

import _reproduction as reproduction
import circle_regression
import numpy as np
import torch
from _reproduction import AGREES, BLUE, DIFFERS, GRAY, GREEN, IN_KIND, RED, Check, tidy
from circle_regression import WEIGHTS
from matplotlib.figure import Figure
from scipy.stats import spearmanr
from torch import Tensor

import pinntk
from pinntk._util.progress import over

LR = 1.0
SIZE = 0.5  # of the error along the second component
SIZES = (1.0, 0.1)  # of the error along all of them


@dataclass(frozen=True)
class Single:
    """Training toward f(0) + 0.5 f_2.

    along: (steps,) the error's part along f_2, from 0.5 on
    across: (steps,) the root mean square of the rest of the error
    """

    along: np.ndarray
    across: np.ndarray


@dataclass(frozen=True)
class All:
    """Training from an error of one size along every component.

    rates: (n,) lambda_k of the network's own kernel at the start, ascending
    observed: (steps, n) the error's parts
    """

    rates: np.ndarray
    observed: np.ndarray

    def pairs(self) -> np.ndarray:
        """(2, components) lambda_k and the fitted rate, of those that fall far enough."""
        fitted = np.array([rate(values) for values in self.observed.T], float)
        return np.stack([self.rates, fitted])[:, np.isfinite(fitted)]


def second_component(x: Tensor) -> tuple[float, Tensor]:
    """lambda_2 and f_2 on the points, of root mean square 1, for the kernel of infinite width."""
    limit = pinntk.InfiniteMLP(depth=3, activation="relu", beta=0.1)
    rates, modes = pinntk.infinite_kernel(limit, circle_regression.task(), circle_regression.rows(x)).eigh(WEIGHTS)
    return float(rates[-2]), sqrt(len(x)) * modes[:, -2]


def single(width: int, seed: int, x: Tensor, component: Tensor, steps: int) -> Single:
    network = circle_regression.network(width, seed)
    with torch.no_grad():
        target = network(x.float())[:, 0] + SIZE * component
    errors = circle_regression.descend(network, x, target, steps, LR).double()
    along = -errors @ component / len(x)
    rest = errors + along[:, None] * component
    return Single(along.numpy(), rest.square().mean(1).sqrt().numpy())


def all_at_once(width: int, seed: int, x: Tensor, size: float, steps: int) -> All:
    network, problem, points = circle_regression.network(width, seed), circle_regression.task(), circle_regression.rows(x)
    K = pinntk.kernel(network, problem, points)
    rates, modes = K.eigh(WEIGHTS)
    start = size * modes.sum(1)  # of root mean square `size`
    with torch.no_grad():
        target = network(x.float())[:, 0] - start
    errors = circle_regression.descend(network, x, target, steps, LR).double()
    return All(rates.numpy(), (errors @ modes).numpy())


def rate(values: np.ndarray) -> float | None:
    """lambda from a fit of (1 - lr lambda)^steps to the first decade; None where it falls by less than a factor of e."""
    share = values / values[0]
    below = np.flatnonzero(share < 0.1)
    end = below[0] if len(below) else len(share)
    if share[:end].min() > np.exp(-1) or end < 3:
        return None
    slope = np.polyfit(np.arange(end), np.log(share[:end]), 1)[0]
    return float((1 - np.exp(slope)) / LR)


def checks(predicted: float, singles: Mapping[int, Sequence[Single]], alls: Mapping[float, Sequence[All]]) -> list[Check]:
    ratios = {width: np.array([rate(s.along) for s in runs], float) / predicted for width, runs in singles.items()}
    across = {width: float(np.mean([s.across.max() for s in runs])) for width, runs in singles.items()}
    narrowest, widest = min(singles), max(singles)
    off = {width: float(np.abs(values - 1).mean()) for width, values in ratios.items()}
    power = float(np.polyfit(np.log(list(across)), np.log(list(across.values())), 1)[0])
    pairs = {size: np.concatenate([run.pairs() for run in runs], 1) for size, runs in alls.items()}
    deviation = {size: float(np.median(np.abs(found / expected - 1))) for size, (expected, found) in pairs.items()}
    order = float(spearmanr(*pairs[min(SIZES)]).statistic)
    large, small = (deviation[size] for size in SIZES)
    text = ", ".join(
        f"{100 * value:.1f} % at size {size:g} ({pairs[size].shape[1]} rates)" for size, value in deviation.items()
    )
    return [
        Check(
            "Wide networks converge along a principal component at the rate of its eigenvalue.",
            f"exp(-lambda_2 t), lambda_2 = {predicted:.4f} at infinite width",
            ", ".join(f"width {width}: {values.mean():.3f} lambda_2" for width, values in ratios.items()),
            AGREES if off[widest] <= 0.1 and off[widest] < off[narrowest] else DIFFERS,
            "mean over seeds of the difference at most 10 % at the largest width, and less than at the smallest",
        ),
        Check(
            "A network that is to move along one component hardly leaves it, the less the wider it is.",
            "the deviation shrinks as the width grows",
            ", ".join(f"width {width}: {100 * value / SIZE:.1f} %" for width, value in across.items())
            + f" of the component's size; power of the width {power:.2f}",
            AGREES if all(a > b for a, b in zip(across.values(), list(across.values())[1:], strict=False)) else DIFFERS,
            "the mean over seeds of the largest deviation falls from each width to the next",
        ),
        Check(
            "Every component of the error decays at the rate of its own eigenvalue, the largest fastest.",
            "exp(-lambda_k t)",
            f"median difference {text}; rank correlation at size {min(SIZES):g} {order:.3f}",
            DIFFERS if order < 0.95 or small > min(0.1, large) else IN_KIND if large > 0.1 else AGREES,
            "of those that fall by a factor of e: median difference at most 10 %, in kind if only for the smaller error and "
            "less than for the larger; rank correlation at least 0.95",
        ),
    ]


def figure(
    predicted: float, singles: Mapping[int, Sequence[Single]], width: int, alls: Mapping[float, Sequence[All]]
) -> Figure:
    drawn = Figure(figsize=(12, 3.8), layout="constrained")
    left, middle, right = drawn.subplots(1, 3)
    for (units, runs), color in zip(singles.items(), (RED, GREEN, BLUE), strict=True):
        for i, run in enumerate(runs):
            label = f"width {units}" if i == 0 else None
            left.semilogy(run.along, color=color, lw=1, label=label)
            middle.plot(run.across, color=color, lw=1, label=label)
    steps = np.arange(len(run.along))
    left.semilogy(SIZE * (1 - LR * predicted) ** steps, "k--", lw=1.2, label="infinite width")
    left.set(title="error along component 2", xlabel="step of lr 1.0", ylabel="root mean square", ylim=(5e-4, 0.8))
    middle.set(title="error across it", xlabel="step of lr 1.0", ylabel="root mean square")
    for (size, runs), color, marker in zip(alls.items(), (RED, BLUE), "ox", strict=True):
        expected, found = np.concatenate([run.pairs() for run in runs], 1)
        right.loglog(expected, found, marker, ms=4, color=color, label=f"error of size {size:g}, {len(runs)} networks")
    right.loglog(*2 * [[expected.min(), expected.max()]], color=GRAY, lw=1, label="equal")
    right.set(
        title=f"all components, width {width}", xlabel="eigenvalue of the network's kernel", ylabel="fitted rate of decay"
    )
    tidy((left, middle, right))
    return drawn


def main(argv: list[str] | None = None) -> dict:
    parser = reproduction.parser(__file__, __doc__)
    parser.add_argument("--seeds", type=int, help="networks of each width, 3 unless given")
    arguments = parser.parse_args(argv)
    quick = arguments.quick
    widths, steps, longer = ((30, 100, 400), 20, 20) if quick else ((100, 1000, 4000), 100, 500)
    seeds = range(arguments.seeds or (2 if quick else 3))
    x = torch.randn(8 if quick else 32, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    predicted, component = second_component(x)
    singles: dict[int, list[Single]] = {width: [] for width in widths}
    alls: dict[float, list[All]] = {size: [] for size in SIZES}
    for seed in over(seeds, "seeds"):
        for width, found in singles.items():
            found.append(single(width, seed, x, component, steps))
        for size, found in alls.items():
            found.append(all_at_once(widths[1], seed, x, size, longer))
    numbers = {
        "points": len(x),
        "widths": widths,
        "seeds": len(seeds),
        "lr": LR,
        "steps": [steps, longer],
        "lambda_2": predicted,
        "single": {
            width: [{"rate": rate(run.along), "largest_across": float(run.across.max())} for run in runs]
            for width, runs in singles.items()
        },
        "all": {
            size: [dict(zip(("eigenvalues", "rates"), run.pairs().tolist(), strict=True)) for run in runs]
            for size, runs in alls.items()
        },
    }
    drawn = figure(predicted, singles, widths[1], alls)
    return reproduction.finish(__file__, arguments.out, drawn, numbers, checks(predicted, singles, alls))


if __name__ == "__main__":
    main()
