"""What one line does in DeepXDE: poisson1d with k = 4, with and without `NTKWeighting`.

The set-up of poisson_weights.py (Wang, Yu & Perdikaris 2022, JCP 449:110768, section 7.1), written in DeepXDE: u_xx = f on
[0, 1], u = sin(4 pi x), one hidden layer of 100 tanh units, W ~ N(0, 1 / fan-in), b ~ N(0, 1), normalized inputs, both ends
(the paper's 100 boundary points are copies of them) and 100 points between, 40,000 steps of gradient descent of 5e-6 in
float64. The paper's relative L2 errors: 2.40e-1 unweighted, 1.63e-3 with a weight of 100 on the boundary.

    DDE_BACKEND=pytorch python scripts/benchmark_deepxde.py             3 seeds, about 5 minutes of one core
    DDE_BACKEND=pytorch python scripts/benchmark_deepxde.py --quick     seconds, for a look
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from time import process_time
from typing import Any

import deepxde as dde
import numpy as np
import torch

from pinntk._util.files import replacing
from pinntk.integrations.deepxde import NTKWeighting

K, WIDTH, LR = 4, 100, 5e-6


def exact(x: np.ndarray) -> np.ndarray:
    return np.sin(K * np.pi * x)


def poisson(x: torch.Tensor, u: torch.Tensor) -> torch.Tensor:
    return dde.grad.hessian(u, x) + (K * np.pi) ** 2 * torch.sin(K * np.pi * x)


def model(seed: int) -> dde.Model:
    dde.config.set_random_seed(seed)
    line = dde.geometry.Interval(0, 1)
    ends = dde.icbc.DirichletBC(line, exact, lambda _, on_boundary: on_boundary)
    data = dde.data.PDE(line, poisson, ends, num_domain=100, num_boundary=2, train_distribution="pseudo")
    network = dde.nn.FNN([1, WIDTH, 1], "tanh", "Glorot normal")
    for layer in network.linears:
        torch.nn.init.normal_(layer.weight, std=layer.in_features**-0.5)
        torch.nn.init.normal_(layer.bias)
    network.apply_feature_transform(lambda x: (x - 0.5) * 12**0.5)
    return dde.Model(data, network)


def trained(seed: int, steps: int, weighted: bool) -> dict[str, Any]:
    """Relative L2 error, loss weights and CPU seconds of one run."""
    made = model(seed)
    weighting = NTKWeighting(every=100, momentum=0.0)
    made.compile("sgd", lr=LR, verbose=0)
    started = process_time()
    made.train(iterations=steps, display_every=steps, verbose=0, callbacks=[weighting] if weighted else [])
    seconds = process_time() - started
    x = np.linspace(0, 1, 1001)[:, None]
    error = np.linalg.norm(made.predict(x) - exact(x)) / np.linalg.norm(exact(x))
    return {"error": float(error), "seconds": seconds, "weights": dict(weighting.weights)}


def main(argv: list[str] | None = None) -> dict[str, Any]:
    arguments = argparse.ArgumentParser(prog="benchmark_deepxde.py", description=__doc__.splitlines()[0])
    arguments.add_argument("--quick", action="store_true", help="seconds, for a look: too small to decide anything")
    arguments.add_argument("--steps", type=int, default=40_000)
    arguments.add_argument("--seeds", type=int, default=3)
    arguments.add_argument("-o", "--out", type=Path, default=Path("runs") / "benchmark_deepxde", help="folder of result.json")
    given = arguments.parse_args(argv)
    steps, seeds = (200, 1) if given.quick else (given.steps, given.seeds)
    dde.config.set_default_float("float64")
    runs: dict[str, list[dict[str, Any]]] = {"without": [], "with": []}
    print(f"{'seed':>4} {'without':>10} {'with':>10} {'ratio':>7} {'CPU s without':>14} {'with':>6}  weights at the end")
    for seed in range(seeds):
        for name, found in runs.items():
            found.append(trained(seed, steps, name == "with"))
        a, b = runs["without"][-1], runs["with"][-1]
        weights = ", ".join(f"{name} {weight:.1f}" for name, weight in b["weights"].items())
        print(
            f"{seed:>4} {a['error']:>10.2e} {b['error']:>10.2e} {a['error'] / b['error']:>7.1f} {a['seconds']:>14.0f} "
            f"{b['seconds']:>6.0f}  {weights}",
            flush=True,
        )
    medians = {name: float(np.median([run["error"] for run in found])) for name, found in runs.items()}
    ratio = medians["without"] / medians["with"]
    print(f"medians {medians['without']:.2e} and {medians['with']:.2e}: {ratio:.1f} times lower with the line")
    result = {"steps": steps, "runs": runs, "medians": medians, "ratio": ratio}
    with replacing(given.out / "result.json") as temporary:
        temporary.write_text(json.dumps(result, indent=1))
    return result


if __name__ == "__main__":
    main()
