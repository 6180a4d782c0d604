"""Files that are written whole or not at all, and the user's cache folder."""

from __future__ import annotations

import errno
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from pinntk._util.warn import warn_user


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path in the same folder; renamed to `path` at the end, removed if anything fails.

    Raises OSError, naming the folder, if it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    except OSError as error:
        raise OSError(f"cannot write {path}: {error.strerror}; choose another folder") from error
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise OSError(f"cannot write {path}: {error.strerror}; free some space, and begin or resume again") from error
        raise
    finally:
        temporary.unlink(missing_ok=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def cache_folder() -> Path:
    """$PINNTK_CACHE, else `pinntk` in the user's cache folder ($XDG_CACHE_HOME, ~/Library/Caches, %LOCALAPPDATA%)."""
    if chosen := os.environ.get("PINNTK_CACHE"):
        return Path(chosen)
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "pinntk"
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local")) / "pinntk"
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "pinntk"


def cached(name: str, compute: Callable[[], Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """The arrays of `compute()`, kept as `name`.npz in the cache folder. `name` says everything they depend on.

    A damaged file is computed anew; a folder that cannot be written costs a warning only.
    """
    path = cache_folder() / f"{name}.npz"
    try:
        with np.load(path, allow_pickle=False) as archive:
            return dict(archive)
    except (OSError, ValueError, BadZipFile, EOFError, KeyError):
        arrays: dict[str, Any] = dict(compute())
    try:
        with replacing(path) as temporary, open(temporary, "wb") as file:
            np.savez(file, **arrays)
    except OSError as error:
        warn_user(f"{error} (or set PINNTK_CACHE); {name} is computed anew each time")
    return arrays
