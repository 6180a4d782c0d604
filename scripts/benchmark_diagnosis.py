"""The diagnosis tried on PINNs whose fault is known (failing_pinns.py), and the rescue that it prescribes.

    python scripts/benchmark_diagnosis.py                              every case, 3 seeds: about an hour on one core
    python scripts/benchmark_diagnosis.py years two-scales --seeds 1   some cases, one seed
    python scripts/benchmark_diagnosis.py --tables                     the tables from what has been measured

Each case is trained, diagnosed (without the known solution, but for a wrong problem), rescued by the first prescription with
as many steps, and judged by the relative L2 error. Results are kept one file a case and seed in runs/benchmark_diagnosis,
and what is there is not run again: several processes may share the work, case by case.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from pathlib import Path
from statistics import median
from time import process_time
from typing import Any

from failing_pinns import CASES, train
from training_case import Case

import pinntk
from pinntk._util.files import replacing

TENFOLD = 10.0


def examine(case: Case, seed: int) -> dict[str, Any]:
    """One case with one seed: trained, diagnosed, rescued."""
    start = process_time()
    run = train(case, seed)
    trained = process_time()
    findings = pinntk.diagnose(run)
    diagnosed = process_time()
    row = {
        "case": case.name,
        "seed": seed,
        "before": run.relative_error,
        "findings": [finding.as_json() for finding in findings],
        "seconds": {"training": trained - start, "diagnosis": diagnosed - trained},
    }
    if not case.healthy:
        rescue = pinntk.rescue(run, rounds=1, findings=findings, progress=False)
        errors = [step.run.relative_error if step.run else None for step in rescue.rounds]
        row["after"] = rescue.after.relative_error
        row["tried"] = [
            {"changes": dict(step.prescription.changes), "error": error, "failure": step.failure}
            for step, error in zip(rescue.rounds, errors, strict=True)
        ]
    return row


def first(row: dict[str, Any]) -> str:
    """The code of the first finding that is more than a note."""
    return next((finding["code"] for finding in row["findings"] if finding["severity"] != "note"), "nothing found")


def summary(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One entry a case: the commonest first finding, and the medians over seeds."""
    found = []
    for name, case in CASES.items():
        own = [row for row in rows if row["case"] == name]
        if not own:
            continue
        firsts = Counter(first(row) for row in own)
        entry = {"case": case, "seeds": len(own), "firsts": firsts, "first": firsts.most_common(1)[0][0]}
        entry["before"] = median(row["before"] for row in own)
        if not case.healthy:
            entry["after"] = median(row["after"] for row in own)
            entry["times"] = median(row["before"] / row["after"] for row in own)
            entry["changes"] = own[0]["tried"][0]["changes"] if own[0]["tried"] else {}
        found.append(entry)
    return found


def confusion(entries: list[dict[str, Any]]) -> str:
    """Cause by first finding, in cases."""
    causes = list(dict.fromkeys(entry["case"].cause or "healthy" for entry in entries))
    lines = ["cause                 first finding (cases)"]
    for cause in causes:
        counts = Counter(entry["first"] for entry in entries if (entry["case"].cause or "healthy") == cause)
        lines.append(f"{cause:<21} " + ", ".join(f"{code} {n}" for code, n in counts.most_common()))
    return "\n".join(lines)


def tables(rows: list[dict[str, Any]]) -> str:
    entries = summary(rows)
    lines = [
        f"{'case':<18} {'cause':<19} {'set':<8} {'first finding (seeds)':<30} {'before':>7} {'after':>7} {'times':>7}  changes"
    ]
    for entry in entries:
        case, firsts = entry["case"], ", ".join(f"{code} {n}" for code, n in entry["firsts"].most_common())
        line = f"{case.name:<18} {case.cause or 'healthy':<19} {case.set:<8} {firsts:<30} {entry['before']:>7.1e}"
        if not case.healthy:
            line += f" {entry['after']:>7.1e} {entry['times']:>7.1f}  {json.dumps(entry['changes'])}"
        lines.append(line.rstrip())
    lines += ["", confusion(entries), ""]
    for chosen in ("tuning", "held-out", "fresh"):
        failing = [entry for entry in entries if not entry["case"].healthy and entry["case"].set == chosen]
        well = [entry for entry in entries if entry["case"].healthy and entry["case"].set == chosen]
        right = sum(entry["first"] == entry["case"].cause for entry in failing)
        alarms = sum(entry["first"] != "nothing found" for entry in well)
        rescued = sum(entry["times"] >= TENFOLD for entry in failing)
        lines.append(
            f"{chosen:<9} cause found first: {right} of {len(failing)}; false alarms: {alarms} of {len(well)}; "
            f"rescued tenfold: {rescued} of {len(failing)}"
        )
    return "\n".join(lines)


def measured(out: Path) -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in sorted(out.glob("*.json"))]


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cases", nargs="*", metavar="CASE", help=f"of {', '.join(CASES)} (default: all)")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--tables", action="store_true", help="run nothing")
    parser.add_argument("-o", "--out", type=Path, default=Path("runs/benchmark_diagnosis"))
    arguments = parser.parse_args(argv)
    if unknown := [name for name in arguments.cases if name not in CASES]:
        parser.error(f"no case {unknown[0]!r}; they are {', '.join(CASES)}")
    for seed in range(0 if arguments.tables else arguments.seeds):
        for name in arguments.cases or CASES:
            path = arguments.out / f"{name}-{seed}.json"
            if path.exists():
                continue
            row = examine(CASES[name], seed)
            with replacing(path) as temporary:
                temporary.write_text(json.dumps(row, indent=1))
            print(f"{name} seed {seed}: {first(row)}, {row['before']:.1e} -> {row.get('after', row['before']):.1e}", flush=True)
    print(tables(measured(arguments.out)))


if __name__ == "__main__":
    main()
