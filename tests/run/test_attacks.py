"""Run folders made to run code that their reader has not seen, and what is in them by mistake."""

import json
import os
import py_compile
import shutil
import sys
from hashlib import sha256

import pytest
import torch

import pinntk
from pinntk.cli import main
from pinntk.run._checkpoint import read_checkpoint, write_checkpoint
from pinntk.run._folder import is_foreign
from tests.run.test_folder import listed, train
from tests.run.test_trust import COMMANDS, EVIL, FILE, sent
from tests.support.sweeps import pairs

pytestmark = pytest.mark.filterwarnings("ignore:.*its kernel is zero")


@pytest.fixture(autouse=True)
def state(tmp_path, monkeypatch):
    """A user who has run nothing yet."""
    monkeypatch.setenv("PINNTK_STATE", str(tmp_path / "state"))
    return tmp_path / "state"


def forget():
    """As a new process: no problem file has been run."""
    for name in [name for name in sys.modules if name.startswith("pinntk_problem_")]:
        del sys.modules[name]


def own(path, text=FILE):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def rewrite(folder, section, **entries):
    config = json.loads((folder / "config.json").read_text())
    config[section] |= entries
    (folder / "config.json").write_text(json.dumps(config))


# Somebody else's code.


@pytest.mark.parametrize(("command", "suffix"), pairs(COMMANDS, (".pyc", ".so", ".PY", ""), each=1))
def test_what_is_no_python_source_is_never_run(tmp_path, capsys, suffix, command):
    train(tmp_path / "run")
    file, mark = own(tmp_path / "theirs.py", EVIL), tmp_path / f"theirs{suffix}.was-run"
    target = tmp_path / f"theirs{suffix}"
    if suffix == ".pyc":
        py_compile.compile(str(file), cfile=str(target))
    else:
        shutil.copy(file, target)
    rewrite(tmp_path / "run", "problem", source=str(target), parameters={})
    for options in ([], ["--trust"]):
        assert main([*COMMANDS[command](str(tmp_path / "run")), *options]) == 2
        assert "Traceback" not in capsys.readouterr().err
    assert not mark.exists() and not (tmp_path / "theirs.py.was-run").exists()


@pytest.mark.parametrize("source", ["theirs.py", "./theirs.py", "../run/theirs.py"])
def test_a_relative_path_leads_to_no_file_of_theirs(tmp_path, monkeypatch, source):
    train(tmp_path / "run")
    own(tmp_path / "run" / "theirs.py", EVIL)
    rewrite(tmp_path / "run", "problem", source=source, parameters={})
    monkeypatch.chdir(tmp_path / "run")
    with pytest.raises(pinntk.UntrustedFileError):
        pinntk.Run.load(".")
    assert not (tmp_path / "run" / "theirs.py.was-run").exists()


def test_bytecode_beside_a_file_is_not_run_in_its_place(tmp_path):
    """Python's import takes __pycache__ for the file if time and size agree: what was read is not what would run."""
    file = own(tmp_path / "mine.py")
    evil = own(tmp_path / "evil" / "mine.py", EVIL.replace("u_xx + k  # the source", "u_xx + k"))
    padded = file.read_text() + "#" * (evil.stat().st_size - file.stat().st_size)
    file.write_text(padded)
    os.utime(evil, ns=(file.stat().st_atime_ns, file.stat().st_mtime_ns))
    cache = tmp_path / "__pycache__" / f"mine.{sys.implementation.cache_tag}.pyc"
    py_compile.compile(str(evil), cfile=str(cache), dfile=str(file))
    assert pinntk.load(file).names == ("equation", "ends")
    assert not list(tmp_path.rglob("*.was-run"))


def test_trust_is_in_what_was_there(tmp_path, state):
    """Another file in the place of one that was trusted is asked for again; so is the same file in another place."""
    train(tmp_path / "run", problem=pinntk.load(own(tmp_path / "mine.py")))
    folder = sent(tmp_path, tmp_path / "run")
    forget()
    with pytest.raises(pinntk.UntrustedFileError):
        pinntk.Run.load(folder)
    assert pinntk.Run.load(folder, trust=True).step == 4
    forget()
    assert pinntk.Run.load(folder).step == 4
    own(folder / "mine.py", EVIL)
    with pytest.raises(pinntk.UntrustedFileError):
        pinntk.Run.load(folder)
    assert not (folder / "mine.py.was-run").exists()


def test_training_what_was_trusted_does_not_make_it_ones_own(tmp_path):
    train(tmp_path / "run", problem=pinntk.load(own(tmp_path / "mine.py")))
    folder = sent(tmp_path, tmp_path / "run")
    run = pinntk.Run.load(folder, trust=True)
    pinntk.train_as(run.config, out=tmp_path / "again", progress=False)
    forget()
    own(folder / "mine.py", EVIL)
    with pytest.raises(pinntk.UntrustedFileError):
        pinntk.Run.load(folder)


def test_ones_own_file_may_be_edited(tmp_path):
    file = own(tmp_path / "mine.py")
    train(tmp_path / "run", problem=pinntk.load(file))
    forget()
    own(file, FILE.replace("# the source", "# what heats it"))
    assert pinntk.Run.load(tmp_path / "run").step == 4


# What a checkpoint with a right checksum may hold.


class Code:
    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return os.mkdir, (str(self.mark),)


@pytest.mark.parametrize("command", ["diagnose", "resume", "plot"])
@pytest.mark.parametrize("part", ["code", "network", "history", "parts", "missing"])
def test_a_forged_checkpoint_gets_a_plain_message(tmp_path, capsys, part, command):
    folder, mark = train(tmp_path / "run").folder, tmp_path / "made"
    state = read_checkpoint(folder)
    if part == "missing":
        del state["points"]
    else:
        state[part] = Code(mark) if part == "code" else 3
    write_checkpoint(folder, {name: value for name, value in state.items() if name != "format"})
    assert main(COMMANDS[command](str(folder))) == 2
    error = capsys.readouterr().err
    assert "checkpoint.pt cannot be read as a checkpoint" in error and len(error.splitlines()) == 1
    assert not mark.exists()


@pytest.mark.parametrize(
    ("section", "entries", "message"),
    [
        ("problem", {"source": 3}, "problem.source is 3"),
        ("problem", {"parameters": None}, "problem.parameters is None"),
        ("network", {"arguments": {"x": 1}}, "network.arguments do not fit pinntk.nn.MLP"),
        ("network", {"dtype": "save"}, "network.dtype is 'save', not a dtype of torch"),
        ("network", {"class": 3}, "network.class is 3"),
        ("training", {"steps": "4"}, "training.steps is '4'"),
    ],
)
def test_a_wrong_entry_of_a_configuration_is_named(tmp_path, capsys, section, entries, message):
    folder = train(tmp_path / "run").folder
    rewrite(folder, section, **entries)
    for command in ("diagnose", "resume"):
        assert main(COMMANDS[command](str(folder))) == 2
        error = capsys.readouterr().err
        assert message in error and len(error.splitlines()) == 1


@pytest.mark.parametrize("section", ["problem", "network", "training"])
def test_an_empty_section_of_a_configuration_is_named(tmp_path, capsys, section):
    folder = train(tmp_path / "run").folder
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, section: {}}))
    assert main(["diagnose", str(folder)]) == 2
    assert f"config.json is damaged: {section}." in capsys.readouterr().err


PARTS = {
    "problem": {"source": "poisson1d"},
    "network": {"class": "pinntk.nn.MLP", "arguments": {"width": 4, "depth": 1}},
    "training": {"steps": 2, "points": {"poisson": 6, "ends": 4}},
    "weighting": {"name": "fixed"},
}


@pytest.mark.parametrize(
    ("section", "value", "message"),
    [
        ("problem", 3, "section 'problem' is 3"),
        ("problem", {"source": None}, "problem.source is None; expected str"),
        ("problem", {"source": "poisson1d", "parameters": 3}, "problem.parameters is 3; expected dict"),
        ("network", 3, "section 'network' is 3"),
        ("network", {**PARTS["network"], "dtype": 3}, "network.dtype is 3; expected str"),
        ("training", [1], "section 'training' is [1]"),
        ("training", {"optimizer": None}, "training.optimizer is None; expected str"),
        ("training", {"schedule": 3}, "training.schedule is 3; expected str or null"),
        ("training", {"decay": "a"}, "training.decay is 'a'; expected int or float"),
        ("training", {"seed": -1}, "seed=-1: at least 0"),
        ("training", {"seed": 2**70}, "at least 0, and below 2^63"),
        ("training", {"optimizer_options": 3}, "training.optimizer_options is 3"),
        ("weighting", {"name": ["ntk"]}, "weighting.name is ['ntk']; expected str"),
    ],
)
def test_a_wrong_entry_of_a_file_for_config_is_named(tmp_path, capsys, section, value, message):
    (tmp_path / "mine.json").write_text(json.dumps({**PARTS, section: value}))
    assert main(["train", "--config", str(tmp_path / "mine.json"), "-o", str(tmp_path / "run"), "--quiet"]) == 2
    error = capsys.readouterr().err
    assert message in error and len(error.splitlines()) == 1


# Somebody else's files.


def test_overwriting_leaves_a_checkpoint_that_is_not_pinntks(tmp_path):
    (tmp_path / "config.json").write_text('{"mine": 1}')
    torch.save({"mine": 1}, tmp_path / "checkpoint.pt")
    before = {name: (tmp_path / name).read_bytes() for name in listed(tmp_path)}
    for _ in range(2):  # without a config.json as well
        with pytest.raises(FileExistsError, match="of a run of pinntk; name another folder"):
            train(tmp_path, overwrite=True)
        assert all((tmp_path / name).read_bytes() == before[name] for name in listed(tmp_path))
        (tmp_path / "config.json").unlink(missing_ok=True)


def test_a_damaged_run_may_be_overwritten(tmp_path):
    folder = train(tmp_path / "run").folder
    (folder / "config.json").write_text("{")
    assert not is_foreign(folder)
    assert train(folder, overwrite=True).step == 4
    (folder / "checkpoint.pt").write_bytes(b"damaged")
    assert not is_foreign(folder)
    assert train(folder, overwrite=True).step == 4


def test_what_a_killed_process_had_begun_to_write_is_removed(tmp_path):
    folder = train(tmp_path / "run").folder
    begun = (".checkpoint.pt.abcd_123", "kernel/.00000002.npz.abcd_123")
    own_files = (".checkpoint.pt.bak", ".notes.abcdefgh", "kernel/.notes.npz.abcd_123")
    for name in (*begun, *own_files):
        (folder / name).write_bytes(b"half")
    train(folder, overwrite=True, snapshot_every=0)
    assert listed(folder) == sorted([*own_files, "checkpoint.pt", "config.json", "metrics.csv"])


# The copy of the problem's file.


def test_what_is_copied_is_what_was_run(tmp_path):
    file = own(tmp_path / "mine.py")
    problem = pinntk.load(file)
    own(file, FILE.replace("u_xx + k", "u_xx - k"))
    run = train(tmp_path / "run", problem=problem)
    assert run.config["problem"]["text"] == FILE
    with pytest.warns(UserWarning, match=r"mine\.py has changed in line 11"):
        pinntk.Run.load(tmp_path / "run")


def test_a_file_removed_after_it_was_loaded_is_copied_all_the_same(tmp_path):
    file = own(tmp_path / "mine.py")
    problem = pinntk.load(file)
    file.unlink()
    assert train(tmp_path / "run", problem=problem).config["problem"]["text"] == FILE


@pytest.mark.parametrize(
    "content", [FILE.replace("\n", "\r\n").encode(), b"# -*- coding: latin-1 -*-\n# Pr\xfcfung\n" + FILE.encode()]
)
def test_the_hash_is_that_of_the_file(tmp_path, content):
    file = tmp_path / "mine.py"
    file.write_bytes(content)
    run = train(tmp_path / "run", problem=pinntk.load(file))
    assert run.config["problem"]["sha256"] == sha256(content).hexdigest()
    assert pinntk.Run.load(tmp_path / "run").step == 4


def test_a_change_of_indentation_alone_is_named(tmp_path):
    text = FILE.replace("        return u\n", "        if k:\n            u = u + 0\n        return u\n")
    file = own(tmp_path / "mine.py", text)
    train(tmp_path / "run", problem=pinntk.load(file))
    own(file, text.replace("        return u\n", "            return u\n"))
    with pytest.warns(UserWarning, match=r"mine\.py has changed in line 17 \('return u' then, 'return u' now\)"):
        pinntk.Run.load(tmp_path / "run")


def test_a_moved_file_does_not_keep_a_run_from_going_on(tmp_path):
    file = own(tmp_path / "mine.py")
    train(tmp_path / "run", problem=pinntk.load(file))
    moved = tmp_path / "elsewhere" / "mine.py"
    moved.parent.mkdir()
    file.rename(moved)
    assert train(tmp_path / "run", steps=6, problem=pinntk.load(moved), resume=True).step == 6
    assert pinntk.Run.load(tmp_path / "run").step == 6
