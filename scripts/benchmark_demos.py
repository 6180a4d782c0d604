"""DeepXDE's forward demos at their own settings: trained, diagnosed, and a table of what a diagnosis says of healthy runs.

    python scripts/benchmark_demos.py                         every demo, hours on one core
    python scripts/benchmark_demos.py euler_beam burgers      some demos
    python scripts/benchmark_demos.py --longest 20000 -o OUT  fewer steps of Adam, and everything that was measured

The demos are told anew; none of their code is here. A row of scripts/healthy_demos/demos.json has a demo's name in DeepXDE's
examples/pinn_forward, points, network and stages of training. Networks see raw coordinates, as in DeepXDE, and residuals see
the points of other conditions (`seen`) and of faces (`edges`) too. A run has converged if its relative L2 error, the metric
that the demos print, is below `below`: 2 %, unless a demo's page states what it reaches. Residuals have DeepXDE's points, other
conditions Sobol points; weights are drawn by Glorot's normal rule, also where a demo has his uniform one.
"""

from __future__ import annotations

import argparse
import json
import runpy
from collections.abc import Mapping, Sequence
from pathlib import Path
from time import process_time
from typing import Any

import numpy as np
import torch
from public_cases.run import recorded
from scipy.stats import qmc
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR

import pinntk
from pinntk._util.files import replacing

FOLDER = Path(__file__).parent / "healthy_demos"
BELOW = 0.02  # relative L2 error of a run that counts as converged
LBFGS = {"max_iter": 20, "history_size": 100, "tolerance_grad": 1e-8, "tolerance_change": 0.0}  # DeepXDE's; 15,000 iterations
Row = Mapping[str, Any]


def rows(names: Sequence[str] = ()) -> list[Row]:
    """Those of demos.json, or of these names. Raises ValueError for a name that is not among them."""
    found = json.loads((FOLDER / "demos.json").read_text())
    if unknown := sorted({*names} - {row["name"] for row in found}):
        raise ValueError(f"no demo {unknown[0]!r}; they are {', '.join(row['name'] for row in found)}")
    return [row for row in found if not names or row["name"] in names]


def file_of(row: Row) -> Path:
    return FOLDER / f"{row.get('problem', row['name'])}.py"


def load(row: Row, **parameters: Any) -> pinntk.Problem:
    """From the demo's file, or a problem that pinntk has."""
    path = file_of(row)
    return pinntk.load(path if path.exists() else path.stem, **row.get("parameters", {}), **parameters)


def build(row: Row, problem: pinntk.Problem, seed: int = 0) -> nn.Module:
    """The demo's network: what its file's `network` makes, or an MLP; of raw coordinates."""
    options = {"width": row["width"], "depth": row["depth"], "activation": row.get("activation", "tanh")}
    make = runpy.run_path(str(file_of(row))).get("network") if file_of(row).exists() else None
    return (make or pinntk.nn.MLP)(problem, normalize=False, seed=seed, **options)


def points(row: Row, problem: pinntk.Problem, seed: int = 0) -> dict[str, Any]:
    """Tensors; counts where they are drawn again and again."""
    if row.get("resample"):
        return dict(row["points"])
    drawn = problem.sample(row["points"], seed=seed, method="sobol", dtype=torch.float64)
    rng = np.random.default_rng(seed)
    inner = [condition.name for condition in problem.conditions if condition.kind == "residual"]
    if row.get("sampling", "hammersley") == "hammersley":
        drawn |= dict.fromkeys(inner, torch.as_tensor(hammersley(problem.domain, row["points"]["residual"])))
    edges = [problem.domain.at(**fixed).sample(n, "sobol", rng) for fixed, n in row.get("edges", ())]
    more = [drawn[name] for name in row.get("seen", ())] + [torch.as_tensor(edge) for edge in edges]
    everywhere = torch.cat([drawn[inner[0]], *more])
    return {**drawn, **dict.fromkeys(inner, everywhere)}


def hammersley(domain: pinntk.Box, n: int) -> np.ndarray:
    """DeepXDE's points (n, d): van der Corput's sequences in the primes, its last coordinate even; without the corner."""
    waves = qmc.Halton(max(1, domain.dimension - 1), scramble=False).random(n + 1)[1:]
    if domain.dimension > 1:
        waves = np.column_stack([waves, np.arange(1, n + 1) / (n + 1)])
    return domain.low + (domain.high - domain.low) * waves


def weights(row: Row, problem: pinntk.Problem, network: nn.Module) -> dict[str, float]:
    """Given by the row, or `balance` over each condition's first loss."""
    if "balance" not in row:
        return row.get("weights", {})
    drawn = problem.sample(row["points"], method=row["sampling"])
    found = pinntk.errors(network, problem, drawn)
    return {name: row["balance"] / float(e.detach().square().mean()) for name, e in found.items()}


def settings(row: Row, stage: Mapping[str, Any], longest: int | None) -> dict[str, Any]:
    """Arguments of `pinntk.train` for a stage, with at most so many steps."""
    found = {"optimizer": "adam", "lr": 1e-3, "schedule": "constant", **stage}
    if found["optimizer"] == "lbfgs":
        found |= {"lr": 1.0, "optimizer_options": LBFGS}
    if decay := found.pop("inverse_time", None):
        every, factor = decay
        found["schedule"] = lambda optimizer: LambdaLR(optimizer, lambda step: 1 / (1 + factor * step / every))
    for name in ("sampling", "resample"):
        if name in row and row.get("resample"):
            found[name] = row[name]
    return {**found, "steps": min(found["steps"], longest or found["steps"])}


def train(row: Row, longest: int | None = None, seed: int = 0, compiled: bool = False) -> pinntk.Run:
    """The demo's stages one after another, on the same network and points; the last one's run."""
    problem = load(row)
    network = build(row, problem, seed)
    shared: dict[str, Tensor | int] = points(row, problem, seed)
    weighting = pinntk.weighting.Fixed(**weights(row, problem, network))
    for stage in row["stages"]:
        given = {**settings(row, stage, longest), "compile": compiled}
        run = pinntk.train(problem, network, points=shared, weighting=weighting, seed=seed, progress=False, **given)
    return run


def measure(row: Row, longest: int | None = None, compiled: bool = False) -> dict[str, Any]:
    """What came of a demo; what is refused on the way is a result, under `failure`."""
    steps = [settings(row, stage, longest)["steps"] for stage in row["stages"]]
    result: dict[str, Any] = {
        **{key: row[key] for key in ("name", "demo")},
        "steps": steps,
        "shortened": steps != [stage["steps"] for stage in row["stages"]],
        "failure": None,
        "findings": [],
    }
    begun = process_time()
    with recorded() as seen:
        try:
            run = train(row, longest, compiled=compiled)
            result["seconds"] = process_time() - begun
            known = load(row, known=True) if row.get("known") else run.problem
            result["error"] = known.relative_error(run.network)
            result["converged"] = result["error"] < row.get("below", BELOW)
            result["losses"] = {name: run.history[-1][f"loss/{name}"] for name in run.problem.names}
            result["findings"] = [finding.as_json() for finding in pinntk.diagnose(run)]
        except Exception as error:
            result["failure"] = f"{type(error).__name__}: {error}"
    return {**result, "seconds with diagnosis": process_time() - begun, "warnings": seen}


def line(result: Mapping[str, Any]) -> str:
    """A row of the table."""
    codes = [f"{f['code']} ({f['severity']}, {f['confidence']:.2f})" for f in result["findings"] if f["severity"] != "note"]
    steps = " + ".join(f"{n:,}" for n in result["steps"]) + (" (fewer)" if result["shortened"] else "")
    text = f"{result['name']:<20} {steps:<22}"
    if result["failure"]:
        return f"{text} {result['failure'].splitlines()[0][:110]}"
    text += f" {result['error']:>8.1e} {'yes' if result['converged'] else 'no':<9} {result['seconds']:>7.0f}"
    return f"{text} {len(result['warnings']):>8}  {', '.join(codes) or 'nothing'}"


def main(argv: Sequence[str] | None = None) -> list[dict[str, Any]]:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="DEMO", help="of demos.json (default: all)")
    parser.add_argument("--longest", type=int, metavar="STEPS", help="no stage has more steps than that")
    parser.add_argument("--compile", action="store_true", help="compiled steps, the same to rounding; the larger demos gain")
    parser.add_argument("-o", "--out", type=Path, metavar="JSON", help="write everything that was measured")
    options = parser.parse_args(argv)
    try:
        chosen = rows(options.names)
    except ValueError as error:
        parser.error(str(error))
    print(f"{'demo':<20} {'steps':<22} {'error':>8} converged seconds warnings  found (worse than a note)")
    results = []
    for row in chosen:
        results.append(measure(row, options.longest, options.compile))
        print(line(results[-1]), flush=True)
        if options.out:
            with replacing(options.out) as temporary:
                temporary.write_text(json.dumps(results, indent=1))
    good = [result for result in results if result.get("converged")]
    quiet = sum(all(finding["severity"] == "note" for finding in result["findings"]) for result in good)
    print(f"{len(good)} of {len(results)} converged; nothing found in {quiet} of these")
    return results


if __name__ == "__main__":
    main()
