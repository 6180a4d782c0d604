"""PINNs with a known fault, and healthy ones, as they are and rescued: what a diagnosis is tried on.

    python scripts/failing_pinns.py                                  every case as it is and rescued, 3 seeds
    python scripts/failing_pinns.py years two-scales --seeds 1       some cases, one seed

The cases are in failing_cases.py, healthy_cases.py and fresh_cases.py. Figures of seed 0: failing_problems/measured.csv.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Mapping
from pathlib import Path
from statistics import median
from time import perf_counter
from types import MappingProxyType
from typing import Any

import torch
from failing_cases import FAILING
from fresh_cases import FRESH
from healthy_cases import HEALTHY
from torch import Tensor
from training_case import Case

import pinntk
from pinntk._util.files import replacing
from pinntk.solvers import is_solver
from pinntk.training import apply_changes

CASES = MappingProxyType({case.name: case for case in (*FAILING, *HEALTHY, *FRESH)})
SCHEMES = {"fixed": pinntk.weighting.Fixed, "ntk": pinntk.weighting.NTK}
_DEFAULTS = {"optimizer": "adam", "lr": None, "schedule": None, "resample": None, "snapshot_every": None}  # a change names them


def settings(case: Case, changes: Mapping[str, Any] = MappingProxyType({})) -> dict[str, Any]:
    """The case's settings in the sections of config.json, with `changes` made. Raises ValueError for an unknown place."""
    arguments = dict(case.network)
    sampling = None if is_solver(case.training.get("optimizer", "adam")) else "uniform"  # as people draw them
    plan = {
        "network": {"class": "pinntk.nn.MLP", "dtype": arguments.pop("dtype", "float32"), "arguments": arguments},
        "training": {**_DEFAULTS, "sampling": sampling, "eval_every": max(10, case.training["steps"] // 20), **case.training},
        "weighting": case.weighting,
    }
    return apply_changes(plan, changes)


def train(
    case: Case, seed: int = 0, changes: Mapping[str, Any] = MappingProxyType({}), out: str | os.PathLike | None = None
) -> pinntk.Run:
    """Trains a case, with `changes` of its settings (`Prescription.changes`); `out` is the run folder."""
    plan = settings(case, changes)
    problem = case.load()
    network = pinntk.nn.MLP(problem, seed=seed, dtype=getattr(torch, plan["network"]["dtype"]), **plan["network"]["arguments"])
    training = plan["training"]
    if case.crowded and "training.points" not in changes:
        training |= {"points": crowded_points(case, problem, training["points"], seed), "sampling": None}
    described = dict(plan["weighting"])
    weighting = SCHEMES[described.pop("name")](**described)
    return pinntk.train(problem, network, weighting=weighting, seed=seed, out=out, progress=False, **training)


def crowded_points(case: Case, problem: pinntk.Problem, counts: Mapping[str, int], seed: int) -> dict[str, Tensor]:
    """Uniform points, those of residuals pressed into the part of the domain that `case.crowded` names."""
    points = problem.sample(seed=seed, dtype=torch.float64, **counts)
    for condition in problem.conditions:
        if condition.kind == "residual":
            rows = points[condition.name] = points[condition.name].clone()
            for name, (low, high) in case.crowded.items():
                axis = problem.domain.axis(name)
                first, last = problem.domain.bounds[axis]
                rows[:, axis] = first + (last - first) * low + (high - low) * (rows[:, axis] - first)
    return points


def measure(case: Case, seeds: int) -> dict[str, Any]:
    """Relative L2 errors and seconds, as it is and rescued, with the same number of steps."""
    row: dict[str, Any] = {"name": case.name, "cause": case.cause, "set": case.set, "prescription": dict(case.prescription)}
    for label, changes in {"before": {}, **({"rescued": case.prescription} if case.prescription else {})}.items():
        start = perf_counter()
        runs = [train(case, seed, changes) for seed in range(seeds)]
        row[label] = [run.relative_error for run in runs]
        row[f"seconds {label}"] = (perf_counter() - start) / seeds
        row[f"losses {label}"] = {name: runs[0].history[-1][f"loss/{name}"] for name in runs[0].problem.names}
    return row


def main(argv: list[str] | None = None) -> list[dict[str, Any]]:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cases", nargs="*", metavar="CASE", help=f"of {', '.join(CASES)} (default: all)")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("-o", "--out", type=Path, default=Path("runs/failing_pinns"))
    arguments = parser.parse_args(argv)
    if unknown := [name for name in arguments.cases if name not in CASES]:
        parser.error(f"no case {unknown[0]!r}; they are {', '.join(CASES)}")
    rows = []
    print("median relative L2 error, and seconds of one training")
    print(f"{'case':<22} {'cause':<20} {'set':<9} {'before':>8} {'rescued':>8} {'seconds':>7} {'rescued':>7}  prescription")
    for name in arguments.cases or CASES:
        row = measure(CASES[name], arguments.seeds)
        rows.append(row)
        rescued = f"{median(row['rescued']):>8.1e}" if row["prescription"] else f"{'-':>8}"
        took = f"{row['seconds rescued']:>7.1f}" if row["prescription"] else f"{'-':>7}"
        print(
            f"{name:<22} {row['cause'] or 'healthy':<20} {row['set']:<9} {median(row['before']):>8.1e} {rescued} "
            f"{row['seconds before']:>7.1f} {took}  {json.dumps(row['prescription'])}",
            flush=True,
        )
        with replacing(arguments.out / "result.json") as temporary:
            temporary.write_text(json.dumps(rows, indent=1))
    return rows


if __name__ == "__main__":
    main()
