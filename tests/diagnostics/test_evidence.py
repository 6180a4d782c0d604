"""The keys of evidence: each that a rule writes is in the table, and none is there for nothing."""

import ast
import json
import re
from pathlib import Path

import pytest

from pinntk import diagnostics
from pinntk.diagnostics import EVIDENCE, Finding
from pinntk.diagnostics._evidence import label

SOURCES = sorted(Path(diagnostics.__file__).parent.glob("_rules_*.py"))


def key(node: ast.expr) -> str:
    """A literal key; of an f-string, as in f"rate/{name}", what stands before the name."""
    return ast.literal_eval(node.values[0] if isinstance(node, ast.JoinedStr) else node)


def written() -> set[str]:
    """What the rules write: keys of dictionaries called evidence, or given as such."""
    found = set()
    for node in (node for path in SOURCES for node in ast.walk(ast.parse(path.read_text()))):
        if isinstance(node, ast.keyword) and node.arg == "evidence":
            value = node.value
        elif isinstance(node, ast.Assign) and "evidence" in ast.unparse(node.targets[0]):
            value = node.value
            if isinstance(node.targets[0], ast.Subscript):
                found.add(key(node.targets[0].slice))
        else:
            continue
        for part in ast.walk(value):
            if isinstance(part, ast.Dict):
                found |= {key(entry) for entry in part.keys}
            elif isinstance(part, ast.DictComp):
                found.add(key(part.key))
    return found


def test_the_table_has_every_key_and_no_other():
    assert written() == set(EVIDENCE)


def test_keys_are_for_machines_and_labels_for_people():
    assert all(re.fullmatch(r"[a-z][a-z0-9_]*/?", name) for name in EVIDENCE)
    assert len(set(EVIDENCE.values())) >= len(EVIDENCE) - 1
    assert label("exact_error/walls") == "change that mends the known solution's error, over that solution, walls"


def test_the_document_has_every_key():
    text = (Path(__file__).parents[2] / "docs" / "DIAGNOSIS.md").read_text()
    assert [name for name in EVIDENCE if f"`{name}{'NAME' if name.endswith('/') else ''}`" not in text] == []


def test_a_finding_takes_keywords_only():
    with pytest.raises(TypeError):
        Finding("any", "note", "Any.")
    found = Finding(code="any", severity="note", sentence="Any.", evidence={"step_ratio": 2})
    assert json.loads(json.dumps(found.as_json()))["evidence"] == {"step_ratio": 2.0}
