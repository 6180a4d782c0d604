"""Whose code a run folder makes pinntk run.

A run folder names the file of its problem, and whoever opens the folder runs that file. So a folder that came from somebody
else could run anything. pinntk keeps a note of every problem file that this user has trained (by path: it may be edited) and of
every one that the user has trusted (by path and SHA-256: where something else lies there, it is asked for again). The notes lie
outside of run folders, where a folder that was sent cannot write ($PINNTK_STATE, else `pinntk` in the user's folder for program
state). A file with a note is run; any other is refused until the user says `trust`. The same text in another place is another
file: what it imports or reads beside it may not be the same.
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
from pinntk.problem._registry import executed_source, source_path

_TRAINED, _TRUSTED = "trained", "trusted"


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
    content, note = path.read_bytes(), _read(path)
    known = note.get("kind")
    if trust and known != _TRAINED:
        _write(path, _TRUSTED, content)
    elif not (
        executed_source(path) == content or known == _TRAINED or (known == _TRUSTED and note.get("sha256") == _digest(content))
    ):
        raise UntrustedFileError(
            f"{folder} would run {path}, which you have not run on this machine before. Read that file first; then add "
            "--trust, or in Python trust=True"
        )


def remember_trained(source: str) -> None:
    """Notes that this user has trained the file that a problem came from. What was trusted stays somebody else's."""
    try:
        path = source_path(source, builtin=False)
    except FileNotFoundError:  # removed since it was run: nothing will run it
        return
    if path is None:
        return
    content, known = executed_source(path), _read(path).get("kind")
    if content is not None and known != _TRAINED:
        _write(path, known or _TRAINED, content)


def _write(path: Path, kind: str, content: bytes) -> None:
    try:
        with replacing(_note(path)) as temporary:
            temporary.write_text(json.dumps({"path": str(path), "kind": kind, "sha256": _digest(content)}, indent=2) + "\n")
    except OSError as error:
        warn_user(f"{error} (or set PINNTK_STATE); runs of {path.name} will need --trust")


def state_folder() -> Path:
    """$PINNTK_STATE, else `pinntk` in the user's folder for program state ($XDG_STATE_HOME, ~/Library/Application Support,
    %LOCALAPPDATA%).
    """
    if chosen := os.environ.get("PINNTK_STATE"):
        return Path(chosen)
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support" / "pinntk"
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local")) / "pinntk"
    return Path(os.environ.get("XDG_STATE_HOME", Path.home() / ".local" / "state")) / "pinntk"


def _note(path: Path) -> Path:
    """A file for each: trainings that begin together do not write over each other's."""
    return state_folder() / "problem_files" / f"{_digest(str(path).encode())}.json"


def _digest(content: bytes) -> str:
    return sha256(content).hexdigest()


def _read(path: Path) -> dict[str, str]:
    """Of one problem file: path, kind, sha256; {} where there is no note, or none that can be read."""
    try:
        found = json.loads(_note(path).read_text())
        return found if found["path"] == str(path) and found["kind"] in (_TRAINED, _TRUSTED) else {}
    except (OSError, ValueError, KeyError, TypeError):
        return {}
