"""`pinntk compare`: a grid of trainings, side by side."""

from __future__ import annotations

import argparse
import copy
import json
import os
import shlex
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import product
from pathlib import Path

import torch

from pinntk._util import distributed
from pinntk._util.progress import Progress, say
from pinntk._util.threads import cores
from pinntk.cli._meaning import load_problem, make_network, settings, usable_device
from pinntk.cli._trainings import announce, refuse_all_but
from pinntk.comparison import Cell, Grid, Row, run_grid, write_array_job
from pinntk.comparison._grid import GRID
from pinntk.problem import Problem
from pinntk.reporting import write_summary
from pinntk.reporting._summary import FIGURE, HTML, JSON, remarks, row_text, summary_text, without_numbers
from pinntk.training import TrainConfig
from pinntk.training._train import problem_of

AXES = ("weighting", "network", "optimizer")
_JOINED = ("points", "weights", "weighting_options")  # whose values are NAME=VALUE,...
_DEFAULT = {"weighting": "fixed", "network": "mlp", "optimizer": "adam"}
_BUDGET = 60.0  # seconds
_BESIDE_RESUME = ("resume", "jobs", "device", "share", "json", "quiet", "trust", "slurm")
_OF_ALL = ("seeds", "budget", "steps", *_BESIDE_RESUME, "out", "overwrite", "traceback")  # what no variant has of its own


def compare(arguments: argparse.Namespace) -> int:
    if arguments.jobs is not None and arguments.jobs < 1:
        raise ValueError(f"--jobs {arguments.jobs}: at least 1")
    if arguments.slurm is not None and (named := next((name for name in ("share", "json") if getattr(arguments, name)), None)):
        raise ValueError(f"--slurm trains nothing; leave --{named} out")
    with distributed.process_group():  # the processes of torchrun agree on the cells, and share them, not the points
        several = distributed.world() > 1
        first = distributed.rank() == 0
        devices = [str(distributed.local_device())] if several and arguments.device == "cuda" else _devices(arguments.device)
        grid = distributed.of_first(lambda: _resumed(arguments) if arguments.resume else _asked(arguments))
    if first and not arguments.quiet:
        for line in remarks(replace(grid.summary(), rows=())):
            say(line)
    if arguments.slurm is not None:
        return _write_job(grid, arguments) if first else 0
    _run(grid, arguments, devices, first, wait=several and first and arguments.share is None)
    if not first:
        return 0
    summary = grid.summary()
    written = write_summary(grid.folder, summary)
    if arguments.json:
        print(json.dumps(summary.as_json(), indent=2))
    elif not arguments.quiet:
        print(summary_text(summary))
        print("\nnumbers in {}\nreport in {}\nfigure in {}".format(*written))
    return 0


def _write_job(grid: Grid, arguments: argparse.Namespace) -> int:
    options = {"cores": arguments.jobs or 1, "device": arguments.device, "trust": arguments.trust}
    path = write_array_job(grid, arguments.slurm, **options)
    if not arguments.quiet:
        print(f"{len(grid.cells)} trainings in {grid.folder}\nstart: sbatch {shlex.quote(str(path))}")
        print(f"then:  pinntk compare --resume {shlex.quote(str(grid.folder))}")
    return 0


def _run(grid: Grid, arguments: argparse.Namespace, devices: list[str], first: bool, wait: bool) -> None:
    """The cells; with `wait` also those of other processes, until they have ended."""
    shown = first and not (arguments.quiet or arguments.json)
    share = grid.cells if arguments.share is None else grid.cells[arguments.share[0] :: arguments.share[1]]
    before = grid.summary()
    with Progress("comparing", len(grid.cells), done=len(before.rows), shown=shown, kept=True) as bar:
        warned: set[str] = set()

        def follow(row: Row) -> None:
            if bar.shown:
                bar.say(row_text(row, before))
            for text in row.warnings if first else ():
                if (kind := without_numbers(text)) not in warned:
                    say(f"pinntk: warning: {text}")
                    warned.add(kind)
            bar.advance()

        own = max(1, cores() // int(os.environ.get("LOCAL_WORLD_SIZE", "1")))
        jobs = min(arguments.jobs or (own if devices[0] == "cpu" else len(devices)), max(1, len(share)))
        options = {"threads": max(1, own // jobs), "devices": devices, "trust": arguments.trust}
        run_grid(grid, jobs=jobs, cells=share, wait=wait, on_row=follow, **options)


def _devices(name: str) -> list[str]:
    """Of the processes in turn: every GPU, or the one that was named."""
    device = usable_device(name)
    return [f"cuda:{k}" for k in range(torch.cuda.device_count())] if name == "cuda" else [str(device)]


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
    if folder.exists() and any(folder.iterdir()) and not (folder / GRID).exists():
        raise FileExistsError(f"{folder} holds something else than a comparison; name another folder with -o")
    for name in arguments.optimizer or ():
        TrainConfig(optimizer=name)  # which refuses a name that there is not; what cannot be combined is only left out
    cells, refused = _cells(arguments)
    if not cells:
        raise ValueError(next(iter(refused.values())))
    if arguments.overwrite:
        Grid.remove(folder)
        for name in (JSON, HTML, FIGURE):
            (folder / name).unlink(missing_ok=True)
    return Grid.create(folder, cells, _title(arguments), refused)


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
    """The trainings, and the combinations that cannot be, with the reason. A problem is done before the next one, so that a
    process finds again what it has compiled, and in it seed after seed, so that a slow hour is one for all combinations.
    """
    cells, refused = [], {}
    problems: dict[tuple, Problem] = {}
    for _, this in _combinations(arguments):
        if (key := (this.problem, *this.set)) not in problems:
            problems[key] = load_problem(this)
    for seed in arguments.seeds:
        for labels, this in _combinations(arguments):
            this.seed, this.seconds = seed, _seconds(arguments)
            problem = problems[(this.problem, *this.set)]
            for option in ("points", "weights"):
                setattr(this, option, _its_own(getattr(this, option), problem, problems.values()))
            try:
                cells.append(_cell(this, labels, problem))
            except (ValueError, TypeError) as error:
                refused[", ".join(filter(None, labels.values()))] = str(error).splitlines()[0]
    cells.sort(key=lambda cell: arguments.problems.index(cell.labels["problem"]))
    return cells, refused


def _its_own(given: str, problem: Problem, problems: Iterable[Problem]) -> str:
    """Without what names conditions of other problems only: initial=100 is of those that have a start."""
    others = set().union(*map(_names, problems)) - _names(problem)
    return ",".join(word for word in given.split(",") if _name(word) not in others)


def _names(problem: Problem) -> set[str]:
    return {name for condition in problem.conditions for name in (condition.name, condition.kind)}


def _cell(arguments: argparse.Namespace, labels: dict[str, str], problem: Problem) -> Cell:
    config = TrainConfig(**settings(arguments, problem))
    timed = arguments.steps is None and ":" not in str(config.optimizer)  # a chain of optimizers has steps of its own
    return Cell.of(labels, problem, make_network(arguments, problem), config, timed=timed)


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
    own = copy.copy(arguments)
    before = {axis: getattr(own, axis) for axis in AXES}
    vars(own).update(dict.fromkeys(AXES), **dict.fromkeys(_JOINED, ""), variant={})
    found, unknown = arguments.parser.parse_known_args(shlex.split(words), own)
    if unknown:
        raise ValueError(f"--variant {name}: {arguments.parser.not_understood(unknown)}")
    if found.problems or found.variant:
        raise ValueError(f"--variant {name}={words!r}: options of a training, without problems or variants in them")
    for option in _OF_ALL:
        if getattr(found, option, None) != getattr(arguments, option, None):
            raise ValueError(f"--variant {name}: --{option} is the same for all; leave it out there")
    for axis, values in before.items():
        given = getattr(found, axis)
        if given is not None and len(values or ()) > 1:
            raise ValueError(
                f"--variant {name} gives --{axis}, of which {len(values)} are compared already; use one or the other"
            )
        if given is not None and len(given) > 1:
            raise ValueError(f"--variant {name} gives {len(given)} values of --{axis}; one is what a variant has")
        setattr(found, axis, values if given is None else given)
    for option in _JOINED:
        setattr(found, option, _over(getattr(arguments, option), getattr(found, option)))
    found.problems = arguments.problems
    return found


def _over(common: str, own: str) -> str:
    """What a variant says of NAME=VALUE,..., and what all have of other names.

    >>> _over("residual=400,boundary=50", "residual=100")
    'boundary=50,residual=100'
    """
    words = [word for word in own.split(",") if word]
    names = {_name(word) for word in words}
    return ",".join([*(word for word in common.split(",") if word and _name(word) not in names), *words])


def _name(word: str) -> str:
    return word.partition("=")[0].strip()
