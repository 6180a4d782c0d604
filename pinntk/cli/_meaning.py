"""What options mean: settings, a problem, a network, a device."""

from __future__ import annotations

import argparse
import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import nn

from pinntk._util import distributed
from pinntk._util.devices import usable
from pinntk._util.likeness import did_you_mean
from pinntk.cli._option_groups import DTYPES
from pinntk.cli._parser import whole_number
from pinntk.nn import NETWORKS
from pinntk.nn._dense import option_names
from pinntk.problem import KINDS, Problem
from pinntk.problem import _registry as registry
from pinntk.training import Monitor
from pinntk.training._config import SETTINGS
from pinntk.training._given import together, weighting_from_json
from pinntk.weighting import SCHEMES, Causal, Fixed, Weighting


def settings(arguments: argparse.Namespace, problem: Problem, before: Mapping[str, Any] | str | None = None) -> dict[str, Any]:
    """The settings of `TrainConfig` that were asked for; what was not is left out. Raises ValueError for those that cannot be.

    before: section "weighting" of a configuration file, which options beside it change
    """
    found = {name: value for name in SETTINGS if (value := getattr(arguments, name, None)) is not None}
    found |= {"weighting": _weighting(arguments, problem, before), "causal": _causal(arguments)}
    found["points"] = counts(arguments, problem)
    found["monitor"] = None if arguments.monitor is None else Monitor(budget=arguments.monitor)
    return {name: value for name, value in found.items() if value not in (None, {})}


def counts(arguments: argparse.Namespace, problem: Problem) -> dict[str, int]:
    """What --points says. Raises ValueError for what no condition of the problem is."""
    found = pairs(arguments.points, "--points", whole_number)
    problem.counts(**found)
    _refuse_kinds_without_conditions("--points", found, problem)
    return found


def _refuse_kinds_without_conditions(option: str, given: Iterable[str], problem: Problem) -> None:
    """What would be ignored: boundary=100 of a problem that has none."""
    known = {name for condition in problem.conditions for name in (condition.name, condition.kind)}
    for name in given:
        if name in KINDS and name not in known:
            conditions = ", ".join(f"{condition.name} ({condition.kind})" for condition in problem.conditions)
            raise ValueError(f"{option} {name}: {problem.name} has no {name} condition; it has {conditions}")


_OF_SCHEMES = {"every": "every", "momentum": "momentum", "normalization": "normalization", "ascent_lr": "lr"}


def _weighting(arguments: argparse.Namespace, problem: Problem, before: Mapping[str, Any] | str | None) -> Weighting | None:
    """The weighting that --weighting and the options beside it ask for."""
    in_file = weighting_from_json(before).describe() if isinstance(before, str) else dict(before or {})
    beside = [{"name": part} if isinstance(part, str) else dict(part) for part in in_file.pop("beside", ())]
    sections = {part.get("name", "fixed"): part for part in (in_file, *beside)}
    names = arguments.weighting.split("+") if arguments.weighting else ["fixed"] if arguments.weights else list(sections)
    given = pairs(arguments.weights, "--weights", float)
    if given and (computed := [name for name in names if name != "fixed" and SCHEMES[name].acts_on == "conditions"]):
        raise ValueError(f"--weights gives fixed weights, --weighting {computed[0]} computes them; use one or the other")
    options = {f"--{option.replace('_', '-')}": (name, getattr(arguments, option)) for option, name in _OF_SCHEMES.items()}
    options |= {
        f"--weighting-options {name}": (name, value)
        for name, value in pairs(arguments.weighting_options, "--weighting-options", _number_or_text, "eta=0.01").items()
    }
    options = {option: setting for option, setting in options.items() if setting[1] is not None}
    if arguments.weighting is None and not arguments.weights and not options:
        return None
    takes = {name: set(inspect.signature(SCHEMES[name]).parameters) for name in names if name in SCHEMES}
    fresh = ("fixed",) if arguments.weighting else ()  # whose weights are those of --weights, not of the file
    schemes = {name: {"name": name} if name in fresh else sections.get(name, {"name": name}) for name in names}
    for option, (argument, value) in options.items():
        if not (takers := [name for name in names if argument in takes.get(name, ())]):
            meant = did_you_mean(argument, sorted(set().union(*takes.values()))) or "; leave it out"
            raise ValueError(f"{option} does not apply to --weighting {'+'.join(names)}{meant}")
        schemes[takers[0]][argument] = value
    if given:
        _refuse_kinds_without_conditions("--weights", given, problem)
        schemes["fixed"] = {"name": "fixed", **given}
        Fixed(**given).start(problem)  # which names a condition that there is not
    return together([weighting_from_json(described) for described in schemes.values()])


def _number_or_text(text: str) -> float | int | str:
    try:
        return int(text)
    except ValueError:
        pass
    try:
        return float(text)
    except ValueError:
        return text.strip()


def _causal(arguments: argparse.Namespace) -> Causal | None:
    if arguments.causal is None:
        if arguments.slices is not None:
            raise ValueError(f"--slices {arguments.slices} are those of --causal; add --causal EPS, or leave it out")
        return None
    return Causal(arguments.causal, **({} if arguments.slices is None else {"slices": arguments.slices}))


def pairs(text: str, option: str, kind: Callable[[str], Any], example: str = "boundary=100") -> dict[str, Any]:
    """{"a": 1, "b": 2} from "a=1,b=2"."""
    found: dict[str, Any] = {}
    for part in filter(None, text.split(",")):
        name, equals, value = part.partition("=")
        if name.strip() in found:
            raise ValueError(f"{option} {text!r} gives {name.strip()} twice")
        try:
            found[name.strip()] = kind(value)
        except (ValueError, argparse.ArgumentTypeError):
            equals = ""
        if not equals:
            raise ValueError(f"{option} {text!r}: {part!r} is not NAME=NUMBER; write it as in {option} {example}")
    return found


def load_problem(arguments: argparse.Namespace) -> Problem:
    if arguments.problem is None:
        raise ValueError(f"name a problem, as in `{arguments.parser.prog} poisson1d`; `pinntk problems` lists them")
    parameters = {}
    for entry in arguments.set:
        name, equals, value = entry.partition("=")
        if not equals:
            raise ValueError(f"--set {entry!r}: write NAME=VALUE, as in --set k=4")
        parameters[name.strip()] = value.strip()
    return registry.load(arguments.problem, **registry.parse_parameters(arguments.problem, parameters))


# Those that some networks do not have.
_OWN = (
    *("activation", "parametrization", "initialization", "beta", "factorized", "adaptive_slopes"),
    *("periodic", "fourier", "hard"),
    *("omega", "sigmas", "scales", "rank"),
)
NETWORK_OPTIONS = ("network", "width", "depth", "raw_inputs", "output_scales", "dtype", *_OWN)


def make_network(arguments: argparse.Namespace, problem: Problem) -> nn.Module:
    """The network that --network and the options beside it ask for."""
    own = {name: value for name in _OWN if (value := getattr(arguments, name)) not in (None, "")}
    kind = NETWORKS[arguments.network]
    if refused := [name for name in own if name not in option_names(kind)]:
        option = refused[0].replace("_", "-")
        raise ValueError(f"--{option} does not apply to --network {arguments.network}; leave it out")
    if "periodic" in own:
        harmonics = ",".join(part if "=" in part else f"{part}=1" for part in filter(None, own["periodic"].split(",")))
        own["periodic"] = pairs(harmonics, "--periodic", whole_number, "x=3")
    if "hard" in own:
        names = tuple(name.strip() for name in own["hard"].split(",") if name.strip())
        if not names:
            raise ValueError(
                f"--hard {own['hard']!r}: names of conditions, as in --hard start,walls, or auto for all that can be"
            )
        own["hard"] = names[0] if len(names) == 1 else names
    if arguments.raw_inputs:
        own["normalize"] = False
    if arguments.output_scales is not None:
        own["output_scales"] = _output_scales(arguments.output_scales)
    return kind(
        problem,
        width=arguments.width,
        depth=arguments.depth,
        seed=arguments.seed or 0,
        dtype=DTYPES[arguments.dtype],
        device=usable_device(arguments.device),
        **own,
    )


def _output_scales(text: str) -> str | dict[str, Any]:
    """What --output-scales asks for: {"T": (300.0, 20.0)} of "T=300:20", {} of "none"."""
    if text == "auto":
        return text

    def pair(text: str) -> tuple[float, ...]:
        return tuple(map(float, text.split(":")))

    return {} if text == "none" else pairs(text, "--output-scales", pair, "T=300:20")


def usable_device(name: str) -> torch.device:
    """The device of that name, or under torchrun this process's own. Raises ValueError where it cannot hold float64 numbers,
    as MPS cannot, or where several processes would share a GPU.
    """
    if distributed.world() > 1 and name.startswith("cuda"):
        if name != "cuda":
            raise ValueError(f"--device {name}: each process needs a GPU of its own; use --device cuda")
        return distributed.local_device()
    return usable(name, f"--device {name}")
