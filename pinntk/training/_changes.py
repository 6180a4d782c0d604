"""Changes of a config.json by key, as findings prescribe them: `{"training.lr": 1e-3}`."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from copy import deepcopy
from difflib import get_close_matches
from typing import Any

from pinntk.run._network import network_class, network_options
from pinntk.training._config import GIVEN, NESTED, SETTINGS, defaults_of_another
from pinntk.weighting import SCHEMES


def apply_changes(config: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of config.json with new values in some keys, `Prescription.changes`, dots between levels.

    Another `training.optimizer` takes its own defaults for what belongs to an optimizer (a solver, or the end of one, also for
    resample, sampling, adaptive and compile), where the changes do not name them.

    Raises ValueError, naming the key and the nearest known one, for a key that a configuration does not have.

    >>> apply_changes({"training": {}, "weighting": {"name": "ntk"}}, {"weighting.every": 50})["weighting"]
    {'name': 'ntk', 'every': 50}
    """
    new = deepcopy(dict(config))
    if "training.optimizer" in changes:
        new["training"] |= defaults_of_another(config["training"].get("optimizer", "adam"), changes["training.optimizer"])
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
        close = [entry for entry in known if entry.rpartition(".")[2] == last] or get_close_matches(key, known, 1, cutoff=0)
        raise ValueError(f"change {key!r}: a configuration has no such key; the nearest is {close[0]!r}")


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
