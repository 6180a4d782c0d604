"""Trained networks against the law of infinitely wide ones (Jacot, Gabriel & Hongler 2018, figure 2).

ReLU networks of depth 4 as the paper counts (3 hidden layers), beta = 0.1, NTK parametrization, widths 50 and 1,000, trained on
4 points of the unit circle for 1,000 steps of lr 1.0. The paper shows 10 networks of each width beside the 10th, 50th and 90th
percentiles of the limiting Gaussian; which points and values it took is not printed, here x_1 x_2 / 2 at the angles `ANGLES`,
values of about the size of the outputs at initialization (`--size 1` takes x_1 x_2: the larger they are, the more features are
learned). With 100 networks the law of infinite width, after as many steps of gradient descent, is a hypothesis that can be
tested:

    mean    the largest |mean - mu| over the circle, in standard errors sigma / sqrt(N)
    bands   the largest |sample quantile - quantile of the law| over the circle and q = 0.1, 0.5, 0.9, in the sample quantile's
            standard errors sqrt(q (1 - q) / N) sigma / phi(z_q)

Outputs at two points of the circle go together, so what a maximum may be comes from simulated ensembles of the law itself,
which makes both tests valid whatever the correlation; each has level 2.5 %, both together at most 5 %. Points of the circle at
which sigma is below a tenth of its maximum, close to those trained on, are left out.

    python scripts/trained_ensemble.py            6 minutes on one core
    python scripts/trained_ensemble.py --quick    seconds, for a look
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from math import sqrt

import _reproduction as reproduction
import circle_regression
import numpy as np
import torch
from _reproduction import AGREES, BLUE, DIFFERS, IN_KIND, RED, Check, tidy
from circle_regression import WEIGHTS
from matplotlib.figure import Figure
from scipy.stats import norm
from torch import Tensor

import pinntk
from pinntk._util.progress import Progress

LR, STEPS = 1.0, 1000
ANGLES = (-2.4, -0.9, 0.6, 2.0)
QUANTILES = (0.1, 0.5, 0.9)
LEVEL = 0.05  # of both tests of an ensemble together
SIMULATED = 2000


@dataclass(frozen=True)
class Law:
    """The Gaussian of the outputs at points of the circle: mean (m,), covariance (m, m)."""

    mean: np.ndarray
    covariance: np.ndarray

    @property
    def std(self) -> np.ndarray:
        return np.sqrt(self.covariance.diagonal())

    def quantile(self, q: float) -> np.ndarray:
        return self.mean + norm.ppf(q) * self.std

    def kept(self) -> np.ndarray:
        """The points at which sigma is not small, (m,) of bool."""
        return self.std >= 0.1 * self.std.max()

    def ensembles(self, networks: int) -> np.ndarray:
        """SIMULATED ensembles in units of sigma, at the points that are kept: (ensembles, networks, kept)."""
        kept = self.kept()
        values, modes = np.linalg.eigh(self.covariance[np.ix_(kept, kept)])
        root = modes * np.sqrt(values.clip(0)) / self.std[kept][:, None]
        return np.random.default_rng(0).standard_normal((SIMULATED, networks, len(values))) @ root.T


@dataclass(frozen=True)
class Comparison:
    """A largest deviation, and what it exceeds in a share LEVEL / 2 of the ensembles of the law itself."""

    statistic: float
    allowed: float

    @property
    def passed(self) -> bool:
        return self.statistic <= self.allowed


def law(x: Tensor, y: Tensor, test: Tensor, steps: int = STEPS) -> Law:
    """Of infinitely wide networks after training."""
    network = pinntk.InfiniteMLP(depth=3, activation="relu", beta=0.1)
    ensemble = pinntk.infinite_ensemble(network, circle_regression.task(), circle_regression.rows(x, y), WEIGHTS)
    mean, covariance = ensemble.mean_after(test, steps, LR), ensemble.covariance_after(test, steps, LR)
    return Law(mean[:, 0].numpy(), covariance.numpy())


@dataclass(frozen=True)
class Ensemble:
    """Outputs of networks after training, and of the same networks linearized where training starts: (networks, m) each."""

    trained: np.ndarray
    linearized: np.ndarray


def ensemble(width: int, seeds: int, x: Tensor, y: Tensor, test: Tensor, steps: int, bar: Progress) -> Ensemble:
    problem, points, trained, linearized = circle_regression.task(), circle_regression.rows(x, y), [], []
    for seed in range(seeds):
        network = circle_regression.network(width, seed)
        cross = pinntk.cross_kernel(network, problem, circle_regression.rows(test), points)
        with torch.no_grad():
            start, errors = network(test.float())[:, 0].double().numpy(), pinntk.errors(network, problem, points)
        predicted = pinntk.diagnostics.dynamics(pinntk.kernel(network, problem, points), errors, WEIGHTS)
        linearized.append(start + predicted.changes_after(cross, steps, LR)["fit"])
        circle_regression.descend(network, x, y, steps, LR)
        with torch.no_grad():
            trained.append(network(test.float())[:, 0].double().numpy())
        bar.advance()
    return Ensemble(np.array(trained), np.array(linearized))


def mean_deviation(standard: np.ndarray) -> np.ndarray:
    """(..., networks, kept) outputs less mu, over sigma -> (...)."""
    return np.abs(standard.mean(-2)).max(-1) * sqrt(standard.shape[-2])


def band_deviation(standard: np.ndarray) -> np.ndarray:
    """The same of the quantiles."""
    q = np.array(QUANTILES)[:, None]
    errors = np.sqrt(q * (1 - q) / standard.shape[-2]) / norm.pdf(norm.ppf(q))
    off = np.moveaxis(np.quantile(standard, QUANTILES, axis=-2), 0, -2) - norm.ppf(q)  # (..., quantiles, kept)
    return (np.abs(off) / errors).max((-2, -1))


def compared(found: np.ndarray, expected: Law) -> dict[str, Comparison]:
    """Of the outputs (networks, m) of an ensemble against the law."""
    kept = expected.kept()
    standard = (found - expected.mean)[:, kept] / expected.std[kept]
    simulated = expected.ensembles(len(found))
    return {
        name: Comparison(float(deviation(standard)), float(np.quantile(deviation(simulated), 1 - LEVEL / 2, method="higher")))
        for name, deviation in (("mean", mean_deviation), ("bands", band_deviation))
    }


def likeness(found: np.ndarray, expected: Law) -> tuple[float, float]:
    """The largest |mean - mu| / sigma, and the factor by which the width of the 10 to 90 % band is off at most."""
    kept = expected.kept()
    bias = np.abs(found.mean(0) - expected.mean)[kept] / expected.std[kept]
    band = np.quantile(found, QUANTILES[-1], axis=0) - np.quantile(found, QUANTILES[0], axis=0)
    ratio = np.log(band[kept] / (expected.quantile(QUANTILES[-1]) - expected.quantile(QUANTILES[0]))[kept])
    return float(bias.max()), float(np.exp(np.abs(ratio).max()))


def checks(
    found: Mapping[int, Ensemble],
    expected: Law,
    tested: Mapping[int, Mapping[str, Comparison]],
    linearized: Mapping[int, Mapping[str, Comparison]],
) -> list[Check]:
    narrow, wide = min(found), max(found)
    made = []
    for name, what in (("mean", "mean outputs"), ("bands", "10, 50 and 90 % quantiles")):
        test = tested[wide][name]
        made.append(
            Check(
                f"The {what} of networks of width {wide} agree with infinite width.",
                "close to those of the limiting distribution",
                f"{len(found[wide].trained)} networks, {expected.kept().sum()} points of the circle: largest deviation "
                f"{test.statistic:.2f} standard errors, {test.allowed:.2f} allowed ({linearized[wide][name].statistic:.2f} for "
                "the same networks, linearized)",
                AGREES if test.passed else DIFFERS,
                f"simultaneous test over the circle at level {LEVEL / 2}, critical value simulated from the law",
            )
        )
    bias, factor = likeness(found[narrow].trained, expected)
    passed = all(test.passed for test in tested[narrow].values())
    deviations = ", ".join(f"{name} {test.statistic:.2f} ({test.allowed:.2f} allowed)" for name, test in tested[narrow].items())
    return [
        *made,
        Check(
            f"Even at width {narrow} the kernel gives a good indication of the distribution.",
            "their mean and variance appear to be close",
            f"the mean is at most {bias:.2f} sigma off, the 10 to 90 % band at most a factor {factor:.2f}; largest deviations: "
            + deviations,
            AGREES if passed else IN_KIND if bias <= 0.5 and factor <= 2 else DIFFERS,
            "agrees by the same tests, in kind up to 0.5 sigma and a factor of 2",
        ),
    ]


def figure(angles: np.ndarray, found: Mapping[int, Ensemble], expected: Law, x: np.ndarray, y: Tensor) -> Figure:
    drawn = Figure(figsize=(12, 4.2), layout="constrained")
    panels = drawn.subplots(1, 2, sharey=True)
    for ax, (width, networks), color in zip(panels, found.items(), (RED, BLUE), strict=True):
        values = networks.trained
        for i, row in enumerate(values[:10]):
            ax.plot(
                angles,
                row,
                color=color,
                lw=0.6,
                alpha=0.5,
                label=f"{min(10, len(values))} of {len(values)} networks" if i == 0 else None,
            )
        for q in QUANTILES:
            first = q == QUANTILES[0]
            label = "their 10, 50, 90 % quantiles" if first else None
            ax.plot(angles, np.quantile(values, q, axis=0), color=color, lw=2, label=label)
            ax.plot(angles, expected.quantile(q), "k--", lw=1.3, label="those of infinite width" if first else None)
        ax.plot(x, y, "ko", ms=5, label="trained on")
        ax.set(title=f"width {width}", xlabel="angle")
    panels[0].set(ylabel="output after training")
    tidy(panels)
    return drawn


def as_numbers(comparisons: Mapping[str, Comparison]) -> dict[str, dict[str, float]]:
    return {name: asdict(comparison) for name, comparison in comparisons.items()}


def main(argv: list[str] | None = None) -> dict:
    parser = reproduction.parser(__file__, __doc__)
    parser.add_argument("--widths", type=int, nargs=2, metavar=("NARROW", "WIDE"), help="50 1000 unless given")
    parser.add_argument("--seeds", type=int, help="networks of each width, 100 unless given")
    parser.add_argument(
        "--size", type=float, default=0.5, help="of the values that are trained on, size x_1 x_2; 0.5 unless given"
    )
    arguments = parser.parse_args(argv)
    quick = arguments.quick
    widths = sorted(arguments.widths or ((10, 30) if quick else (50, 1000)))
    networks, steps = arguments.seeds or (4 if quick else 100), 50 if quick else STEPS
    angles = np.linspace(-np.pi, np.pi, 80, endpoint=False)
    x, test = circle_regression.circle(np.array(ANGLES)), circle_regression.circle(angles)
    y = arguments.size * circle_regression.product(x)
    with Progress("networks", len(widths) * networks, shown=True) as bar:
        found = {width: ensemble(width, networks, x, y, test, steps, bar) for width in widths}
    expected = law(x, y, test, steps)
    tested = {width: compared(values.trained, expected) for width, values in found.items()}
    linearized = {width: compared(values.linearized, expected) for width, values in found.items()}
    numbers = {
        "widths": widths,
        "networks": networks,
        "size": arguments.size,
        "lr": LR,
        "steps": steps,
        "trained_on": {"angles": ANGLES, "values": y.tolist()},
        "angles": angles.tolist(),
        "kept": expected.kept().tolist(),
        "infinite": {"mean": expected.mean.tolist(), "std": expected.std.tolist()},
        "mean": {width: values.trained.mean(0).tolist() for width, values in found.items()},
        "quantiles": {width: np.quantile(values.trained, QUANTILES, axis=0).tolist() for width, values in found.items()},
        "level": LEVEL,
        "tests": {width: as_numbers(parts) for width, parts in tested.items()},
        "tests_linearized": {width: as_numbers(parts) for width, parts in linearized.items()},
    }
    drawn = figure(angles, found, expected, np.array(ANGLES), y)
    return reproduction.finish(__file__, arguments.out, drawn, numbers, checks(found, expected, tested, linearized))


if __name__ == "__main__":
    main()
