"""Finds problems: the built-in ones by name, a user's own by path. Both are files that define `problem(**parameters)`."""

from __future__ import annotations

import ast
import inspect
import os
import re
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import wraps
from hashlib import sha256
from pathlib import Path
from threading import RLock
from types import ModuleType
from typing import Any

import numpy as np

from pinntk._util.likeness import did_you_mean
from pinntk.problem._grid_solution import GridSolution
from pinntk.problem._problem import Problem

_HERE = Path(__file__).resolve().parents[1]  # pinntk/
# Installed, the problems are pinntk/problems; in a checkout or an editable install they lie beside pinntk/.
_FOLDERS = (_HERE / "problems", _HERE.parent / "problems")


def _folder() -> Path:
    for folder in _FOLDERS:
        if folder.is_dir():
            return folder
    raise FileNotFoundError(
        f"the built-in problems are missing: looked in {' and '.join(map(str, _FOLDERS))}; reinstall pinntk"
    )


def available() -> list[str]:
    """Names of the built-in problems, sorted."""
    return sorted(path.stem for path in _folder().glob("*.py") if not path.stem.startswith("_"))


def load(name_or_path: str | os.PathLike, **parameters: Any) -> Problem:
    """The problem of that name, or the one that a `.py` file defines, built afresh.

    Relative paths that a file of your own opens, as of measured data, are those beside it, from whatever folder it is loaded:
    while its `problem` runs, and its `reference`, the process works in that folder. Loads in several threads take turns; what
    other threads open meanwhile by relative paths is looked for there too.

    Raises ValueError for an unknown name or parameter, a file without `problem`, or one whose `problem` returns
    something else; FileNotFoundError for a path that does not exist.

    >>> problem = load("convection", beta=10)
    >>> problem.names, problem.parameters
    (('convection', 'start', 'wrap'), {'beta': 10})
    """
    with _moving:
        factory, path = _factory(name_or_path)
    name = path.stem
    known = inspect.signature(factory).parameters
    for key in parameters:
        if key not in known:
            raise ValueError(f"{name} has no parameter {key!r}; it has {_list(known)}{did_you_mean(key, known)}")
    parameters = {key: value.item() if isinstance(value, np.generic) else value for key, value in parameters.items()}
    for key, value in parameters.items():
        if isinstance(known[key].default, (int, float)) and isinstance(value, str):
            raise ValueError(f"{name}: {key}={value!r} is a text; give a number, as in {key}={known[key].default!r}")
    if unset := [key for key, p in known.items() if p.default is p.empty and key not in parameters]:
        raise ValueError(f"{name} needs a value for {unset[0]!r}: load(..., {unset[0]}=...), or --set {unset[0]}=...")
    with _blaming(path), _beside(path):
        found = factory(**parameters)
    if not isinstance(found, Problem):
        raise ValueError(f"{name}: problem() returned {type(found).__name__}; it must return pinntk.Problem(...)")
    defaults = {key: p.default for key, p in known.items() if p.default is not p.empty}
    source = name if path.parent == _folder() else str(path)
    reference = found.reference
    if reference is not None and source != name:
        reference = _called_beside(path, reference)
    return replace(found, name=name, parameters={**defaults, **parameters}, source=source, reference=reference)


def source_path(source: str, *, builtin: bool = True) -> Path | None:
    """The file that a problem's `source` names, the only one that `load` would run; None for a problem built in Python.

    builtin: whether those of pinntk's own count

    Raises FileNotFoundError for a file that is gone.
    """
    if source in available():
        return _folder() / f"{source}.py" if builtin else None
    if not source.endswith(".py"):
        return None
    path = Path(source).expanduser().resolve()
    if not path.is_file():
        raise FileNotFoundError(f"the problem's file {path} is gone; put it back, or give the problem in Python")
    return path


def executed_source(path: Path) -> bytes | None:
    """What the file said when this process last ran it; None where it has not."""
    module = sys.modules.get(_key(path))
    return None if module is None else module.__dict__["_pinntk_source"]


def place_in_own_file(error: BaseException) -> tuple[Path, int] | None:
    """The line of a user's problem file from which an exception came; None where it came through none."""
    place = None
    for frame, line in traceback.walk_tb(error.__traceback__):
        path = Path(frame.f_code.co_filename)
        if frame.f_globals.get("__name__", "").startswith(_MODULES) and path.parent != _folder():
            place = path, line
    return place


_MODULES = "pinntk_problem_"  # their names in sys.modules begin so


def _key(path: Path) -> str:
    return f"{_MODULES}{path.stem}_{sha256(str(path).encode()).hexdigest()[:12]}"


def describe(name_or_path: str | os.PathLike) -> tuple[str, dict[str, Any]]:
    """The first line of a problem's docstring, and its parameters with their defaults."""
    factory, _ = _factory(name_or_path)
    parameters = {key: p.default for key, p in inspect.signature(factory).parameters.items()}
    return (docstring(name_or_path).splitlines() or [""])[0], parameters


def docstring(name_or_path: str | os.PathLike) -> str:
    """What a problem's file says of it, or its function problem(); "" where neither says anything."""
    factory, _ = _factory(name_or_path)
    return inspect.getdoc(sys.modules[factory.__module__]) or inspect.getdoc(factory) or ""


def parse_parameters(name_or_path: str | os.PathLike, settings: Mapping[str, str]) -> dict[str, Any]:
    """Parameter values from text, as in `--set k=4`: Python literals, or plain text where that is what the default is."""
    _, defaults = describe(name_or_path)
    values = {}
    for key, text in settings.items():
        try:
            value = ast.literal_eval(text)
        except (ValueError, SyntaxError):
            value = text
        default = defaults.get(key)
        if isinstance(default, float) and isinstance(value, int):
            value = float(value)
        if isinstance(value, str) and Path(value).suffix and Path(value).is_file():
            value = str(Path(value).resolve())  # a file that was named from here, and not from beside the problem's
        if isinstance(default, (int, float)) and not isinstance(value, (int, float)):
            raise ValueError(f"--set {key}={text}: expected a number, such as {key}={default}")
        values[key] = value
    return values


def _factory(name_or_path: str | os.PathLike) -> tuple[Callable[..., Problem], Path]:
    text = os.fspath(name_or_path)
    if text in available():
        path = _folder() / f"{text}.py"
    elif text.endswith(".py"):
        path = Path(text).expanduser().resolve()
        if not path.is_file():
            hint = (
                did_you_mean(path.name, [beside.name for beside in path.parent.glob("*.py")]) or "; give the path of a .py file"
            )
            raise FileNotFoundError(f"{text}: no such file{hint}" + ("" if hint.endswith("?") else " that defines problem()"))
    elif Path(text).name != text:
        raise ValueError(f"{text} is not a .py file; give the path of one that defines problem()")
    else:
        hint = did_you_mean(text, [*available(), *(beside.name for beside in Path().glob("*.py"))]) or ";"
        raise ValueError(
            f"problem {text!r} is unknown{hint} `pinntk problems` lists all; of your own, give the path of its .py file"
        )
    if executed_source(path) != path.read_bytes() and not _may_define_problem(path):
        raise _without_problem(path)  # a script, which is not run for nothing
    factory = getattr(_module(path), "problem", None)
    if not callable(factory):
        raise _without_problem(path)
    return factory, path


def _without_problem(path: Path) -> ValueError:
    return ValueError(
        f"{path.name} defines no function problem(), which returns a pinntk.Problem; a PINN that is written otherwise is "
        "given in Python: pinntk.wrap, docs/INTEGRATIONS.md"
    )


def _may_define_problem(path: Path) -> bool:
    """Whether anything in the file binds the name `problem` alone, or may bind any name at all. Its syntax is not judged here.

    `network, problem, points = pinntk.wrap(...)` makes a problem and no function that does.
    """
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return True
    unpacked = {id(name) for node in ast.walk(tree) if isinstance(node, ast.Tuple) for name in node.elts}
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            bound = isinstance(node.ctx, ast.Store) and node.id == "problem" and id(node) not in unpacked
            if bound or node.id in _BINDING_ANYTHING:
                return True
        elif isinstance(node, ast.alias):
            if "problem" in (node.asname, node.name) or node.name == "*":
                return True
        elif getattr(node, "name", None) == "problem":
            return True
    return False


_BINDING_ANYTHING = ("exec", "globals", "locals", "vars", "setattr", "__getattr__")


def _module(path: Path) -> ModuleType:
    """The module at an absolute path; run again when the file has changed, and never confused with a namesake.

    What the file says is compiled here: Python's import would take bytecode that lies beside it, whatever the file says.
    """
    key, source = _key(path), path.read_bytes()
    if executed_source(path) == source:
        return sys.modules[key]
    module = ModuleType(key)
    module.__file__ = str(path)
    module.__dict__["_pinntk_source"] = source
    before = sys.modules.get(key)
    sys.modules[key] = module
    try:
        with _blaming(path), _beside(path):
            exec(compile(source, str(path), "exec", dont_inherit=True), module.__dict__)
    except BaseException:
        del sys.modules[key]
        if before is not None:
            sys.modules[key] = before
        raise
    return module


@contextmanager
def _blaming(path: Path) -> Iterator[None]:
    """Turns an exception of a problem file's own into a ValueError that names file and line."""
    try:
        yield
    except SyntaxError as error:
        raise ValueError(f"{path.name}, line {error.lineno}: {error.msg}: {(error.text or '').strip()}") from error
    except Exception as error:
        lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
        place = f", line {lines[-1]}" if lines else ""
        kind = "" if isinstance(error, ValueError) else f"{type(error).__name__}: "
        where = f"; relative paths are looked for in {path.parent}" if isinstance(error, FileNotFoundError) else ""
        said = re.sub(r" \([^()]*\)$", "", str(error)) if isinstance(error, ImportError) else str(error)  # where torch lies
        raise ValueError(f"{path.name}{place}: {kind}{said.rstrip('.')}{where}") from error


_moving = RLock()  # the working directory is that of all threads


@contextmanager
def _beside(path: Path) -> Iterator[None]:
    """A problem's own relative paths are those beside its file, from whatever folder it is loaded."""
    with _moving:
        before = Path.cwd()
        os.chdir(path.parent)
        try:
            yield
        finally:
            os.chdir(before)


def _called_beside(path: Path, reference: Callable[..., GridSolution]) -> Callable[..., GridSolution]:
    """A reference is read when it is first needed, and not when the problem is built."""

    @wraps(reference)
    def called(*args: Any, **kwargs: Any) -> GridSolution:
        with _beside(path):
            return reference(*args, **kwargs)

    return called


def _list(parameters: Mapping[str, inspect.Parameter]) -> str:
    if not parameters:
        return "none"
    return ", ".join(key if p.default is p.empty else f"{key} = {p.default!r}" for key, p in parameters.items())
