"""DeepXDE's own example scripts, unchanged but for our line: a table of what holds in each.

    python scripts/check_deepxde_examples.py deepxde/examples                     those of EXAMPLES, in float32 and float64
    python scripts/check_deepxde_examples.py deepxde/examples Burgers ode_2nd     some of them
    python scripts/check_deepxde_examples.py deepxde/examples --only-time         overheads alone, on a machine that is idle

`deepxde/examples` is a checkout of https://github.com/lululxvi/deepxde; nothing is written there. Each example runs in a
process of its own, with seeded random numbers. At its first `model.train` everything is measured, each time in a fork of it:

    rows       J of every loss at 30 points, as it is read from the graph, against reverse mode row by row: the largest
               relative deviation. At most 1e-10 in float64 and 1e-6 in float32
    acts       after one step with NTKWeighting the parameters are, bit by bit, those of a step with the same numbers given to
               `compile`, and others than those of a step without
    overhead   CPU time of an update of the weights over that of 100 steps
    same       after 4 steps with Diagnose the parameters, the losses and the next random numbers are, bit by bit, those without

Then the script goes on to its end with both callbacks and STEPS iterations in each of its trainings. Needs os.fork.
"""

from __future__ import annotations

import argparse
import json
import os
import runpy
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from time import process_time
from typing import Any

os.environ.update({"DDE_BACKEND": "pytorch", "MPLBACKEND": "Agg", "OMP_NUM_THREADS": "1"})  # a fork with threads may hang

import deepxde as dde
import numpy as np
import torch

from pinntk.integrations.deepxde import Diagnose, NTKWeighting
from pinntk.integrations.deepxde._errors import evaluate, factors
from pinntk.integrations.deepxde._model import trained, untouched

EXAMPLES = (  # those that run with PyTorch as they are; in the others lines of another backend have to be exchanged by hand
    "Kovasznay_flow",
    "diffusion_reaction_rate",
    "elliptic_inverse_field",
    "Lorenz_inverse",
    "brinkman_forchheimer",
    "Poisson_Lshape",
    "Helmholtz_Dirichlet_2d",
    "elasticity_plate",
    "Burgers",
    "ode_system",
    "Euler_beam",
    "Poisson_Neumann_1d",
    "Poisson_Robin_1d",
    "ode_2nd",
    "reaction_inverse",
    "black_scholes_call",
    "elliptic_inverse_field_batch",
    "american_put",
    "Helmholtz_Sound_hard_ABC_2d",
)
LIMITS = {"float64": 1e-10, "float32": 1e-6}
POINTS, STEPS, EVERY = 30, 3, 100
Row = dict[str, Any]

# In the example's process.


def run_one(script: Path, dtype: str, only_time: bool) -> Row:
    """One example to its end."""
    found: Row = {}
    plain = dde.Model.train

    def train(model: dde.Model, iterations: int | None = None, *arguments: Any, callbacks: Any = None, **settings: Any) -> Any:
        own = list(callbacks or [])

        def cut(iterations: int, more: list) -> None:
            plain(model, iterations, *arguments, callbacks=[*more, *own], **{**settings, "verbose": 0, "model_save_path": None})

        if not found:
            found.update(measured(model, cut, only_time))
        steps = None if iterations is None else min(iterations, STEPS)
        with tempfile.TemporaryDirectory() as folder:
            line = [NTKWeighting(every=EVERY), Diagnose(Path(folder) / "run", tell=None)]
            return plain(model, steps, *arguments, callbacks=[*line, *own], **{**settings, "verbose": 0})

    dde.Model.train = train
    dde.config.set_default_float(dtype)
    dde.config.set_random_seed(0)
    dde.optimizers.LBFGS_options.update(maxiter=STEPS, iter_per_step=STEPS, fun_per_step=2 * STEPS)
    with tempfile.TemporaryDirectory() as home, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        (Path(home) / "dataset").symlink_to(script.parents[1] / "dataset")
        folder = Path(home) / script.parent.name
        folder.mkdir()
        os.chdir(folder)
        try:
            runpy.run_path(str(script), run_name="__main__")
        except Exception as error:
            if found:
                raise
            raise SystemExit(json.dumps({"itself": f"{type(error).__name__}: {error}"})) from error
        finally:
            os.chdir("/")
    return found


def measured(model: dde.Model, cut: Callable[[int, list], None], only_time: bool) -> Row:
    if "failed" in (alone := in_a_fork(lambda: cut(1, []) or {})):
        raise SystemExit(json.dumps({"itself": alone["failed"]}))
    found = in_a_fork(lambda: overhead(model, cut))
    if not only_time:
        found |= in_a_fork(lambda: rows(model))
        found |= in_a_fork(lambda: acts(model, cut))
        found |= in_a_fork(lambda: same(model, cut))
    return found


def in_a_fork(function: Callable[[], Row]) -> Row:
    """What a function returns in a copy of this process, of which nothing stays."""
    receive, send = os.pipe()
    if not os.fork():
        try:
            said = function()
        except BaseException as error:
            said = {"failed": f"{type(error).__name__}: {error}"}
        with os.fdopen(send, "w") as pipe:
            pipe.write(json.dumps(said))
        os._exit(0)
    os.close(send)
    with os.fdopen(receive) as pipe:
        said = json.loads(pipe.read() or '{"failed": "a fork ended without a word"}')
    os.wait()
    return said


def rows(model: dde.Model) -> Row:
    """J of every loss at some points against reverse mode."""
    model.train_state.set_data_train(*model.data.train_next_batch(model.batch_size))
    worst, paths = 0.0, set()
    with untouched(model):
        blocks, parameters = evaluate(model), trained(model)
        found = factors(model, blocks)
        for block in blocks:
            for part, e in zip(found[block.name], block.errors.unbind(1), strict=True):
                places = np.unique(np.linspace(0, len(e) - 1, POINTS).round().astype(int)).tolist()
                J = torch.stack([flat(e[i], parameters) for i in places]).double()
                ours = torch.cat([part.of_points(slice(i, i + 1)).matrix() for i in places])
                worst = max(worst, float((ours - J).norm() / J.norm().clamp_min(1e-300)))
                paths.add(part.origin.path if len(e) > 3 else "few")
    dtype = str(next(model.net.parameters()).dtype).removeprefix("torch.")
    names = [block.name for block in blocks]
    return {"rows": worst, "paths": sorted(paths - {"few"}), "dtype": dtype, "losses": names, "n": len(model.data.train_x)}


def flat(value: torch.Tensor, parameters: dict[str, torch.Tensor]) -> torch.Tensor:
    found = torch.autograd.grad(value, list(parameters.values()), retain_graph=True, allow_unused=True)
    return torch.cat(
        [(torch.zeros_like(p) if g is None else g).flatten() for g, p in zip(found, parameters.values(), strict=True)]
    )


def state(model: dde.Model) -> torch.Tensor:
    return torch.cat([p.detach().flatten().clone() for p in [*model.net.parameters(), *model.external_trainable_variables]])


def acts(model: dde.Model, cut: Callable[[int, list], None]) -> Row:
    """Whether weights act at the next step."""

    def stepped(weights: list | None, callbacks: list) -> Row:
        model.loss_weights = weights if weights is not None else model.loss_weights
        cut(1, callbacks)
        return {"theta": state(model).tolist(), "weights": [float(w) for w in model.loss_weights or []]}

    ours = in_a_fork(lambda: stepped(None, [NTKWeighting(every=EVERY)]))
    given = in_a_fork(lambda: stepped(ours["weights"], []))
    without = in_a_fork(lambda: stepped(None, []))
    moved = ours["theta"] != without["theta"] or set(ours["weights"]) == {1.0}  # as of a single loss
    return {"acts": ours["theta"] == given["theta"] and moved, "weights": ours["weights"]}


def same(model: dde.Model, cut: Callable[[int, list], None]) -> Row:
    """Whether Diagnose changes nothing."""

    def stepped(callbacks: list) -> Row:
        cut(4, callbacks)
        losses = [np.asarray(losses).tolist() for losses in model.losshistory.loss_train]
        return {"theta": state(model).tolist(), "losses": losses, "next": [float(np.random.random()), float(torch.rand(()))]}

    with tempfile.TemporaryDirectory() as folder:
        watched = in_a_fork(lambda: stepped([Diagnose(Path(folder) / "run", every=2, tell=None)]))
        reported = (Path(folder) / "run" / "report.html").exists()
    plain = in_a_fork(lambda: stepped([]))
    if failed := next((run["failed"] for run in (watched, plain) if "failed" in run), ""):
        return {"same": False, "failed": failed}
    differs = [key for key in plain if plain[key] != watched[key]]
    return {"same": reported and not differs, "differs": differs, "reported": reported}


def overhead(model: dde.Model, cut: Callable[[int, list], None]) -> Row:
    """CPU time of an update over that of 100 steps, of which the least: other work on the machine only adds to it."""
    weighting = NTKWeighting(every=10**9)
    cut(3, [weighting])
    steps, updates = [], []
    for _ in range(3):
        started = process_time()
        cut(10, [])
        once = process_time()
        cut(0, [])  # what a training costs beside its steps
        steps.append((once - started - (process_time() - once)) / 10)
    for _ in range(2):
        started = process_time()
        for _ in range(10):
            weighting._update()
        updates.append((process_time() - started) / 10)
    return {"overhead": min(updates) / (EVERY * min(steps)), "step_ms": 1e3 * min(steps), "update_ms": 1e3 * min(updates)}


# The table.


def run_all(folder: Path, names: list[str], dtypes: list[str], only_time: bool) -> list[Row]:
    files = {path.stem: path for kind in ("pinn_forward", "pinn_inverse") for path in sorted((folder / kind).glob("*.py"))}
    if unknown := [name for name in names if name not in files]:
        raise SystemExit(f"{folder} has no example {unknown[0]!r} in pinn_forward or pinn_inverse")
    heads = ("example", "losses", "points", "float32 rows", "float64 rows", "acts", "overhead", "same")
    print(f"| {' | '.join(heads)} |\n|{'---|' * len(heads)}")
    table = []
    for name in names:
        row: Row = {"example": name}
        for dtype in dtypes:
            command = [sys.executable, __file__, str(folder), "--one", str(files[name]), "--dtype", dtype]
            done = subprocess.run([*command, *(["--only-time"] if only_time else [])], capture_output=True, text=True)
            last = done.stdout.strip().splitlines()[-1:] or ["{}"]
            row[dtype] = json.loads(last[0]) if not done.returncode else failure(done.stderr.strip().splitlines() or ["?"])
        table.append(row)
        print(line(row), flush=True)
    return table


def failure(said: list[str]) -> Row:
    return json.loads(said[-1]) if said[-1].startswith('{"itself"') else {"failed": said[-1]}


def parts(row: Row) -> list[Row]:
    """What was measured in each precision; without those in which DeepXDE fails by itself."""
    return [row[dtype] for dtype in LIMITS if dtype in row and "itself" not in row[dtype]]


def line(row: Row) -> str:
    found = parts(row)
    if not found:
        return f"| {row['example']} | fails without the line as well | | | | | | |"
    if failed := next((part["failed"] for part in found if "failed" in part), ""):
        return f"| {row['example']} | {failed} | | | | | | |"
    deviations = {part["dtype"]: part["rows"] for part in found if "rows" in part}
    shown = [f"{deviations[dtype]:.0e}" if dtype in deviations else "" for dtype in ("float32", "float64")]
    cost = f"{max(part['overhead'] for part in found):.1%}"
    yes = ["yes" if all(part.get(key, True) for part in found) else "NO" for key in ("acts", "same")]
    cells = [row["example"], losses(found[0]), str(found[0].get("n", "")), *shown, yes[0], cost, yes[1]]
    return f"| {' | '.join(cells)} |"


def losses(found: Row) -> str:
    return ", ".join(found.get("losses", []))


def main(argv: list[str] | None = None) -> int:
    arguments = argparse.ArgumentParser(prog="check_deepxde_examples.py", description=__doc__.splitlines()[0])
    arguments.add_argument("folder", type=Path, help="DeepXDE's examples")
    arguments.add_argument("names", nargs="*", help="examples, such as Burgers; those of EXAMPLES if none is given")
    arguments.add_argument("--dtype", choices=[*LIMITS, "both"], default="both")
    arguments.add_argument("--only-time", action="store_true", help="overheads alone")
    arguments.add_argument("-o", "--out", type=Path, help="a file for all numbers, as JSON")
    arguments.add_argument("--one", type=Path, help=argparse.SUPPRESS)
    given = arguments.parse_args(argv)
    if given.one is not None:
        print("\n" + json.dumps(run_one(given.one.resolve(), given.dtype, given.only_time)))
        return 0
    dtypes = list(LIMITS) if given.dtype == "both" else [given.dtype]
    table = run_all(given.folder.resolve(), given.names or list(EXAMPLES), dtypes, given.only_time)
    if given.out is not None:
        given.out.write_text(json.dumps(table, indent=1))
    return 0 if given.only_time or all(passes(row) for row in table) else 1


def passes(row: Row) -> bool:
    found = parts(row)
    return all("failed" not in p and p["rows"] <= LIMITS[p["dtype"]] and p["acts"] and p["same"] for p in found)


if __name__ == "__main__":
    raise SystemExit(main())
