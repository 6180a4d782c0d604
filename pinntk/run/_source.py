"""The file that a run's problem came from: a copy of it, and whether it says something else today."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from hashlib import sha256
from itertools import zip_longest
from typing import Any

from pinntk.problem import Problem
from pinntk.problem._registry import source_path


def describe_problem(problem: Problem) -> dict[str, Any]:
    """Section "problem" of config.json. A problem that was built in Python has no file, and no copy of it."""
    described = {
        "name": problem.name,
        "source": problem.source or problem.name,
        "parameters": dict(problem.parameters),
    }
    path = source_path(problem.source)
    if path is None:
        return described
    text = path.read_text(encoding="utf-8")
    return {**described, "sha256": sha256(text.encode()).hexdigest(), "text": text}


def source_change(described: Mapping[str, Any]) -> str:
    """What has changed in a problem's file since config.json copied it; "" for comments and layout, or where it has none."""
    path = source_path(described["source"])
    if path is None or "text" not in described:
        return ""
    now = path.read_text(encoding="utf-8")
    if _meaning(now) == _meaning(described["text"]):
        return ""
    lines = zip_longest(described["text"].splitlines(), now.splitlines(), fillvalue="")
    number, then, new = next((number, then, new) for number, (then, new) in enumerate(lines, 1) if then.strip() != new.strip())
    return f"{path} has changed in line {number} ({then.strip()!r} then, {new.strip()!r} now)"


def _meaning(text: str) -> str:
    """The program without comments, layout and docstrings."""
    try:
        tree = ast.parse(text)
    except SyntaxError:
        return text
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.FunctionDef, ast.ClassDef)) and ast.get_docstring(node) is not None:
            node.body = node.body[1:]
    return ast.dump(tree)
