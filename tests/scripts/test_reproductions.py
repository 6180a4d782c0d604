"""Every reproduction runs with --quick, and writes a figure and its numbers."""

import importlib
import json
from pathlib import Path

import _reproduction as reproduction
import pytest

from tests.support.sweeps import sweep


def test_all_reproductions_are_list():
    folder = Path(reproduction.__file__).parent
    using = {path.stem for path in folder.glob("*.py") if "reproduction.parser(" in path.read_text()}
    assert using == set(reproduction.SCRIPTS)


def test_all_reproductions_are_documented():
    page = (Path(reproduction.__file__).parent.parent / "docs" / "REPRODUCTIONS.md").read_text()
    assert [name for name in reproduction.SCRIPTS if f"{name}.py" not in page] == []


@pytest.mark.pixels
@pytest.mark.parametrize("name", sweep(reproduction.SCRIPTS, "poisson_weights", "multiscale_features"))
def test_a_reproduction_runs(name, tmp_path, capsys):
    result = importlib.import_module(name).main(["--quick", "-o", str(tmp_path)])
    assert result["checks"]
    assert json.loads((tmp_path / "result.json").read_text()) == json.loads(json.dumps(result))
    assert (tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    if name == "poisson_weights":
        assert 60 <= result["trace_ratio"][0] <= 215
    printed = capsys.readouterr().out
    assert max(map(len, printed.splitlines())) <= max(80, len(str(tmp_path)) + 60)
    assert printed.count("verdict") == len(result["checks"])


def test_a_verdict_is_one_of_three():
    with pytest.raises(ValueError, match="one of"):
        reproduction.Check("claim", "1", "2", "fine", "none")
