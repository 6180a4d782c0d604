"""What the command line says to the mistakes of a newcomer, and what it leaves alone then."""

import pytest

from pinntk.cli import main
from pinntk.weighting import SCHEMES
from tests.cli.commands import SMALL, run

TIMES = ": seconds, or as in 90s, 3m, 1.5h or 1h30m"
KNOWN = f"Known: {', '.join(SCHEMES)}"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--verison"], "pinntk: error: there is no option --verison; did you mean --version? see pinntk --help"),
        (["diagnose", "--thrust"], "pinntk diagnose: error: there is no option --thrust; did you mean --trust?"),
        (["diagnose"], "pinntk diagnose: error: RUN is missing, as in pinntk diagnose RUN; see pinntk diagnose --help"),
    ],
)
def test_a_missing_word_is_not_said_in_place_of_a_misspelt_option(capsys, words, message):
    with pytest.raises(SystemExit):
        main(words)
    assert message in capsys.readouterr().err


def test_the_run_and_the_file_that_may_have_been_meant_are_named(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs" / "wave").mkdir(parents=True)
    (tmp_path / "runs" / "wave" / "config.json").touch()
    (tmp_path / "empty").mkdir()
    (tmp_path / "my_pde.py").write_text("def problem(): pass")
    for words, message in (
        (("diagnose", "wave"), "wave holds no run (there is no such folder); did you mean runs/wave?"),
        (("diagnose", "runs/wav"), "did you mean runs/wave?"),
        (("diagnose", "runs"), "it holds folders of runs: give one of them, such as runs/wave"),
        (("plot", "."), "such as runs/wave"),
        (("diagnose", "empty"), "(config.json is missing); give the folder that `pinntk train -o` wrote"),
        (("train", "my_pde"), "did you mean 'my_pde.py'?"),
        (("train", "my_pd.py"), "my_pd.py: no such file; did you mean 'my_pde.py'?"),
        (("train", "poisson1d", "-o", "my_pde.py"), "cannot write my_pde.py: it is a file; choose another folder"),
    ):
        status, _, err = run(capsys, *words)
        assert status == 2 and message in err and len(err.splitlines()) == 1


def test_a_fourier_option_that_is_no_number_is_named(capsys):
    with pytest.raises(SystemExit):
        main(["train", "poisson1d", "--fourier", "many", "1"])
    assert "'many' is not a number" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "poison1d"], "problem 'poison1d' is unknown; did you mean 'poisson1d'?"),
        (["train"], "name a problem, as in `pinntk train poisson1d`"),
        (["solve"], "name a problem, as in `pinntk solve poisson1d`"),
        (["train", "poisson1d", "--set", "kk=3"], "no parameter 'kk'"),
        (["train", "poisson1d", "--set", "k"], "write NAME=VALUE"),
        (["train", "poisson1d", "--points", "boundary=many"], "--points 'boundary=many'"),
        (["train", "poisson1d", "--points", "bondary=3"], "no condition 'bondary'"),
        (["train", "poisson1d", "--points", "boundary=0"], "boundary=0: the number of points"),
        (
            ["train", "poisson1d", "--points", "initial=3"],
            "no initial condition; it has poisson (residual), ends (boundary)",
        ),
        (["kernel", "poisson1d", "--points", "initial=3"], "poisson1d has no initial condition"),
        (["train", "poisson1d", "--points", "ends=3", "--points", "ends=4"], "gives ends twice"),
        (["train", "poisson1d", "--weights", "data=3"], "--weights data: poisson1d has no data condition"),
        (["train", "poisson1d", "--weights", "edns=3"], "did you mean 'ends'?"),
        (["train", "poisson1d", "--weights", "ends=3", "--weighting", "ntk"], "use one or the other"),
        (["train", "poisson1d", "--weights", "walls=3"], "weight for 'walls'"),
        (["train", "poisson1d", "--optimizer", "adamm"], "did you mean 'adam'?"),
        (["train", "poisson1d", "--steps", "0"], "steps=0"),
        (["train", "poisson1d", "--periodic", "y"], "no coordinate 'y'"),
        (["train", "poisson1d", "--periodic", "x=many"], "write it as in --periodic x=3"),
        (
            ["train", "poisson1d", "--network", "mlp", "--sigmas", "1"],
            "--sigmas does not apply to --network mlp; leave it out",
        ),
        (["train", "poisson1d", "--network", "siren", "--beta", "0"], "--beta does not apply to --network siren"),
        (["train", "poisson1d", "--network", "deeponet"], "sensors=None of coordinates ('x',): some go to the branch"),
        (["train", "poisson1d", "--fourier", "1.5", "1"], "fourier=[1.5, 1]: a whole number"),
        (["train", "poisson1d", "--device", "gpu"], "--device gpu: torch knows no such device; use cpu, cuda"),
        (["train", "poisson1d", "--device", "cuda:99"], "--device cuda:99: not usable here"),
        (["train", "--resume", "nowhere"], "nowhere holds no run"),
        (["train", "poisson1d", "--resume", "nowhere"], "leave the problem out"),
        (["plot", "nowhere"], "nowhere holds no run"),
        (["diagnose", "nowhere"], "nowhere holds no run"),
        (["kernel", "poisson1d", "--points", "residual=-1"], "residual=-1"),
    ],
)
def test_mistakes_get_a_message_and_status_2(capsys, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    status, _, err = run(capsys, *arguments)
    assert status == 2
    assert message in err
    assert "Traceback" not in err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["train", "poisson1d", "--wieghting", "ntk"], "there is no option --wieghting; did you mean --weighting?"),
        (["train", "poisson1d", "--lernrate=3"], "there is no option --lernrate; did you mean --lr?"),
        (["solve", "poisson1d", "--weighting", "ntk"], "there is no option --weighting;"),
        (["solve", "poisson1d", "burgers"], "'burgers' is one word too many;"),
        (["solve", "poisson1d", "--grow", "a"], "argument --grow: 'a' is not a number;"),
        (["train", "poisson1d", "--epochs", "3"], "there is no option --epochs; did you mean --steps?"),
        (
            ["train", "poisson1d", "--seconds", "3q"],
            f"argument --seconds: '3q' is not a time{TIMES};",
        ),
        (
            ["train", "poisson1d", "--weighting", "nkt"],
            f"argument --weighting: 'nkt' is unknown; did you mean ntk? {KNOWN};",
        ),
        (["train", "poisson1d", "--steps", "2.5"], "argument --steps: '2.5' is not a whole number;"),
        (["train", "poisson1d", "--hard", "--steps", "2"], "argument --hard: expected one argument;"),
    ],
)
def test_words_that_are_not_understood_get_one_line(capsys, arguments, said):
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert capsys.readouterr().err == f"pinntk {arguments[0]}: error: {said} see pinntk {arguments[0]} --help\n"


def test_a_command_that_there_is_not(capsys):
    with pytest.raises(SystemExit):
        main(["trian", "poisson1d"])
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 and lines[0].endswith("; see pinntk --help")
    assert lines[0].startswith("pinntk: error: there is no command 'trian'; did you mean train? Commands are problems, check, ")


def test_an_unwritable_folder_is_named(capsys, tmp_path):
    (tmp_path / "file").write_text("")
    status, _, err = run(capsys, "train", "poisson1d", "--steps", 2, "-o", tmp_path / "file" / "run", *SMALL)
    assert status == 2
    assert "cannot write" in err
    assert "choose another folder" in err


def test_a_misspelt_derivative_names_what_is_known(capsys, tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(
        "from pinntk import Box, Problem, residual\n"
        "def problem():\n"
        "    domain = Box(t=(0, 1), x=(0, 1))\n"
        "    @residual(domain)\n"
        "    def burgers(u, u_y):\n"
        "        return u\n"
        "    return Problem(domain, [burgers])\n"
    )
    status, _, err = run(capsys, "train", path)
    assert status == 2
    assert "burgers(u, u_y): unknown argument 'u_y'; coordinates are ('t', 'x'), fields are ('u',)" in err


def test_options_that_a_run_would_ignore_are_refused(capsys, tmp_path):
    folder = tmp_path / "run"
    run(capsys, "train", "poisson1d", "--steps", 2, "-o", folder, *SMALL)
    for arguments, option in (
        (["train", "--resume", folder, "--lr", 0.5], "--lr"),
        (["kernel", "--run", folder, "--width", 5], "--width"),
    ):
        status, _, err = run(capsys, *arguments)
        assert status == 2
        assert f"leave {option} out" in err


def test_a_mistake_beside_overwrite_removes_nothing(capsys, tmp_path):
    folder = tmp_path / "project"
    (folder / "src").mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    status, _, _ = run(capsys, "train", "poisson1d", "-o", folder, "--overwrite", "--optimizer", "adamm", *SMALL)
    assert status == 2
    assert (folder / "src").is_dir()
    status, _, err = run(capsys, "train", "poisson1d", "-o", folder, "--overwrite", "--steps", 2, *SMALL)
    assert status == 2
    assert "is not of a run of pinntk" in err
    assert (folder / "config.json").read_text() == "{}"


def test_a_folder_that_holds_a_run_is_kept_unless_told(capsys, tmp_path):
    arguments = ["train", "poisson1d", "--steps", 2, "-o", tmp_path / "run", *SMALL]
    assert run(capsys, *arguments)[0] == 0
    before = (tmp_path / "run" / "checkpoint.pt").read_bytes()
    status, _, err = run(capsys, *arguments)
    assert status == 2
    assert "--resume" in err
    assert (tmp_path / "run" / "checkpoint.pt").read_bytes() == before
    assert run(capsys, *arguments, "--overwrite")[0] == 0
