"""The kernel on the unit circle, over widths and in training (Jacot, Gabriel & Hongler 2018, figure 1).

ReLU networks of depth 4 as the paper counts (3 hidden layers), beta = 0.1, NTK parametrization: Theta(x_0, x) with x_0 = (1, 0)
and x on the circle, at t = 0 and after 200 steps of lr 1.0 toward x_1 x_2 on inputs drawn from N(0, 1), for 10
initializations. The paper takes widths 500 and 10,000; a width of 4,000 is what a few minutes hold (`--widths 500 10000` asks
for the paper's). It does not say how many inputs: here 16, the same for all networks. The kernel at t = 0 is drawn 50 times,
so that its mean is known well enough to be compared with the kernel of infinite width.

    python scripts/circle_kernel.py            5 minutes on one core
    python scripts/circle_kernel.py --quick    seconds, for a look
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import sqrt

import _reproduction as reproduction
import circle_regression
import numpy as np
import torch
from _reproduction import AGREES, BLUE, DIFFERS, IN_KIND, RED, Check, tidy
from matplotlib.figure import Figure
from tqdm import tqdm

import pinntk

LR, STEPS = 1.0, 200
LEVEL = 0.05  # of the comparison with infinite width, over the circle and all widths together


@dataclass(frozen=True)
class Kernels:
    """Theta(x_0, x) of networks of one width, one row a network: (networks, angles).

    initial: at t = 0; the first rows are of the networks that were trained
    trained: at t = 200
    """

    initial: np.ndarray
    trained: np.ndarray

    @property
    def mean(self) -> np.ndarray:
        return self.initial.mean(0)

    @property
    def error(self) -> np.ndarray:
        """Standard error of the mean."""
        return self.initial.std(0, ddof=1) / sqrt(len(self.initial))

    @property
    def spread(self) -> float:
        """The standard deviation over networks at t = 0, root mean square over the circle."""
        return float(np.sqrt(self.initial.var(0, ddof=1).mean()))

    @property
    def growth(self) -> np.ndarray:
        """Change in training of the kernel's mean over the circle, relative, (trained networks,)."""
        return self.trained.mean(1) / self.initial[: len(self.trained)].mean(1) - 1


def row(network: pinntk.nn.MLP, angles: np.ndarray) -> np.ndarray:
    """Theta(x_0, x), (angles,)."""
    like = network.dense.weights[0]
    points = (circle_regression.rows(circle_regression.circle(part).to(like)) for part in (np.zeros(1), angles))
    return pinntk.cross_kernel(network, circle_regression.task(), *points)["fit", "fit"][0].numpy()


def limit(angles: np.ndarray) -> np.ndarray:
    """The same at infinite width."""
    network = pinntk.InfiniteMLP(depth=3, activation="relu", beta=0.1)
    points = (circle_regression.rows(circle_regression.circle(part)) for part in (np.zeros(1), angles))
    return pinntk.infinite_cross_kernel(network, circle_regression.task(), *points)["fit", "fit"][0].numpy()


def kernels(width: int, draws: int, trained: int, inputs: int, angles: np.ndarray, bar: tqdm) -> Kernels:
    x = torch.randn(inputs, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    initial, after = [], []
    for seed in range(draws):
        network = circle_regression.network(width, seed)
        initial.append(row(network, angles))
        if seed < trained:
            circle_regression.descend(network, x, circle_regression.product(x), STEPS, LR)
            after.append(row(network, angles))
        bar.update()
    return Kernels(np.array(initial), np.array(after))


def agreement(found: Kernels, expected: np.ndarray, level: float) -> tuple[float, float]:
    """The largest distance of the mean from the kernel of infinite width in standard errors, and what it may be.

    The angles' errors go together; what their maximum may be comes from the bootstrap: of sets of as many networks drawn from
    these with repetition, a share `level` are further from the mean of all.
    """
    generator = np.random.default_rng(0)
    count = len(found.initial)
    drawn = [Kernels(found.initial[generator.integers(count, size=count)], found.trained) for _ in range(2000)]
    furthest = [np.max(np.abs(some.mean - found.mean) / some.error) for some in drawn]
    return float(np.max(np.abs(found.mean - expected) / found.error)), float(np.quantile(furthest, 1 - level))


def checks(found: Mapping[int, Kernels], expected: np.ndarray) -> list[Check]:
    narrow, wide = found[min(found)], found[max(found)]
    apart = float(np.abs(narrow.mean - wide.mean).max() / expected.max())
    off = {width: float(np.abs(part.mean - expected).max() / expected.max()) for width, part in found.items()}
    compared = {width: agreement(part, expected, LEVEL / len(found)) for width, part in found.items()}
    spread, root = narrow.spread / wide.spread, sqrt(max(found) / min(found))
    growth = {width: (float(part.growth.mean()), standard_error(part.growth)) for width, part in found.items()}
    (more, more_error), (less, less_error) = growth[min(found)], growth[max(found)]
    shrinks = more - less > 2 * sqrt(more_error**2 + less_error**2)
    return [
        Check(
            "The mean of the kernel is that of infinite width.",
            "theorem 1: it converges in probability",
            ", ".join(
                f"width {width}: {100 * off[width]:.1f} % of the maximum, {far:.1f} standard errors ({allowed:.1f} allowed)"
                for width, (far, allowed) in compared.items()
            ),
            AGREES if all(far <= allowed for far, allowed in compared.values()) else DIFFERS,
            f"the largest distance over the circle, by the bootstrap, at level {LEVEL} for all widths together",
        ),
        Check(
            "The mean barely depends on the width.",
            "nearly the same for both widths",
            f"the means are {100 * apart:.1f} % of the maximum apart, the spread at width {min(found)} is "
            f"{100 * narrow.spread / expected.max():.1f} %",
            AGREES if apart <= narrow.spread / expected.max() else DIFFERS,
            "less apart than one standard deviation at the smaller width",
        ),
        Check(
            "The kernel's spread over initializations shrinks with the width.",
            "smaller and smoother for the wider network, without a number",
            f"standard deviation {spread:.2f} times smaller, {root:.2f} by the square root of the width",
            AGREES if abs(spread / root - 1) <= 0.25 else IN_KIND if spread > 1 else DIFFERS,
            "agrees within 25 % of the square root of the ratio of widths, in kind where it shrinks at all",
        ),
        Check(
            "In training the kernel grows, the less the wider the network.",
            "inflated after 200 steps, much less for the wider network",
            ", ".join(f"width {width}: {100 * mean:+.1f} +- {100 * error:.1f} %" for width, (mean, error) in growth.items()),
            AGREES if shrinks and more > 2 * more_error else DIFFERS,
            "growth at the smaller width, and more there, both by more than two standard errors",
        ),
    ]


def standard_error(values: np.ndarray) -> float:
    return float(values.std(ddof=1) / sqrt(len(values)))


def figure(angles: np.ndarray, found: Mapping[int, Kernels], expected: np.ndarray) -> Figure:
    drawn = Figure(figsize=(12, 3.8), layout="constrained")
    *panels, right = drawn.subplots(1, 3)
    panels[1].sharey(panels[0])
    for ax, what, title in zip(panels, ("initial", "trained"), ("t = 0", f"t = {STEPS}"), strict=True):
        for (width, part), color in zip(found.items(), (RED, BLUE), strict=True):
            for i, values in enumerate(getattr(part, what)[: len(part.trained)]):
                label = f"width {width}, {len(part.trained)} networks" if i == 0 else None
                ax.plot(angles, values, color=color, lw=0.8, alpha=0.7, label=label)
        ax.plot(angles, expected, "k--", lw=1.2, label="infinite width")
        ax.set(title=title, xlabel="angle of x", ylabel=r"$\Theta(x_0, x)$")
    for (width, part), color in zip(found.items(), (RED, BLUE), strict=True):
        off, band = part.mean - expected, 2 * part.error
        right.fill_between(angles, off - band, off + band, color=color, alpha=0.25, lw=0)
        right.plot(angles, off, color=color, lw=1.2, label=f"width {width}, t = 0: mean of {len(part.initial)} ± 2 s.e.")
        right.plot(
            angles, part.trained.mean(0) - expected, color=color, ls=":", label=f"t = {STEPS}: mean of {len(part.trained)}"
        )
    right.axhline(0, color="k", ls="--", lw=1)
    right.set(title="means minus infinite width", xlabel="angle of x", ylabel="difference")
    right.margins(y=0.5)
    tidy((*panels, right))
    return drawn


def main(argv: list[str] | None = None) -> dict:
    parser = reproduction.parser(__file__, __doc__)
    parser.add_argument("--widths", type=int, nargs=2, metavar=("NARROW", "WIDE"), help="500 4000 unless given")
    parser.add_argument("--seeds", type=int, help="networks trained of each width, 10 unless given")
    arguments = parser.parse_args(argv)
    quick = arguments.quick
    widths = sorted(arguments.widths or ((40, 160) if quick else (500, 4000)))
    trained = arguments.seeds or (4 if quick else 10)
    draws, inputs = (max(trained, 12), 8) if quick else (max(trained, 50), 16)
    angles = np.linspace(-np.pi, np.pi, 25 if quick else 81)
    with tqdm(total=len(widths) * draws, disable=None) as bar:
        found = {width: kernels(width, draws, trained, inputs, angles, bar) for width in widths}
    expected = limit(angles)
    numbers = {
        "widths": widths,
        "networks": {"initial": draws, "trained": trained},
        "inputs": inputs,
        "lr": LR,
        "steps": STEPS,
        "angles": angles.tolist(),
        "infinite": expected.tolist(),
        "mean": {width: part.mean.tolist() for width, part in found.items()},
        "standard_error": {width: part.error.tolist() for width, part in found.items()},
        "trained_mean": {width: part.trained.mean(0).tolist() for width, part in found.items()},
        "spread": {width: part.spread for width, part in found.items()},
        "growth": {width: part.growth.tolist() for width, part in found.items()},
    }
    return reproduction.finish(__file__, arguments.out, figure(angles, found, expected), numbers, checks(found, expected))


if __name__ == "__main__":
    main()
