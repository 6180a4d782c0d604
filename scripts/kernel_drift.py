"""The drift figure of Wang, Yu & Perdikaris 2022 (JCP 449:110768, theorem 4.4): a wide network's kernel stays as it is.

poisson1d with k = 1, 100 boundary and 100 residual points, 10,000 steps of gradient descent of 1e-5. Drift is
norm(K(t) - K(0)) / norm(K(0)) and norm(theta(t) - theta(0)) / norm(theta(0)). Three set-ups:

    as printed      NTK parametrization, x in [0, 1], L = 1/2 sum e^2 over all points
    normalized      the same with x normalized to mean 0 and deviation 1
    as in the code  standard parametrization, normalized x, L = mean e^2 over each condition

pinntk's loss is sum_i lambda_i mean(e_i^2): with 100 points each, L = 1/2 sum is lambda_i = 50. The kernel is measured on the
100 copies of the two ends; training needs each end once, since the mean is the same.

Three hidden layers are trained as printed, for the same training time (steps times step size, 0.1) in 500 steps of 2e-4.

    python scripts/kernel_drift.py            5 minutes on 2 cores
    python scripts/kernel_drift.py --quick    seconds, for a look
    python scripts/kernel_drift.py --full     three hidden layers in 10,000 steps too: hours
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, replace

import _reproduction as reproduction
import numpy as np
import torch
from _reproduction import AGREES, BLUE, DIFFERS, GREEN, IN_KIND, RED, VIOLET, Check, tidy
from _shallow import Shallow
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from tqdm import tqdm

import pinntk
from pinntk.diagnostics import drift, parameter_drift

TIME = 0.1  # 10,000 steps of 1e-5
SLOPE, TOLERANCE = -0.5, 0.1
CONSTANT = 0.1  # drift of a kernel that stays as it is


@dataclass(frozen=True)
class SetUp:
    """A row of the figure. weight: lambda of both conditions in L = lambda mean(e_b^2) + lambda mean(e_r^2)."""

    name: str
    depth: int
    network: dict
    weight: float
    steps: int
    color: str


PRINTED = {"parametrization": "ntk", "normalize": False}
SET_UPS = (
    SetUp("as printed", 1, PRINTED, 50, 10_000, BLUE),
    SetUp("as printed, 3 layers", 3, PRINTED, 50, 500, VIOLET),
    SetUp("normalized", 1, {"parametrization": "ntk"}, 50, 10_000, GREEN),
    SetUp("as in the code", 1, {"initialization": "normal"}, 1, 10_000, RED),
)


@dataclass(frozen=True)
class Drifts:
    """Of one set-up and width: (marks, seeds) at steps; eigenvalues of K at the first and the last mark for seed 0."""

    steps: np.ndarray
    kernel: np.ndarray
    parameters: np.ndarray
    eigenvalues: tuple[np.ndarray, np.ndarray]


def trained(set_up: SetUp, width: int, seeds: int, share: float = 1.0, marks: int = 10) -> Drifts:
    """Drift at `marks` equal intervals of this share of the training, for networks of seeds 0, 1, ..."""
    problem = pinntk.load("poisson1d", k=1)
    measured = problem.sample(boundary=100, residual=100, seed=0, dtype=torch.float64)
    points = {"poisson": measured["poisson"], "ends": problem.sample(boundary=2, dtype=torch.float64)["ends"]}
    networks = [
        pinntk.nn.MLP(problem, width=width, depth=set_up.depth, seed=seed, dtype=torch.float64, **set_up.network)
        for seed in range(seeds)
    ]
    starts = deepcopy(networks)
    kernels = [pinntk.kernel(network, problem, measured) for network in networks]
    lr, interval = TIME / set_up.steps, round(share * set_up.steps) // marks
    together = None
    if set_up.depth == 1:
        together = Shallow(networks, problem, points, dict.fromkeys(problem.names, set_up.weight))
    moved, shifted = [[0.0] * seeds], [[0.0] * seeds]
    for _ in tqdm(range(marks), desc=f"{set_up.name}, width {width}", disable=None, leave=False):
        if together:
            together.descend(interval, lr)
            together.update()
        else:
            for network in networks:
                descend(network, problem, points, set_up.weight, interval, lr)
        now = [pinntk.kernel(network, problem, measured) for network in networks]
        moved.append([drift(first, K).kernel for first, K in zip(kernels, now, strict=True)])
        shifted.append([parameter_drift(start, network) for start, network in zip(starts, networks, strict=True)])
    ends = tuple(K.eigvalsh().flip(0).numpy() for K in (kernels[0], now[0]))
    return Drifts(interval * np.arange(marks + 1), np.array(moved), np.array(shifted), ends)


def descend(network, problem, points, weight: float, steps: int, lr: float) -> None:
    pinntk.train(
        problem,
        network,
        steps=steps,
        optimizer="gradient-descent",
        lr=lr,
        schedule="constant",
        weighting=pinntk.weighting.Fixed(**dict.fromkeys(problem.names, weight)),
        points=points,
        log_every=0,
        eval_every=0,
        snapshot_every=0,
        progress=False,
    )


def slope(widths: Sequence[int], drifts: Sequence[float]) -> float:
    """Of log drift against log width, by least squares."""
    return float(np.polyfit(np.log(widths), np.log(drifts), 1)[0])


def figure(found: dict[str, dict[int, Drifts]]) -> Figure:
    drawn = Figure(figsize=(11, 7.6), layout="constrained")
    (of_kernel, of_parameters), (over_time, eigenvalues) = axes = drawn.subplots(2, 2)
    for set_up in SET_UPS:
        by_width = found[set_up.name]
        widths = np.array(list(by_width))
        for ax, column in ((of_kernel, "kernel"), (of_parameters, "parameters")):
            last = np.array([getattr(drifts, column)[-1] for drifts in by_width.values()])
            ax.loglog(widths, np.median(last, 1), color=set_up.color, lw=1.3, label=set_up.name)
            ax.plot(np.repeat(widths, last.shape[1]), last.ravel(), ".", color=set_up.color, ms=4, alpha=0.6)
        widest = by_width[widths[-1]]
        first, last = widest.eigenvalues
        eigenvalues.loglog(1 + np.arange(len(first)), first, color=set_up.color, lw=1.3, label=set_up.name)
        eigenvalues.loglog(1 + np.arange(len(last)), last, color=set_up.color, lw=1.3, ls=":")
    for width, drifts, style in zip(widths, found[SET_UPS[0].name].values(), ("-", "--", ":"), strict=False):
        moved = np.median(drifts.kernel, 1)
        over_time.plot(drifts.steps[1:], moved[1:], color=SET_UPS[0].color, ls=style, marker=".", label=f"width {width}")
    guide(of_parameters, widths)
    of_kernel.set(title="drift of K after training", xlabel="width", ylabel="|K(t) - K(0)| / |K(0)|")
    of_parameters.set(title="drift of the parameters after training", xlabel="width", ylabel="|θ(t) - θ(0)| / |θ(0)|")
    over_time.set(title="drift of K, as printed", xlabel="gradient-descent step", yscale="log")
    largest = max(float(drifts.eigenvalues[0][0]) for by_width in found.values() for drifts in by_width.values())
    eigenvalues.set(title=f"eigenvalues, width {widths[-1]}: start (line), end (dotted)", xlabel="index", xlim=(0.9, 60))
    eigenvalues.set_ylim(1e-12 * largest, 3 * largest)
    tidy(axes.ravel())
    return drawn


def guide(ax: Axes, widths: np.ndarray) -> None:
    """A line of slope -1/2 below the others."""
    low = ax.get_ylim()[0]
    ax.plot(widths, 1.5 * low * (widths / widths[-1]) ** -0.5, color="0.4", lw=1, ls="--", label="width^-1/2")


def checks(found: dict[str, dict[int, Drifts]]) -> list[Check]:
    made = []
    for set_up in SET_UPS:
        by_width = found[set_up.name]
        widths = list(by_width)
        kernels, parameters = (
            np.array([getattr(drifts, column)[-1] for drifts in by_width.values()]) for column in ("kernel", "parameters")
        )
        made.append(falling(set_up.name, widths, kernels, parameters))
        made.append(unchanged(set_up.name, widths[-1], by_width[widths[-1]]))
        if set_up.network.get("parametrization") == "ntk" and set_up.depth == 1:  # the theorem is for one hidden layer
            made.append(root(set_up.name, widths, parameters))
    return made


def falling(name: str, widths: Sequence[int], kernels: np.ndarray, parameters: np.ndarray) -> Check:
    """kernels, parameters: (widths, seeds) drift at the end."""
    medians = [np.median(part, 1) for part in (kernels, parameters)]
    falls = all((np.diff(part) < 0).all() for part in medians)
    constant = falls and medians[0][-1] <= CONSTANT
    of_kernel, of_parameters = (" / ".join(f"{value:.2g}" for value in part) for part in medians)
    return Check(
        f"{name}: the wider the network, the less its kernel changes in training; a wide one's stays as it is",
        "drift falls with the width (figure); to 0 in the limit (theorem 4.4)",
        f"at widths {' / '.join(map(str, widths))} K drifts by {of_kernel}, theta by {of_parameters} "
        f"(medians of {kernels.shape[1]} seeds)",
        AGREES if constant else IN_KIND if falls else DIFFERS,
        f"agrees: medians of both fall with width, and K drifts at most {CONSTANT} at the largest; in kind: they fall",
    )


def unchanged(name: str, width: int, drifts: Drifts) -> Check:
    first, last = (float(values[0]) for values in drifts.eigenvalues)
    change = abs(last / first - 1)
    return Check(
        f"{name}: the spectrum of K at width {width} is the same after training",
        "eigenvalues at the start and the end, side by side (figure)",
        f"largest eigenvalue {first:.4g} at the start, {last:.4g} at the end (seed 0)",
        AGREES if change <= CONSTANT else DIFFERS,
        f"the largest eigenvalue changes by at most {CONSTANT:.0%}",
    )


def root(name: str, widths: Sequence[int], parameters: np.ndarray) -> Check:
    steepness = slope(widths, np.median(parameters, 1))
    return Check(
        f"{name}: the relative drift of all parameters falls as the root of the width",
        "each parameter moves by O(width^-1/2) (theorem 4.4)",
        f"slope {steepness:.2f} over widths {widths[0]} to {widths[-1]}",
        AGREES if abs(steepness - SLOPE) <= TOLERANCE else DIFFERS,
        f"slope of the medians within {SLOPE} +- {TOLERANCE}",
    )


def main(argv: list[str] | None = None) -> dict:
    arguments = reproduction.parser(__file__, __doc__)
    arguments.add_argument("--seeds", type=int, default=5)
    arguments.add_argument("--full", action="store_true", help="10,000 steps of three hidden layers too: hours")
    given = arguments.parse_args(argv)
    widths, seeds, share, marks = (10, 100, 500), given.seeds, 1.0, 10
    if given.quick:
        widths, seeds, share, marks = (10, 40), 2, 0.02, 1
    found = {}
    for set_up in SET_UPS:
        set_up = replace(set_up, steps=10_000) if given.full else set_up
        found[set_up.name] = {width: trained(set_up, width, seeds, share, marks) for width in widths}
    numbers = {
        "widths": widths,
        "seeds": seeds,
        "steps": {set_up.name: int(found[set_up.name][widths[0]].steps[-1]) for set_up in SET_UPS},
        "kernel_drift": {name: [drifts.kernel[-1].tolist() for drifts in part.values()] for name, part in found.items()},
        "parameter_drift": {name: [drifts.parameters[-1].tolist() for drifts in part.values()] for name, part in found.items()},
        "parameter_slope": {
            name: slope(widths, [float(np.median(drifts.parameters[-1])) for drifts in part.values()])
            for name, part in found.items()
        },
        "kernel_drift_over_steps": {name: np.median(d.kernel, 1).tolist() for name, d in widest(found).items()},
        "largest_eigenvalue": {name: [float(d.eigenvalues[i][0]) for i in (0, 1)] for name, d in widest(found).items()},
    }
    return reproduction.finish(__file__, given.out, figure(found), numbers, checks(found))


def widest(found: dict[str, dict[int, Drifts]]) -> dict[str, Drifts]:
    return {name: by_width[max(by_width)] for name, by_width in found.items()}


if __name__ == "__main__":
    main()
