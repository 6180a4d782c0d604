"""The file that a run's problem came from: a copy of it, and whether it says something else today."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from hashlib import sha256
from importlib.util import decode_source
from itertools import zip_longest
from pathlib import Path
from typing import Any

from pinntk.problem import Problem
from pinntk.problem._registry import available, executed_source, source_path


def describe_problem(problem: Problem) -> dict[str, Any]:
    """Section "problem" of config.json: the file's SHA-256, and a copy of it. A problem built in Python has no file."""
    described = {
        "name": problem.name,
        "source": problem.source or problem.name,
        "parameters": dict(problem.parameters),
        **({"slab": dict(problem.slab)} if problem.slab else {}),
    }
    content = _content(problem)
    if content is None:
        return described
    return {**described, "sha256": sha256(content).hexdigest(), "text": decode_source(content)}


def is_from_file(described: Mapping[str, Any]) -> bool:
    """Whether section "problem" names a file, one of pinntk's own or of the user's, that builds the problem."""
    source = described["source"]
    return "text" in described or source in available() or source.endswith(".py")


def source_change(described: Mapping[str, Any], problem: Problem) -> str:
    """How the file of `problem` differs from the one that config.json copied; "" for comments and layout, or without a file."""
    content = _content(problem)
    if content is None or "text" not in described or sha256(content).hexdigest() == described.get("sha256"):
        return ""
    then, now = described["text"], decode_source(content)
    if _meaning(then) == _meaning(now):
        return ""
    pairs = list(enumerate(zip_longest(then.splitlines(), now.splitlines(), fillvalue=""), 1))
    differing = [(number, a, b) for number, (a, b) in pairs if a.rstrip() != b.rstrip()]
    number, a, b = next((pair for pair in differing if pair[1].strip() != pair[2].strip()), differing[0])
    return f"{source_path(problem.source)} has changed in line {number} ({a.strip()!r} then, {b.strip()!r} now)"


def _content(problem: Problem) -> bytes | None:
    """What was run to build the problem; None for one that was built in Python."""
    try:
        path = source_path(problem.source)
    except FileNotFoundError:
        path = Path(problem.source)
    return None if path is None else executed_source(path)


def _meaning(text: str) -> str:
    """The program without comments, layout and docstrings."""
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return text
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.FunctionDef, ast.ClassDef)) and ast.get_docstring(node) is not None:
            node.body = node.body[1:]
    return ast.dump(tree)
