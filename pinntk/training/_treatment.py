"""Which change a rescue makes next: of the prescriptions of all findings, those that go together."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from pinntk.diagnostics import Finding, Prescription
from pinntk.diagnostics._prescriptions import SOLVER_STEPS
from pinntk.solvers import is_solver
from pinntk.training._changes import apply_changes
from pinntk.training._config import TrainConfig

Config = Mapping[str, Any]
_SECTIONS = ("network", "training", "weighting", "slabs")
_COSTLY = ("network.arguments.width", "network.arguments.depth", "training.points")  # to a solver, which adds points itself


def prescriptions(findings: Sequence[Finding]) -> list[Prescription]:
    """Those that change a configuration, in order: their places, from 1, are their numbers."""
    return [prescription for finding in findings for prescription in finding.prescriptions if prescription.changes]


def next_treatment(
    findings: Sequence[Finding], config: Config, tried: Sequence[Config], left: int | None = None
) -> Prescription | None:
    """The first prescription that gives a configuration which has not been tried, with no more steps (of a solver 100); and
    with it the first one of every finding, as far as it touches no setting of those before. None if there is none.

    left: so many treatments will be tried, this one among them; the last ones are by a solver and in time slabs, where these
        are prescribed and were not tried before
    """
    known = [entry for entry in prescriptions(findings) if applies(entry, config) and _affordable(entry, config)]
    resorts = [kind for kind in (_by_solver, _in_slabs) if not any(map(kind, tried))]
    resorts = [kind for kind in resorts if any(kind(apply_changes(config, entry.changes)) for entry in known)]
    if left is not None and left <= len(resorts):
        known.sort(key=lambda entry: not resorts[0](apply_changes(config, entry.changes)))  # else in their order
    worse = [finding for finding in findings if finding.severity != "note"]
    firsts = [own[0] for finding in worse if (own := [one for one in prescriptions([finding]) if applies(one, config)])]
    seen = {_settings(one) for one in tried}
    for entry in known:
        for treatment in (together([entry, *firsts], config), entry):
            if _settings(apply_changes(config, treatment.changes)) not in seen:
                return treatment
    return None


def _by_solver(config: Config) -> bool:
    return is_solver(config["training"]["optimizer"]) and not _in_slabs(config)


def _in_slabs(config: Config) -> bool:
    return bool(config.get("slabs"))


def together(entries: Sequence[Prescription], config: Config) -> Prescription:
    """The first prescription, and those of the others that touch no setting which has been changed before."""
    chosen, changes = [entries[0]], dict(entries[0].changes)
    for entry in entries[1:]:
        merged = {**changes, **entry.changes}
        if any(changes.get(key, value) != value for key, value in entry.changes.items()):
            continue
        news = merged != changes and _settings(apply_changes(config, entry.changes)) != _settings(config)
        if news and _affordable(entry, config) and _go_together(changes, entry.changes, config):
            chosen.append(entry)
            changes = merged
    return Prescription("; and ".join(entry.sentence for entry in chosen), changes)


def _go_together(before: Mapping[str, Any], more: Mapping[str, Any], config: Config) -> bool:
    """Whether two changes, each in full, can be made at once."""
    one, other = (_leaves(apply_changes(config, changes)) for changes in (before, more))
    now = _leaves(config)
    if any(one[key] != other[key] for key in _changed(now, one) & _changed(now, other) if key in one and key in other):
        return False
    both = apply_changes(config, {**before, **more})
    if is_solver(both["training"]["optimizer"]) and any(key in more or key in before for key in _COSTLY):
        return False
    found = _leaves(both)
    wanted = {key: one.get(key) for key in _changed(now, one)} | {key: other.get(key) for key in _changed(now, other)}
    if any(found.get(key) != value for key, value in wanted.items()):
        return False
    try:
        TrainConfig.from_json({**both, "training": {**both["training"], "points": {}}})
    except (TypeError, ValueError):
        return False
    return True


def applies(entry: Prescription, config: Config) -> bool:
    """Whether the configuration has what it changes: that of a network of the user's own has no arguments."""
    try:
        apply_changes(config, entry.changes)
    except ValueError:
        return False
    return True


def _affordable(entry: Prescription, config: Config) -> bool:
    new = apply_changes(config, entry.changes)["training"]
    return bool(new["steps"] <= max(config["training"]["steps"], SOLVER_STEPS if is_solver(new["optimizer"]) else 0))


def _changed(before: Mapping[str, Any], after: Mapping[str, Any]) -> set[str]:
    return {key for key in {*before, *after} if before.get(key) != after.get(key)}


def _leaves(config: Config) -> dict[str, Any]:
    """{key with dots: value} of the settings."""
    found: dict[str, Any] = {}

    def collect(prefix: str, value: Any) -> None:
        if isinstance(value, Mapping) and value:
            for name, part in value.items():
                collect(f"{prefix}.{name}", part)
        else:
            found[prefix] = value

    for section in _SECTIONS:
        collect(section, config.get(section))
    return found


def _settings(config: Config) -> str:
    return json.dumps([config.get(section) for section in _SECTIONS], default=str, sort_keys=True)
