"""Trains each public case as its reporter did, diagnoses it, rescues it, and prints a table.

python scripts/public_cases/run.py all cases, an hour on one core python scripts/public_cases/run.py --half working -o
OUT the half that may be looked at while rules are written python scripts/public_cases/run.py plane_wave --no-rescue
one case, the diagnosis alone A row of cases.json: the file, which half it belongs to, `first` (the codes that are
right as a first finding; "" is none at all), `below` (the relative L2 error that a rescue should reach; null where a
person must act), `true` (values of unknown coefficients), and network, points and steps. Every warning of a training,
a diagnosis or a rescue is in the row of OUT.
"""

from __future__ import annotations

import argparse
import json
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import process_time
from typing import Any

import torch
from torch import nn

import pinntk

FOLDER = Path(__file__).parent
COEFFICIENTS_WITHIN = 0.05  # relative, in a case that counts as cured
Row = Mapping[str, Any]


def rows(names: Sequence[str] = (), half: str | None = None) -> list[Row]:
    """Those of cases.json, of these names and this half. Raises ValueError for a name that is not among them."""
    found = json.loads((FOLDER / "cases.json").read_text())
    if unknown := sorted({*names} - {row["name"] for row in found}):
        raise ValueError(f"no case {unknown[0]!r}; they are {', '.join(row['name'] for row in found)}")
    return [row for row in found if (not names or row["name"] in names) and half in (None, row["half"])]


def load(row: Row) -> pinntk.Problem:
    return pinntk.load(FOLDER / f"{row['name']}.py")


def build(row: Row, problem: pinntk.Problem) -> nn.Module:
    """The reporter's network: an MLP, with an activation on its output where the row has one."""
    options = {"normalize": not row.get("raw", False), "activation": row.get("activation", "tanh")}
    network = pinntk.nn.MLP(problem, width=row["width"], depth=row["depth"], **options)
    return nn.Sequential(network, nn.ReLU()) if row.get("output") == "relu" else network


def train(row: Row, steps: int | None = None) -> pinntk.Run:
    problem = load(row)
    return pinntk.train(
        problem,
        build(row, problem),
        steps=steps or row["steps"],
        points=row["points"],
        sampling=row.get("sampling", "uniform"),
        lr=row.get("lr", 1e-3),
        schedule="constant",
        weighting=pinntk.weighting.Fixed(**row.get("weights", {})),
        progress=False,
    )


def scores(row: Row, run: pinntk.Run) -> dict[str, Any]:
    """The relative L2 error, None without a known solution; found coefficients; whether both are what `below` asks for."""
    error = run.problem.relative_error(run.network) if run.problem.has_solution else None
    found = {name: float(value.detach()) for name, value in run.problem.coefficients.items()}
    close = all(abs(found[name] - true) <= COEFFICIENTS_WITHIN * abs(true) for name, true in row.get("true", {}).items())
    good = None if row["below"] is None else error is not None and error <= row["below"] and close
    return {"error": error, "coefficients": found, "good": good}


def measure(row: Row, rescue: bool = True) -> dict[str, Any]:
    """What came of a case; what is refused on the way is a result, under `failure`."""
    result: dict[str, Any] = {key: row[key] for key in ("name", "half", "first", "below")}
    result |= {"found": None, "findings": [], "right": False, "before": None, "after": None, "failure": None}
    begun = process_time()
    with recorded() as seen:
        try:
            run = train(row)
            result["before"] = scores(row, run)
            findings = pinntk.diagnose(run)
            result["findings"] = [f"{f.code} {f.severity} {f.confidence:.2f}" for f in findings]
            result["found"] = findings[0].code if findings else ""
            result["right"] = result["found"] in row["first"]
            if rescue and row["below"] is not None:
                rescued = pinntk.rescue(run, rounds=row.get("rounds", 3), findings=findings, progress=False)
                result["after"] = scores(row, rescued.after)
                result["applied"] = [prescription.sentence for prescription in rescued.applied]
        except Exception as error:
            result["failure"] = f"{type(error).__name__}: {error}"
    return {**result, "seconds": process_time() - begun, "warnings": seen}


@contextmanager
def recorded() -> Iterator[dict[str, int]]:
    """Warnings, as text, and how often each came; filled when the block ends."""
    seen: dict[str, int] = {}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield seen
    for entry in caught:
        text = f"{entry.category.__name__}: {entry.message}"
        seen[text] = seen.get(text, 0) + 1


def line(result: Mapping[str, Any]) -> str:
    """A row of the table."""
    errors = [(result[when] or {}).get("error") for when in ("before", "after")]
    before, after = ("-" if error is None else f"{error:.1e}" for error in errors)
    cured = {None: "", True: "cured", False: "not cured"}[(result["after"] or {}).get("good")]
    found = "none" if result["found"] == "" else result["found"] or "-"
    text = f"{result['name']:<26} {result['half']:<8} {found:<24} {'right' if result['right'] else 'WRONG':<6}"
    text += f" {before:>8} {after:>8}  {cured:<9} {result['seconds']:>6.0f} {len(result['warnings']):>8}"
    return text + (f"\n    {result['failure'].splitlines()[0][:110]}" if result["failure"] else "")


def main(argv: Sequence[str] | None = None) -> list[dict[str, Any]]:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="CASE", help="of cases.json (default: all)")
    parser.add_argument("--half", choices=("working", "sealed"), help="one half of them")
    parser.add_argument("--no-rescue", action="store_true", help="train and diagnose only")
    parser.add_argument("-o", "--out", type=Path, metavar="JSON", help="write everything that was measured")
    options = parser.parse_args(argv)
    try:
        chosen = rows(options.names, options.half)
    except ValueError as error:
        parser.error(str(error))
    print(f"{'case':<26} {'half':<8} {'first finding':<24} {'':<6} {'before':>8} {'after':>8}  {'':<9} seconds warnings")
    results = []
    for row in chosen:
        torch.manual_seed(0)
        results.append(measure(row, not options.no_rescue))
        print(line(results[-1]), flush=True)
        if options.out:
            options.out.parent.mkdir(parents=True, exist_ok=True)
            options.out.write_text(json.dumps(results, indent=1))
    right, tried = sum(result["right"] for result in results), [result for result in results if result["below"] is not None]
    print(f"first finding right in {right} of {len(results)}", end="")
    cured = sum(bool((result["after"] or {}).get("good")) for result in tried)
    print("" if options.no_rescue else f"; cured {cured} of {len(tried)} that a change of settings can cure")
    return results


if __name__ == "__main__":
    main()
