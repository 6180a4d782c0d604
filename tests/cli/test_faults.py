"""Versions, and what the command line does with errors: messages to the user, and faults of our own."""

import pytest

import pinntk
from pinntk.cli import _main, main


def test_the_version(capsys):
    with pytest.raises(SystemExit):
        main(["--version"])
    assert f"pinntk {pinntk.__version__}, torch " in capsys.readouterr().out
    assert pinntk.__version__[0].isdigit()


@pytest.mark.parametrize("argv", [["--traceback", "train", "burgerz"], ["train", "burgerz", "--traceback"]])
def test_bad_input_is_one_line_and_with_traceback_says_where(capsys, argv):
    assert main([part for part in argv if part != "--traceback"]) == 2
    short = capsys.readouterr().err
    assert short.startswith("pinntk: error: problem 'burgerz' is unknown") and len(short.splitlines()) == 1
    assert main(argv) == 2
    long = capsys.readouterr().err
    assert "Traceback (most recent call last)" in long and "_registry.py" in long and long.endswith(short)


@pytest.mark.parametrize("fault", [lambda: {}["key"], lambda: None.shape, lambda: int("x"), lambda: [][0], lambda: 1 / 0])
def test_a_fault_of_our_own_is_shown_whole_and_says_how_to_report_it(monkeypatch, capsys, fault):
    def broken(*_):
        fault()

    monkeypatch.setattr(_main.registry, "available", broken)
    assert main(["problems"]) == 1
    error = capsys.readouterr().err
    assert "Traceback (most recent call last)" in error
    assert "this is a fault in pinntk, not in what you typed: please report it" in error.splitlines()[-1]


def test_what_the_system_refuses_is_one_line(monkeypatch, capsys):
    def broken():
        raise PermissionError(13, "Permission denied", "somewhere")

    monkeypatch.setattr(_main.registry, "available", broken)
    assert main(["problems"]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
