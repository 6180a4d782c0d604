"""Networks of several scales widen the kernel's spectrum: MscaleDNN and MscaleFNO.

Liu, Cai & Xu 2020 (CiCP 28:1970): a network that sees a_i x, a_i = 2^(i-1), with bumps for activations (sReLU, phi), learns
high frequencies faster than a plain one; version 2, a sum of sub-networks, is preferred to version 1, groups of units in the
first layer. You, Xu & Cai 2024 (arXiv 2412.20183): the same for Fourier neural operators, sum_i gamma_i FNO_i(c_i x, c_i a(x)).
No headline number is checked. Here: the spectrum of the value kernel over the number of scales, a short fit of
sin(2 pi x) + sin(46 pi x) / 2, and the kernels of an FNO and an MscaleFNO of about as many parameters over sampled functions.
Weights are drawn by Xavier's rule, without biases, so that bumps sit near x = 0, where the fit begins; with biases of PyTorch's
default the spectra hardly widen, and the fits are slower.

    python scripts/multiscale_networks.py            3 minutes on 2 cores
    python scripts/multiscale_networks.py --quick    seconds, for a look
"""

from __future__ import annotations

from itertools import pairwise
from math import pi

import _reproduction as reproduction
import numpy as np
import torch
from matplotlib.figure import Figure
from scipy.fft import dctn
from torch import Tensor
from tqdm import tqdm

import pinntk
from pinntk.nn import MLP, FNO1d, MscaleDNN, MscaleFNO, octaves
from pinntk.ntk import function_kernel

COUNTS = (1, 2, 3, 4, 6)  # of scales; all divide the width
WIDTH, GRID = 96, 200
COLORS = {
    "plain": reproduction.GRAY,
    "one scale": reproduction.RED,
    "version 1": reproduction.GREEN,
    "version 2": reproduction.BLUE,
}
FNO_SCALES = (1.0, 2.0, 4.0, 8.0)


def frequencies(K: Tensor) -> tuple[float, float]:
    """Effective rank of a kernel on the middles of n cells of [0, 1], and the mean frequency of its trace, in cycles.

    The trace is shared out over the cosines that the transform is made of; the mean leaves out the constant."""
    share = torch.linalg.eigvalsh(K).clamp(min=0) / K.trace()
    power = np.diagonal(dctn(K.numpy(), norm="ortho"))[1:]
    return float(torch.special.entr(share).sum().exp()), float(np.arange(1, len(K)) @ power / power.sum()) / 2


def spectra(activation: str, version: int, seeds: int) -> dict[str, list]:
    """Eigenvalues (medians over seeds, relative to the largest), effective rank and mean frequency, by number of scales."""
    problem = target()
    points = problem.sample(dtype=torch.float64)
    found = {"eigenvalues": [], "effective_rank": [], "frequency": []}
    for count in COUNTS:
        several = []
        for seed in range(seeds):
            network = MscaleDNN(
                problem,
                scales=octaves(count),
                version=version,
                width=WIDTH,
                activation=activation,
                seed=seed,
                dtype=torch.float64,
            )
            K = pinntk.kernel(network, problem, points).matrix()
            values = torch.linalg.eigvalsh(K).flip(0)
            several.append((values / values[0], *frequencies(K)))
        eigenvalues, ranks, means = zip(*several, strict=True)
        found["eigenvalues"].append(torch.stack(eigenvalues).median(0).values.tolist())
        found["effective_rank"].append(float(np.median(ranks)))
        found["frequency"].append(float(np.median(means)))
    return found


def target() -> pinntk.Problem:
    domain = pinntk.Box(x=(0, 1))

    def exact(x):
        return torch.sin(2 * pi * x) + 0.5 * torch.sin(46 * pi * x)

    x = (torch.arange(GRID, dtype=torch.float64) + 0.5) / GRID

    @pinntk.data(domain, x, y=exact(x))
    def samples(u, y):
        return u - y

    return pinntk.Problem(domain, [samples], exact=exact, name="target")


def fitted(label: str, seed: int, steps: int) -> pinntk.Run:
    problem = target()
    sizes = {"width": WIDTH, "depth": 3, "seed": seed}
    networks = {
        "plain": lambda: MLP(problem, activation="tanh", **sizes),
        "one scale": lambda: MscaleDNN(problem, scales=[1.0], activation="phi", **sizes),
        "version 1": lambda: MscaleDNN(problem, scales=octaves(6), version=1, activation="phi", **sizes),
        "version 2": lambda: MscaleDNN(problem, scales=octaves(6), version=2, activation="phi", **sizes),
    }
    return pinntk.train(
        problem,
        networks[label](),
        steps=steps,
        lr=2e-3,
        seed=seed,
        eval_every=max(10, steps // 25),
        snapshot_every=0,
        progress=False,
    )


def operators(quick: bool) -> dict[str, dict[str, float | int | list[float]]]:
    """Of the kernel over sampled functions: its share on one function after another, averaged; and its spectrum."""
    grid, functions = (32, 2) if quick else (64, 6)
    sizes = {"modes": grid // 4, "depth": 2, "hidden": 16, "dtype": torch.float64}
    networks = {
        "FNO": FNO1d(width=16, activation="sin", **sizes),
        "MscaleFNO": MscaleFNO(scales=FNO_SCALES, width=8, **sizes),
    }
    generator = torch.Generator().manual_seed(0)
    waves = torch.arange(1, grid // 4, dtype=torch.float64)
    phases = 2 * pi * torch.arange(grid, dtype=torch.float64)[:, None] / grid * waves
    a, b = torch.randn(2, functions, len(waves), generator=generator, dtype=torch.float64) / len(waves) ** 0.5
    inputs = a @ torch.cos(phases).T + b @ torch.sin(phases).T
    found = {}
    for label, network in networks.items():
        K = function_kernel(network, inputs)
        values = torch.linalg.eigvalsh(K).flip(0).clamp(min=0)
        share = values / values.sum()
        blocks = K.reshape(functions, grid, functions, grid)
        found[label] = {
            "parameters": sum(p.numel() for p in network.parameters()),
            "eigenvalues": (values / values[0]).tolist(),
            "effective_rank": float(torch.special.entr(share).sum().exp()),
            "frequency": float(np.mean([frequencies(blocks[i, :, i])[1] for i in range(functions)])),
        }
    return found


def checked(kernels: dict[str, dict], errors: dict[str, list[float]], fno: dict[str, dict]) -> list[reproduction.Check]:
    ranks = {label: found["effective_rank"] for label, found in kernels.items()}
    means = {label: found["frequency"] for label, found in kernels.items()}
    slower = all(a < b for values in ranks.values() for a, b in pairwise(values))
    higher = all(values[-1] > values[0] for values in means.values())
    middle = {label: float(np.median(values)) for label, values in errors.items()}
    single, several = fno["FNO"], fno["MscaleFNO"]
    wider = several["effective_rank"] > single["effective_rank"] and several["frequency"] > single["frequency"]
    return [
        reproduction.Check(
            "The more scales, the slower the kernel's spectrum decays.",
            "no number taken from the paper",
            f"effective rank for {COUNTS[0]} .. {COUNTS[-1]} scales: "
            + "; ".join(f"{label} {', '.join(f'{value:.1f}' for value in values)}" for label, values in ranks.items()),
            reproduction.IN_KIND if slower else reproduction.DIFFERS,
            "the effective rank rises with every further scale, for both versions and both activations",
        ),
        reproduction.Check(
            "The more scales, the higher the frequencies in the kernel.",
            "no number taken from the paper",
            f"mean frequency, {COUNTS[0]} and {COUNTS[-1]} scales: "
            + "; ".join(f"{label} {values[0]:.1f} -> {values[-1]:.1f}" for label, values in means.items()),
            reproduction.IN_KIND if higher else reproduction.DIFFERS,
            "higher with all scales than with one, for both versions and both activations",
        ),
        reproduction.Check(
            "Networks of several scales learn a high frequency faster than networks of one scale.",
            "shown by figures",
            ", ".join(f"{label} {value:.1e}" for label, value in middle.items()) + " (relative L2, medians)",
            reproduction.IN_KIND
            if max(middle["version 1"], middle["version 2"]) < min(middle["plain"], middle["one scale"])
            else reproduction.DIFFERS,
            "the error of both versions below that of both networks of one scale, at equal steps and widths",
        ),
        reproduction.Check(
            "Version 2 is better than version 1.",
            "preferred in the paper",
            f"{middle['version 1']:.1e} and {middle['version 2']:.1e}, versions 1 and 2",
            reproduction.IN_KIND if middle["version 2"] < middle["version 1"] else reproduction.DIFFERS,
            "the lower median error, at equal width; version 2 then has fewer parameters",
        ),
        reproduction.Check(
            "MscaleFNO: its kernel holds higher frequencies, and decays more slowly, than that of a single-scale FNO.",
            "no number taken from the paper",
            f"effective rank {single['effective_rank']:.1f} -> {several['effective_rank']:.1f}, mean frequency "
            f"{single['frequency']:.1f} -> {several['frequency']:.1f} ({single['parameters']:,} and {several['parameters']:,} "
            "parameters)",
            reproduction.IN_KIND if wider else reproduction.DIFFERS,
            "both larger for MscaleFNO",
        ),
    ]


def figure(kernels: dict[str, dict], runs: dict[str, list[pinntk.Run]], fno: dict[str, dict]) -> Figure:
    drawn = Figure(figsize=(15, 7.4), layout="constrained")
    decay, rank, frequency, curves, fit, operator = drawn.subplots(2, 3).flat
    shades = (reproduction.GRAY, reproduction.RED, reproduction.VIOLET, reproduction.GREEN, reproduction.BLUE)
    for count, values, color in zip(COUNTS, kernels["phi, version 2"]["eigenvalues"], shades, strict=True):
        label = "1 scale" if count == 1 else f"{count} scales"
        shown = np.where(np.array(values) > 1e-13, values, np.nan)
        decay.loglog(np.arange(1, GRID + 1), shown, color=color, lw=1.3, label=label)
    decay.set(title="MscaleDNN version 2, phi: eigenvalues", xlabel="k", ylabel="relative to the largest")
    for (label, found), color in zip(
        kernels.items(), (reproduction.RED, reproduction.VIOLET, reproduction.GREEN, reproduction.BLUE), strict=True
    ):
        rank.plot(COUNTS, found["effective_rank"], "o-", color=color, ms=4, lw=1.3, label=label)
        frequency.plot(COUNTS, found["frequency"], "o-", color=color, ms=4, lw=1.3, label=label)
    rank.set(title="effective rank of the kernel", xlabel="number of scales")
    frequency.set(title="mean frequency of the kernel", xlabel="number of scales", ylabel="cycles over the domain")
    for label, several in runs.items():
        for i, run in enumerate(several):
            curves.semilogy(*run.column("relative_error"), color=COLORS[label], lw=1.3, label=None if i else label)
    curves.set(title="fit of sin 2πx + sin 46πx / 2", xlabel="Adam step", ylabel="relative L2 error")
    first = runs["plain"][0]
    x = first.problem.solution_points
    fit.plot(x[:, 0], first.problem.solution.values[:, 0], color="black", lw=2.5, alpha=0.25, label="target")
    for label in ("one scale", "version 2"):
        fit.plot(x[:, 0], first.problem.predict(runs[label][0].network, x)[:, 0], color=COLORS[label], lw=1.1, label=label)
    fit.set(title="the fits, seed 0", xlabel="x", xlim=(0, 0.5))
    for (label, found), color in zip(fno.items(), (reproduction.RED, reproduction.BLUE), strict=True):
        values = np.array(found["eigenvalues"])
        k = np.arange(1, len(values) + 1)
        operator.loglog(k, np.where(values > 1e-13, values, np.nan), color=color, lw=1.4, label=label)
    operator.set(title="kernels of operators over sampled functions", xlabel="k", ylabel="relative to the largest")
    reproduction.tidy((decay, rank, frequency, curves, fit, operator))
    return drawn


def main(argv: list[str] | None = None) -> dict:
    parser = reproduction.parser(__file__, __doc__)
    parser.add_argument("--seeds", type=int, default=9, help="of the kernels; the fits have two")
    parser.add_argument("--steps", type=int, default=2000)
    arguments = parser.parse_args(argv)
    seeds, steps, fits = (1, 10, 1) if arguments.quick else (arguments.seeds, arguments.steps, 2)
    kinds = [(activation, version) for activation in ("srelu", "phi") for version in (1, 2)]
    kernels = {f"{activation}, version {version}": spectra(activation, version, seeds) for activation, version in kinds}
    runs = {label: [] for label in COLORS}
    for label, seed in tqdm([(label, seed) for label in COLORS for seed in range(fits)], disable=None, desc="fits"):
        runs[label].append(fitted(label, seed, steps))
    fno = operators(arguments.quick)
    errors = {label: [run.relative_error for run in several] for label, several in runs.items()}
    numbers = {
        "counts": COUNTS,
        "width": WIDTH,
        "seeds": seeds,
        "steps": steps,
        "kernels": kernels,
        "errors": errors,
        "parameters": {label: several[0].config["network"]["parameters"] for label, several in runs.items()},
        "operators": fno,
    }
    return reproduction.finish(__file__, arguments.out, figure(kernels, runs, fno), numbers, checked(kernels, errors, fno))


if __name__ == "__main__":
    main()
