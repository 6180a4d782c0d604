"""What config.json says of a training, and the way back: `described` from the arguments of `pinntk.train`, `arguments` from it.

Both are in this file so that what one writes the other reads.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from copy import deepcopy
from difflib import get_close_matches
from typing import Any

import torch
from torch import nn

from pinntk.problem import Problem
from pinntk.problem import _registry as registry
from pinntk.run._run import describe_network, network_class, rebuilt
from pinntk.solvers import SOLVERS
from pinntk.training._monitor import Monitor
from pinntk.training._optimizers import SCHEDULES, optimizers
from pinntk.training._resampling import RAD
from pinntk.weighting import SCHEMES, Causal

_OBJECTS = {"adaptive": RAD, "causal": Causal, "monitor": Monitor}  # settings with `describe`, None where not used
_GIVEN = "given"  # in the place of counts, where the points were tensors

# What belongs to an optimizer, and means nothing, or something else, to another one.
_OWN = {"lr": None, "schedule": None, "optimizer_options": {}, "grow": None}
_OWN_OF_A_KIND = {
    "resample": None,
    "sampling": None,
    "adaptive": None,
    "compile": False,
}  # of solvers, or of torch optimizers


def described(
    problem: Problem, network: nn.Module, weighting: Any, *, points: Mapping[str, int] | None, **settings: Any
) -> dict[str, Any]:
    """config.json of a training.

    points: counts by kind or name; None if tensors were given
    settings: the other arguments of `pinntk.train` that decide about the result, defaults filled in
    """
    training = {**settings, "points": _GIVEN if points is None else problem.counts(**points)}
    for name in ("optimizer", "schedule"):
        value = training[name]
        training[name] = value if value is None or isinstance(value, str) else repr(value)
    for name in _OBJECTS:
        training[name] = training[name] and training[name].describe()
    return {
        "problem": {"name": problem.name, "source": problem.source or problem.name, "parameters": dict(problem.parameters)},
        "network": describe_network(network),
        "training": training,
        "weighting": weighting.describe(),
        "versions": {"torch": torch.__version__},
    }


def arguments(
    config: Mapping[str, Any],
    problem: Problem | None = None,
    network: nn.Module | None = None,
    points: Any = None,
    **settings: Any,
) -> dict[str, Any]:
    """The arguments of `pinntk.train` that make this config.json: a new problem, a new network, and all settings.

    problem, network, points, settings: in the place of what config.json says

    Raises ValueError, naming what it is and what to do, for what a text cannot hold: a network that is none of
    `pinntk.nn.NETWORKS`, a problem without a file, points given as tensors, an optimizer or schedule given as a function, a
    weighting of one's own.
    """
    training = {**config["training"], **settings}
    if problem is None:
        source = config["problem"]["source"]
        if source not in registry.available() and not str(source).endswith(".py"):
            raise ValueError(
                f"the run's problem {source!r} was built in Python, in no file; give it: train_as(config, problem=...)"
            )
        problem = registry.load(source, **config["problem"]["parameters"])
    if network is None:
        if network_class(config) is None:
            raise ValueError(
                f"the run's network is {config['network']['class']}, which pinntk cannot build; give a new one: "
                "train_as(config, network=...)"
            )
        network = rebuilt(config, problem)
    if points is None:
        if training["points"] == _GIVEN:
            raise ValueError("the run was trained on points given as tensors; give them: train_as(config, points=...)")
        points = {name: n for name, n in training["points"].items() if n is not None}
    for name, known in (("optimizer", (*optimizers(), *SOLVERS)), ("schedule", SCHEDULES)):
        value = training[name]
        if name not in settings and value is not None and value.lower() not in known:
            raise ValueError(f"the run's {name} was a function, {value}; give it: train_as(config, {name}=...)")
    for name, kind in _OBJECTS.items():
        if isinstance(value := training.get(name), Mapping):
            training[name] = kind(**value)
    weighting = training.pop("weighting", None) or _weighting(config["weighting"])
    return {**training, "problem": problem, "network": network, "points": points, "weighting": weighting}


def _weighting(described: Mapping[str, Any] | str) -> Any:
    options = {"name": described} if isinstance(described, str) else dict(described)
    name = options.pop("name", None)
    if name not in SCHEMES:
        raise ValueError(f"weighting {name!r} is none of {', '.join(SCHEMES)}; give it: train_as(config, weighting=...)")
    try:
        return SCHEMES[name](**options)
    except TypeError as error:
        raise ValueError(f"weighting {name!r} with {options}: {error}") from error


def changed(config: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of config.json with new values in some places, `Prescription.changes`, dots between levels.

    Another `training.optimizer` takes its own defaults for lr, schedule and options (a solver or the end of one also for
    resample, sampling and compile), where the changes do not name them: a learning rate of Adam is none of L-BFGS.

    Raises ValueError, naming the place and the nearest known one, for a place that a configuration does not have.
    """
    new = deepcopy(dict(config))
    for place in sorted(changes, key=lambda place: place.count(".")):  # a whole section before what is in it
        _check_place(place, new)
        at = new
        *levels, last = place.split(".")
        for level in levels:
            at = at[level]
        value = changes[place]
        at[last] = {"name": value} if place == "weighting" and isinstance(value, str) else deepcopy(value)
    training, before = new["training"], config["training"]["optimizer"]
    if training["optimizer"] != before:
        kinds = {str(name).lower() in SOLVERS for name in (before, training["optimizer"])}
        for name, value in (_OWN | (_OWN_OF_A_KIND if len(kinds) > 1 else {})).items():
            if f"training.{name}" not in changes and not any(place.startswith(f"training.{name}.") for place in changes):
                training[name] = deepcopy(value)
    return new


def _check_place(place: str, config: Mapping[str, Any]) -> None:
    parent, _, _ = place.rpartition(".")
    weighting = config["weighting"]
    if parent == "training.optimizer_options" or (parent == "weighting" and weighting.get("name") == "fixed"):
        return  # whatever the optimizer takes; the names of conditions
    if place.startswith("network.arguments") and config["network"]["arguments"] is None:
        raise ValueError(f"change {place!r}: the network is {config['network']['class']}, whose arguments pinntk does not know")
    if parent == "training.points" and config["training"]["points"] == _GIVEN:
        raise ValueError(f"change {place!r}: the points were given as tensors; change 'training.points' as a whole")
    known = _places(config)
    if place not in known:
        last = place.rpartition(".")[2]
        close = [entry for entry in known if entry.rpartition(".")[2] == last] or get_close_matches(place, known, 1, cutoff=0)
        raise ValueError(f"change {place!r}: a configuration has no such place; the nearest is {close[0]!r}")


def _places(config: Mapping[str, Any]) -> list[str]:
    """All places that a change may name, in this configuration."""
    kind = network_class(config)
    own = () if kind is None else inspect.signature(kind).parameters
    network = [name for name in own if name not in ("problem", "inputs", "outputs", "dtype", "device")]
    training = config["training"]
    nested = {name: value for name, value in training.items() if isinstance(value, Mapping)}
    scheme = SCHEMES.get(config["weighting"].get("name"))
    options = (
        [] if scheme is None else [name for name, p in inspect.signature(scheme).parameters.items() if p.kind != p.VAR_KEYWORD]
    )
    return [
        *("network.dtype", "network.arguments", "weighting"),
        *(f"network.arguments.{name}" for name in network),
        *(f"training.{name}" for name in dict.fromkeys((*training, *_OBJECTS))),
        *(f"training.{name}.{key}" for name, value in nested.items() for key in value),
        *(f"weighting.{name}" for name in options),
    ]
