"""Whose code a run folder makes pinntk run.

A run folder names the file of its problem, and whoever opens the folder runs that file. So a folder that came from somebody
else could run anything. pinntk keeps a list of the problem files that this user has trained (by path: they may be edited) and
of those that the user has trusted (by path and SHA-256: where something else lies there, it is asked for again). The list lies
outside of run folders, where a folder that was sent cannot write ($PINNTK_STATE, else `pinntk` in the user's folder for program
state). A file on the list is run; any other is refused until the user says `trust`. The same text in another place is another
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

_LIST = "trusted.json"
_Known = dict[str, dict[str, str]]  # {"trained": {path: SHA-256}, "trusted": {path: SHA-256}}


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
        _write({**known, "trusted": {**known["trusted"], str(path): _digest(path)}}, path)
    elif not (
        executed_source(path) == path.read_bytes()
        or str(path) in known["trained"]
        or known["trusted"].get(str(path)) == _digest(path)
    ):
        raise UntrustedFileError(
            f"{folder} would run {path}, which you have not run on this machine before. Read that file first; then add "
            "--trust, or in Python trust=True"
        )


def remember_trained(source: str) -> None:
    """Puts the file that a problem came from on the list of those that this user has trained, unless it is one of somebody
    else's, trusted.
    """
    try:
        path = source_path(source, builtin=False)
    except FileNotFoundError:  # removed since it was run: nothing will run it
        return
    known = _read()
    if path is not None and str(path) not in known["trained"] and str(path) not in known["trusted"]:
        _write({**known, "trained": {**known["trained"], str(path): _digest(path)}}, path)


def _write(known: _Known, path: Path) -> None:
    try:
        with replacing(state_folder() / _LIST) as temporary:
            temporary.write_text(json.dumps(known, indent=2) + "\n")
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


def _digest(path: Path) -> str:
    return sha256(path.read_bytes()).hexdigest()


def _read() -> _Known:
    try:
        found = json.loads((state_folder() / _LIST).read_text())
        return {kind: {str(path): str(digest) for path, digest in found[kind].items()} for kind in ("trained", "trusted")}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):  # none yet, or damaged: nothing is trusted
        return {"trained": {}, "trusted": {}}
