"""Error against wall time of solvers and optimizers: same network, same time, several seeds, every built-in problem.

    python scripts/benchmark_solvers.py                                     2 minutes each, 5 seeds: a day on 2 cores
    python scripts/benchmark_solvers.py --seconds 30 --seeds 1 --problems poisson1d burgers

One default for all problems: tanh, 4 x 20, float64, the solvers' own points; torch's optimizers train with NTK weights
every 100 steps on 2,000 fixed points (200 on a line). Writes runs/benchmark_solvers/result.json and .png: medians over
seeds, with bands from the best to the worst.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from statistics import median

import matplotlib.pyplot as plt
import numpy as np
import torch

import pinntk
from pinntk.files import replacing
from pinntk.trainer import solver_counts

PROBLEMS = {  # name -> parameters, network settings
    "poisson1d": ({}, {}),
    "poisson2d": ({}, {}),
    "helmholtz2d": ({}, {}),
    "wave1d": ({}, {}),
    "burgers": ({}, {}),
    "allen_cahn": ({}, {"periodic": "x"}),
    "convection": ({"beta": 40}, {}),
    "reaction": ({"rho": 5}, {}),
    "kovasznay": ({}, {}),
}
METHODS = {  # name -> settings of pinntk.train, in phases with their share of the time
    "adam": [(1.0, {"optimizer": "adam", "lr": 1e-3, "schedule": "constant"})],
    "adam + lbfgs": [(0.5, {"optimizer": "adam", "lr": 1e-3, "schedule": "constant"}), (0.5, {"optimizer": "lbfgs"})],
    "ssbroyden": [(1.0, {"optimizer": "ssbroyden", "optimizer_options": {"iterations": 10}})],
    "natural-gradient": [(1.0, {"optimizer": "natural-gradient"})],
    "gauss-newton": [(1.0, {"optimizer": "gauss-newton"})],
}
PUBLISHED = {  # relative L2 errors of others, drawn as lines
    "burgers": {"self-adaptive PINN (McClenny & Braga-Neto 2023)": 4.8e-4},
    "helmholtz2d": {"self-adaptive PINN (McClenny & Braga-Neto 2023)": 3.2e-3},
    "allen_cahn": {"jaxpi (Wang et al. 2023)": 5.37e-5},
    "convection": {"NNCG (Rathore et al. 2024)": 1.94e-3},
    "reaction": {"NNCG (Rathore et al. 2024)": 9.92e-3},
}


def curve(name: str, method: str, seconds: float, seed: int, progress: bool = True) -> list[tuple[float, float]]:
    """(seconds, relative L2 error) along one training."""
    parameters, network_settings = PROBLEMS[name]
    problem = pinntk.load(name, **parameters)
    network = pinntk.nn.MLP(problem, width=20, depth=4, seed=seed, dtype=torch.float64, **network_settings)
    found: list[tuple[float, float]] = []
    before = 0.0
    for share, settings in METHODS[method]:
        solving = settings["optimizer"] in pinntk.solvers.SOLVERS
        run = pinntk.train(
            problem,
            network,
            steps=10**6,
            seconds=share * seconds,
            seed=seed,
            points=solver_counts(problem, {}),
            sampling="sobol",
            weighting=None if solving else pinntk.weighting.NTK(every=100),
            log_every=10**6,
            eval_every=5 if solving or "broyden" in method else 100,
            snapshot_every=0,
            checkpoint_every=0,
            progress=progress,
            **settings,
        )
        found += [(before + row["seconds"], row["error"]) for row in run.history if "error" in row]
        before = found[-1][0]
    return found


def at(curve: list[tuple[float, float]], times: np.ndarray) -> np.ndarray:
    """The last error measured by each time."""
    seconds, errors = map(np.array, zip(*curve, strict=True))
    return errors[np.clip(np.searchsorted(seconds, times, side="right") - 1, 0, None)]


def draw(found: dict, path: Path) -> None:
    names = list(found)
    columns = min(3, len(names))
    rows = -(-len(names) // columns)
    figure, axes = plt.subplots(rows, columns, figsize=(4.2 * columns, 3.1 * rows), squeeze=False, layout="constrained")
    for ax, name in zip(axes.flat, names, strict=False):
        for method, curves in found[name].items():
            times = np.linspace(0.02, 1, 100) * max(curve[-1][0] for curve in curves)
            errors = np.stack([at(curve, times) for curve in curves])
            (line,) = ax.semilogy(times, np.median(errors, 0), label=method)
            ax.fill_between(times, errors.min(0), errors.max(0), alpha=0.15, color=line.get_color())
        for label, value in PUBLISHED.get(name, {}).items():
            ax.axhline(value, color="0.5", lw=0.8, ls=":")
            ax.annotate(label, (0, value), fontsize=7, color="0.4", va="bottom")
        ax.set(title=name, xlabel="seconds", ylabel="relative L2 error")
        ax.grid(alpha=0.25, lw=0.6)
    for ax in axes.flat[len(names) :]:
        ax.set_axis_off()
    axes.flat[0].legend(fontsize=7)
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=130, format="png")
    plt.close(figure)


def main(argv: list[str] | None = None) -> dict:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--problems", nargs="+", choices=list(PROBLEMS), default=list(PROBLEMS))
    parser.add_argument("--methods", nargs="+", choices=list(METHODS), default=list(METHODS))
    parser.add_argument("--seconds", type=float, default=120.0, help="for each training (default: 120)")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("-o", "--out", type=Path, default=Path("runs/benchmark_solvers"))
    arguments = parser.parse_args(argv)
    found: dict = {}
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, float64")
    print(f"relative L2 error after {arguments.seconds:g} s")
    print(f"{'problem':<12} {'method':<17} {'median':>9} {'best':>9} {'worst':>9}")
    for name in arguments.problems:
        found[name] = {}
        for method in arguments.methods:
            curves = [curve(name, method, arguments.seconds, seed) for seed in range(arguments.seeds)]
            found[name][method] = curves
            last = [c[-1][1] for c in curves]
            print(f"{name:<12} {method:<17} {median(last):>9.1e} {min(last):>9.1e} {max(last):>9.1e}", flush=True)
            with replacing(arguments.out / "result.json") as temporary:
                temporary.write_text(json.dumps(found))
        draw(found, arguments.out / "benchmark_solvers.png")
    return found


if __name__ == "__main__":
    main()
