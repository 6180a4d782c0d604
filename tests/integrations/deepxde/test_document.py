"""The programs of docs/INTEGRATIONS.md about DeepXDE, in their order, with three steps in the place of thousands."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[3]


def test_the_programs_of_the_document(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    section = (ROOT / "docs" / "INTEGRATIONS.md").read_text().split("\n## DeepXDE\n")[1].split("\n## ")[0]
    blocks = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    names = {}
    for block in blocks:
        exec(block.replace("iterations=20_000", "iterations=3"), names)
    assert len(blocks) == 2 and "iterations=20_000" in blocks[0]
    assert names["K"].sizes == (102, 2)
    assert {"report.html", "diagnosis.json"} <= {path.name for path in (tmp_path / "runs" / "mine").iterdir()}
    assert "report in" in capsys.readouterr().out
