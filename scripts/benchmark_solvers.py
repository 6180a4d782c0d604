"""Error against time of solvers and optimizers: same network, same time, several seeds, every built-in problem.

    python scripts/benchmark_solvers.py                                     2 minutes each, 5 seeds: a day on 2 cores
    python scripts/benchmark_solvers.py --seconds 30 --seeds 1 --problems poisson1d burgers
    python scripts/benchmark_solvers.py --jax PYTHON --problems poisson2d   also randngd and ssbroyden-optimistix, run by
                                                                            the Python of an environment that has them

One default for all problems: tanh, 4 x 20 (poisson2d: one layer of 32), float64, the solvers' own points; torch's
optimizers train with NTK weights every 100 steps on 2,000 fixed points (200 on a line). Seconds are wall time, or with
--cpu-time and --jax CPU time of the process on one thread, which other processes disturb less. The peers
(`benchmark_solvers_jax.py`) start from the same weights and have the first of the solvers' points throughout. Writes
runs/benchmark_solvers/result.json and .png: medians over seeds, with bands from the best to the worst.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import tempfile
import time
from collections.abc import Iterable
from contextlib import nullcontext
from pathlib import Path
from statistics import median
from unittest import mock

import matplotlib.pyplot as plt
import numpy as np
import torch

import pinntk
from pinntk._util.files import replacing
from pinntk.training._counts import solver_counts

PROBLEMS = {  # label -> name in the registry, parameters, network settings
    "poisson1d": ("poisson1d", {}, {}),
    "poisson2d": ("poisson2d", {}, {"width": 32, "depth": 1}),
    "helmholtz2d": ("helmholtz2d", {}, {}),
    "helmholtz2d-hard": ("helmholtz2d", {}, {"hard": "auto"}),
    "wave1d": ("wave1d", {}, {}),
    "wave1d-beta5": ("wave1d", {"beta": 5}, {}),
    "burgers": ("burgers", {}, {}),
    "burgers-0.01": ("burgers", {"nu": 0.01}, {}),
    "allen_cahn": ("allen_cahn", {}, {"periodic": "x"}),
    "convection": ("convection", {"beta": 40}, {}),
    "reaction": ("reaction", {"rho": 5}, {}),
    "reaction_diffusion": ("reaction_diffusion", {}, {}),
    "kovasznay": ("kovasznay", {}, {}),
    "poisson_nd": ("poisson_nd", {}, {"width": 48, "depth": 5}),
}


METHODS = {  # name -> settings of pinntk.train, in phases with their share of the time
    "adam": [(1.0, {"optimizer": "adam", "lr": 1e-3, "schedule": "constant"})],
    "muon": [(1.0, {"optimizer": "muon", "lr": 3e-3, "schedule": "constant"})],  # the best of 1e-3, 3e-3 and 1e-2 on poisson1d
    "adam + lbfgs": [(0.5, {"optimizer": "adam", "lr": 1e-3, "schedule": "constant"}), (0.5, {"optimizer": "lbfgs"})],
    "ssbroyden": [(1.0, {"optimizer": "ssbroyden", "optimizer_options": {"iterations": 10}})],
    "natural-gradient": [(1.0, {"optimizer": "natural-gradient"})],
    "gauss-newton": [(1.0, {"optimizer": "gauss-newton"})],
}
PEERS = {"poisson2d": ("randngd", "ssbroyden-optimistix")}  # by problem, of `benchmark_solvers_jax.py`
PUBLISHED = {  # relative L2 errors of others, drawn as lines
    "burgers": {"self-adaptive PINN (McClenny & Braga-Neto 2023)": 4.8e-4},
    "helmholtz2d": {"self-adaptive PINN (McClenny & Braga-Neto 2023)": 3.2e-3},
    "allen_cahn": {"jaxpi (Wang et al. 2023)": 5.37e-5},
    "convection": {"NNCG (Rathore et al. 2024)": 1.94e-3},
    "reaction": {"NNCG (Rathore et al. 2024)": 9.92e-3},
}


def set_up(name: str, seed: int) -> tuple[pinntk.Problem, pinntk.nn.MLP]:
    registered, parameters, settings = PROBLEMS[name]
    problem = pinntk.load(registered, **parameters)
    return problem, pinntk.nn.MLP(problem, seed=seed, dtype=torch.float64, **{"width": 20, "depth": 4, **settings})


def curve(name: str, method: str, seconds: float, seed: int, progress: bool = True) -> list[tuple[float, float]]:
    """(seconds, relative L2 error) along one training."""
    problem, network = set_up(name, seed)
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
            weighting=None if solving else pinntk.weighting.NTK(every=100, momentum=0.0),
            log_every=10**6,
            eval_every=100 if settings["optimizer"] in ("adam", "muon") else 5,
            snapshot_every=0,
            checkpoint_every=0,
            progress=progress,
            **settings,
        )
        found += [(before + row["seconds"], row["relative_error"]) for row in run.history if "relative_error" in row]
        before = found[-1][0]
    return found


def by_jax(python: str, name: str, seconds: float, seed: int, solvers: Iterable[str]) -> dict[str, dict]:
    """What `benchmark_solvers_jax.py` finds, by solver, from the same weights on one core and thread."""
    problem, network = set_up(name, seed)
    points = problem.sample(seed=seed, method="sobol", dtype=torch.float64, **solver_counts(problem, {}))
    layers = zip(network.dense.weights, network.dense.biases, strict=True)
    arrays = {f"p{i}": p for i, p in enumerate(p for layer in layers for p in layer)}
    arrays |= {"mean": network.mean, "deviation": network.deviation, "test": problem.solution_points}
    arrays |= {f"points {condition}": rows for condition, rows in points.items()}
    arrays = {key: torch.as_tensor(value).detach().double().numpy() for key, value in arrays.items()}
    weights = {f"weight {condition}": 1 / len(rows) for condition, rows in points.items()}
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    pinned = ["taskset", "-c", str(cores[seed % len(cores)])] if cores else []
    one_thread = {"OMP_NUM_THREADS": "1", "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "in.npz"
        np.savez(file, problem=name, seed=seed, truth=problem.solution.values.ravel(), **weights, **arrays)
        command = [*pinned, python, Path(__file__).with_name("benchmark_solvers_jax.py"), file, str(seconds), *solvers]
        output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=os.environ | one_thread).stdout
    return parse_peers(output, name, seed)


def parse_peers(output: str, name: str, seed: int) -> dict[str, dict]:
    """{solver: {"curve", "compile", ...}} from JSON lines; other lines, such as warnings, are passed over."""
    rows = [json.loads(line) for line in output.splitlines() if line.startswith("{")]
    for row in rows:
        if (row["problem"], row["seed"]) != (name, seed):
            raise ValueError(f"the peers ran {row['problem']} with seed {row['seed']}; asked for were {name} and {seed}")
    return {row["solver"]: row | {"curve": [(t, error) for t, error in row["curve"]]} for row in rows}


def at(curve: list[tuple[float, float]], times: np.ndarray) -> np.ndarray:
    """The last error measured by each time."""
    seconds, errors = map(np.array, zip(*curve, strict=True))
    return errors[np.clip(np.searchsorted(seconds, times, side="right") - 1, 0, None)]


def seconds_to(curve: list[tuple[float, float]], error: float) -> float:
    """When the error last fell below `error`, to stay there; inf if it is above at the end."""
    above = [i for i, (_, found) in enumerate(curve) if not found < error]
    after = above[-1] + 1 if above else 0
    return curve[after][0] if after < len(curve) else float("inf")


def draw(found: dict, path: Path, unit: str = "seconds") -> None:
    names = list(found)
    columns = min(3, len(names))
    rows = -(-len(names) // columns)
    figure, axes = plt.subplots(rows, columns, figsize=(4.2 * columns, 3.1 * rows), squeeze=False, layout="constrained")
    lines: dict = {}
    for ax, name in zip(axes.flat, names, strict=False):
        for method, curves in found[name].items():
            times = np.linspace(0.005, 1, 200) * max(curve[-1][0] for curve in curves)
            errors = np.stack([at(curve, times) for curve in curves])
            color = lines[method].get_color() if method in lines else f"C{len(lines)}"
            (lines[method],) = ax.step(times, np.median(errors, 0), where="post", color=color, label=method)
            ax.fill_between(times, errors.min(0), errors.max(0), step="post", alpha=0.15, color=color, lw=0)
        ax.set_yscale("log")
        for label, value in PUBLISHED.get(name, {}).items():
            ax.axhline(value, color="0.5", lw=0.8, ls=":")
            ax.annotate(label, (0, value), fontsize=7, color="0.4", va="bottom")
        ax.set(title=name, xlabel=unit, ylabel="relative L2 error")
        ax.grid(alpha=0.25, lw=0.6)
    for ax in axes.flat[len(names) :]:
        ax.set_axis_off()
    figure.legend(handles=list(lines.values()), loc="outside lower center", ncols=min(len(lines), 2 * columns), fontsize=7)
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=130, format="png")
    plt.close(figure)


def main(argv: list[str] | None = None) -> dict:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--problems", nargs="+", choices=list(PROBLEMS), default=list(PROBLEMS))
    parser.add_argument("--methods", nargs="*", choices=list(METHODS), default=list(METHODS), help="none: peers alone")
    parser.add_argument("--seconds", type=float, default=120.0, help="for each training (default: 120)")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--cpu-time", action="store_true", help="one thread, and its CPU seconds instead of wall time")
    parser.add_argument(
        "--jax", metavar="PYTHON", help="also the peers, by the Python of an environment with them, in CPU time"
    )
    parser.add_argument("-o", "--out", type=Path, default=Path("runs/benchmark_solvers"))
    arguments = parser.parse_args(argv)
    found: dict = {}
    cpu = arguments.cpu_time or arguments.jax is not None
    if cpu:
        torch.set_num_threads(1)
    unit = "CPU seconds" if cpu else "seconds"
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, float64")
    print(f"relative L2 error after {arguments.seconds:g} {unit}, and median {unit} until it stays below 1e-4 and 1e-6")
    print(f"{'problem':<12} {'method':<21} {'median':>9} {'best':>9} {'worst':>9} {'1e-4':>6} {'1e-6':>6}")

    def take(name: str, method: str, curves: list, remark: str = "") -> None:
        found[name][method] = curves
        last = [c[-1][1] for c in curves]
        times = [median(seconds_to(c, error) for c in curves) for error in (1e-4, 1e-6)]
        shown = " ".join(f"{t:>6.1f}" if t < float("inf") else f"{'-':>6}" for t in times)
        print(f"{name:<12} {method:<21} {median(last):>9.1e} {min(last):>9.1e} {max(last):>9.1e} {shown}{remark}", flush=True)
        with replacing(arguments.out / "result.json") as temporary:
            temporary.write_text(json.dumps(found))

    for name in arguments.problems:
        found[name] = {}
        for method in arguments.methods:
            clock = mock.patch("pinntk.training._loop.own_stopwatch", lambda: time.process_time) if cpu else nullcontext()
            with clock:
                curves = [curve(name, method, arguments.seconds, seed) for seed in range(arguments.seeds)]
            take(name, method, curves)
        for peer in PEERS.get(name, ()) if arguments.jax else ():
            rows = [by_jax(arguments.jax, name, arguments.seconds, seed, [peer])[peer] for seed in range(arguments.seeds)]
            remark = f"  {median(row['compile'] for row in rows):.1f} of them compiling, {rows[0]['versions']}"
            take(name, peer, [row["curve"] for row in rows], remark)
        draw(found, arguments.out / "benchmark_solvers.png", unit)
    return found


if __name__ == "__main__":
    main()
