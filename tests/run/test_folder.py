"""Run folders: who may train in one, what is removed, and what a damaged one says."""

import errno
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import pinntk
from pinntk.cli import main
from pinntk.reporting import plot
from pinntk.run._checkpoint import read_checkpoint
from pinntk.run._folder import FIGURE_NAMES, lock_folder
from tests.support.sweeps import sweep

pytestmark = pytest.mark.filterwarnings("ignore:.*its kernel is zero")
SMALL = {"points": {"boundary": 4, "residual": 8}, "progress": False}


def train(out, steps=4, problem=None, **settings):
    problem = pinntk.load("poisson1d") if problem is None else problem
    network = pinntk.nn.MLP(problem, width=4, depth=1)
    return pinntk.train(problem, network, steps=steps, out=out, **{**SMALL, "snapshot_every": 2, **settings})


def listed(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


# What belongs to a run.


def test_a_configuration_says_what_wrote_it(tmp_path):
    config = json.loads((train(tmp_path / "run").folder / "config.json").read_text())
    assert config["format"] == 1
    assert config["versions"] == {"pinntk": pinntk.__version__, "torch": torch.__version__}
    assert "def problem(" in config["problem"]["text"] and len(config["problem"]["sha256"]) == 64


def test_overwriting_removes_what_pinntk_wrote_and_nothing_else(tmp_path, capsys):
    folder = tmp_path / "run"
    plot.save(train(folder))
    assert main(["diagnose", str(folder)]) == 0
    own = ("kernel/notes.npz", "kernel/1.npz", "figures/mine.png", "notes.txt", "solution.png")
    for name in own:
        (folder / name).write_bytes(b"mine")
    train(folder, overwrite=True, snapshot_every=0)
    assert listed(folder) == sorted([*own, "checkpoint.pt", "config.json", "metrics.csv"])
    assert all((folder / name).read_bytes() == b"mine" for name in own)
    capsys.readouterr()


def test_a_folder_without_a_run_keeps_what_is_in_it(tmp_path):
    own = ("report.html", "comparison.html", "diagnosis.json", "figures/losses.png", "kernel/00000007.npz")
    for name in own:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"mine")
    train(tmp_path, snapshot_every=0)
    assert all((tmp_path / name).read_bytes() == b"mine" for name in own)


def test_every_figure_is_known_to_be_pinntks(tmp_path):
    problem = pinntk.load("wave2d")
    network = pinntk.nn.MLP(problem, width=3, depth=1)
    moving = pinntk.train(problem, network, steps=1, points={"residual": 4, "boundary": 4, "initial": 4}, progress=False)
    written = {path.name for run in (train(tmp_path / "run"), moving) for path in plot.save(run, tmp_path / "figures")}
    assert written == set(FIGURE_NAMES)


def test_snapshots_of_a_run_that_died_are_not_the_next_ones(tmp_path):
    folder = tmp_path / "run"
    run = train(folder, steps=6)
    (folder / "checkpoint.pt").unlink()  # as one that was killed before its first checkpoint
    again = train(folder, steps=3, snapshot_every=3)
    assert list(again.snapshots) == [0, 3] and set(pinntk.Run.load(folder).snapshots) == {0, 3}
    assert list(run.snapshots) == [0, 2, 4, 6]


def test_snapshots_later_than_the_checkpoint_are_not_counted(tmp_path):
    folder = tmp_path / "run"
    train(folder, steps=4)
    (folder / "kernel" / "00000009.npz").write_bytes((folder / "kernel" / "00000002.npz").read_bytes())
    assert set(pinntk.Run.load(folder).snapshots) == {0, 2, 4}


def test_one_bad_snapshot_costs_a_warning(tmp_path):
    folder = tmp_path / "run"
    train(folder)
    path = folder / "kernel" / "00000002.npz"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 255
    for damaged in (b"", bytes(content), content[:100]):
        path.write_bytes(damaged)
        with pytest.warns(UserWarning, match=r"snapshot .*00000002\.npz is left out"):
            assert set(pinntk.Run.load(folder).snapshots) == {0, 4}
    with pytest.warns(UserWarning, match="is left out"):
        assert train(folder, steps=6, resume=True).step == 6


# Damage.


@pytest.mark.parametrize("text", ["{}", "[]", "3", '{"problem": {}, "network": {}, "training": 3}', "{", "\x00"])
def test_a_configuration_that_is_none(tmp_path, text, capsys):
    folder = tmp_path / "run"
    train(folder)
    (folder / "config.json").write_text(text)
    for command in ("diagnose", "plot", "rescue"):
        assert main([command, str(folder)]) == 2
        error = capsys.readouterr().err
        assert "config.json" in error and ("is not of a run of pinntk" in error or "is damaged" in error)
        assert len(error.splitlines()) == 1


def test_a_configuration_of_another_format(tmp_path):
    folder = tmp_path / "run"
    train(folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "format": 9}))
    with pytest.raises(ValueError, match=r"has format 9, and this pinntk reads 1; use the version that wrote it"):
        pinntk.Run.load(folder)


@pytest.mark.parametrize("place", sweep((0, 1, 40, 0.25, 0.5, 0.75, -200, -100, -64, -1), 0, 0.5, -64))
def test_flipped_bits_are_seen(tmp_path, place):
    folder = tmp_path / "run"
    train(folder)
    content = bytearray((folder / "checkpoint.pt").read_bytes())
    content[int(place * len(content)) if isinstance(place, float) else place] ^= 0b100
    (folder / "checkpoint.pt").write_bytes(content)
    with pytest.raises(ValueError, match=r"checkpoint\.pt cannot be read as a checkpoint .*restore it from a copy"):
        pinntk.Run.load(folder)


@pytest.mark.parametrize("kept", [0, 10, 0.5, -1, -100])
def test_a_checkpoint_that_was_cut_off(tmp_path, kept):
    folder = tmp_path / "run"
    train(folder)
    content = (folder / "checkpoint.pt").read_bytes()
    (folder / "checkpoint.pt").write_bytes(content[: int(kept * len(content)) if isinstance(kept, float) else kept])
    with pytest.raises(ValueError, match=r"cannot be read as a checkpoint \(its end is missing or damaged\)"):
        pinntk.Run.load(folder)


def test_torch_itself_reads_a_checkpoint(tmp_path):
    folder = tmp_path / "run"
    train(folder)
    assert torch.load(folder / "checkpoint.pt", weights_only=True)["step"] == read_checkpoint(folder)["step"] == 4


def test_a_full_disk_is_named_and_leaves_the_last_checkpoint(tmp_path, monkeypatch):
    folder = tmp_path / "run"
    train(folder, steps=2)
    before = (folder / "checkpoint.pt").read_bytes()
    write = Path.write_bytes

    def full(path, content):
        write(path, content[:100])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match=r"cannot write .*checkpoint\.pt: No space left on device; free some space"):
        train(folder, steps=4, resume=True)
    monkeypatch.undo()
    assert (folder / "checkpoint.pt").read_bytes() == before
    assert [name for name in listed(folder) if name.startswith(".")] == []
    assert train(folder, steps=4, resume=True).step == 4


# Two processes.

HOLDER = """
import sys, time
from pathlib import Path
from pinntk.run._folder import lock_folder
with lock_folder(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.mark.slow
def test_a_second_process_is_refused_until_the_first_has_ended_or_crashed(tmp_path, capsys):
    folder = tmp_path / "run"
    train(folder)
    before = {name: (folder / name).read_bytes() for name in listed(folder)}
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, str(folder)], stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout.readline() == "held\n"
        for settings in ({"resume": True, "steps": 6}, {"overwrite": True}):
            with pytest.raises(pinntk.BusyFolderError, match="is in use: another process trains in it"):
                train(folder, **settings)
        assert main(["train", "--resume", str(folder), "--steps", "6"]) == 2
        assert "is in use" in capsys.readouterr().err
        assert {name: (folder / name).read_bytes() for name in before} == before
        assert pinntk.Run.load(folder).step == 4  # reading is free
    finally:
        holder.send_signal(signal.SIGKILL)
        holder.wait()
    assert train(folder, steps=6, resume=True).step == 6
    assert ".lock" not in listed(folder)


KILLED = """
import os, signal, sys
import pinntk
from pinntk.weighting import NTK

class Deadly(NTK):
    def __init__(self, call):
        super().__init__(every=2)
        self.calls, self.last = 0, call

    def update(self, weights, traces, counts):
        if self.calls == self.last:
            os.kill(os.getpid(), signal.SIGKILL)
        self.calls += 1
        return super().update(weights, traces, counts)

problem = pinntk.load("poisson1d")
settings = dict(points={"boundary": 4, "residual": 8}, checkpoint_every=4, snapshot_every=1, progress=False)
for folder, call in zip(sys.argv[1::2], map(int, sys.argv[2::2])):
    child = os.fork()  # a process of its own, without the seconds of the imports
    if not child:
        network = pinntk.nn.MLP(problem, width=4, depth=1)
        pinntk.train(problem, network, steps=12, out=folder, weighting=Deadly(call), **settings)
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.slow
def test_a_killed_training_goes_on_as_if_it_had_not_been(tmp_path):
    """kill -9 after step 6: the checkpoint is of step 4. And after step 2: it is of the start."""
    settings = {"steps": 12, "checkpoint_every": 4, "snapshot_every": 1, "weighting": pinntk.weighting.NTK(every=2)}
    killed = [str(tmp_path / "late"), "3", str(tmp_path / "early"), "1"]
    ended = subprocess.run([sys.executable, "-c", KILLED, *killed], stdout=subprocess.PIPE, text=True, check=True)
    assert ended.stdout.split() == [str(-signal.SIGKILL)] * 2
    for folder in (tmp_path / "late", tmp_path / "early"):
        assert ".lock" in listed(folder) and "kernel/00000002.npz" in listed(folder)
    whole = train(tmp_path / "whole", **settings)
    for folder in (tmp_path / "late", tmp_path / "early"):
        again = train(folder, resume=True, **settings)
        assert [row["step"] for row in again.history] == [row["step"] for row in whole.history]
        assert all(torch.equal(p, q) for p, q in zip(again.network.parameters(), whole.network.parameters(), strict=True))
    assert list(train(tmp_path / "early", steps=1, overwrite=True).snapshots) == [0, 1]
    assert listed(tmp_path / "early" / "kernel") == ["00000000.npz", "00000001.npz"]


def test_the_same_process_is_refused_too(tmp_path):
    with lock_folder(tmp_path), pytest.raises(pinntk.BusyFolderError):
        train(tmp_path)
    assert train(tmp_path).step == 4


def test_without_locks_it_goes_on(tmp_path, monkeypatch):
    def unsupported(handle):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr("pinntk.run._folder._lock", unsupported)
    with pytest.warns(UserWarning, match="cannot be locked"):
        assert train(tmp_path / "run").step == 4


def test_a_folder_that_is_not_there_is_not_made(tmp_path):
    with pytest.raises(FileNotFoundError, match="holds no run"):
        train(tmp_path / "nowhere", resume=True)
    assert not (tmp_path / "nowhere").exists()


def test_a_file_of_numbers_that_are_no_snapshot(tmp_path):
    folder = tmp_path / "run"
    train(folder)
    np.savez(folder / "kernel" / "notes.npz", a=np.zeros(3))
    assert set(pinntk.Run.load(folder).snapshots) == {0, 2, 4}
