"""Fourier features make a network's kernel stationary and set its width (Tancik et al. 2020, NeurIPS, figures 2 and 3).

Four ReLU layers on x in [0, 1): as it is, or as a_j cos(2 pi j x), a_j sin(2 pi j x), j = 1 .. 16, with a_j = j^-p, divided by
norm(a). Published: the plain network's kernel is not shift-invariant and has a weak diagonal; with features it is stationary,
and the lower p, the wider its spectrum. Trained on 32 samples of 1/f noise, lower p learns high frequencies faster, the test
error is lowest near p = 1, and the linear dynamics of the infinite-width kernel predict it. Kernels are those of infinite
width, and of width 1024 for comparison; the trained networks are 256 wide (theirs: 1024) and seen on 1,000 test points
(theirs: 256).

    python scripts/fourier_features.py            2 minutes on 2 cores
    python scripts/fourier_features.py --quick    seconds, for a look
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from math import inf, pi, sqrt

import _reproduction as reproduction
import numpy as np
import torch
from matplotlib import colormaps
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from torch import Tensor

import pinntk
from pinntk._util.progress import over
from pinntk.diagnostics import dynamics

POWERS = (0.0, 0.5, 1.0, 1.5, 2.0, inf)
PLAIN = "plain"
SAMPLES, FINE = 32, 256  # training points; points of the kernels' circle
HIGH = 8  # frequencies above this, up to 16, are the high ones of the 32 samples
COLORS = {p: to_hex(colormaps["viridis"](i / 6)) for i, p in enumerate(POWERS)} | {PLAIN: reproduction.RED}


def noise(seed: int) -> pinntk.Problem:
    """32 samples of a signal of frequencies 1 .. 128 with amplitudes 1 / f and random phases, as a regression problem."""
    f = torch.arange(1, FINE // 2 + 1, dtype=torch.float64)
    cosines, sines = torch.randn(2, len(f), generator=torch.Generator().manual_seed(seed), dtype=torch.float64) / f
    domain = pinntk.Box(x=(0, 1))

    def exact(x):
        phase = 2 * pi * x[:, None] * f
        return (torch.cos(phase) @ cosines + torch.sin(phase) @ sines) / (cosines @ cosines + sines @ sines).sqrt()

    x = torch.arange(SAMPLES, dtype=torch.float64) / SAMPLES

    @pinntk.data(domain, x, y=exact(x))
    def samples(u, y):
        return u - y

    return pinntk.Problem(domain, [samples], exact=exact, name="noise")


def network(problem: pinntk.Problem, p: float | str, width: int, seed: int = 0) -> pinntk.nn.MLP:
    features = None if p == PLAIN else pinntk.nn.power_law(SAMPLES // 2, p)
    return pinntk.nn.MLP(
        problem,
        width=width,
        depth=3,
        activation="relu",
        parametrization="ntk",
        beta=0.1,
        gain=sqrt(2),
        normalize=False,
        fourier=features,
        seed=seed,
        dtype=torch.float64,
    )


@dataclass(frozen=True, eq=False)
class Kernel:
    """On 256 points of the circle: of infinite width, and how far that of width 1024 is from it.

    nonstationary: norm_F(K - S) / norm_F(K) with S the mean of K over its circular diagonals
    off_diagonal: mean of |K_ij| / sqrt(K_ii K_jj); 1 for a kernel without a diagonal
    spectrum: (129,) eigenvalues of S by frequency
    """

    matrix: Tensor
    nonstationary: float
    off_diagonal: float
    spectrum: np.ndarray
    finite: float

    @property
    def effective_frequencies(self) -> float:
        """exp of the entropy of the spectrum without the constant."""
        share = self.spectrum[1:] / self.spectrum[1:].sum()
        return float(np.exp(-(share * np.log(np.maximum(share, 1e-300))).sum()))


def kernel_of(p: float | str, width: int) -> Kernel:
    problem = noise(0)
    x = torch.arange(FINE, dtype=torch.float64) / FINE
    points = {"samples": torch.stack([x, torch.zeros_like(x)], 1)}
    K = pinntk.infinite_kernel(network(problem, p, 1), problem, points).values
    finite = pinntk.kernel(network(problem, p, width), problem, points).values
    size = K.diagonal().sqrt()
    apart = (torch.arange(FINE)[:, None] - torch.arange(FINE)) % FINE
    by_lag = torch.zeros(FINE, dtype=K.dtype).index_add_(0, apart.reshape(-1), K.reshape(-1)) / FINE
    return Kernel(
        matrix=K,
        nonstationary=float((K - by_lag[apart]).norm() / K.norm()),
        off_diagonal=float((K / (size[:, None] * size)).abs().mean()),
        spectrum=np.fft.rfft(by_lag.numpy()).real,
        finite=float((finite - K).norm() / K.norm()),
    )


@dataclass(frozen=True, eq=False)
class Trained:
    """One network and what the infinite-width kernel predicted of it.

    losses, errors: on the samples, mean square; on the test points, relative L2; over `steps`
    high: the share left of the samples' error in frequencies above `HIGH`
    """

    steps: np.ndarray
    losses: np.ndarray
    errors: np.ndarray
    predicted_losses: np.ndarray
    predicted_errors: np.ndarray
    high: float
    predicted_high: float


def high_part(e: np.ndarray) -> float:
    return float((np.abs(np.fft.rfft(e)[HIGH + 1 :]) ** 2).sum())


def trained(p: float | str, seed: int, steps: int, lr: float, width: int) -> Trained:
    problem = noise(seed)
    points = problem.sample(dtype=torch.float64)
    net = network(problem, p, width, seed)
    first = {name: e.detach().numpy() for name, e in pinntk.errors(net, problem, points).items()}
    test = torch.from_numpy(problem.solution_points)
    truth, start = problem.solution.values[:, 0], problem.predict(net, test)[:, 0]
    limit = network(problem, p, 1)
    K = pinntk.infinite_kernel(limit, problem, points)
    cross = pinntk.infinite_cross_kernel(limit, problem, {"samples": torch.cat([test, 0 * test], 1)}, points)
    predicted = dynamics(K, {name: torch.from_numpy(e) for name, e in first.items()}, {"samples": 1.0})
    run = pinntk.train(
        problem,
        net,
        steps=steps,
        optimizer="gradient-descent",
        lr=lr,
        schedule="constant",
        points=points,
        log_every=max(1, steps // 30),
        eval_every=max(1, steps // 30),
        snapshot_every=0,
        progress=False,
    )
    at, losses = run.column("loss")
    _, errors = run.column("relative_error")
    fields = start + predicted.changes_after({("u", "samples"): cross["samples", "samples"]}, at, lr)["u"]
    last = pinntk.errors(net, problem, points)["samples"].detach().numpy()
    return Trained(
        steps=at,
        losses=losses,
        errors=errors,
        predicted_losses=predicted.losses_after(at, lr).total,
        predicted_errors=np.linalg.norm(fields - truth, axis=1) / np.linalg.norm(truth),
        high=high_part(last) / high_part(first["samples"]),
        predicted_high=high_part(predicted.errors_after(steps, lr)["samples"]) / high_part(first["samples"]),
    )


def checked(kernels: dict[float | str, Kernel], runs: dict[float, list[Trained]]) -> list[reproduction.Check]:
    plain, featured = kernels[PLAIN], [kernels[p] for p in POWERS]
    flattest = max(kernel.nonstationary for kernel in featured)
    off = max(kernel.off_diagonal for kernel in featured[:4])
    wide = [kernel.effective_frequencies for kernel in featured]
    high = [median(runs[p], "high") for p in POWERS]
    errors, predicted = final_errors(runs)
    best, best_predicted = (min(POWERS, key=found.__getitem__) for found in (errors, predicted))
    gaps = [abs(np.log10(run.errors[-1] / run.predicted_errors[-1])) for p in POWERS for run in runs[p]]
    return [
        reproduction.Check(
            "The kernel of the plain network is not shift-invariant; with Fourier features of unit norm it is.",
            "stationary with features",
            f"deviation from stationarity {plain.nonstationary:.2f} plain, at most {flattest:.0e} with features",
            reproduction.AGREES if flattest < 1e-8 and plain.nonstationary > 0.1 else reproduction.DIFFERS,
            "below 1e-8 with features, above 0.1 without",
        ),
        reproduction.Check(
            "The plain network's kernel has a weak diagonal: all points are alike to it.",
            "shown by a figure",
            f"mean cosine between points {plain.off_diagonal:.2f} plain, at most {off:.2f} with features of p <= 1.5",
            reproduction.IN_KIND if plain.off_diagonal > off else reproduction.DIFFERS,
            "mean |K_ij| / sqrt(K_ii K_jj) larger without features than with those of p <= 1.5",
        ),
        reproduction.Check(
            "The lower p, the wider the kernel's spectrum.",
            "shown by a figure",
            "effective number of frequencies, p = 0 .. inf: " + ", ".join(f"{value:.1f}" for value in wide),
            reproduction.IN_KIND if all(a > b for a, b in pairwise(wide)) else reproduction.DIFFERS,
            "strictly falling in p",
        ),
        reproduction.Check(
            "Lower p learns high frequencies faster.",
            "shown by a figure",
            f"left of frequencies above {HIGH}, p = 0 .. inf: " + ", ".join(f"{value:.1g}" for value in high),
            reproduction.IN_KIND if all(a < b for a, b in pairwise(high)) else reproduction.DIFFERS,
            "the share left after training strictly rising in p (medians)",
        ),
        reproduction.Check(
            "For 1/f noise the test error is lowest near p = 1.",
            "p = 1",
            f"networks p = {best:g}, infinite-width kernel p = {best_predicted:g}; networks, p = 0 .. inf: "
            + ", ".join(f"{errors[p]:.3f}" for p in POWERS),
            reproduction.AGREES
            if best == best_predicted == 1
            else reproduction.IN_KIND
            if 0.5 <= best <= 1.5
            else reproduction.DIFFERS,
            "p of the lowest median relative L2 error; in kind from 0.5 to 1.5",
        ),
        reproduction.Check(
            "The linear dynamics of the infinite-width kernel predict the trained networks.",
            "shown by a figure, width 1024",
            f"final test errors differ by a factor of {10 ** np.median(gaps):.2f} (median), {10 ** max(gaps):.2f} (largest); "
            f"above frequency {HIGH} is left {high[-1]:.2g} for p = inf, predicted {median(runs[inf], 'predicted_high'):.2g}",
            reproduction.IN_KIND if 10 ** np.median(gaps) < 1.2 else reproduction.DIFFERS,
            "the median factor below 1.2",
        ),
    ]


def median(runs: list[Trained], quantity: str) -> float:
    return float(np.median([getattr(run, quantity) for run in runs]))


def final_errors(runs: dict[float, list[Trained]]) -> tuple[dict[float, float], dict[float, float]]:
    """The median relative L2 error of the trained networks, and as predicted, by p."""
    return tuple(
        {p: float(np.median([getattr(run, quantity)[-1] for run in runs[p]])) for p in POWERS}
        for quantity in ("errors", "predicted_errors")
    )


def named(p: float | str) -> str:
    return p if p == PLAIN else "p = ∞" if p == inf else f"p = {p:g}"


def figure(kernels: dict[float | str, Kernel], runs: dict[float, list[Trained]]) -> Figure:
    drawn = Figure(figsize=(15, 7.6), layout="constrained")
    grid = drawn.add_gridspec(2, 4)
    for i, p in enumerate((PLAIN, 0.0, 1.0)):
        ax = drawn.add_subplot(grid[0, i])
        image = ax.imshow(kernels[p].matrix.numpy(), origin="lower", extent=(0, 1, 0, 1), cmap="magma")
        drawn.colorbar(image, ax=ax, shrink=0.8)
        ax.set(title=f"infinite-width kernel, {named(p)}", xlabel="x'", ylabel="x")
    spectrum, loss, error, final, left = (drawn.add_subplot(place) for place in (grid[0, 3], *(grid[1, i] for i in range(4))))
    for p in POWERS:
        values = kernels[p].spectrum[1:65]
        spectrum.semilogy(np.arange(1, 65), np.where(values > 1e-9, values, np.nan), color=COLORS[p], label=named(p), lw=1.3)
        run = runs[p][0]
        shown = run.steps > 0
        for ax, seen, said in ((loss, run.losses, run.predicted_losses), (error, run.errors, run.predicted_errors)):
            ax.semilogy(run.steps[shown], seen[shown], color=COLORS[p], lw=1.4, label=named(p))
            ax.semilogy(run.steps[shown], said[shown], "--", color=COLORS[p], lw=1)
    place = np.arange(len(POWERS))
    for found, color, label in zip(
        final_errors(runs), (reproduction.BLUE, reproduction.RED), ("networks", "infinite-width kernel"), strict=True
    ):
        final.plot(place, list(found.values()), "o-", color=color, label=label, ms=4)
    for quantity, color, label in (
        ("high", reproduction.BLUE, "networks"),
        ("predicted_high", reproduction.RED, "infinite-width kernel"),
    ):
        left.semilogy(place, [median(runs[p], quantity) for p in POWERS], "o-", color=color, label=label, ms=4)
    for ax in (final, left):
        ax.set_xticks(place, ["0", "0.5", "1", "1.5", "2", "∞"])
    spectrum.set(title="eigenvalues of the kernel", xlabel="frequency")
    loss.set(title="error on the samples (dashed: kernel)", xlabel="step", ylabel="mean square")
    error.set(title="test error (dashed: kernel)", xlabel="step", ylabel="relative L2")
    final.set(title="test error at the end, medians", xlabel="p", ylabel="relative L2")
    left.set(title=f"left above frequency {HIGH}", xlabel="p", ylabel="share of the start")
    reproduction.tidy((spectrum, loss, error, final, left))
    return drawn


def main(argv: list[str] | None = None) -> dict:
    parser = reproduction.parser(__file__, __doc__)
    parser.add_argument("--seeds", type=int, default=6, help="signals, each with networks of its own")
    parser.add_argument("--steps", type=int, default=600)
    arguments = parser.parse_args(argv)
    seeds, steps, wide, width = arguments.seeds, arguments.steps, 1024, 256
    if arguments.quick:
        seeds, steps, wide, width = 1, 20, 32, 32
    kernels = {p: kernel_of(p, wide) for p in (PLAIN, *POWERS)}
    # On the samples an eigenvalue is SAMPLES / FINE of that on the finer circle, and the loss is a mean: D = 2 / SAMPLES.
    lr = 0.5 * FINE / max(kernels[p].spectrum.max() for p in POWERS)
    runs = {p: [] for p in POWERS}
    for p, seed in over([(p, seed) for p in POWERS for seed in range(seeds)], "trainings"):
        runs[p].append(trained(p, seed, steps, lr, width))
    errors, predicted = final_errors(runs)
    numbers = {
        "seeds": seeds,
        "steps": steps,
        "lr": lr,
        "widths": {"kernel": wide, "trained": width},
        "kernels": {
            named(p): {
                "nonstationary": kernel.nonstationary,
                "mean_cosine": kernel.off_diagonal,
                "effective_frequencies": kernel.effective_frequencies,
                "from_finite_width": kernel.finite,
            }
            for p, kernel in kernels.items()
        },
        "trained": {
            named(p): {
                "test_errors": [float(run.errors[-1]) for run in runs[p]],
                "test_error_median": errors[p],
                "test_error_predicted": predicted[p],
                "losses": [float(run.losses[-1]) for run in runs[p]],
                "high": [run.high for run in runs[p]],
                "high_predicted": [run.predicted_high for run in runs[p]],
            }
            for p in POWERS
        },
    }
    return reproduction.finish(__file__, arguments.out, figure(kernels, runs), numbers, checked(kernels, runs))


if __name__ == "__main__":
    main()
