"""The wave figures of Wang, Yu & Perdikaris 2022 (JCP 449:110768, section 7.3): NTK weights on u_tt = 4 u_xx.

wave1d: u = sin(pi x) cos(2 pi t) + 1/2 sin(4 pi x) cos(8 pi t) on [0, 1]^2. As in the authors' notebook: [2, 500, 500, 500, 1]
tanh, Xavier, normalized inputs, fresh batches of 100 initial points, 100 on each wall and 300 inside, L_u the sum of three
means, Adam 1e-3 decaying by 0.9 every 1,000 steps, weights every 100. Published: relative L2 4.518e-1 unweighted, 1.728e-3
with NTK weights, after 80,000 steps.

Those 80,000 steps take many hours here. By default the weights are followed for 1,000 steps at full width, and the errors of
unweighted and weighted training compared after 8,000 steps at width 100.

    python scripts/wave_weights.py            8 minutes on 2 cores
    python scripts/wave_weights.py --quick    seconds, for a look
    python scripts/wave_weights.py --full     80,000 steps at full width, weighted and unweighted: half a day on 2 cores
    python scripts/wave_weights.py --full --device cuda --momentum 0.9
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import _reproduction as reproduction
import numpy as np
import torch
from _reproduction import AGREES, BLUE, DIFFERS, GRAY, GREEN, IN_KIND, RED, Check, tidy
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import pinntk

GROUPS = {"u": ("start", "left", "right"), "u_t": ("start_velocity",), "r": ("wave",)}
BLOCKS = {"u": "K_uu", "u_t": "K_ut", "r": "K_rr"}
COLORS = {"u": RED, "u_t": GREEN, "r": BLUE}
COUNTS = {"start": 100, "left": 100, "right": 100, "start_velocity": 100, "wave": 300}
LOGGED = {0: (6.9, 2.9, 2.0), 1_000: (284, 14.9, 1.08), 10_000: (6312, 31.8, 1.03)}  # weights of u, u_t, r in the notebook
PUBLISHED = {"unweighted": 4.518e-1, "NTK weights": 1.728e-3}
NEAR = 2.0  # factor within which a weight agrees
SHARE = 1 / 3  # of the published gain that counts as agreement


@dataclass(frozen=True)
class Followed:
    """A training. spectra: {"u": ..., "u_t": ..., "r": ...} eigenvalues of K_uu, K_ut, K_rr, descending, at the start and the
    end."""

    run: pinntk.Run
    spectra: tuple[dict[str, np.ndarray], dict[str, np.ndarray]]

    def weights(self, step: int) -> tuple[float, ...] | None:
        """Of u, u_t and r at a step, None where it was not reached."""
        rows = [row for row in self.run.history if row["step"] == step]
        return tuple(rows[0][f"weight/{names[0]}"] for names in GROUPS.values()) if rows else None


def problem() -> pinntk.Problem:
    """wave1d with a condition for each wall, as in the notebook."""
    wave = pinntk.load("wave1d")

    @pinntk.boundary(wave.domain.at(x=0))
    def left(u):
        return u

    @pinntk.boundary(wave.domain.at(x=1))
    def right(u):
        return u

    return replace(wave, conditions=(*(c for c in wave.conditions if c.name != "walls"), left, right))


def drawn_network(wave: pinntk.Problem, width: int, seed: int, device: str = "cpu") -> pinntk.nn.MLP:
    return pinntk.nn.MLP(wave, width=width, depth=3, seed=seed, dtype=torch.float32, device=device)


def rule(momentum: float = 0.0) -> pinntk.weighting.NTK:
    """The paper's has no momentum."""
    return pinntk.weighting.NTK(every=100, momentum=momentum, groups=[GROUPS["u"]])


def first_weights(width: int, seeds: int) -> np.ndarray:
    """Weights of u, u_t and r at initialization, (seeds, 3)."""
    wave, found = problem(), []
    for seed in range(seeds):
        points = wave.sample(seed=seed, dtype=torch.float64, **COUNTS)
        weights = rule().rule(pinntk.traces(drawn_network(wave, width, seed), wave, points), COUNTS)
        found.append([weights[names[0]] for names in GROUPS.values()])
    return np.array(found)


def spectra(network: pinntk.nn.MLP, wave: pinntk.Problem) -> dict[str, np.ndarray]:
    points = wave.sample(seed=0, dtype=torch.float64, device=next(network.parameters()).device, **COUNTS)
    found = {}
    for name, conditions in GROUPS.items():
        K = pinntk.kernel(network, wave, {condition: points[condition] for condition in conditions})
        found[name] = K.eigvalsh().flip(0).cpu().numpy()
    return found


def followed(width: int, steps: int, weighting: pinntk.weighting.Weighting, device: str) -> Followed:
    wave = problem()
    network = drawn_network(wave, width, seed=0, device=device)
    start = spectra(network, wave)
    run = pinntk.train(
        wave,
        network,
        steps=steps,
        optimizer="adam",
        lr=1e-3,
        schedule="exponential",
        weighting=weighting,
        points=COUNTS,
        sampling="uniform",
        resample=1,
        log_every=min(100, steps),
        snapshot_every=0,
        compile=device != "cpu",
    )
    return Followed(run, (start, spectra(network, wave)))


def checks(initial: np.ndarray, at_width: Followed, plain: Followed, weighted: Followed) -> list[Check]:
    made = [compared("at initialization", initial, LOGGED[0])]
    for step, logged in LOGGED.items():
        ours = at_width.weights(step)
        if step and ours:
            made.append(compared(f"after {step:,} steps", np.array([ours]), logged))
    leading = {name: float(values[0]) for name, values in at_width.spectra[0].items()}
    made.append(
        Check(
            "At the start the residual's kernel block is the largest, and its error would converge first",
            "K_rr above K_ut and K_uu (figure)",
            "largest eigenvalues " + ", ".join(f"{name} {value:.3g}" for name, value in leading.items()),
            AGREES if leading["r"] > max(leading["u"], leading["u_t"]) else DIFFERS,
            "largest eigenvalue of K_rr above the two others",
        )
    )
    gained = PUBLISHED["unweighted"] / PUBLISHED["NTK weights"]
    gain = plain.run.relative_error / weighted.run.relative_error
    width, steps = plain.run.config["network"]["arguments"]["width"], plain.run.step
    made.append(
        Check(
            "NTK weights make the network learn the wave where equal weights fail",
            f"relative L2 {PUBLISHED['unweighted']:.3g} to {PUBLISHED['NTK weights']:.3g} (width 500, 80,000 steps)",
            f"{plain.run.relative_error:.3g} to {weighted.run.relative_error:.3g} (width {width}, {steps:,} steps): "
            f"{gain:.1f} times smaller",
            AGREES if gain >= SHARE * gained else IN_KIND if gain >= 2 else DIFFERS,
            f"agrees: at least {SHARE * gained:.0f} times smaller; in kind: at least 2 times",
        )
    )
    return made


def compared(when: str, ours: np.ndarray, logged: tuple[float, ...]) -> Check:
    """ours: (runs, 3)."""
    medians = np.median(ours, 0)
    close = all(1 / NEAR <= a / b <= NEAR for a, b in zip(medians, logged, strict=True))
    of = f" (medians of {len(ours)} seeds)" if len(ours) > 1 else " (one run)"
    return Check(
        f"Weights of u, u_t and r {when}",
        ", ".join(f"{value:g}" for value in logged) + " (one run, the notebook's log)",
        ", ".join(f"{value:.3g}" for value in medians) + of,
        AGREES if close else IN_KIND if (np.diff(medians) < 0).all() else DIFFERS,
        f"agrees: each within a factor of {NEAR:g}; in kind: u above u_t above r",
    )


def figure(at_width: Followed, plain: Followed, weighted: Followed) -> Figure:
    drawn = Figure(figsize=(15, 3.8), layout="constrained")
    axes = drawn.subplots(1, 4)
    for ax, found in zip(axes, (at_width, weighted), strict=False):
        width = found.run.config["network"]["arguments"]["width"]
        start, end = found.spectra
        for name, color in COLORS.items():
            index = 1 + np.arange(len(start[name]))
            ax.loglog(index, start[name], color=color, lw=1.4, label=BLOCKS[name])
            ax.loglog(index, end[name], color=color, lw=1.4, ls=":")
        largest = max(float(values[0]) for part in found.spectra for values in part.values())
        ax.set(title=f"spectra, width {width}: start (line),\nstep {found.run.step:,} (dotted)", xlabel="index")
        ax.set_ylim(1e-9 * largest, 3 * largest)
    weights_over_time(axes[2], at_width)
    for found, color, label in ((plain, RED, "unweighted"), (weighted, BLUE, "NTK weights")):
        axes[3].semilogy(*found.run.column("relative_error"), color=color, lw=1.3, label=label)
        axes[3].axhline(PUBLISHED[label], color=color, ls=":", lw=1, label=f"published, {label}")
    width = plain.run.config["network"]["arguments"]["width"]
    axes[3].set(title=f"relative L2 error, width {width}", xlabel="step")
    tidy(axes)
    return drawn


def weights_over_time(ax: Axes, found: Followed) -> None:
    for (name, conditions), color in zip(GROUPS.items(), COLORS.values(), strict=True):
        ax.semilogy(*found.run.column(f"weight/{conditions[0]}"), color=color, lw=1.3, label=f"λ of {name}")
    for step, logged in LOGGED.items():
        if found.weights(step):
            ax.plot([step] * 3, logged, "D", color=GRAY, mfc="none", ms=5, label=None if step else "notebook's log")
    ax.set(title=f"NTK weights, width {found.run.config['network']['arguments']['width']}", xlabel="step")


def main(argv: list[str] | None = None) -> dict:
    arguments = reproduction.parser(__file__, __doc__)
    arguments.add_argument("--full", action="store_true", help="80,000 steps at full width: half a day on 2 cores")
    arguments.add_argument("--device", default="cpu", help="where to train; compiled where that is not the CPU")
    arguments.add_argument("--momentum", type=float, default=0.0, help="of the weights' average; the paper has none")
    given = arguments.parse_args(argv)
    width, steps, small, small_steps, seeds = 500, 1_001, 100, 8_000, 4
    if given.full:
        steps, small, small_steps = 80_000, width, 80_000
    if given.quick:
        width, steps, small, small_steps, seeds = 30, 11, 30, 11, 2
    initial = first_weights(width, seeds)
    at_width = followed(width, steps, rule(given.momentum), given.device)
    plain = followed(small, small_steps, pinntk.weighting.Fixed(), given.device)
    same = (width, steps) == (small, small_steps)
    weighted = at_width if same else followed(small, small_steps, rule(given.momentum), given.device)
    numbers = {
        "width": width,
        "steps": steps,
        "small": {"width": small, "steps": small_steps},
        "initial_weights": initial.tolist(),
        "weights": {step: at_width.weights(step) for step in LOGGED},
        "errors": {"unweighted": plain.run.relative_error, "NTK weights": weighted.run.relative_error},
        "final_weights": [weighted.run.weights[names[0]] for names in GROUPS.values()],
        "largest_eigenvalues": [{name: float(values[0]) for name, values in part.items()} for part in at_width.spectra],
    }
    return reproduction.finish(
        __file__, given.out, figure(at_width, plain, weighted), numbers, checks(initial, at_width, plain, weighted)
    )


if __name__ == "__main__":
    main()
