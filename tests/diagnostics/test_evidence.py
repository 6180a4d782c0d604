"""The keys of evidence: each that a rule writes is in the table, and none is there for nothing."""

import ast
import json
import re
from pathlib import Path
from types import SimpleNamespace

import pytest

from pinntk import diagnostics
from pinntk.diagnostics import EVIDENCE, Finding
from pinntk.diagnostics._evidence import label
from tests.support.sentences import unexplained_numbers

ROOM = Path(diagnostics.__file__).parent
SOURCES = [*sorted(ROOM.glob("_rules_*.py")), ROOM / "_judgment.py"]


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
    assert len(set(EVIDENCE.values())) == len(EVIDENCE)
    assert label("exact_error/walls") == "change that mends the known solution's error, over that solution, walls"


def test_the_document_has_every_key():
    text = (Path(__file__).parents[2] / "docs" / "DIAGNOSIS.md").read_text()
    rows = {name: f"| `{name}{'NAME' if name.endswith('/') else ''}` | {what}" for name, what in EVIDENCE.items()}
    assert [name for name, row in rows.items() if row not in text] == []


def test_a_label_says_what_kind_of_number_an_error_is():
    """A mean square or a root mean square, relative, a ratio or a share."""
    kinds = ("square", "relative", "over", "share", "correlation", "waves")
    errors = {name: what for name, what in EVIDENCE.items() if re.search(r"\berrors?\b|residual\b", what)}
    assert [name for name, what in errors.items() if not any(kind in what for kind in kinds)] == []
    for name, what in errors.items():
        kind = next((kind for kind in ("true", "estimated") if kind in name.split("_")), None)
        assert kind is None or re.search(rf"\b{kind}\b", what), name


@pytest.mark.parametrize(
    ("sentence", "evidence", "left"),
    [
        ("It is 3.00e9, and 1,230 of 24.9.", {"a": 3e9, "b": 1230.4, "c": 24.89}, []),
        ("97% at t = 0, x = 0.5 of layer 2.weight, 4.2%", {"a": 0.9713, "b": 0.0417}, []),
        ("The mean square is 24.9.", {"root": 4.99}, ["24.9"]),
        ("It falls to 60%.", {"a": 0.61}, ["60%"]),
        ("It is -2, infinite.", {"a": 2.0}, ["-2", "infinite"]),
    ],
)
def test_a_number_that_is_not_in_the_evidence_is_seen(sentence, evidence, left):
    finding = SimpleNamespace(sentence=sentence, evidence=evidence)
    assert unexplained_numbers(finding) == left


def test_a_finding_takes_keywords_only():
    with pytest.raises(TypeError):
        Finding("any", "note", "Any.")
    found = Finding(code="any", severity="note", sentence="Any.", evidence={"step_ratio": 2})
    assert json.loads(json.dumps(found.as_json()))["evidence"] == {"step_ratio": 2.0}
