"""Versions, and what the command line does with errors: messages to the user, and faults of our own."""

import pytest

import pinntk
from pinntk.cli import _faults, _problems, main
from tests.training.test_more_optimizers import needs_soap


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

    monkeypatch.setattr(_problems.registry, "available", broken)
    assert main(["problems"]) == 1
    error = capsys.readouterr().err
    assert "Traceback (most recent call last)" in error
    assert "this is a fault in pinntk, not in what you typed: please report it" in error.splitlines()[-1]


@needs_soap
def test_what_another_librarys_optimizer_cannot_do_is_no_fault_of_ours(monkeypatch, capsys, tmp_path):
    import pytorch_optimizer

    def ours(*_):
        raise RuntimeError("ours")

    command = ["train", "poisson1d", "--steps", "3", "--width", "4", "--depth", "1", "--optimizer"]
    with monkeypatch.context() as patch:  # in a method that pinntk calls, and in the library's own step
        patch.setattr(pytorch_optimizer.SOAP, "get_orthogonal_matrix", lambda own, found: own.merge_dims(found[0], 10))
        patch.setattr(pytorch_optimizer.StableAdamW, "init_group", lambda *_, **__: 1 / 0)
        for name, file in (("soap", "soap.py"), ("stableadamw", "adamw.py")):
            assert main([*command, name, "-o", str(tmp_path / name)]) == 2
            error = capsys.readouterr().err.splitlines()[-1]
            assert error.startswith(f"pinntk: error: the optimizer, of another library, failed in {file}, line ")
            assert error.endswith("; take other options of it, or another optimizer")
    monkeypatch.setattr("pinntk.training._updates.over_all", ours)  # which the library's step calls
    assert main([*command, "soap", "-o", str(tmp_path / "ours")]) == 1
    assert "this is a fault in pinntk" in capsys.readouterr().err


def test_what_the_system_refuses_is_one_line(monkeypatch, capsys):
    def broken():
        raise PermissionError(13, "Permission denied", "somewhere")

    monkeypatch.setattr(_problems.registry, "available", broken)
    assert main(["problems"]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


@pytest.mark.parametrize("seed", ["-5", "99999999999999999999", "x"])
def test_a_seed_that_no_generator_takes(capsys, seed):
    with pytest.raises(SystemExit):
        main(["train", "poisson1d", "--seed", seed])
    assert "a whole number of at least 0" in capsys.readouterr().err


def test_a_network_that_does_not_fit_in_memory(capsys, tmp_path):
    options = ["--width", "10000000000", "--depth", "1", "-o", str(tmp_path / "run")]
    assert main(["train", "poisson1d", *options]) == 2
    assert capsys.readouterr().err.startswith("pinntk: error: too little memory (")


EXACT = """from pinntk import Box, Problem, boundary, residual

def problem():
    domain = Box(x=(0, 1))

    @residual(domain)
    def ode(u_x):
        return u_x

    @boundary(domain.at(x=0))
    def start(u):
        return u

    return Problem(domain, [ode, start], exact=lambda x: {})
"""


@pytest.mark.parametrize(
    ("exact", "message"),
    [
        ("y", "mine.py, line 14: NameError: name 'y' is not defined"),
        ("x[:3]", "exact for field 'u' returned shape (3,); expected one value per point, (1000,)"),
        ("None", "exact for field 'u' returned NoneType"),
    ],
)
def test_a_fault_of_the_users_file_is_not_called_ours(capsys, tmp_path, exact, message):
    (tmp_path / "mine.py").write_text(EXACT.format(exact))
    options = ["--width", "4", "--depth", "1", "--steps", "2", "-o", str(tmp_path / "run"), "--quiet"]
    assert main(["train", str(tmp_path / "mine.py"), *options]) == 2
    error = capsys.readouterr().err
    assert message in error and len(error.splitlines()) == 1


def test_without_sources_at_hand_bad_input_is_no_fault(monkeypatch, capsys):
    """As where pinntk is installed as bytecode only."""
    extract = _faults.traceback.extract_tb

    def bare(tb):
        return [_faults.traceback.FrameSummary(f.filename, f.lineno, f.name, line="") for f in extract(tb)]

    monkeypatch.setattr(_faults.traceback, "extract_tb", bare)
    assert main(["train", "burgerz"]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


@pytest.mark.parametrize("network", ["multiscale-fourier", "mscale-dnn"])
def test_the_limit_of_another_network_is_refused_in_these_words(capsys, network):
    assert main(["kernel", "poisson1d", "--infinite", "--network", network]) == 2
    assert f"--infinite needs --network mlp, not {network}" in capsys.readouterr().err
