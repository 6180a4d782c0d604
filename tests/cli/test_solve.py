"""`pinntk solve`, and solvers in `pinntk train`."""

import json
from pathlib import Path

import pytest

from tests.cli.commands import run


def test_solve_then_resume(tmp_path, capsys):
    folder = tmp_path / "run"
    options = ["--width", 8, "--depth", 2, "--points", "residual=40", "--steps", 3, "-o", folder]
    status, out, _ = run(capsys, "solve", "poisson1d", *options)
    assert status == 0
    assert "relative L2 error" in out
    status, out, _ = run(capsys, "solve", "--resume", folder, "--steps", 5)
    assert status == 0
    assert "after 5 steps" in out
    status, _, err = run(capsys, "solve", "poisson1d", *options)
    assert status == 2
    assert "already holds a run" in err
    status, out, _ = run(capsys, "solve", "poisson1d", *options, "--overwrite", "--seconds", 1e-9)
    assert status == 0
    assert "stopped: the time is up" in out


@pytest.mark.slow
def test_solve_goes_on_with_a_wider_network(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    options = ["--width", 6, "--depth", 2, "--points", "residual=40", "--steps", 3, "-o", "run"]
    assert run(capsys, "solve", "poisson1d", *options)[0] == 0
    before = {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir() if path.is_file()}
    grow = ["solve", "--resume", "run", "--grow-network"]
    status, out, err = run(capsys, *grow, 9, "--steps", 5)
    assert status == 0
    assert "run-width9 goes on with 118 parameters in place of 61" in err
    assert "after 5 steps" in out
    assert json.loads(Path("run-width9/config.json").read_text())["network"]["arguments"]["width"] == 9
    assert {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir() if path.is_file()} == before
    status, out, _ = run(capsys, "solve", "--resume", "run-width9", "--steps", 7)
    assert status == 0
    assert "after 7 steps" in out
    status, out, _ = run(capsys, *grow, 9, "--steps", 5, "--grow", 30, "-o", "other", "--quiet")
    assert (status, out) == (0, "")
    assert json.loads(Path("other/config.json").read_text())["training"]["grow"] == 30
    assert run(capsys, "diagnose", "other")[0] == 0
    for wrong, message in (
        ([*grow, 9, "--steps", 5], "run-width9 already holds a run"),
        ([*grow, 12], "run has taken 3 steps of 3; give --steps above that to go on"),
        ([*grow, 12, "--steps", 5, "--seconds", 1e-9], "seconds of 1e-09; give --seconds above that to go on"),
        ([*grow, 6, "--steps", 5], "width=6: the hidden layers have 6 units already; give more"),
        ([*grow, 12, "--steps", 5, "--width", 30], "leave --width out"),
        (["solve", "--resume", "run", "-o", "third", "--steps", 5], "leave --out out"),
        (["solve", "poisson1d", "--grow-network", 9], "--grow-network 9 goes on with a run: give its folder with --resume"),
    ):
        status, _, err = run(capsys, *wrong)
        assert status == 2
        assert message in err
    assert {path.name for path in tmp_path.iterdir()} == {"run", "run-width9", "other"}


def test_train_with_a_solver_needs_no_other_option(tmp_path, capsys):
    command = ["train", "poisson1d", "--optimizer", "gauss-newton", "--width", 6, "--depth", 1, "--dtype", "float64"]
    status, _, err = run(capsys, *command, "--steps", 2, "-o", tmp_path / "a")
    assert status == 0, err
    status, _, err = run(capsys, *command, "--lr", 0.1, "-o", tmp_path / "b")
    assert status == 2
    assert "lr=0.1 does not apply" in err
