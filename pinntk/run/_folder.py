"""A run folder: the files in it, who made them, and the lock that keeps a second training out."""

from __future__ import annotations

import csv
import json
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pinntk._util.files import replacing
from pinntk._util.warn import warn_user

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

SLABS, SLAB = "slabs.json", re.compile(r"slab_\d{2,}")  # of a training in time slabs, and the run folders in it
CURRICULUM, STAGE = "curriculum.json", re.compile(r"stage_\d{2,}")  # of one in the stages of a curriculum
ENSEMBLE, MEMBER = "ensemble.json", re.compile(r"member_\d{2,}")  # of one from several seeds
CONFIG, METRICS, CHECKPOINT, SNAPSHOTS, FIGURES = "config.json", "metrics.csv", "checkpoint.pt", "kernel", "figures"
REPORT, COMPARISON, DIAGNOSIS = "report.html", "comparison.html", "diagnosis.json"  # what `pinntk diagnose` adds
ANIMATION = "solution.gif"
FIGURE_NAMES = ("solution.png", "losses.png", "spectra.png", "drift.png", ANIMATION)
LOCK = ".lock"
CHECKSUM_MARK, CHECKSUM_DIGITS = b"\npinntk sha256 ", 64  # end a checkpoint; torch.load reads over them
SNAPSHOT = re.compile(r"(\d{8,})\.npz")  # by step


class BusyFolderError(OSError):
    """Another process trains in this run folder."""


def is_foreign(folder: Path) -> bool:
    """Whether the folder holds a config.json or a checkpoint.pt, and neither is one of pinntk's."""
    config, checkpoint = folder / CONFIG, folder / CHECKPOINT
    if not config.exists() and not checkpoint.exists():
        return False
    return not _is_own_config(config) and not _is_own_checkpoint(checkpoint)


def _is_own_config(path: Path) -> bool:
    try:
        return {"format", "problem", "network", "training", "weighting"} <= set(json.loads(path.read_text()))
    except (OSError, ValueError, TypeError, RecursionError):
        return False


def _is_own_checkpoint(path: Path) -> bool:
    """By the mark before its checksum."""
    try:
        with open(path, "rb") as file:
            file.seek(-len(CHECKSUM_MARK) - CHECKSUM_DIGITS, os.SEEK_END)
            return file.read(len(CHECKSUM_MARK)) == CHECKSUM_MARK
    except OSError:  # none, or too short
        return False


def clear_folder(folder: Path) -> None:
    """Removes what a run and its diagnosis wrote, and nothing else; also what a killed process had begun to write."""
    named = [folder / name for name in (CONFIG, METRICS, CHECKPOINT, REPORT, COMPARISON, DIAGNOSIS)]
    named += [folder / FIGURES / name for name in FIGURE_NAMES]
    snapshots = [path for path in folder.glob(f"{SNAPSHOTS}/*.npz") if SNAPSHOT.fullmatch(path.name)]
    begun = [path for final in named for path in final.parent.glob(f".{final.name}.????????")]
    begun += [path for path in folder.glob(f"{SNAPSHOTS}/.*.npz.????????") if SNAPSHOT.fullmatch(path.stem[1:])]
    for path in (*named, *snapshots, *begun):
        if path.is_file() or path.is_symlink():
            path.unlink()


def write_metrics(folder: Path, history: list[dict[str, float]]) -> None:
    columns = list(dict.fromkeys(key for row in history for key in row))
    with replacing(folder / METRICS) as temporary, open(temporary, "w", newline="") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(history)


@contextmanager
def lock_folder(folder: Path) -> Iterator[None]:
    """Keeps every other process from training in the folder. The operating system holds the lock, and lets go of it when the
    process ends, however it ends.

    Raises BusyFolderError where another holds it. Warns where the file system knows no locks, and goes on without.
    """
    handle = _acquire(folder)
    try:
        yield
    finally:
        if handle is not None:
            with suppress(OSError):  # Windows keeps open files
                (folder / LOCK).unlink(missing_ok=True)  # while it is still held: nobody else can have it
            os.close(handle)


def _acquire(folder: Path) -> int | None:
    path = folder / LOCK
    while True:
        handle = _open(path)
        try:
            _lock(handle)
        except (BlockingIOError, PermissionError):
            os.close(handle)
            raise BusyFolderError(
                f"{folder} is in use: another process trains in it; wait for its end, or name another folder"
            ) from None
        except OSError as error:
            os.close(handle)
            warn_user(f"{folder} cannot be locked ({error.strerror}): see that no second process trains in it")
            return None
        try:
            if os.path.samestat(os.fstat(handle), os.stat(path)):
                return handle
        except FileNotFoundError:  # its last holder removed it after we had opened it
            pass
        os.close(handle)


def _open(path: Path) -> int:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        why = "it is a file" if path.parent.is_file() else error.strerror
        raise OSError(f"cannot write {path.parent}: {why}; choose another folder") from error


def _lock(handle: int) -> None:
    if sys.platform == "win32":
        msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
    else:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
