"""`pinntk compare`: a grid of trainings, side by side."""

from __future__ import annotations

import argparse
import copy
import json
import os
import shlex
import shutil
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from time import sleep

import torch

from pinntk._util.progress import Progress
from pinntk.cli._meaning import load_problem, make_network, settings, usable_device
from pinntk.cli._trainings import announce, refuse_all_but
from pinntk.comparison import Cell, Grid, Row, run_grid, write_array_job
from pinntk.comparison._grid import CELLS, GRID
from pinntk.problem import Problem
from pinntk.reporting import write_summary
from pinntk.reporting._summary import FIGURE, HTML, JSON, row_text, summary_text
from pinntk.solvers import is_solver
from pinntk.training import TrainConfig
from pinntk.training._train import problem_of

AXES = ("weighting", "network", "optimizer")
_DEFAULT = {"weighting": "fixed", "network": "mlp", "optimizer": "adam"}
_BUDGET = 60.0  # seconds
_BESIDE_RESUME = ("resume", "jobs", "device", "share", "json", "quiet", "trust", "slurm")
_PATIENCE = 120  # seconds in which the first of several processes writes the grid


def compare(arguments: argparse.Namespace) -> int:
    grid = _resumed(arguments) if arguments.resume else _asked(arguments)
    if arguments.slurm is not None:
        path = write_array_job(grid, arguments.slurm, cores=arguments.jobs or 1, trust=arguments.trust)
        print(f"{len(grid.cells)} trainings in {grid.folder}\nstart: sbatch {shlex.quote(str(path))}")
        print(f"then:  pinntk compare --resume {shlex.quote(str(grid.folder))}")
        return 0
    _run(grid, arguments)
    if _place()[0]:
        return 0
    summary = grid.summary()
    written = write_summary(grid.folder, summary)
    if arguments.json:
        print(json.dumps(summary.as_json(), indent=2))
    elif not arguments.quiet:
        print(summary_text(summary))
        print("\nnumbers in {}\nreport in {}\nfigure in {}".format(*written))
    return 0


def _run(grid: Grid, arguments: argparse.Namespace) -> None:
    share = grid.cells if arguments.share is None else grid.cells[arguments.share[0] :: arguments.share[1]]
    done = sum(grid.row(cell) is not None for cell in grid.cells)
    with Progress("comparing", len(grid.cells), done=done, shown=not (arguments.quiet or arguments.json), kept=True) as bar:

        def follow(row: Row) -> None:
            if bar.shown:
                bar.say(row_text(row, grid.summary()))
            bar.advance()

        devices = _devices(arguments)
        jobs = arguments.jobs or (len(devices) if devices[0] != "cpu" else max(1, (os.cpu_count() or 1) // _place()[2]))
        run_grid(grid, jobs=jobs, devices=devices, trust=arguments.trust, cells=share, on_row=follow)


def _place() -> tuple[int, int, int]:
    """Rank, processes, and processes of this machine, as torchrun says: they share cells, not points."""
    return tuple(
        int(os.environ.get(name, default)) for name, default in (("RANK", 0), ("WORLD_SIZE", 1), ("LOCAL_WORLD_SIZE", 1))
    )  # type: ignore[return-value]


def _devices(arguments: argparse.Namespace) -> list[str]:
    """Of the processes in turn: every GPU, of several processes this one's own."""
    name = arguments.device
    if name != "cuda":
        return [str(usable_device(name))]
    if _place()[1] > 1:
        return [str(usable_device(f"cuda:{os.environ.get('LOCAL_RANK', 0)}"))]
    usable_device(name)
    return [f"cuda:{k}" for k in range(torch.cuda.device_count())]


def _resumed(arguments: argparse.Namespace) -> Grid:
    if arguments.problems:
        raise ValueError("--resume takes problems and settings from the comparison; leave the problems out")
    refuse_all_but(arguments, "--resume", (*_BESIDE_RESUME, "problems"))
    grid = Grid.load(arguments.resume)
    for config in {cell.config["problem"]["source"]: cell.config for cell in grid.cells}.values():
        announce(config)
        problem_of(config, str(arguments.resume), arguments.trust)  # refuses a file of somebody else's
    return grid


def _asked(arguments: argparse.Namespace) -> Grid:
    if not arguments.problems:
        raise ValueError("name a problem, as in `pinntk compare poisson1d --weighting fixed,ntk`; `pinntk problems` lists them")
    first = Path(arguments.problems[0]).stem
    folder = Path(arguments.out or f"runs/{first if len(arguments.problems) == 1 else 'problems'}-compared")
    if _place()[0]:
        return _written_by_the_first(folder)
    _refuse_another(folder, arguments.overwrite)
    for name in arguments.optimizer or ():
        TrainConfig(optimizer=name)  # which refuses a name that there is not; what cannot be combined is only left out
    cells, refused = _cells(arguments)
    if not cells:
        raise ValueError(next(iter(refused.values())))
    return Grid.create(folder, cells, _title(arguments), refused)


def _written_by_the_first(folder: Path) -> Grid:
    for _ in range(_PATIENCE):
        if (folder / GRID).exists():
            return Grid.load(folder)
        sleep(1)
    raise FileNotFoundError(f"{folder / GRID}: the first process did not write it within {_PATIENCE} s; do all see one folder?")


def _refuse_another(folder: Path, overwrite: bool) -> None:
    """What the folder holds: a comparison, which overwrite removes, or nothing."""
    if folder.exists() and any(folder.iterdir()) and not (folder / GRID).exists():
        raise FileExistsError(f"{folder} holds something else than a comparison; name another folder with -o")
    if overwrite and folder.exists():
        shutil.rmtree(folder / CELLS, ignore_errors=True)
        for name in (GRID, JSON, HTML, FIGURE):
            (folder / name).unlink(missing_ok=True)


def _title(arguments: argparse.Namespace) -> str:
    many = f"{len(arguments.seeds)} seed{'s' * (len(arguments.seeds) > 1)}"
    budget = f"{arguments.steps:,} steps" if arguments.steps is not None else ""
    seconds = _seconds(arguments)
    budget = ", at most ".join(filter(None, [budget, "" if seconds is None else f"{seconds:g} s"]))
    return f"{', '.join(arguments.problems)}: {budget}, {many}"


def _seconds(arguments: argparse.Namespace) -> float | None:
    """Of each training; None where only steps are given."""
    return _BUDGET if arguments.budget is None and arguments.steps is None else arguments.budget


def _cells(arguments: argparse.Namespace) -> tuple[list[Cell], dict[str, str]]:
    """The trainings, seed after seed, and the combinations that cannot be, with the reason."""
    cells, refused = [], {}
    for seed in arguments.seeds:
        problems: dict[tuple, Problem] = {}
        for labels, this in _combinations(arguments):
            this.seed, this.seconds = seed, _seconds(arguments)
            name = ", ".join(filter(None, labels.values()))
            try:
                key = (this.problem, *this.set)
                problem = problems[key] = problems.get(key) or load_problem(this)
                cells.append(_cell(this, labels, problem))
            except (ValueError, TypeError) as error:
                refused[name] = str(error).splitlines()[0]
    return cells, refused


def _cell(arguments: argparse.Namespace, labels: dict[str, str], problem: Problem) -> Cell:
    config = TrainConfig(**settings(arguments, problem))
    fitted = arguments.steps is None and ":" not in str(config.optimizer)  # a chain of optimizers has steps of its own
    if is_solver(config.optimizer) and arguments.steps is None and config.seconds is None:
        raise ValueError(f"{config.optimizer} needs --budget or --steps")
    return Cell.of(labels, problem, make_network(arguments, problem), config, fitted=fitted)


def _combinations(arguments: argparse.Namespace) -> Iterator[tuple[dict[str, str], argparse.Namespace]]:
    """Labels and options of each, without its seed."""
    variants = {name: _with_variant(arguments, name, words) for name, words in arguments.variant.items()} or {"": arguments}
    for problem, (variant, options) in product(arguments.problems, variants.items()):
        for values in product(*(getattr(options, axis) or [_DEFAULT[axis]] for axis in AXES)):
            this = copy.copy(options)
            vars(this).update(zip(AXES, values, strict=True), problem=problem)
            labels = {"problem": problem, **dict(zip(AXES, values, strict=True)), "variant": variant}
            if not options.optimizer:
                this.optimizer = None
            if not options.weighting:
                this.weighting = None
            yield labels, this


def _with_variant(arguments: argparse.Namespace, name: str, words: str) -> argparse.Namespace:
    """The options with those of a variant, which may give one value of an axis that is not compared."""
    own = copy.deepcopy(arguments)
    before = {axis: getattr(own, axis) for axis in AXES}
    vars(own).update(dict.fromkeys(AXES), variant={})
    found, unknown = arguments.parser.parse_known_args(shlex.split(words), own)
    if unknown:
        raise ValueError(f"--variant {name}: {arguments.parser.not_understood(unknown)}")
    if found.problems or found.variant:
        raise ValueError(f"--variant {name}={words!r}: options of a training, without problems or variants in them")
    for name_of_beside in ("seeds", "budget", "jobs", "out", "resume", "steps"):
        if getattr(found, name_of_beside) != getattr(arguments, name_of_beside):
            raise ValueError(f"--variant {name}: --{name_of_beside} is the same for all; leave it out there")
    for axis, values in before.items():
        given = getattr(found, axis)
        if given is not None and len(values or ()) > 1:
            raise ValueError(
                f"--variant {name} gives --{axis}, of which {len(values)} are compared already; use one or the other"
            )
        if given is not None and len(given) > 1:
            raise ValueError(f"--variant {name} gives {len(given)} values of --{axis}; one is what a variant has")
        setattr(found, axis, values if given is None else given)
    found.problems = arguments.problems
    return found
