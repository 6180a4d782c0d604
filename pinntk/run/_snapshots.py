"""Kernel snapshots in a run folder."""

from __future__ import annotations

from pathlib import Path

from pinntk._util.warn import warn_user
from pinntk.ntk import KernelBlocks
from pinntk.run._folder import SNAPSHOT, SNAPSHOTS


def write_snapshot(folder: Path, step: int, blocks: KernelBlocks) -> None:
    blocks.save(folder / SNAPSHOTS / f"{step:08d}.npz")


def remove_snapshots(folder: Path, first: int) -> None:
    """Those of step `first` and later ones."""
    for path in (folder / SNAPSHOTS).glob("*.npz"):
        name = SNAPSHOT.fullmatch(path.name)
        if name is not None and int(name[1]) >= first:
            path.unlink()


def read_snapshots(folder: Path, last: int) -> dict[int, KernelBlocks]:
    """Those up to step `last`; later ones are of a training that went further than its checkpoint. A damaged one costs a
    warning.
    """
    found = {}
    for path in sorted((folder / SNAPSHOTS).glob("*.npz")):
        name = SNAPSHOT.fullmatch(path.name)
        if name is None or int(name[1]) > last:
            continue
        try:
            found[int(name[1])] = KernelBlocks.load(path)
        except Exception as error:  # whatever a damaged archive makes numpy and zipfile raise
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            warn_user(f"the snapshot {path} is left out: {reason}")
    return found
