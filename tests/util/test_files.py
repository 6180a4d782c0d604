import numpy as np
import pytest

from pinntk._util.files import cached, replacing


def test_a_failure_leaves_the_old_file_and_no_litter(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(RuntimeError), replacing(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.txt"]
    with replacing(path) as temporary:
        temporary.write_text("new")
    assert path.read_text() == "new"
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.txt"]


def test_cache_computes_once_and_survives_damage(tmp_path, monkeypatch):
    monkeypatch.setenv("PINNTK_CACHE", str(tmp_path))
    calls = []

    def compute():
        calls.append(1)
        return {"x": np.arange(3.0)}

    for _ in range(2):
        assert cached("thing", compute)["x"].tolist() == [0, 1, 2]
    assert len(calls) == 1
    (tmp_path / "thing.npz").write_bytes(b"damaged")
    assert cached("thing", compute)["x"].tolist() == [0, 1, 2]
    assert len(calls) == 2


def test_a_cache_that_cannot_be_written_costs_a_warning(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("PINNTK_CACHE", str(tmp_path / "file" / "below"))
    with pytest.warns(UserWarning, match="PINNTK_CACHE"):
        assert cached("thing", lambda: {"x": np.ones(1)})["x"] == 1
