"""`pinntk train` and `pinntk solve`: from options to a run."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
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
from pinntk.run._folder import CHECKPOINT, CONFIG, SLABS
from pinntk.run._slabs import holds_slabs, read_slabs
from pinntk.run._source import is_from_file
from pinntk.training import Slabs, TrainConfig, grow_network, train, train_as, train_slabs
from pinntk.training._train import network_of, problem_of

_SECTIONS = ("problem", "network", "training", "weighting")
_SLABS = "slabs"  # the section of a slabs.json beside them


def start_training(arguments: argparse.Namespace) -> Run | Slabs:
    """`pinntk train`: fresh, by a configuration file, or on from a checkpoint."""
    if arguments.resume:
        return _resume(arguments)
    if arguments.config is not None:
        return _train_by_file(arguments)
    problem = load_problem(arguments)
    config, network = TrainConfig(**settings(arguments, problem)), make_network(arguments, problem)
    return _train(arguments, problem, network, config, out=_folder(arguments, problem))


def _train_by_file(arguments: argparse.Namespace) -> Run | Slabs:
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
    slabs = config.get(_SLABS, {})
    options = {"out": out, "device": device, "slabs": slabs.get("edges"), "fresh": slabs.get("fresh", False)}
    return _train(arguments, problem, network, TrainConfig.from_json(config, **given), **options)


def _train(
    arguments: argparse.Namespace,
    problem: Problem,
    network: nn.Module,
    config: TrainConfig,
    slabs: list[float] | None = None,
    fresh: bool = False,
    **options: Any,
) -> Run | Slabs:
    """On all of the time, or in --slabs, or else in those of a file."""
    if distributed.rank() == 0 and not arguments.quiet:
        _say_beforehand(problem, network)
    options |= {"overwrite": arguments.overwrite, "progress": not arguments.quiet}
    slabs = slabs if arguments.slabs is None else arguments.slabs
    if slabs is None:
        return train(problem, network, config, **options)
    return train_slabs(problem, network, config, slabs=slabs, fresh=fresh, **options)


def _say_beforehand(problem: Problem, network: nn.Module) -> None:
    """One line of what a training cannot mend, where the quick part of the check finds any."""
    found = [finding for finding in check(problem, network, quick=True) if finding.severity != "note"]
    if found:
        print(f"pinntk: before training: {found[0].sentence} `pinntk check` says more.", file=sys.stderr)


def start_solving(arguments: argparse.Namespace) -> Run | Slabs:
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
    if not arguments.overwrite and ((out / CHECKPOINT).exists() or holds_slabs(out)):
        raise FileExistsError(
            f"{out} already holds a run; continue it with --resume {out}, replace it with --overwrite, or use another -o"
        )
    return out


def _resume(arguments: argparse.Namespace) -> Run | Slabs:
    """Continues a run with the settings in its config.json; --steps and --device may differ."""
    if arguments.problem is not None:
        raise ValueError("--resume takes problem and settings from the run; leave the problem out")
    grows = getattr(arguments, "grow_network", None) is not None
    beside = ("grow_network", "grow", "out") if grows else ()
    refuse_all_but(arguments, "--resume", ("resume", "steps", "seconds", "device", "quiet", "trust", *beside))
    folder = Path(arguments.resume)
    in_slabs = (folder / SLABS).is_file() and not grows
    config = read_slabs(folder) if in_slabs else read_config(folder)
    if config["training"]["points"] == "given":
        raise ValueError(f"{folder} was trained on points of your own; resume it from Python: pinntk.train(..., resume=True)")
    given = {name: value for name in ("steps", "seconds") if (value := getattr(arguments, name, None)) is not None}
    announce(config)
    problem = problem_of(config, str(folder), arguments.trust)
    if grows:
        config, folder = _grow(arguments, Run.load(folder, problem=problem))
    options: dict[str, Any] = {"out": folder, "resume": True, "device": usable_device(arguments.device)}
    options["progress"] = not arguments.quiet
    if not in_slabs:
        _say_where_nothing_is_left(folder, {**config["training"], **given}["steps"])
        return train_as(config, problem=problem, **options, **given)
    options |= {name: config["slabs"][key] for name, key in (("slabs", "edges"), ("fresh", "fresh"))}
    return train_slabs(problem, network_of(config, problem), TrainConfig.from_json(config, **given), **options)


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
    path = path / (SLABS if (path / SLABS).is_file() else CONFIG) if path.is_dir() else path
    try:
        config = json.loads(path.read_text())
    except FileNotFoundError:
        raise FileNotFoundError(f"--config {path}: no such file; give the config.json of a run, or parts of one") from None
    except (ValueError, RecursionError) as error:
        raise ValueError(f"--config {path}: not JSON ({error})") from error
    if not isinstance(config, dict) or not set(config) & set(_SECTIONS):
        raise ValueError(f"--config {path}: needs sections of a run's config.json, one or more of {', '.join(_SECTIONS)}")
    for section in config:
        if section not in (*_SECTIONS, _SLABS, "format", "grown", "versions"):
            close = nearest(section, _SECTIONS, 0)
            raise ValueError(f"--config {path}: section {section!r} is unknown; did you mean {close!r}?")
    for section, value in config.items():
        kinds = (dict, str) if section == "weighting" else dict
        if section in (*_SECTIONS, _SLABS) and not isinstance(value, kinds):
            raise ValueError(f"--config {path}: section {section!r} is {value!r}; give it as in a run's config.json")
    check_entries(config, path)
    for section, keys in (("problem", ("source",)), ("network", ("class", "arguments")), (_SLABS, ("edges",))):
        if missing := [key for key in keys if section in config and key not in config[section]]:
            raise ValueError(f"--config {path}: section {section!r} needs {missing[0]!r}, as in a run's config.json")
    edges = config.get(_SLABS, {}).get("edges", [])
    if not isinstance(edges, list):
        raise ValueError(f"--config {path}: slabs.edges is {edges!r}; expected a list of times, as in [0, 0.1, 1]")
    return config
