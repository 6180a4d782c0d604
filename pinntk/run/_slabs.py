"""The folder of a training in time slabs: slabs.json, and a run folder for each slab."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import nn

from pinntk._util.files import replacing
from pinntk._util.warn import warn_user
from pinntk.problem import Problem
from pinntk.problem import _registry as registry
from pinntk.problem._slabs import restricted, slab_name
from pinntk.residuals._slabs import slab
from pinntk.run._checkpoint import load_state, read_checkpoint
from pinntk.run._configuration import read_config
from pinntk.run._folder import CHECKPOINT, FIGURES, SLAB, SLABS, SNAPSHOTS, clear_folder, is_foreign
from pinntk.run._network import build_network, network_class
from pinntk.run._source import is_from_file, source_change
from pinntk.run._trust import check_trust

_KINDS: dict[str, type] = {"edges": list, "fresh": bool, "stop_reasons": list}


def read_slabs(folder: Path) -> dict[str, Any]:
    """slabs.json: the sections of a config.json, of the whole problem, and "slabs": edges, fresh, and the stop reasons of the
    slabs that are done. Raises as `read_config` does.
    """
    config = read_config(folder, SLABS)
    found = config.get("slabs")
    for name, kind in _KINDS.items():
        if not isinstance(found, dict) or not isinstance(found.get(name), kind):
            raise ValueError(f"{folder / SLABS} is damaged: slabs.{name} is missing; restore it or train anew")
    return config


def write_slabs(folder: Path, config: Mapping[str, Any]) -> None:
    with replacing(folder / SLABS) as temporary:
        temporary.write_text(json.dumps(config, indent=2, default=str) + "\n")


def holds_slabs(folder: Path) -> bool:
    """Whether slabs have been trained, or begun, in a folder."""
    return (folder / SLABS).exists() or any((path / CHECKPOINT).exists() for path in slab_folders(folder))


def slab_folders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("slab_*") if SLAB.fullmatch(path.name) and path.is_dir())


def slab_after(folder: Path, problem: Problem) -> Path | None:
    """The folder of the slab that begins as the one in `folder` ends; None where there is none."""
    folder, number = folder.resolve(), problem.slab.get("number")
    if number is None or folder.name != slab_name(number) or not (folder.parent / SLABS).exists():
        return None
    after = folder.with_name(slab_name(number + 1))
    return after if (after / CHECKPOINT).exists() else None


def clear_slabs(folder: Path) -> None:
    """Removes what trainings in time slabs wrote, and nothing else. Raises FileExistsError for a run of something else."""
    for path in slab_folders(folder):
        if is_foreign(path):
            raise FileExistsError(f"{path} is not of a run of pinntk; name another folder")
    for path in slab_folders(folder):
        clear_folder(path)
        for part in (path / SNAPSHOTS, path / FIGURES, path):
            with suppress(OSError):  # it holds something else
                part.rmdir()
    (folder / SLABS).unlink(missing_ok=True)


def problem_examined(described: Mapping[str, Any], folder: Path, given: Problem | None, trust: bool) -> Problem:
    """The given problem, or else the one that a folder names. Warns where its file has changed since it was trained."""
    if given is None and not is_from_file(described):
        raise ValueError(
            f"{folder}: its problem {described['name']!r} was built in Python and is in no file; give it: "
            "problem=problem, as in Run.load(folder, network, problem=problem)"
        )
    problem = problem_named(described, folder, trust) if given is None else given
    if change := source_change(described, problem):
        warn_user(f"{folder}: {change} since it was trained; what is examined now is not quite what was trained")
    return problem


def problem_named(described: Mapping[str, Any], folder: Path | str, trust: bool = False) -> Problem:
    """The problem that section "problem" of a config.json names, built afresh; of a slab, with what the network of the slab
    before leaves.

    folder: of the run; the slab before is looked for beside it, and then where it was trained

    Raises ValueError where that network has changed since, or cannot be built by pinntk; FileNotFoundError where it is gone;
    as `check_trust` does for a file of somebody else's.
    """
    check_trust(described, folder, trust)
    problem = registry.load(described["source"], **described.get("parameters", {}))
    record = described.get("slab")
    if record is None:
        return problem
    try:
        number, edges, known = int(record["number"]), [float(edge) for edge in record["edges"]], record["sha256"]
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{folder}: the configuration's problem.slab is damaged ({record!r}); restore it") from error
    if number == 0:
        return slab(problem, 0, edges)
    before = _folder_before(record, Path(folder))
    found = slab(problem, number, edges, _network_in(before, restricted(problem, number - 1, edges)))
    if found.slab["sha256"] != known:
        raise ValueError(
            f"{folder} begins as the network in {before} ended, and that one has changed since; restore it, or train the slabs "
            "anew"
        )
    return replace(found, slab={**found.slab, "previous": str(before)})


def _folder_before(record: Mapping[str, Any], folder: Path) -> Path:
    if record.get("previous") is None:
        raise ValueError(
            f"{folder} begins with a network that was given in Python, and no folder; load it with Run.load(folder, "
            "problem=pinntk.slab(...)), or train slabs with pinntk.train_slabs"
        )
    beside, trained = folder.parent / slab_name(int(record["number"]) - 1), Path(record["previous"])
    for path in (beside, trained):
        if (path / CHECKPOINT).exists():
            return path
    raise FileNotFoundError(f"{folder} begins as the run in {trained} ended, and that is gone; put it back, or beside {folder}")


def _network_in(folder: Path, problem: Problem) -> nn.Module:
    config = read_config(folder)
    if network_class(config) is None:
        raise ValueError(
            f"the slab begins with the network in {folder}, {config['network']['class']}, which pinntk cannot build; load all "
            f"slabs with pinntk.load_slabs({str(folder.parent)!r}, network)"
        )
    network = build_network(config, problem)
    load_state(read_checkpoint(folder), network, problem, folder)
    return network
