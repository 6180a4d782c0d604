"""Theorem 4.3 of Wang, Yu & Perdikaris 2022 (JCP 449:110768): at initialization the kernel of a PINN converges, as the width
grows, to a deterministic one.

One hidden layer of tanh units in the NTK parametrization, errors u at the ends of [0, 1] and u_xx inside. The limit K* is
computed by quadrature, K of finite networks exactly. `REFERENCE` was computed independently of pinntk: Gauss-Hermite
quadrature with 200 points over a unit's weight and bias, rr(0.5, 0.5) by Monte Carlo as well. Average rates Tr K / n
(definition 5.1) are on the grid of 100 points that the authors' code uses; it normalizes x by the mean and deviation of that
grid.

The law width^-1/2 is fitted from width 100 on. In smaller networks the distance falls more slowly: much of E[K_rr], which holds
fourth powers of a normal weight, comes from rare units, and a small network mostly has none of them.

    python scripts/infinite_width.py            1 minute on 2 cores
    python scripts/infinite_width.py --quick    seconds, for a look
"""

from __future__ import annotations

import _reproduction as reproduction
import numpy as np
import torch
from _reproduction import AGREES, BLUE, DIFFERS, GRAY, RED, Check, tidy
from matplotlib.figure import Figure
from torch import Tensor

import pinntk
from pinntk.ntk import MeanKernel

REFERENCE = {
    ("u", 0, "u", 0): 1.85870,
    ("u", 0, "u", 1): 1.63300,
    ("u", 1, "u", 1): 2.21899,
    ("r", 0, "r", 0): 5.20908,
    ("r", 0.5, "r", 0.5): 4.07727,
    ("r", 1, "r", 1): 2.24504,
    ("r", 0, "r", 1): -1.00359,
    ("u", 0, "r", 0): -0.76111,
    ("u", 0, "r", 0.5): -0.22930,
    ("u", 1, "r", 0.5): -0.55890,
}
RATES = {"raw": (2.039, 3.963), "normalized": (2.649, 399.96)}  # c_uu and c_rr
DIGITS = 5
SLOPE, TOLERANCE = -0.5, 0.1
NARROW = 100  # below this width the law does not hold yet


def column(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)[:, None]


def rows(points: pinntk.Points) -> dict[tuple[str, float], int]:
    """Where a point's u or residual stands among the rows of a kernel."""
    places = [("r", float(x)) for x in points["poisson"][:, 0]] + [("u", float(x)) for x in points["ends"][:, 0]]
    return {place: row for row, place in enumerate(places)}


def entries(values: Tensor, points: pinntk.Points) -> np.ndarray:
    """Those of `REFERENCE`, in its order."""
    row = rows(points)
    return np.array([float(values[row[a, x], row[b, y]]) for a, x, b, y in REFERENCE])


def limit(problem: pinntk.Problem, points: pinntk.Points) -> pinntk.KernelBlocks:
    return pinntk.infinite_kernel(pinntk.InfiniteMLP(1, "tanh"), problem, points)


def rates(problem: pinntk.Problem) -> dict[str, tuple[float, float]]:
    """c_uu and c_rr of the limit, for raw inputs and for those normalized on the grid."""
    x = torch.linspace(0, 1, 100, dtype=torch.float64)[:, None]
    mean, deviation = x.mean(), x.std(correction=0)
    found = {}
    for name, inputs in (("raw", lambda x: x), ("normalized", lambda x: (x - mean) / deviation)):
        network = pinntk.InfiniteMLP(1, "tanh", inputs=inputs)
        u = pinntk.infinite_kernel(network, problem, {"ends": column(0, 1)})
        r = [pinntk.infinite_kernel(network, problem, {"poisson": part}) for part in x.split(5)]  # the diagonal is enough
        found[name] = (u.trace() / 2, sum(K.trace() for K in r) / len(x))
    return found


def averaged(problem, points, width: int, networks: int, K: pinntk.KernelBlocks) -> MeanKernel:
    def draw(seed: int) -> pinntk.nn.MLP:
        return pinntk.nn.MLP(
            problem, width=width, depth=1, parametrization="ntk", normalize=False, seed=seed, dtype=torch.float64
        )

    return pinntk.mean_kernel(draw, problem, points, range(networks), expected=K.values)


def checks(
    table: np.ndarray,
    rates: dict,
    scores: np.ndarray,
    everywhere: np.ndarray,
    networks: int,
    width: int,
    slopes: tuple[float, float],
) -> list[Check]:
    """table, scores: (10,) of the limit and of the Monte Carlo mean; everywhere: (n,) scores of the whole grid; slopes: from
    width `NARROW` on, and over all widths."""
    reference = np.array(list(REFERENCE.values()))
    exact = np.abs(table - reference) <= 0.5 * 10.0**-DIGITS + 1e-12
    largest = float(np.abs(table - reference).max())
    close = all(np.allclose(rates[name], RATES[name], rtol=2e-4) for name in RATES)
    shown = "; ".join(f"{name} x: {rates[name][0]:.3f}, {rates[name][1]:.5g}" for name in RATES)
    within = float(np.abs(scores).max())
    return [
        Check(
            "The limit K* is deterministic, and known: ten entries of K*_uu, K*_rr and K*_ur",
            "table computed independently, 5 decimals",
            f"largest difference {largest:.1e}",
            AGREES if exact.all() else DIFFERS,
            "every entry equal when rounded to 5 decimals",
        ),
        Check(
            "Average rates Tr K*_uu / n and Tr K*_rr / n (definition 5.1)",
            "; ".join(f"{name} x: {u:.3f}, {r:.5g}" for name, (u, r) in RATES.items()),
            shown,
            AGREES if close else DIFFERS,
            "each within 2e-4",
        ),
        Check(
            "Networks of finite width have the mean K* (one hidden layer: at every width)",
            "E K(0) = K*, theorem 4.3",
            f"{networks} networks of width {width}: the ten entries are off by at most {within:.2f} standard errors; "
            f"of all {len(everywhere)} entries {(np.abs(everywhere) > 2).mean():.1%} by more than 2, "
            f"{(np.abs(everywhere) > 3).mean():.1%} by more than 3 (independent normal ones: 4.6 %, 0.3 %)",
            AGREES if within <= 3 else DIFFERS,
            "all ten within 3 standard errors",
        ),
        Check(
            "K(0) tends to K* in probability as the width grows",
            "a mean over independent units: width^-1/2",
            f"slope {slopes[0]:.2f} of one network's distance from K* from width {NARROW} on; {slopes[1]:.2f} over all widths",
            AGREES if abs(slopes[0] - SLOPE) <= TOLERANCE else DIFFERS,
            f"{SLOPE} +- {TOLERANCE} from width {NARROW} on",
        ),
    ]


def slope(distances: dict[int, np.ndarray], narrowest: int) -> float:
    """Of log distance against log width, by least squares, from a width on."""
    wide = {width: np.log(part).mean() for width, part in distances.items() if width >= narrowest}
    return float(np.polyfit(np.log(list(wide)), list(wide.values()), 1)[0])


def figure(table: np.ndarray, mean: MeanKernel, points, everywhere, distances: dict[int, np.ndarray]) -> Figure:
    drawn = Figure(figsize=(12, 3.8), layout="constrained")
    left, middle, right = axes = drawn.subplots(1, 3)
    places = np.arange(len(REFERENCE))
    single = entries(mean.std, points)
    left.errorbar(places, entries(mean.mean.values, points), single, fmt="o", color=BLUE, ms=4, lw=1, label="networks ± 1 std")
    left.plot(places, table, "_", color=RED, ms=16, mew=1.5, label="K*")
    left.set_xticks(places, [f"{a}{b}({x:g}, {y:g})" for a, x, b, y in REFERENCE], rotation=60, ha="right", fontsize=8)
    left.set(title="entries of K at initialization", ylabel="K")
    middle.hist(everywhere, np.linspace(-4, 4, 33), density=True, color=BLUE, alpha=0.6, label=f"{len(everywhere)} entries")
    z = np.linspace(-4, 4, 200)
    middle.plot(z, np.exp(-z * z / 2) / np.sqrt(2 * np.pi), color=GRAY, lw=1, label="standard normal")
    middle.set(title="mean of networks against K*", xlabel="difference / standard error", ylabel="density")
    widths = np.array(list(distances))
    means = np.array([np.exp(np.log(part).mean()) for part in distances.values()])
    right.plot(np.repeat(widths, [len(part) for part in distances.values()]), np.concatenate(list(distances.values())), ".")
    right.lines[0].set(color=BLUE, alpha=0.35, markersize=4)
    right.loglog(widths, means, color=BLUE, lw=1.4, label="geometric mean")
    right.plot(widths, 0.7 * means[-1] * (widths / widths[-1]) ** -0.5, color="0.4", ls="--", lw=1, label="width^-1/2")
    right.set(title="one network's distance from K*", xlabel="width", ylabel="|K - K*| / |K*|")
    tidy(axes)
    return drawn


def main(argv: list[str] | None = None) -> dict:
    given = reproduction.parser(__file__, __doc__).parse_args(argv)
    networks, width, widths, each = 200, 2000, (10, 30, 100, 300, 1000, 3000, 10_000), 50
    if given.quick:
        networks, width, widths, each = 30, 200, (10, 100, 400), 10
    problem = pinntk.load("poisson1d")
    points = {"poisson": column(*np.linspace(0, 1, 5 if given.quick else 21)), "ends": column(0, 1)}
    K = limit(problem, points)
    table = entries(K.values, points)
    mean = averaged(problem, points, width, networks, K)
    scores = mean.scores(K.values)
    everywhere = scores[tuple(torch.triu_indices(*scores.shape))].numpy()
    distances = {n: averaged(problem, points, n, each, K).distances.numpy() for n in widths}
    slopes = slope(distances, NARROW), slope(distances, 0)
    found = rates(problem)
    made = checks(table, found, entries(scores, points), everywhere, networks, width, slopes)
    numbers = {
        "table": dict(zip([f"{a}{b}({x:g},{y:g})" for a, x, b, y in REFERENCE], table.tolist(), strict=True)),
        "rates": found,
        "networks": networks,
        "width": width,
        "scores": entries(scores, points).tolist(),
        "scores_of_the_grid": {f"{q:g}": float(np.quantile(everywhere, q)) for q in (0.0, 0.025, 0.25, 0.5, 0.75, 0.975, 1.0)},
        "distances": {str(n): [float(part.mean()), float(part.std())] for n, part in distances.items()},
        "slopes": slopes,
    }
    return reproduction.finish(__file__, given.out, figure(table, mean, points, everywhere, distances), numbers, made)


if __name__ == "__main__":
    main()
