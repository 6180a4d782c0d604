"""Whose code a run folder makes pinntk run.

A run folder names the file of its problem, and whoever opens the folder runs that file. So a folder that came from somebody
else could run anything. pinntk keeps a list of the problem files that this user has run: by path, and by the SHA-256 of what
they said. It lies outside of run folders, where a folder that was sent cannot write ($PINNTK_STATE, else `pinntk` in the user's
folder for program state). A file on the list, by either, is run; any other is refused until the user says `trust`.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

from pinntk._util.files import replacing
from pinntk._util.warn import warn_user
from pinntk.problem._registry import is_loaded, source_path


class UntrustedFileError(ValueError):
    """A run folder names a problem file that this user has not run before."""


def check_trust(described: Mapping[str, Any], folder: Path | str, trust: bool = False) -> None:
    """Before the problem file that a config.json names is run. Built-in problems are pinntk's own.

    described: section "problem"; folder: where it was found; trust: run it, and remember that it may be run

    Raises UntrustedFileError for a file that this user has neither run nor trusted on this machine.
    """
    path = source_path(described["source"], builtin=False)
    if path is None:
        return
    known = _read()
    if trust:
        remember(path)
    elif not (is_loaded(path) or str(path) in known["paths"] or _digest(path) in known["sha256"]):
        raise UntrustedFileError(
            f"{folder} would run {path}, which you have not run on this machine before. Read that file first; then add "
            "--trust, or in Python trust=True"
        )


def remember(path: Path) -> None:
    """Puts a problem file on the list of those that this user has run."""
    known, entry = _read(), {"paths": str(path), "sha256": _digest(path)}
    if all(value in known[kind] for kind, value in entry.items()):
        return
    for kind, value in entry.items():
        known[kind] = sorted({*known[kind], value})
    try:
        with replacing(state_folder() / "trusted.json") as temporary:
            temporary.write_text(json.dumps(known, indent=2) + "\n")
    except OSError as error:
        warn_user(f"{error} (or set PINNTK_STATE); runs of {path.name} will need --trust")


def state_folder() -> Path:
    """$PINNTK_STATE, else `pinntk` in the user's folder for program state ($XDG_STATE_HOME, ~/Library/Application Support,
    %LOCALAPPDATA%)."""
    if chosen := os.environ.get("PINNTK_STATE"):
        return Path(chosen)
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support" / "pinntk"
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local")) / "pinntk"
    return Path(os.environ.get("XDG_STATE_HOME", Path.home() / ".local" / "state")) / "pinntk"


def _digest(path: Path) -> str:
    return sha256(path.read_bytes()).hexdigest()


def _read() -> dict[str, list[str]]:
    try:
        found = json.loads((state_folder() / "trusted.json").read_text())
        return {kind: [str(value) for value in found[kind]] for kind in ("paths", "sha256")}
    except (OSError, ValueError, KeyError, TypeError):  # none yet, or damaged: nothing is trusted
        return {"paths": [], "sha256": []}
