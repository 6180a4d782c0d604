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

CONFIG, METRICS, CHECKPOINT, SNAPSHOTS, FIGURES = "config.json", "metrics.csv", "checkpoint.pt", "kernel", "figures"
REPORT, COMPARISON, DIAGNOSIS = "report.html", "comparison.html", "diagnosis.json"  # what `pinntk diagnose` adds
FIGURE_NAMES = ("solution", "losses", "spectra", "drift")
LOCK = ".lock"
SNAPSHOT = re.compile(r"(\d{8,})\.npz")  # by step


class BusyFolderError(OSError):
    """Another process trains in this run folder."""


def is_foreign(folder: Path) -> bool:
    """Whether the folder's config.json is somebody else's."""
    try:
        return not {"problem", "network", "training"} <= set(json.loads((folder / CONFIG).read_text()))
    except (FileNotFoundError, NotADirectoryError):
        return False
    except (OSError, ValueError, TypeError):
        return True


def clear_folder(folder: Path) -> None:
    """Removes what a run and its diagnosis wrote, and nothing else."""
    own = [folder / name for name in (CONFIG, METRICS, CHECKPOINT, REPORT, COMPARISON, DIAGNOSIS)]
    own += [folder / FIGURES / f"{name}.png" for name in FIGURE_NAMES]
    own += [path for path in folder.glob(f"{SNAPSHOTS}/*.npz") if SNAPSHOT.fullmatch(path.name)]
    for path in own:
        path.unlink(missing_ok=True)


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
        raise OSError(f"cannot write {path.parent}: {error.strerror}; choose another folder") from error


def _lock(handle: int) -> None:
    if sys.platform == "win32":
        msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
    else:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
