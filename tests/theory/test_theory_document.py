"""docs/THEORY.md names, for every formula, functions and tests that exist."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
TEXT = (TESTS.parents[1] / "docs" / "THEORY.md").read_text(encoding="utf-8")
FORMULAS = re.findall(r"```math\n(.*?)\n\\qquad \((\d+)\)\n```\n\n(Computed by .*?)(?=\n\n)", TEXT, re.DOTALL)
NAMED = re.findall(r"`(test_theory\w*)\.py::(test_\w+)`", TEXT)


def test_formulas_are_numbered():
    assert [int(number) for _, number, _ in FORMULAS] == list(range(1, TEXT.count("```math") + 1))


@pytest.mark.parametrize(("number", "below"), [(number, below) for _, number, below in FORMULAS])
def test_a_formula_names_what_computes_it_and_its_test(number, below):
    """Public names that can be imported, and a test of these files."""
    names = re.findall(r"`(pinntk[\w.]+)`", below)
    assert names
    for name in names:
        found, *parts = name.split(".")
        thing = importlib.import_module(found)
        for part in parts:
            assert not part.startswith("_")
            if not hasattr(thing, part):
                importlib.import_module(f"{thing.__name__}.{part}")
            thing = getattr(thing, part)
        assert callable(thing) or isinstance(thing, property)
    assert re.search(r"\(test:\s`test_theory\w*\.py::test_\w+`\)\.$", below)


@pytest.mark.parametrize("name", ["test_theory", "test_theory_width", "test_theory_weights"])
def test_the_document_and_the_tests_name_each_other(name):
    defined = set(re.findall(r"^def (test_\w+)", (TESTS / f"{name}.py").read_text(encoding="utf-8"), re.MULTILINE))
    assert {test for file, test in NAMED if file == name} == defined


def test_mathematics_in_lines_survives_markdown():
    """Markdown comes first: an underscore after a brace would start italics, a backslash before punctuation would go."""
    text = re.sub(r"```.*?```", "", TEXT, flags=re.DOTALL)
    assert text.count("$") % 2 == 0
    for formula in re.findall(r"\$(.*?)\$", text, re.DOTALL):
        assert not re.search(r"[^0-9A-Za-z]_|\*|\\[^A-Za-z]|^\s|\s$|\n", formula), formula
