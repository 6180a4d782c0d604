"""The folder of a training in time slabs: prepared, locked, and continued only by the same problem and settings."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pinntk._util.warn import warn_user
from pinntk.problem import Problem
from pinntk.run._folder import CHECKPOINT, CONFIG, clear_folder, is_foreign, lock_folder
from pinntk.run._slabs import clear_slabs, holds_slabs, read_slabs, write_slabs
from pinntk.run._source import source_change
from pinntk.training._checkpoint import check_same_settings


@contextmanager
def opened(
    folder: Path | None, described: Mapping[str, Any], resume: bool, overwrite: bool, problem: Problem
) -> Iterator[list[str]]:
    """Prepares the folder and holds its lock; the stop reasons of the slabs that are done."""
    if folder is None:
        if resume:
            raise ValueError("resume=True needs out=, the folder of the slabs to continue")
        yield []
        return
    done: list[str] = []
    if resume:
        before = read_slabs(folder)
        done = [str(reason) for reason in before["slabs"]["stop_reasons"]]
        _check_same(folder, before, described, problem)
        if len(done) == len(described["slabs"]["edges"]) - 1:
            _warn_of_changes(folder, before, described)
            described = before
    with lock_folder(folder):
        if not resume:
            _free(folder, overwrite)
        write_slabs(folder, {**described, "slabs": {**described["slabs"], "stop_reasons": done}})
        yield done


def _check_same(folder: Path, before: Mapping[str, Any], described: Mapping[str, Any], problem: Problem) -> None:
    """Raises ValueError for slabs, a problem or settings that a resumed training may not change."""
    for key in ("name", "parameters"):
        then, now = before["problem"][key], described["problem"][key]
        if then != now and str(then) != str(now):
            raise ValueError(f"cannot resume {folder}: its problem has {key} {then!r}, now {now!r}; name another folder")
    if change := source_change(before["problem"], problem):
        raise ValueError(f"cannot resume {folder}: {change}; put it back, or train anew in another folder")
    for key in ("edges", "fresh"):
        then, now = before["slabs"][key], described["slabs"][key]
        if then != now:
            raise ValueError(
                f"cannot resume {folder}: it was trained with {'slabs' if key == 'edges' else key}={then!r}, now {now!r}; give "
                "the same, or name another folder"
            )
    check_same_settings(folder, before, described)


def _warn_of_changes(folder: Path, before: Mapping[str, Any], described: Mapping[str, Any]) -> None:
    """Of settings that come too late: all slabs are done."""
    then, now = before["training"], json.loads(json.dumps(described["training"], default=str))
    if changed := [f"{name}={value}" for name, value in now.items() if name in then and then[name] != value]:
        warn_user(
            f"{folder}: all its slabs are done and stay as they are, so that {', '.join(changed)} changes nothing; train anew "
            "in another folder"
        )


def _free(folder: Path, overwrite: bool) -> None:
    """Raises FileExistsError for a folder that holds runs, and empties it if `overwrite`."""
    if is_foreign(folder):
        raise FileExistsError(f"{folder / CONFIG} is not of a run of pinntk; name another folder")
    if not overwrite and (holds_slabs(folder) or (folder / CHECKPOINT).exists()):
        raise FileExistsError(f"{folder} already holds a run or slabs; resume them, overwrite them, or name another folder")
    if (folder / CONFIG).exists() or (folder / CHECKPOINT).exists():
        clear_folder(folder)
    clear_slabs(folder)
