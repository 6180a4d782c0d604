"""MgFNO and MscaleFNO: two sums of Fourier neural operators, of which one changes the kernel and the other the target.

Guo & Li 2024 (MgFNO, arXiv 2407.08615): three FNOs on grids of rising resolution, trained one after another, each on what the
ones before leave of the target, divided by its standard deviation; with it networks' preference for low frequencies is to meet
that of multigrid methods for high ones. You, Xu & Cai 2024 (MscaleFNO, arXiv 2412.20183): sum_i gamma_i FNO_i(c_i x, c_i a(x)),
trained at once, against the spectral bias in oscillatory function spaces. So MgFNO is an MscaleFNO of scales c_i = 1, with
gamma_i the sizes of the residuals, whose parts are trained one at a time; that is how it is built here.

Here: what share of the kernel is in each frequency, on the same sampled functions, for an FNO, MgFNO's levels and MscaleFNO;
and both trained, with an FNO, for an equal number of Adam steps and with about as many parameters each, on an operator that
makes high frequencies, u = sin(5 a(x)), and on one that removes them, Burgers' equation at t = 1.

    python scripts/multigrid_fno.py            5 minutes on 2 cores
    python scripts/multigrid_fno.py --quick    seconds, for a look
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from math import pi

import _reproduction as reproduction
import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor, nn
from tqdm import tqdm

from pinntk.nn import FNO1d, MscaleFNO
from pinntk.ntk import function_kernel
from pinntk.problem._spectral import etdrk4

SCALES = (1.0, 2.0, 4.0, 8.0)
WAVES = 3  # over the domain, of the functions that go in
LEVELS = (4, 2, 1)  # MgFNO's grids take each 4th, each 2nd and each point
COLORS = {
    "FNO": reproduction.GRAY,
    "FNO, sine": reproduction.GREEN,
    "MgFNO": reproduction.RED,
    "MscaleFNO": reproduction.BLUE,
}
DOUBLE = {"dtype": torch.float64}


def networks(seed: int, grid: int, dtype: torch.dtype) -> dict[str, nn.Module]:
    """Of about as many parameters each, in their papers' activations. All have the modes of MgFNO's coarsest grid."""
    sizes = {"modes": grid // 8, "depth": 2, "hidden": 16, "seed": seed, "dtype": dtype}
    return {
        "FNO": FNO1d(width=16, **sizes),
        "FNO, sine": FNO1d(width=16, activation="sin", **sizes),  # MscaleFNO's activation without its scales
        "MgFNO": MscaleFNO(scales=(1.0,) * len(LEVELS), activation="gelu", width=9, **sizes),
        "MscaleFNO": MscaleFNO(scales=SCALES, width=8, **sizes),
    }


def functions(count: int, grid: int, seed: int) -> Tensor:
    """Random functions of waves 1 .. WAVES on [0, 1), of standard deviation about 1: (count, grid), float64."""
    generator = torch.Generator().manual_seed(seed)
    waves = torch.arange(1, WAVES + 1, **DOUBLE)
    a, b = torch.randn(2, count, WAVES, generator=generator, **DOUBLE) / WAVES**0.5
    phases = 2 * pi * torch.arange(grid, **DOUBLE)[:, None] / grid * waves
    return a @ torch.cos(phases).T + b @ torch.sin(phases).T


def oscillating(a: Tensor) -> Tensor:
    return torch.sin(5 * a)


def burgers(a: Tensor) -> Tensor:
    """u at t = 1 of u_t + u u_x = u_xx / 100, from a, periodic in x."""
    k = 2 * pi * np.arange(a.shape[1] // 2 + 1)

    def steepening(c: np.ndarray) -> np.ndarray:
        return -0.5j * k * np.fft.rfft(np.fft.irfft(c, n=a.shape[1]) ** 2)

    steps = etdrk4(-0.01 * k**2, steepening, np.fft.rfft(a.numpy()), np.array([0.0, 1.0]), steps=400)
    return torch.from_numpy(np.fft.irfft(steps[-1], n=a.shape[1]))


OPERATORS: dict[str, Callable[[Tensor], Tensor]] = {"sin(5 a)": oscillating, "Burgers": burgers}


def shares(network: nn.Module, inputs: Tensor) -> Tensor:
    """What share of the kernel of one function's values is in the waves 0, 1, ..., grid / 2, averaged over functions."""
    count, grid = inputs.shape
    K = function_kernel(network, inputs).reshape(count, grid, count, grid)
    own = torch.stack([K[i, :, i] for i in range(count)])
    power = torch.fft.fft(torch.fft.ifft(own.to(torch.complex128), dim=1), dim=2).diagonal(dim1=1, dim2=2).real.mean(0)
    half = power[: grid // 2 + 1] + torch.cat([power[:1] * 0, power[grid // 2 :].flip(0)])[: grid // 2 + 1]
    half[grid // 2] /= 2
    return half / half.sum()


def part(network: MscaleFNO, i: int) -> nn.Module:
    """One of the FNOs of a sum, as it sees functions there."""
    return _Scaled(network.networks[i], network.scales[i])


class _Scaled(nn.Module):
    def __init__(self, network: nn.Module, scale: float):
        super().__init__()
        self.network, self.scale = network, scale

    def forward(self, a: Tensor) -> Tensor:
        x = torch.arange(a.shape[1], dtype=a.dtype, device=a.device) / a.shape[1]
        return self.network(self.scale * a, self.scale * x)


def fitted(network: nn.Module, a: Tensor, u: Tensor, steps: int) -> None:
    """Adam on mean((network(a) - u)^2), with a cosine schedule."""
    optimizer = torch.optim.Adam([p for p in network.parameters() if p.requires_grad], lr=2e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        optimizer.zero_grad()
        (network(a) - u).square().mean().backward()
        optimizer.step()
        schedule.step()


def trained_by_levels(network: MscaleFNO, a: Tensor, u: Tensor, steps: int) -> None:
    """MgFNO: each level on its grid, for what the ones before leave, divided by its standard deviation, its gamma."""
    network.gamma.requires_grad_(False)
    left = u
    for level, stride in enumerate(LEVELS):
        own, size = part(network, level), left[:, ::stride].std()
        fitted(own, a[:, ::stride], left[:, ::stride] / size, steps // len(LEVELS))
        with torch.no_grad():
            network.gamma[level] = size
            left = left - size * own(a)


def errors(network: nn.Module, a: Tensor, u: Tensor) -> tuple[float, np.ndarray]:
    """Relative L2 error, and the error's share of u by waves: |e_k| / norm(u), root mean squares over functions."""
    with torch.no_grad():
        e = network(a) - u
    spectrum = torch.fft.rfft(e, norm="forward").abs().square().mean(0).sqrt()
    return float(e.norm() / u.norm()), (spectrum / u.square().mean().sqrt()).double().numpy()


def trained(operator: str, seed: int, sizes: dict[str, int]) -> dict[str, dict]:
    """Errors on functions that were not trained on, by network."""
    every = functions(sizes["train"] + sizes["test"], sizes["grid"], 100 + seed)
    a, u = every.float(), OPERATORS[operator](every)
    u = (u / u.std()).float()
    seen, new = slice(sizes["train"]), slice(sizes["train"], None)
    found = {}
    for label, network in networks(seed, sizes["grid"], torch.float32).items():
        fit = trained_by_levels if label == "MgFNO" else fitted
        fit(network, a[seen], u[seen], sizes["steps"])
        error, spectrum = errors(network, a[new], u[new])
        found[label] = {"error": error, "training_error": errors(network, a[seen], u[seen])[0], "spectrum": spectrum.tolist()}
    return found


def kernels(seeds: int, grid: int, count: int) -> dict[str, dict[str, list[float]]]:
    """{network: shares by wave}, medians over seeds; of MgFNO also of each level, and of MscaleFNO of each scale."""
    inputs, several = functions(count, grid, 0), []
    for seed in range(seeds):
        made = networks(seed, grid, torch.float64)
        one = {label: shares(network, inputs) for label, network in made.items()}
        one |= {f"level {i + 1}": shares(part(made["MgFNO"], i), inputs) for i in range(len(LEVELS))}
        several.append(one | {f"scale {c:g}": shares(part(made["MscaleFNO"], i), inputs) for i, c in enumerate(SCALES)})
    return {label: torch.stack([one[label] for one in several]).median(0).values.tolist() for label in several[0]}


def mean_wave(share: list[float]) -> float:
    """Over the waves above 0."""
    share = np.array(share[1:])
    return float(np.arange(1, len(share) + 1) @ share / share.sum())


def checked(found: dict[str, list[float]], runs: dict[str, list[dict]], parameters: dict[str, int]) -> list[reproduction.Check]:
    wave = {label: mean_wave(share) for label, share in found.items()}
    high = {label: sum(share[11:]) for label, share in found.items()}
    levels = [wave[f"level {i + 1}"] for i in range(len(LEVELS))]
    scales = [wave[f"scale {c:g}"] for c in SCALES]
    middle = {
        operator: {label: float(np.median([run[label]["error"] for run in several])) for label in COLORS}
        for operator, several in runs.items()
    }

    def lower(label: str, others: tuple[str, ...], *operators: str) -> str:
        holds = all(middle[operator][label] < middle[operator][other] for operator in operators for other in others)
        return reproduction.IN_KIND if holds else reproduction.DIFFERS

    def said(*labels: str) -> str:
        """The errors on new functions, and numbers of parameters."""
        each = (f"{operator}: " + ", ".join(f"{label} {middle[operator][label]:.2g}" for label in labels) for operator in runs)
        sizes = ", ".join(f"{parameters[label]:,}" for label in labels)
        return f"relative L2 error on new functions, {'; '.join(each)} ({sizes} parameters)"

    rising = all(b > 1.1 * a for a, b in pairwise(levels))
    return [
        reproduction.Check(
            "MscaleFNO captures high-frequency components that an FNO does not.",
            "shown by figures; no number of the kernel",
            f"mean wave of the kernel: FNO {wave['FNO']:.1f} (of sine units {wave['FNO, sine']:.1f}), MscaleFNO "
            f"{wave['MscaleFNO']:.1f}; its scales "
            + ", ".join(f"{c:g}: {value:.1f}" for c, value in zip(SCALES, scales, strict=True))
            + f"; share above 10 waves {high['FNO']:.0e} ({high['FNO, sine']:.0e}), {high['MscaleFNO']:.0e}",
            reproduction.IN_KIND if wave["MscaleFNO"] > 1.1 * max(wave["FNO"], wave["FNO, sine"]) else reproduction.DIFFERS,
            "the mean wave at least a tenth above that of both FNOs",
        ),
        reproduction.Check(
            "MgFNO: coarse levels learn low frequencies, fine levels high ones.",
            "stated, by the frequency principle",
            f"mean wave of the kernel: levels {', '.join(f'{value:.1f}' for value in levels)}, FNO {wave['FNO']:.1f}: the "
            "networks are alike, and only their targets and grids are not",
            reproduction.IN_KIND if rising else reproduction.DIFFERS,
            "the mean wave rises by a tenth from each level's kernel to the next",
        ),
        reproduction.Check(
            "MscaleFNO is more accurate than an FNO of similar size where frequencies are high.",
            "substantial improvement",
            said("FNO", "FNO, sine", "MscaleFNO"),
            lower("MscaleFNO", ("FNO", "FNO, sine"), "sin(5 a)"),
            "the lowest median error on sin(5 a)",
        ),
        reproduction.Check(
            "MgFNO is more accurate than an FNO.",
            "Burgers 0.17 %, 89 % below an FNO; levels of an FNO's size each",
            said("FNO", "MgFNO"),
            lower("MgFNO", ("FNO",), *runs),
            "the lower median error on both operators, at as many parameters and Adam steps in all",
        ),
    ]


def figure(found: dict[str, list[float]], runs: dict[str, list[dict]]) -> Figure:
    drawn = Figure(figsize=(14, 4.0), layout="constrained")
    kernel, *spectra = drawn.subplots(1, 1 + len(runs))
    for label, color in COLORS.items():
        kernel.semilogy(found[label], color=color, lw=1.8, label=label)
    for label in found:
        if label not in COLORS:
            kernel.semilogy(found[label], color=COLORS["MgFNO" if "level" in label else "MscaleFNO"], lw=0.7, alpha=0.6)
    kernel.set(title="kernel by frequency (thin: levels, scales)", xlabel="waves over the domain", ylabel="share of the trace")
    for ax, (operator, several) in zip(spectra, runs.items(), strict=True):
        for label, color in COLORS.items():
            values = np.median([run[label]["spectrum"] for run in several], axis=0)
            error = np.median([run[label]["error"] for run in several])
            ax.semilogy(values, color=color, lw=1.5, label=f"{label}, {error:.1e}")
        ax.set(title=f"{operator}: error on new functions", xlabel="waves over the domain", ylabel="relative to u")
    reproduction.tidy((kernel, *spectra))
    return drawn


def main(argv: list[str] | None = None) -> dict:
    parser = reproduction.parser(__file__, __doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=1000, help="of Adam, all levels together")
    arguments = parser.parse_args(argv)
    sizes = {"grid": 128, "train": 32, "test": 32, "steps": arguments.steps}
    seeds, grid, count = arguments.seeds, 64, 6
    if arguments.quick:
        sizes, seeds, grid, count = {"grid": 32, "train": 4, "test": 2, "steps": 6}, 1, 32, 1
    found = kernels(seeds, grid, count)
    runs: dict[str, list[dict]] = {operator: [] for operator in OPERATORS}
    for operator, seed in tqdm(
        [(operator, seed) for operator in OPERATORS for seed in range(seeds)], disable=None, desc="fits"
    ):
        runs[operator].append(trained(operator, seed, sizes))
    parameters = {
        label: sum(p.numel() for p in n.parameters()) for label, n in networks(0, sizes["grid"], torch.float32).items()
    }
    numbers = {"sizes": sizes, "seeds": seeds, "kernels": found, "runs": runs, "parameters": parameters}
    return reproduction.finish(__file__, arguments.out, figure(found, runs), numbers, checked(found, runs, parameters))


if __name__ == "__main__":
    main()
