"""The programs of docs/INTEGRATIONS.md about PINA, in their order, with three steps in the place of thousands."""

import re
from pathlib import Path

import pytest

pytest.importorskip("pina")
from pina.model import FeedForward

from tests.integrations.pina.cases import QUIET, poisson

ROOT = Path(__file__).parents[3]
pytestmark = QUIET


def test_the_programs_of_the_document(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    section = (ROOT / "docs" / "INTEGRATIONS.md").read_text().split("\n## PINA\n")[1].split("\n## ")[0]
    blocks = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    problem = poisson()
    problem.discretise_domain(10, "random")
    names = {"problem": problem, "model": FeedForward(2, 1, layers=[8])}
    for block in blocks:
        assert "max_epochs=20_000" in block or "from_solver" in block
        quiet = 'max_epochs=3, accelerator="cpu", logger=False, enable_progress_bar=False, enable_checkpointing=False'
        exec(block.replace("max_epochs=20_000", quiet), names)
    assert len(blocks) == 3
    assert names["K"].sizes == (10, 10)
    assert {"report.html", "diagnosis.json"} <= {path.name for path in (tmp_path / "runs" / "mine").iterdir()}
