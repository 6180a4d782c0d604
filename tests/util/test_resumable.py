"""What work depends on, as one number; the file that it goes on from. tests/ntk/test_leading.py cuts real work off."""

import pytest
import torch

from pinntk._util import resumable
from pinntk._util.resumable import Resumable, identity


def test_everything_that_work_depends_on_makes_it_other_work():
    x = torch.arange(6.0)
    same = identity("a", x, 3)
    assert same == identity("a", x.clone(), 3)
    for other in (("b", x, 3), ("a", x + 1, 3), ("a", x.double(), 3), ("a", x.reshape(2, 3), 3), ("a", x, 4)):
        assert identity(*other) != same


def test_a_state_is_kept_when_it_is_due_and_removed_at_the_end(monkeypatch, tmp_path):
    path = tmp_path / "kept"
    work = Resumable(path, ["work"])
    assert (work.state, work.due) == ({}, False)
    monkeypatch.setattr(resumable, "_PAUSE", 0.0)
    assert work.due
    work.save({"M": torch.ones(2), "done": 3})
    again = Resumable(path, ["work"])
    assert again.state["done"] == 3
    assert torch.equal(again.state["M"], torch.ones(2))
    with pytest.raises(ValueError, match="is the checkpoint of other work"):
        Resumable(path, ["play"])
    again.remove()
    assert not list(tmp_path.iterdir())


def test_without_a_path_nothing_is_kept():
    work = Resumable(None, ["work"])
    work.save({"done": 3})
    work.remove()
    assert (work.state, work.due) == ({}, False)
