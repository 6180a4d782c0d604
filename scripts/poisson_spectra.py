"""The spectra of Wang, Yu & Perdikaris 2022 (JCP 449:110768, sections 5 and 7.1): residual and boundary of u_xx = f train at
very different rates.

Eigenvalues of K, K_uu and K_rr at initialization for poisson1d with k = 1, 2, 4 (u = sin(k pi x)), one hidden layer of 512 tanh
units, 100 boundary points (50 copies of each end) and 100 residual points, and average rates c = Tr K / n (definition 5.1). Two
set-ups: as printed (NTK parametrization, x in [0, 1]), and as in the authors' code (standard parametrization, normalized x).
k enters the target only. What it changes is in which modes the error lies: shown by the loss of the target's part of the error
(that of u = 0; the frozen kernel trains it independently of the rest, the network's own output at the start).

    python scripts/poisson_spectra.py            20 seconds on 2 cores
    python scripts/poisson_spectra.py --quick    seconds, for a look
"""

from __future__ import annotations

from dataclasses import dataclass

import _reproduction as reproduction
import numpy as np
import torch
from _reproduction import AGREES, BLUE, DIFFERS, GRAY, GREEN, IN_KIND, RED, Check, tidy
from matplotlib.figure import Figure

import pinntk
from pinntk.diagnostics import Dynamics, dynamics

KS = (1, 2, 4)
SET_UPS = {
    "as printed": {"parametrization": "ntk", "normalize": False},
    "as in the code": {"initialization": "normal"},
}
FAR = 10.0  # times faster: a remarkable discrepancy
SMALL = 1e-3  # of the largest eigenvalue
FRACTION = 0.01  # of the loss, the time to which is compared


@dataclass(frozen=True)
class Spectra:
    """Of one network. kernels: {k: K}; training: {k: how the frozen kernel removes the target's error}."""

    kernels: dict[int, pinntk.KernelBlocks]
    training: dict[int, Dynamics]

    @property
    def kernel(self) -> pinntk.KernelBlocks:
        return self.kernels[KS[0]]

    @property
    def rates(self) -> tuple[float, float]:
        """Average rates c_uu and c_rr."""
        K = self.kernel
        return K.trace("ends") / len(K.uu), K.trace("poisson") / len(K.rr)

    @property
    def change(self) -> float:
        """The largest relative difference between the kernels for different k."""
        return max(float((K.values - self.kernel.values).norm() / self.kernel.values.norm()) for K in self.kernels.values())

    @property
    def rank_uu(self) -> int:
        values = torch.linalg.eigvalsh(self.kernel.uu)
        return int((values > len(values) * torch.finfo(values.dtype).eps * values[-1]).sum())

    @property
    def near_zero(self) -> float:
        """The share of K's eigenvalues below `SMALL` of the largest."""
        values = self.kernel.eigvalsh()
        return float((values < SMALL * values[-1]).double().mean())


def spectra(width: int, seed: int, settings: dict) -> Spectra:
    kernels, training = {}, {}
    for k in KS:
        problem = pinntk.load("poisson1d", k=k)
        network = pinntk.nn.MLP(problem, width=width, depth=1, seed=seed, dtype=torch.float64, **settings)
        points = problem.sample(boundary=100, residual=100, seed=0, dtype=torch.float64)
        kernels[k] = pinntk.kernel(network, problem, points)
        target = {c.name: c.operator(torch.zeros(100, dtype=torch.float64), points[c.name][:, 0]) for c in problem.conditions}
        training[k] = dynamics(kernels[k], target, dict.fromkeys(problem.names, 1.0))
    return Spectra(kernels, training)


def time_to(training: Dynamics, fraction: float) -> float:
    """Time of gradient flow until the loss is at this fraction of its start, on a grid of 5 %; inf if beyond 1e12."""
    times = np.geomspace(1e-6, 1e12, 850)
    left = training.losses(times).total / training.losses(0.0).total
    return float(times[(left <= fraction).argmax()]) if (left <= fraction).any() else float("inf")


def figure(first: dict[str, Spectra]) -> Figure:
    drawn = Figure(figsize=(12, 3.8), layout="constrained")
    axes = drawn.subplots(1, 3)
    for ax, (name, found) in zip(axes, first.items(), strict=False):
        K = found.kernel
        for label, block, color in (("K", K.values, GRAY), ("K_uu", K.uu, RED), ("K_rr", K.rr, BLUE)):
            values = torch.linalg.eigvalsh(block).flip(0).numpy()
            ax.loglog(1 + np.arange(len(values)), values, color=color, lw=1.4, label=label, marker="o", ms=2.5)
        floor = K.floor()
        ax.axhline(floor, color="0.6", lw=0.8, ls=":", label="rounding")
        ax.set(title=f"eigenvalues, {name}", xlabel="index", xlim=(0.8, 100), ylim=(floor / 30, None))
    times = np.geomspace(1e-6, 1e6, 241)
    for k, color in zip(KS, (BLUE, GREEN, RED), strict=True):
        for (name, found), style in zip(first.items(), ("-", "--"), strict=True):
            losses = found.training[k].losses(times).total
            axes[2].loglog(times, losses / found.training[k].losses(0.0).total, color=color, ls=style, label=f"k = {k}, {name}")
    axes[2].set(title="frozen kernel: loss of the target's part", xlabel="step size times steps", ylabel="L(t) / L(0)")
    tidy(axes)
    return drawn


def checks(found: dict[str, list[Spectra]]) -> list[Check]:
    everything = [part for parts in found.values() for part in parts]
    change = max(part.change for part in everything)
    ranks = sorted({part.rank_uu for part in everything})
    made = []
    for name, parts in found.items():
        c_uu, c_rr = np.median([part.rates for part in parts], 0)
        made.append(discrepancy(name, float(c_uu), float(c_rr)))
    share = min(part.near_zero for part in everything)
    made.append(
        Check(
            "Most eigenvalues of K are close to zero",
            "fast decay (figure)",
            f"at least {share:.0%} of them below {SMALL:g} of the largest",
            AGREES if share > 0.5 else DIFFERS,
            f"more than half of them below {SMALL:g} of the largest, in every network",
        )
    )
    made.append(
        Check(
            "The spectrum is a matter of operator and network: the target sin(k pi x) does not enter K",
            "spectra shown for k = 1, 2, 4",
            f"K for k = 2, 4 differs from K for k = 1 by at most {change:.1g} (same network and points)",
            AGREES if change <= 1e-12 else DIFFERS,
            "relative difference at most 1e-12",
        )
    )
    made += [slower(name, parts) for name, parts in found.items()]
    made.append(
        Check(
            "K_uu has rank 2: the 100 boundary points are copies of two",
            "2 (from the authors' code)",
            " or ".join(map(str, ranks)),
            AGREES if ranks == [2] else DIFFERS,
            "eigenvalues above rounding, in every network",
        )
    )
    return made


def discrepancy(name: str, c_uu: float, c_rr: float) -> Check:
    ratio = c_rr / c_uu
    return Check(
        f"{name}: the residual converges far faster than the boundary",
        '"a remarkable discrepancy in the convergence rate" (abstract); lambda_b = 100 in the weighting figure',
        f"c_rr / c_uu = {c_rr:.3g} / {c_uu:.3g} = {ratio:.3g}",
        AGREES if ratio >= FAR else IN_KIND if ratio >= 2 else DIFFERS,
        f"agrees: at least {FAR:g}; in kind: at least 2",
    )


def slower(name: str, parts: list[Spectra]) -> Check:
    """Whether the frozen kernel takes longer for larger k, in the median over networks."""
    times = [float(np.median([time_to(part.training[k], FRACTION) for part in parts])) for k in KS]
    return Check(
        f"{name}: the larger k, the longer the frozen kernel needs, since the error lies in modes of smaller eigenvalues",
        "spectral bias: eigenvalues of high-frequency modes are small",
        f"time to {FRACTION:g} of the target's loss for k = 1 / 2 / 4: {' / '.join(f'{time:.2g}' for time in times)}",
        AGREES if (np.diff(times) > 0).all() else IN_KIND if times[-1] > times[0] else DIFFERS,
        "agrees: longer for each larger k; in kind: longer for k = 4 than for k = 1",
    )


def main(argv: list[str] | None = None) -> dict:
    arguments = reproduction.parser(__file__, __doc__)
    arguments.add_argument("--seeds", type=int, default=5)
    given = arguments.parse_args(argv)
    width, seeds = (64, 1) if given.quick else (512, given.seeds)
    found = {name: [spectra(width, seed, settings) for seed in range(seeds)] for name, settings in SET_UPS.items()}
    first = {name: parts[0] for name, parts in found.items()}
    leading = {
        name: {"uu": torch.linalg.eigvalsh(part.kernel.uu).flip(0)[:10].tolist()}
        | {"rr": torch.linalg.eigvalsh(part.kernel.rr).flip(0)[:10].tolist()}
        for name, part in first.items()
    }
    numbers = {
        "width": width,
        "seeds": seeds,
        "rates": {name: [part.rates for part in parts] for name, parts in found.items()},
        "leading_eigenvalues": leading,
        "time_to_one_percent": {
            name: [[time_to(part.training[k], FRACTION) for k in KS] for part in parts] for name, parts in found.items()
        },
    }
    return reproduction.finish(__file__, given.out, figure(first), numbers, checks(found))


if __name__ == "__main__":
    main()
