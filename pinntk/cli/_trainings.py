"""`pinntk train` and `pinntk solve`: from options to a run."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from torch import nn

from pinntk._util import distributed
from pinntk._util.likeness import nearest
from pinntk.cli._meaning import NETWORK_OPTIONS, counts, load_problem, make_network, settings, usable_device
from pinntk.diagnostics import check
from pinntk.problem import Problem
from pinntk.problem._registry import source_path
from pinntk.run import Run
from pinntk.run._checkpoint import read_checkpoint
from pinntk.run._configuration import check_entries, read_config
from pinntk.run._folder import CHECKPOINT, CONFIG
from pinntk.run._slabs import holds_series, read_series, section_of
from pinntk.run._source import is_from_file
from pinntk.training import (
    Curriculum,
    Ensemble,
    Slabs,
    TrainConfig,
    grow_network,
    train,
    train_as,
    train_curriculum,
    train_ensemble,
    train_slabs,
)
from pinntk.training._train import network_of, problem_of

_SECTIONS = ("problem", "network", "training", "weighting")
_SERIES = {"slabs": "edges", "curriculum": "values", "ensemble": "seeds"}  # sections of a series beside them; what they need
Trained = Run | Slabs | Curriculum | Ensemble


def start_training(arguments: argparse.Namespace) -> Trained:
    """`pinntk train`: fresh, by a configuration file, or on from a checkpoint."""
    if arguments.resume:
        return _resume(arguments)
    if arguments.config is not None:
        return _train_by_file(arguments)
    problem = load_problem(arguments)
    config, network = TrainConfig(**settings(arguments, problem)), make_network(arguments, problem)
    return _train(arguments, problem, network, config, out=_folder(arguments, problem))


def _train_by_file(arguments: argparse.Namespace) -> Trained:
    """Trains by a config.json; what parts of one leave out is taken from the command line."""
    config = _read_file(Path(arguments.config))
    if "problem" in config and arguments.problem is not None:
        raise ValueError(f"{arguments.config} names the problem; leave {arguments.problem!r} out, or that section of the file")
    if "network" in config:
        _refuse(arguments, "--config", NETWORK_OPTIONS)
        if arguments.seed is not None and config["network"]["arguments"]:
            config["network"]["arguments"]["seed"] = arguments.seed
    if "problem" in config:
        _refuse(arguments, "--config", ("set",))
        announce(config)
        problem = problem_of(config, arguments.config, arguments.trust)
    else:
        problem = load_problem(arguments)
    if "network" in config:
        network = network_of(config, problem)
    else:
        seed = config.get("training", {}).get("seed") if arguments.seed is None else arguments.seed
        network = make_network(argparse.Namespace(**{**vars(arguments), "seed": seed}), problem)
    given = settings(arguments, problem, config.get("weighting"))
    out, device = _folder(arguments, problem), usable_device(arguments.device)
    series = {section: config[section] for section in _SERIES if section in config}
    return _train(arguments, problem, network, TrainConfig.from_json(config, **given), series, out=out, device=device)


def _train(
    arguments: argparse.Namespace,
    problem: Problem,
    network: nn.Module,
    config: TrainConfig,
    series: Mapping[str, Mapping[str, Any]] = MappingProxyType({}),
    **options: Any,
) -> Trained:
    """One run; or as the options ask, or else a file, in time slabs, in the stages of a curriculum, or from several seeds."""
    if distributed.rank() == 0 and not arguments.quiet:
        _say_beforehand(problem, network)
    options |= {"overwrite": arguments.overwrite, "progress": not arguments.quiet}
    asked = {"slabs": arguments.slabs, "curriculum": _curriculum(arguments), "ensemble": getattr(arguments, "ensemble", None)}
    given = [section for section, value in asked.items() if value is not None]
    if len(given) > 1:
        raise ValueError(f"--{given[0]} and --{given[1]} do not go together; use one or the other")
    if given:
        series = {given[0]: {_SERIES[given[0]]: asked[given[0]]}}
    return _train_series(problem, network, config, series, **options)


def _train_series(
    problem: Problem, network: nn.Module, config: TrainConfig, series: Mapping[str, Mapping[str, Any]], **options: Any
) -> Trained:
    if "slabs" in series:
        fresh = series["slabs"].get("fresh", False)
        return train_slabs(problem, network, config, slabs=series["slabs"]["edges"], fresh=fresh, **options)
    if "curriculum" in series:
        return train_curriculum(problem, network, config, curriculum=series["curriculum"]["values"], **options)
    if "ensemble" in series:
        return train_ensemble(problem, network, config, seeds=series["ensemble"]["seeds"], **options)
    return train(problem, network, config, **options)


def _curriculum(arguments: argparse.Namespace) -> dict[str, list[float]] | None:
    """What --curriculum says, once a parameter."""
    given = getattr(arguments, "curriculum", None)
    if given is None:
        return None
    names = [name for name, _ in given]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise ValueError(f"--curriculum gives {twice} twice")
    return dict(given)


def _say_beforehand(problem: Problem, network: nn.Module) -> None:
    """One line of what a training cannot mend, where the quick part of the check finds any."""
    found = [finding for finding in check(problem, network, quick=True) if finding.severity != "note"]
    if found:
        print(f"pinntk: before training: {found[0].sentence} `pinntk check` says more.", file=sys.stderr)


def start_solving(arguments: argparse.Namespace) -> Trained:
    """`pinntk solve`: fresh, or on from a checkpoint."""
    if arguments.resume:
        return _resume(arguments)
    if arguments.grow_network is not None:
        raise ValueError(f"--grow-network {arguments.grow_network} goes on with a run: give its folder with --resume")
    problem = load_problem(arguments)
    names = ("steps", "seconds", "grow", "sampling")
    asked = {name: value for name in names if (value := getattr(arguments, name)) is not None}
    config = TrainConfig(
        **{"steps": 2000, "seconds": 300.0, **asked},
        optimizer="gauss-newton",
        optimizer_options={"target": arguments.target},
        points=counts(arguments, problem),
        seed=arguments.seed or 0,
        log_every=1,
        eval_every=10,
        checkpoint_every=20,
        snapshot_every=0,
    )
    network = make_network(arguments, problem)
    return _train(arguments, problem, network, config, out=_folder(arguments, problem, "-solved"))


def _folder(arguments: argparse.Namespace, problem: Problem, suffix: str = "") -> Path:
    """Where the run goes; checked before the work begins."""
    out = Path(arguments.out or f"runs/{problem.name}{suffix}")
    if not arguments.overwrite and ((out / CHECKPOINT).exists() or holds_series(out)):
        raise FileExistsError(
            f"{out} already holds a run; continue it with --resume {out}, replace it with --overwrite, or use another -o"
        )
    return out


def _resume(arguments: argparse.Namespace) -> Trained:
    """Continues a run with the settings in its config.json; --steps and --device may differ."""
    if arguments.problem is not None:
        raise ValueError("--resume takes problem and settings from the run; leave the problem out")
    grows = getattr(arguments, "grow_network", None) is not None
    beside = ("grow_network", "grow", "out") if grows else ()
    refuse_all_but(arguments, "--resume", ("resume", "steps", "optimizer", "seconds", "device", "quiet", "trust", *beside))
    folder = Path(arguments.resume)
    section = section_of(folder)
    config = read_series(folder, section) if section and not grows else read_config(folder)
    if config["training"]["points"] == "given":
        raise ValueError(f"{folder} was trained on points of your own; resume it from Python: pinntk.train(..., resume=True)")
    given = {name: value for name in ("steps", "seconds", "optimizer") if (value := getattr(arguments, name, None)) is not None}
    announce(config)
    problem = problem_of(config, str(folder), arguments.trust)
    if grows:
        config, folder = _grow(arguments, Run.load(folder, problem=problem))
    options: dict[str, Any] = {"out": folder, "resume": True, "device": usable_device(arguments.device)}
    options["progress"] = not arguments.quiet
    settings = TrainConfig.from_json(config, **given)
    if not section or grows:
        _say_where_nothing_is_left(folder, settings.steps)
        return train_as(config, problem=problem, **options, **given)
    return _train_series(problem, network_of(config, problem), settings, {section: config[section]}, **options)


def _say_where_nothing_is_left(folder: Path, steps: int) -> None:
    if distributed.rank() == 0 and read_checkpoint(folder)["step"] == steps:
        print(f"pinntk: {folder} has taken its {steps:,} steps already; for more: --steps {2 * steps}", file=sys.stderr)


def _grow(arguments: argparse.Namespace, run: Run) -> tuple[dict[str, Any], Path]:
    """config.json and folder of the run with a wider network. Raises ValueError beforehand where no time or step is left."""
    for name, used in (("seconds", run.seconds), ("steps", run.step)):
        asked = getattr(arguments, name)
        limit = run.config["training"][name] if asked is None else asked
        if limit is not None and used >= limit:
            raise ValueError(f"{arguments.resume} has taken {used:.4g} {name} of {limit:g}; give --{name} above that to go on")
    grown = grow_network(run, arguments.grow_network, arguments.out, arguments.grow)
    assert grown.folder is not None  # it was made
    if not arguments.quiet:
        before, after = (one.config["network"]["parameters"] for one in (run, grown))
        print(f"pinntk: {grown.folder} goes on with {after} parameters in place of {before}", file=sys.stderr)
    return grown.config, grown.folder


def load_run(folder: str | Path, arguments: argparse.Namespace) -> Run:
    """The run in a folder; says which file of the user's is run for it.

    Raises ValueError, with what does it in Python, for a run of a problem that no file has.
    """
    config = read_config(Path(folder))
    problem = config["problem"]
    if not is_from_file(problem) or (config.get("recorded") and "text" not in problem):
        after = _IN_PYTHON[arguments.parser.prog.split()[-1]]
        raise ValueError(
            f"{folder}: its problem {problem['name']!r} was built in Python and is in no file, so that no command can build it "
            f"again; in Python, with your network and problem: run = pinntk.Run.load({str(folder)!r}, network, "
            f"problem=problem), then {after}"
        )
    announce(config)
    return Run.load(folder, trust=arguments.trust)


_IN_PYTHON = {  # what a command does with a run, in Python
    "diagnose": "from pinntk.reporting import write_report; x = pinntk.examine(run); "
    "write_report('report.html', x, pinntk.diagnose(x))",
    "rescue": "pinntk.rescue(run)",
    "predict": "run.problem.predict(run.network, points)",
    "plot": "from pinntk.reporting import plot; plot.save(run)",
    "kernel": "pinntk.kernel(run.network, run.problem, run.points)",
}


def announce(config: Mapping[str, Any]) -> None:
    """Names the problem file that is about to be run, where it is not one of pinntk's own."""
    path = source_path(config["problem"]["source"], builtin=False)
    if path is not None and distributed.rank() == 0:
        print(f"pinntk: the problem is {path}", file=sys.stderr)


def refuse_all_but(arguments: argparse.Namespace, option: str, allowed: tuple[str, ...]) -> None:
    """Refuses options that would be ignored beside `option`, which takes its settings from a run."""
    _refuse(arguments, option, [name for name in vars(arguments) if name not in (*allowed, "command", "parser", "traceback")])


def _refuse(arguments: argparse.Namespace, option: str, names: Iterable[str]) -> None:
    for name in names:
        if getattr(arguments, name) != arguments.parser.get_default(name):
            source = "the run" if option != "--config" else "the file"
            raise ValueError(f"{option} takes its settings from {source}; leave --{name.replace('_', '-')} out")


def _read_file(path: Path) -> dict[str, Any]:
    """A configuration: one or more sections of a config.json."""
    if path.is_dir():
        path = path / (f"{section}.json" if (section := section_of(path)) else CONFIG)
    try:
        config = json.loads(path.read_text())
    except FileNotFoundError:
        raise FileNotFoundError(f"--config {path}: no such file; give the config.json of a run, or parts of one") from None
    except (ValueError, RecursionError) as error:
        raise ValueError(f"--config {path}: not JSON ({error})") from error
    if not isinstance(config, dict) or not set(config) & set(_SECTIONS):
        raise ValueError(f"--config {path}: needs sections of a run's config.json, one or more of {', '.join(_SECTIONS)}")
    for section in config:
        if section not in (*_SECTIONS, *_SERIES, "format", "grown", "versions"):
            close = nearest(section, _SECTIONS, 0)
            raise ValueError(f"--config {path}: section {section!r} is unknown; did you mean {close!r}?")
    for section, value in config.items():
        kinds = (dict, str) if section == "weighting" else dict
        if section in (*_SECTIONS, *_SERIES) and not isinstance(value, kinds):
            raise ValueError(f"--config {path}: section {section!r} is {value!r}; give it as in a run's config.json")
    check_entries(config, path)
    for section, keys in (
        ("problem", ("source",)),
        ("network", ("class", "arguments")),
        *((section, (key,)) for section, key in _SERIES.items()),
    ):
        if missing := [key for key in keys if section in config and key not in config[section]]:
            raise ValueError(f"--config {path}: section {section!r} needs {missing[0]!r}, as in a run's config.json")
    edges = config.get("slabs", {}).get("edges", [])
    if not isinstance(edges, list):
        raise ValueError(f"--config {path}: slabs.edges is {edges!r}; expected a list of times, as in [0, 0.1, 1]")
    return config
