"""Changes of a config.json by key, as findings prescribe them: `{"training.lr": 1e-3}`; and as what a person types."""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping
from copy import deepcopy
from typing import Any

from pinntk._util.likeness import nearest
from pinntk.run._network import network_class, network_options
from pinntk.solvers._chain import Chain, read_chain
from pinntk.training._config import GIVEN, NESTED, SETTINGS, defaults_with
from pinntk.weighting import SCHEMES

_OBJECTS = {
    "causal": "pinntk.weighting.Causal",
    "adaptive": "pinntk.RAD",
    "early_stopping": "pinntk.EarlyStopping",
}  # settings that are objects


def apply_changes(config: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of config.json with new values in some keys, `Prescription.changes`, dots between levels.

    Another `training.optimizer` takes its own defaults for what belongs to an optimizer (a solver, or the end of one, also for
    resample, sampling, adaptive and compile), and another `training.schedule` for its decay, where the changes do not name
    them. More `training.steps` of a chain are its last part's.

    Raises ValueError, naming the key and the nearest known one, for a key that a configuration does not have.

    >>> apply_changes({"training": {}, "weighting": {"name": "ntk"}}, {"weighting.every": 50})["weighting"]
    {'name': 'ntk', 'every': 50}
    """
    new = deepcopy(dict(config))
    settings = {key.partition(".")[2]: value for key, value in changes.items() if key.startswith("training.")}
    if own := [name for name in ("lr", "optimizer_options", "schedule") if name in settings]:
        _refuse_chain(own[0], settings.get("optimizer", config["training"].get("optimizer")))
    defaults = defaults_with(config["training"], settings)
    new["training"] |= {name: str(value) if isinstance(value, Chain) else value for name, value in defaults.items()}
    for key in sorted(changes, key=lambda key: key.count(".")):  # a whole section before what is in it
        _check_key(key, new)
        at = new
        *levels, last = key.split(".")
        for level in levels:
            if at.get(level) is None:
                at[level] = {}
            at = at[level]
        value = changes[key]
        named = key == "weighting" and not isinstance(value, Mapping)
        at[last] = {"name": value or "fixed"} if named else deepcopy(value)
    return new


def _refuse_chain(name: str, optimizer: Any) -> None:
    if (chain := read_chain(optimizer)) is not None:
        raise ValueError(f"change 'training.{name}': each part of {str(chain)!r} has its own; change 'training.optimizer'")


def _check_key(key: str, config: Mapping[str, Any]) -> None:
    parent, _, _ = key.rpartition(".")
    if parent == "training.optimizer_options" or (parent == "weighting" and _scheme_name(config) == "fixed"):
        return  # whatever the optimizer takes; the names of conditions
    network = config.get("network", {})
    if key.startswith("network.arguments") and network.get("arguments") is None:
        raise ValueError(f"change {key!r}: the network is {network.get('class')}, whose arguments pinntk does not know")
    if parent == "training.points" and config["training"].get("points") == GIVEN:
        raise ValueError(f"change {key!r}: the points were given as tensors; change 'training.points' as a whole")
    known = _keys(config)
    if key not in known:
        last = key.rpartition(".")[2]
        close = next((entry for entry in known if entry.rpartition(".")[2] == last), nearest(key, known, 0))
        raise ValueError(f"change {key!r}: a configuration has no such key; the nearest is {close!r}")


def _keys(config: Mapping[str, Any]) -> list[str]:
    """All keys that a change may name, in this configuration."""
    kind = network_class(config) if "network" in config else None
    network = () if kind is None else network_options(kind)
    nested: dict[str, Any] = {name: value for name, value in config["training"].items() if isinstance(value, Mapping)}
    nested |= {name: inspect.signature(NESTED[name]).parameters for name in nested if name in NESTED}
    scheme = SCHEMES.get(_scheme_name(config))
    options = () if scheme is None else inspect.signature(scheme).parameters.values()
    return [
        *("network.dtype", "network.arguments", "weighting", "slabs.edges"),
        *(f"network.arguments.{name}" for name in network),
        *(f"training.{name}" for name in SETTINGS if name != "weighting"),
        *(f"training.{name}.{entry}" for name, value in nested.items() for entry in value),
        *(f"weighting.{p.name}" for p in options if p.kind != p.VAR_KEYWORD),
    ]


def _scheme_name(config: Mapping[str, Any]) -> str:
    weighting = config.get("weighting") or {}
    return weighting if isinstance(weighting, str) else str(weighting.get("name"))


def changes_text(changes: Mapping[str, Any]) -> str:
    return ", ".join(f"{place} = {json.dumps(value, default=str)}" for place, value in changes.items())


def call_text(changes: Mapping[str, Any]) -> str:
    """What to type for changes; as `changes_text` where they are no arguments of `train`.

    >>> call_text({"training.optimizer": "gauss-newton", "weighting": {"name": "ntk", "every": 25}})
    'pinntk.train(problem, network, points=points, optimizer="gauss-newton", weighting=pinntk.weighting.NTK(every=25))'
    """
    if not all(_is_argument(key, value) for key, value in changes.items()):
        return changes_text(changes)
    arguments = {"points": "points"} if keeps_points(changes) else {}
    arguments |= arguments_of(changes)
    return f"pinntk.train({', '.join(['problem', 'network', *(f'{name}={text}' for name, text in arguments.items())])})"


def keeps_points(changes: Mapping[str, Any]) -> bool:
    """Whether a training after such changes has the points of the one before."""
    return not {"training.points", "training.resample"} & set(changes)


def arguments_of(changes: Mapping[str, Any]) -> dict[str, str]:
    """{argument of `train`: its source} of those changes that are arguments.

    >>> arguments_of({"training.lr": 1e-3, "weighting": {"name": "ntk", "every": 25}})
    {'lr': '0.001', 'weighting': 'pinntk.weighting.NTK(every=25)'}
    """
    found = {}
    for key, value in changes.items():
        name = key.rpartition(".")[2]
        if value is None or value is False or value == {} or not _is_argument(key, value):
            continue
        if key == "weighting":
            found[name] = weighting_source(value)
        elif key == "network.dtype":
            found[name] = f"torch.{value}"
        elif name in _OBJECTS and isinstance(value, Mapping):
            found[name] = f"{_OBJECTS[name]}({_keywords(value)})"
        else:
            found[name] = source(value)
    return found


def _is_argument(key: str, value: Any) -> bool:
    if key == "weighting":
        return isinstance(value, Mapping) and all(part.get("name") in SCHEMES for part in (value, *value.get("beside", ())))
    return key == "network.dtype" or key.rpartition(".")[0] == "training"


def weighting_source(described: Mapping[str, Any]) -> str:
    options = {name: value for name, value in described.items() if name not in ("name", "beside")}
    first = f"pinntk.weighting.{SCHEMES[described['name']].__name__}({_keywords(options)})"
    beside = [weighting_source(scheme) for scheme in described.get("beside", ())]
    return f"[{', '.join([first, *beside])}]" if beside else first


def _keywords(options: Mapping[str, Any]) -> str:
    if all(name.isidentifier() for name in options):
        return ", ".join(f"{name}={source(value)}" for name, value in options.items())
    return f"**{source(dict(options))}"  # a condition of several, such as pde[0]


def source(value: Any) -> str:
    """With double quotes where nothing in it has quotes of its own."""
    written = repr(value)
    return written if '"' in written or "\\" in written else written.replace("'", '"')
