"""What the spread of Fourier features does to a PINN (Wang, Wang & Perdikaris 2021, CMAME 384:113938).

Random features cos(b x), sin(b x), b ~ N(0, sigma^2) (no 2 pi), of normalized inputs. Published: the frequency of the kernel's
leading eigenvectors rises with sigma, so that a network learns those frequencies first; a single trunk that is fed with
features of sigma = 1 and sigma = 10 learns u_xx = f with u = sin(2 pi x) + 0.1 sin(50 pi x), where a plain network fails. Their
errors are not checked here: the criterion is a tenth of the plain network's error at equal steps, both with the same fixed
weight on the ends.

    python scripts/multiscale_features.py            2 minutes on 2 cores
    python scripts/multiscale_features.py --quick    seconds, for a look
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from math import pi

import _reproduction as reproduction
import numpy as np
import torch
from matplotlib import colormaps
from matplotlib.figure import Figure
from scipy.fft import dct

import pinntk
from pinntk.diagnostics import spectrum
from pinntk.problem import field_problem

SIGMAS = (1.0, 5.0, 10.0, 20.0, 50.0)
MODES = 8
MIDDLES = (np.arange(200) + 0.5) / 200  # where the cosine transform has its points
TENFOLD = 10
ENDS = 1e4  # weight of the boundary: residuals are of the order of 2500
NETWORKS = {
    "plain": lambda problem, seed: pinntk.nn.MLP(problem, width=100, depth=3, seed=seed),
    "multi-scale features": lambda problem, seed: pinntk.nn.MultiscaleFourier(
        problem, sigmas=(1, 10), features=50, width=100, depth=2, seed=seed
    ),
}
COLORS = dict(zip(NETWORKS, (reproduction.RED, reproduction.BLUE), strict=True))


@dataclass(frozen=True, eq=False)
class Modes:
    """Of K_uu on 200 points, one row a seed.

    leading: (seeds,) frequency of the leading eigenvector, cycles over the domain: the mean over its cosine transform's power
    mean: (seeds,) that of the first `MODES`
    effective_rank: (seeds,)
    first: (200,) the leading eigenvector of the seed whose frequency is the median
    """

    leading: np.ndarray
    mean: np.ndarray
    effective_rank: np.ndarray
    first: np.ndarray


def modes(problem: pinntk.Problem, sigma: float, seeds: int) -> Modes:
    field = field_problem(problem)
    (name,) = field.names
    points = {name: torch.from_numpy(MIDDLES)[:, None]}
    leading, mean, ranks, vectors = [], [], [], []
    for seed in range(seeds):
        network = pinntk.nn.MLP(problem, width=100, depth=2, fourier=(100, sigma / (2 * pi)), seed=seed, dtype=torch.float64)
        found = spectrum(pinntk.kernel(network, field, points))
        power = dct(found.vectors[:, :MODES].numpy(), axis=0, norm="ortho")[1:] ** 2  # of half cycles, without the constant
        frequencies = np.arange(1, len(MIDDLES)) @ power / power.sum(0) / 2
        leading.append(float(frequencies[0]))
        mean.append(float(frequencies.mean()))
        ranks.append(found.effective_rank)
        vectors.append(found.vectors[:, 0].numpy())
    middle = int(np.argsort(leading)[seeds // 2])
    return Modes(np.array(leading), np.array(mean), np.array(ranks), vectors[middle])


def trained(problem: pinntk.Problem, name: str, seed: int, steps: int) -> pinntk.Run:
    return pinntk.train(
        problem,
        NETWORKS[name](problem, seed),
        steps=steps,
        lr=2e-3,
        weighting=pinntk.weighting.Fixed(ends=ENDS),
        points={"residual": 256, "ends": 2},
        sampling="grid",
        seed=seed,
        eval_every=max(10, steps // 25),
        snapshot_every=0,
    )


def checked(found: dict[float, Modes], errors: dict[str, list[float]]) -> list[reproduction.Check]:
    leading = [float(np.median(part.leading)) for part in found.values()]
    mean = [float(np.median(part.mean)) for part in found.values()]
    rising = all(a < b for values in (leading, mean) for a, b in pairwise(values))
    plain, several = (float(np.median(values)) for values in errors.values())
    return [
        reproduction.Check(
            "The frequency of the kernel's leading eigenvectors rises with sigma.",
            "shown by a figure",
            f"cycles for sigma = {SIGMAS[0]:g} .. {SIGMAS[-1]:g}: first {', '.join(f'{value:.1f}' for value in leading)}; mean "
            f"of the first {MODES} {', '.join(f'{value:.1f}' for value in mean)}",
            reproduction.IN_KIND if rising else reproduction.DIFFERS,
            "both rise with every sigma; medians over the seeds",
        ),
        reproduction.Check(
            "Features of sigma = 1 and 10 in one network solve the two-scale Poisson problem, where a plain network fails.",
            f"an error at least {TENFOLD} times lower at equal steps (no number taken from the paper)",
            f"median relative L2 error {plain:.2e} plain, {several:.2e} with features: {plain / several:.0f} times lower",
            reproduction.IN_KIND if plain / several >= TENFOLD else reproduction.DIFFERS,
            f"the ratio of the medians at least {TENFOLD}",
        ),
    ]


def figure(found: dict[float, Modes], runs: dict[str, list[pinntk.Run]]) -> Figure:
    drawn = Figure(figsize=(15, 3.9), layout="constrained")
    vectors, frequency, curves, solution = drawn.subplots(1, 4)
    for i, (sigma, part) in enumerate(found.items()):
        color = colormaps["viridis"](i / len(found))
        vectors.plot(MIDDLES, part.first / np.abs(part.first).max() - 2.4 * i, color=color, lw=1.2)
        vectors.text(1.02, -2.4 * i, f"σ = {sigma:g}", color=color, fontsize=8, va="center")
    vectors.set(title="leading eigenvector of $K_{uu}$", xlabel="x", yticks=[], xlim=(0, 1.25))
    for values, label, color in (
        ("leading", "first eigenvector", reproduction.BLUE),
        ("mean", f"mean of the first {MODES}", reproduction.GREEN),
    ):
        for i, (sigma, part) in enumerate(found.items()):
            every = getattr(part, values)
            frequency.plot([sigma] * len(every), every, ".", color=color, alpha=0.35, ms=5)
            frequency.plot(sigma, np.median(every), "o", color=color, ms=6, label=None if i else label)
    frequency.set(
        title="frequency (dots: seeds, discs: medians)", xlabel="σ", ylabel="cycles over the domain", xscale="log", yscale="log"
    )
    for name, several in runs.items():
        for i, run in enumerate(several):
            curves.semilogy(*run.column("relative_error"), color=COLORS[name], lw=1.3, label=None if i else name)
    curves.set(title="relative L2 error", xlabel="Adam step")
    first = runs["plain"][0]
    x = first.problem.solution_points[:, 0]
    solution.plot(x, first.problem.solution.values[:, 0], color=reproduction.GRAY, lw=3, alpha=0.6, label="exact")
    for name, several in runs.items():
        solution.plot(x, several[0].problem.predict(several[0].network, x[:, None])[:, 0], color=COLORS[name], lw=1, label=name)
    solution.set(title="u, seed 0", xlabel="x")
    reproduction.tidy((vectors, frequency, curves, solution))
    return drawn


def main(argv: list[str] | None = None) -> dict:
    parser = reproduction.parser(__file__, __doc__)
    parser.add_argument("--seeds", type=int, default=2, help="of the trainings")
    parser.add_argument("--steps", type=int, default=1500)
    arguments = parser.parse_args(argv)
    seeds, steps, draws = (1, 10, 3) if arguments.quick else (arguments.seeds, arguments.steps, 11)
    problem = pinntk.load("poisson_multiscale")
    found = {sigma: modes(problem, sigma, draws) for sigma in SIGMAS}
    runs = {name: [trained(problem, name, seed, steps) for seed in range(seeds)] for name in NETWORKS}
    errors = {name: [run.relative_error for run in several] for name, several in runs.items()}
    numbers = {
        "steps": steps,
        "weight_of_ends": ENDS,
        "errors": errors,
        "parameters": {name: several[0].config["network"]["parameters"] for name, several in runs.items()},
        "modes": {
            f"sigma = {sigma:g}": {
                "leading": part.leading.tolist(),
                "mean": part.mean.tolist(),
                "effective_rank": part.effective_rank.tolist(),
            }
            for sigma, part in found.items()
        },
    }
    return reproduction.finish(__file__, arguments.out, figure(found, runs), numbers, checked(found, errors))


if __name__ == "__main__":
    main()
