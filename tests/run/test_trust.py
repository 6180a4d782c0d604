"""Problem files: whose are run, and what a changed one says."""

import json
import shutil
from concurrent.futures import ThreadPoolExecutor

import pytest

import pinntk
from pinntk.cli import main
from pinntk.run._trust import _note, remember_trained
from tests.support.sweeps import sweep

FILE = '''"""Poisson's equation of mine."""

from pinntk import Box, Problem, boundary, residual


def problem(k: int = 1):
    domain = Box(x=(0, 1))

    @residual(domain)
    def equation(u_xx):
        return u_xx + k  # the source

    @boundary(domain.ends("x"))
    def ends(u):
        return u

    return Problem(domain, [equation, ends])
'''
SMALL = ["--width", "4", "--depth", "1", "--points", "residual=8", "--snapshot-every", "0", "--quiet"]
COMMANDS = {
    "diagnose": lambda run: ["diagnose", run],
    "plot": lambda run: ["plot", run],
    "rescue": lambda run: ["rescue", run, "-o", run + "-rescued", "--seconds", "1"],
    "resume": lambda run: ["train", "--resume", run, "--steps", "6"],
    "kernel": lambda run: ["kernel", "--run", run],
    "config": lambda run: ["train", "--config", run + "/config.json", "-o", run + "-again", "--quiet"],
}


@pytest.fixture
def state(tmp_path, monkeypatch):
    """A user who has run nothing yet."""
    monkeypatch.setenv("PINNTK_STATE", str(tmp_path / "state"))
    return tmp_path / "state"


@pytest.fixture
def made(tmp_path, state):
    """A run folder of this user's, and its problem file."""
    file, run = tmp_path / "mine.py", tmp_path / "run"
    file.write_text(FILE)
    assert main(["train", str(file), "--steps", "4", *SMALL, "-o", str(run)]) == 0
    return file, run


def sent(tmp_path, run, text=FILE):
    """The same folder as it comes from somebody else: its file inside it, its config.json naming that."""
    other = tmp_path / "sent"
    shutil.copytree(run, other)
    (other / "mine.py").write_text(text)
    config = json.loads((other / "config.json").read_text())
    config["problem"]["source"] = str(other / "mine.py")
    (other / "config.json").write_text(json.dumps(config))
    return other


EVIL = FILE.replace("def problem", "open(__file__ + '.was-run', 'w').close()\n\n\ndef problem")


@pytest.mark.parametrize("command", sweep(COMMANDS, "diagnose", "resume", "config"))
def test_ones_own_folder_needs_nothing_and_says_what_is_run(made, capsys, command):
    file, run = made
    assert main(COMMANDS[command](str(run))) == 0
    assert f"the problem is {file}" in capsys.readouterr().err


@pytest.mark.parametrize("command", COMMANDS)
def test_somebody_elses_code_is_not_run(tmp_path, made, capsys, command):
    other = sent(tmp_path, made[1], EVIL)
    mark = other / "mine.py.was-run"
    assert main(COMMANDS[command](str(other))) == 2
    error = capsys.readouterr().err
    assert "which you have not run on this machine before. Read that file first" in error and "--trust" in error
    assert not mark.exists()
    with pytest.raises(pinntk.UntrustedFileError):
        pinntk.Run.load(other)
    assert not mark.exists()
    assert main([*COMMANDS[command](str(other)), "--trust"]) in (0, 2)  # resume: it has changed
    assert mark.exists()
    assert pinntk.Run.load(other).step >= 4  # trusted from now on


def test_a_file_that_python_has_loaded_is_ones_own(tmp_path, made, state):
    file, run = made
    shutil.rmtree(state)
    problem = pinntk.load(file)
    assert pinntk.Run.load(run).problem.names == problem.names


def test_a_damaged_note_trusts_nothing(tmp_path, made, state):
    other = sent(tmp_path, made[1], EVIL)
    assert main(["diagnose", str(made[1]), "--trust"]) == 0
    (note,) = (state / "problem_files").iterdir()
    theirs = _note((other / "mine.py").resolve())
    for text in ("", "{}", "[]", "3", note.read_text(), '{"path": 3, "kind": "trained"}'):
        theirs.write_text(text)
        with pytest.raises(pinntk.UntrustedFileError):
            pinntk.Run.load(other)


def test_trainings_that_begin_together_are_all_remembered(tmp_path, state):
    files = [tmp_path / f"mine{number}.py" for number in range(24)]
    for file in files:
        file.write_text(FILE)
        pinntk.load(file)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(remember_trained, map(str, files)))
    assert sorted(json.loads(note.read_text())["path"] for note in (state / "problem_files").iterdir()) == sorted(
        map(str, files)
    )


def test_a_list_that_cannot_be_written_costs_a_warning(tmp_path, state, capsys):
    state.write_text("a file, not a folder")
    (tmp_path / "mine.py").write_text(FILE)
    assert main(["train", str(tmp_path / "mine.py"), "--steps", "2", *SMALL, "-o", str(tmp_path / "run")]) == 0
    assert "will need --trust" in capsys.readouterr().err


# A changed equation.


def test_a_changed_equation_is_refused_on_resume_and_warned_of_else(made, capsys):
    file, run = made
    file.write_text(FILE.replace("u_xx + k", "u_xx - k"))
    assert main(["train", "--resume", str(run), "--steps", "6"]) == 2
    error = capsys.readouterr().err
    assert "has changed in line 11 ('return u_xx + k  # the source' then, 'return u_xx - k  # the source' now)" in error
    assert "put it back (config.json holds a copy), or train anew in another folder" in error
    assert main(["diagnose", str(run)]) == 0
    assert "has changed in line 11" in capsys.readouterr().err
    file.write_text(FILE)
    assert main(["train", "--resume", str(run), "--steps", "6", "--quiet"]) == 0


def test_comments_and_layout_are_no_change(made, capsys):
    file, run = made
    file.write_text(
        "# A remark.\n" + FILE.replace("  # the source", "").replace('"""Poisson\'s equation of mine."""', '"""Mine."""')
    )
    assert main(["train", "--resume", str(run), "--steps", "6", "--quiet"]) == 0
    assert "changed" not in capsys.readouterr().err


def test_a_file_that_is_gone(made, capsys):
    file, run = made
    file.unlink()
    assert main(["diagnose", str(run)]) == 2
    assert f"the problem's file {file} is gone" in capsys.readouterr().err


def test_a_problem_built_in_python_has_no_copy(tmp_path):
    loaded = pinntk.load("poisson1d")
    problem = pinntk.Problem(loaded.domain, loaded.conditions, name="mine")
    network = pinntk.nn.MLP(problem, width=4, depth=1)
    run = pinntk.train(problem, network, steps=2, progress=False, out=tmp_path / "run")
    assert "text" not in run.config["problem"]
    network = pinntk.nn.MLP(problem, width=4, depth=1)
    assert pinntk.train(problem, network, steps=3, progress=False, out=tmp_path / "run", resume=True).step == 3
