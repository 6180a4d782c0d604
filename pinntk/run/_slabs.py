"""The folder of a training as a series of runs: slabs.json, curriculum.json or ensemble.json, and a run folder for each time
slab, stage or member.
"""

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
from pinntk.run._folder import (
    CHECKPOINT,
    CURRICULUM,
    ENSEMBLE,
    FIGURES,
    MEMBER,
    SLAB,
    SLABS,
    SNAPSHOTS,
    STAGE,
    clear_folder,
    is_foreign,
)
from pinntk.run._network import build_network, network_class
from pinntk.run._source import is_from_file, source_change
from pinntk.run._trust import check_trust

_FILES = {"slabs": SLABS, "curriculum": CURRICULUM, "ensemble": ENSEMBLE}  # by the section that says what the series is
_NAMES = {"slabs": "slab", "curriculum": "stage", "ensemble": "member"}  # of its run folders
_KINDS: dict[str, dict[str, type]] = {
    "slabs": {"edges": list, "fresh": bool, "stop_reasons": list},
    "curriculum": {"values": dict, "stop_reasons": list},
    "ensemble": {"seeds": list, "stop_reasons": list},
}


def read_slabs(folder: Path) -> dict[str, Any]:
    """slabs.json: the sections of a config.json, of the whole problem, and "slabs": edges, fresh, and the stop reasons of the
    slabs that are done. Raises as `read_config` does.
    """
    return read_series(folder, "slabs")


def read_series(folder: Path, section: str) -> dict[str, Any]:
    """Of section "slabs" slabs.json, of "curriculum" curriculum.json, whose problem is that of the last stage, of "ensemble"
    ensemble.json.
    """
    config = read_config(folder, _FILES[section])
    found = config.get(section)
    for name, kind in _KINDS[section].items():
        if not isinstance(found, dict) or not isinstance(found.get(name), kind):
            raise ValueError(f"{folder / _FILES[section]} is damaged: {section}.{name} is missing; restore it or train anew")
    return config


def write_series(folder: Path, config: Mapping[str, Any]) -> None:
    section = next(name for name in _FILES if name in config)
    with replacing(folder / _FILES[section]) as temporary:
        temporary.write_text(json.dumps(config, indent=2, default=str) + "\n")


def holds_series(folder: Path) -> bool:
    """Whether a series has been trained, or begun, in a folder."""
    return any((folder / name).exists() for name in _FILES.values()) or any(
        (path / CHECKPOINT).exists() for path in series_folders(folder)
    )


def series_folders(folder: Path) -> list[Path]:
    kinds = (SLAB, STAGE, MEMBER)
    return sorted(path for path in folder.glob("*_*") if any(kind.fullmatch(path.name) for kind in kinds) and path.is_dir())


def run_name(section: str, number: int) -> str:
    """Of a run folder in the series of that section."""
    return f"{_NAMES[section]}_{number:02d}"


def section_of(folder: Path) -> str:
    """Which series a folder holds; "" for none."""
    return next((section for section, file in _FILES.items() if (folder / file).is_file()), "")


def length_of(entries: Mapping[str, Any]) -> int:
    """The runs of a whole series, by its section."""
    if "edges" in entries:
        return len(entries["edges"]) - 1
    return len(entries["seeds"] if "seeds" in entries else next(iter(entries["values"].values())))


def stage_after(folder: Path) -> Path | None:
    """The folder of the stage that begins as the one in `folder` ends; None where there is none."""
    folder = folder.resolve()
    if not STAGE.fullmatch(folder.name) or not (folder.parent / CURRICULUM).exists():
        return None
    after = folder.with_name(run_name("curriculum", int(folder.name.partition("_")[2]) + 1))
    return after if (after / CHECKPOINT).exists() else None


def slab_after(folder: Path, problem: Problem) -> Path | None:
    """The folder of the slab that begins as the one in `folder` ends; None where there is none."""
    folder, number = folder.resolve(), problem.slab.get("number")
    if number is None or folder.name != slab_name(number) or not (folder.parent / SLABS).exists():
        return None
    after = folder.with_name(slab_name(number + 1))
    return after if (after / CHECKPOINT).exists() else None


def clear_series(folder: Path) -> None:
    """Removes what series of runs wrote, and nothing else. Raises FileExistsError for what is another's."""
    for path in series_folders(folder):
        if is_foreign(path):
            raise FileExistsError(f"{path} is not of a run of pinntk; name another folder")
    for path in series_folders(folder):
        clear_folder(path)
        for part in (path / SNAPSHOTS, path / FIGURES, path):
            with suppress(OSError):  # it holds something else
                part.rmdir()
    for name in _FILES.values():
        (folder / name).unlink(missing_ok=True)


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
