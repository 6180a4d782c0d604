"""The command line end to end, and what it says to the mistakes of a newcomer."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import pinntk
from pinntk.cli import main
from pinntk.weighting import SCHEMES
from tests.cli.commands import run

COMMANDS = ("new", "problems", "check", "train", "solve", "compare", "diagnose", "rescue", "predict", "kernel", "plot")
TIMES = ": seconds, or as in 90s, 3m, 1.5h or 1h30m"
KNOWN = f"Known: {', '.join(SCHEMES)}"
SMALL = ["--width", "6", "--depth", "1", "--quiet", "--points", "boundary=4,residual=6"]


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


@pytest.mark.pixels
def test_train_then_plot_then_resume(capsys, tmp_path):
    folder = tmp_path / "run"
    status, _, _ = run(capsys, "train", "poisson1d", "--set", "k=1", "--weighting", "ntk", "--steps", 12, "-o", folder, *SMALL)
    assert status == 0
    config = json.loads((folder / "config.json").read_text())
    assert config["problem"]["parameters"] == {"k": 1}
    assert config["weighting"]["name"] == "ntk"
    names = {path.name for path in (folder / "figures").iterdir()}
    assert names == {"solution.png", "losses.png", "spectra.png", "drift.png"}
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in (folder / "figures").iterdir())
    assert run(capsys, "plot", folder, "-o", tmp_path / "drawn")[0] == 0
    assert {path.name for path in (tmp_path / "drawn").iterdir()} == names
    status, out, _ = run(capsys, "train", "--resume", folder, "--steps", 20)
    assert status == 0
    assert "after 20 steps" in out
    assert max(map(len, out.splitlines()[:-2])) <= 80  # the last two name the folder
    status, _, err = run(capsys, "train", "--resume", folder)
    assert status == 0 and f"{folder} has taken its 20 steps already; for more: --steps 40" in err
    assert out.splitlines()[-1] == f"next: pinntk diagnose {folder}"
    assert pinntk.Run.load(folder).step == 20


def test_embeddings_are_chosen_and_come_back(capsys, tmp_path):
    options = ["--periodic", "x=2", "--fourier", 4, 0.5, "--width", 6, "--depth", 1, "--quiet"]
    points = "residual=8,start=4,periodic=4"
    folder = tmp_path / "run"
    assert run(capsys, "train", "convection", "--steps", 3, "-o", folder, "--points", points, *options)[0] == 0
    network = pinntk.Run.load(folder).network
    assert (network.config["periodic"], network.config["fourier"]) == ({"x": 2}, [4, 0.5])
    assert run(capsys, "train", "--resume", folder, "--steps", 5)[0] == 0
    status, _, err = run(capsys, "kernel", "--run", folder, "--periodic", "x")
    assert status == 2
    assert "leave --periodic out" in err
    assert run(capsys, "kernel", "helmholtz2d", "--points", "residual=4,boundary=4", "--periodic", "x,y=3")[0] == 0


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["multiscale-fourier", "--sigmas", "1,5"], {"sigmas": [1.0, 5.0], "normalize": True}),
        (["mscale-dnn", "--scales", "1,3", "--activation", "srelu"], {"scales": [1.0, 3.0], "normalize": False}),
        (["separable", "--rank", "3"], {"rank": 3, "normalize": True}),
        (["piratenet", "--factorized", "1", "0.1"], {"factorized": [1.0, 0.1], "fourier": [64, 0.2]}),
        (["modified-mlp", "--adaptive-slopes", "5", "--hard", "auto"], {"adaptive_slopes": 5.0, "hard": ["ends"]}),
        (["siren", "--omega", "5"], {"omega": 5.0, "hidden_omega": 30.0}),
        (["mlp", "--parametrization", "ntk", "--beta", "0", "--raw-inputs"], {"beta": 0.0, "normalize": False}),
        (["mlp", "--output-scales", "u=300:20"], {"output_scales": {"u": [300.0, 20.0]}}),
        (["mlp", "--output-scales", "none"], {"output_scales": {}}),
    ],
)
def test_networks_are_chosen_and_come_back(capsys, tmp_path, options, expected):
    status, _, _ = run(capsys, "train", "poisson1d", "--network", *options, *SMALL, "--steps", 2, "-o", tmp_path / "run")
    network = pinntk.Run.load(tmp_path / "run").network
    assert (status, type(network)) == (0, pinntk.nn.NETWORKS[options[0]])
    assert {name: network.config[name] for name in expected} == expected


def test_a_fourier_option_that_is_no_number_is_named(capsys):
    with pytest.raises(SystemExit):
        main(["train", "poisson1d", "--fourier", "many", "1"])
    assert "'many' is not a number" in capsys.readouterr().err


def test_train_a_file_of_ones_own(capsys, tmp_path):
    path = tmp_path / "my_pde.py"
    path.write_text(
        "from pinntk import Box, Problem, boundary, residual\n"
        "def problem(c: float = 1.0):\n"
        "    domain = Box(x=(0, 1))\n"
        "    @residual(domain)\n"
        "    def ode(u_x, u):\n"
        "        return u_x + c * u\n"
        "    @boundary(domain.at(x=0))\n"
        "    def start(u):\n"
        "        return u - 1\n"
        "    return Problem(domain, [ode, start])\n"
    )
    status, _, _ = run(capsys, "train", path, "--set", "c=2", "--steps", 5, "-o", tmp_path / "run", *SMALL)
    assert status == 0
    assert pinntk.Run.load(tmp_path / "run").problem.parameters == {"c": 2.0}


def test_kernel_writes_blocks_of_a_fresh_and_of_a_trained_network(capsys, tmp_path):
    status, out, _ = run(capsys, "kernel", "poisson1d", "--points", "boundary=4,residual=6", "-o", tmp_path / "K.npz")
    assert status == 0
    assert "above the rounding floor" in out
    blocks = pinntk.KernelBlocks.load(tmp_path / "K.npz")
    assert blocks.sizes == (6, 4)
    assert np.allclose(blocks.numpy(), blocks.numpy().T)
    run(capsys, "train", "poisson1d", "--steps", 3, "-o", tmp_path / "run", *SMALL)
    assert run(capsys, "kernel", "--run", tmp_path / "run", "--points", "residual=3")[0] == 0


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


def test_pinntk_alone_says_how_to_begin(capsys):
    status, out, err = run(capsys)
    assert (status, err) == (0, "") and "first command: pinntk train poisson1d --weighting ntk\n" in out
    with pytest.raises(SystemExit) as ended:
        main(["help", "solve"])
    assert ended.value.code == 0 and capsys.readouterr().out.startswith("usage: pinntk solve ")


def test_numbers_and_times_as_people_write_them(capsys, tmp_path):
    words = ["--steps", "0.2e1", "--points", "ends=5", "--points", "residual=1e1", "--seconds", "1h30m", "--quiet"]
    assert run(capsys, "train", "poisson1d", "--width", 6, "--depth", 1, *words, "-o", tmp_path / "run")[0] == 0
    training = json.loads((tmp_path / "run" / "config.json").read_text())["training"]
    assert (training["steps"], training["seconds"], training["points"]) == (2, 5400, {"poisson": 10, "ends": 5})


def test_train_and_solve_have_folders_of_their_own(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for command in ("train", "solve"):
        assert run(capsys, command, "poisson1d", "--steps", 1, *SMALL)[0] == 0
    assert {path.name for path in (tmp_path / "runs").iterdir()} == {"poisson1d", "poisson1d-solved"}


def test_a_folder_that_holds_a_run_is_kept_unless_told(capsys, tmp_path):
    arguments = ["train", "poisson1d", "--steps", 2, "-o", tmp_path / "run", *SMALL]
    assert run(capsys, *arguments)[0] == 0
    before = (tmp_path / "run" / "checkpoint.pt").read_bytes()
    status, _, err = run(capsys, *arguments)
    assert status == 2
    assert "--resume" in err
    assert (tmp_path / "run" / "checkpoint.pt").read_bytes() == before
    assert run(capsys, *arguments, "--overwrite")[0] == 0


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


def test_verbose_says_how_the_jacobian_was_obtained(capsys):
    status, out, _ = run(capsys, "kernel", "poisson1d", "--points", "boundary=4,residual=6", "--verbose")
    assert status == 0
    assert re.search(r"^J of poisson: taylor, certificate \d\.\de-\d\d, \S+ s$", out, re.M)
    assert "J of ends: taylor" in out


def test_kernel_of_infinite_width(capsys, tmp_path):
    def infinite(*options):
        return run(capsys, "kernel", *options, "--infinite", "--depth", 1, "-o", tmp_path / "K.npz")

    assert infinite("poisson1d", "--points", "residual=3,boundary=2")[0] == 0
    problem = pinntk.load("poisson1d")
    network = pinntk.nn.MLP(problem, depth=1, parametrization="ntk")
    expected = pinntk.infinite_kernel(network, problem, problem.sample(residual=3, boundary=2)).numpy()
    assert pinntk.KernelBlocks.load(tmp_path / "K.npz").numpy() == pytest.approx(expected, rel=1e-12)
    counts = "residual=2,initial=2"
    assert infinite("burgers", "--points", counts + ",boundary=2")[0] == 0  # linearized at its exact solution
    status, _, err = infinite("allen_cahn", "--points", counts + ",periodic=2")
    assert status != 0
    assert "not linear" in err


@pytest.mark.parametrize("command", [[], *([name] for name in COMMANDS)])
def test_help_fits_80_columns(capsys, command, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit):
        main([*command, "--help"])
    assert max(map(len, capsys.readouterr().out.splitlines())) <= 80


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


class Left:
    """Standard output whose reader has left."""

    def __init__(self, path):
        self.file = path.open("w")

    def write(self, text):
        raise BrokenPipeError

    def fileno(self):
        return self.file.fileno()

    def isatty(self):
        return False


def test_a_reader_who_leaves_costs_no_file(capsys, tmp_path, monkeypatch):
    """As in `pinntk diagnose RUN | head`."""
    folder = tmp_path / "run"
    assert run(capsys, "train", "poisson1d", "--steps", 2, "-o", folder, *SMALL)[0] == 0
    monkeypatch.setattr("sys.stdout", Left(tmp_path / "nowhere"))
    assert main(["diagnose", str(folder)]) == 141
    assert main(["diagnose", str(folder), str(folder)]) == 141
    assert main(["kernel", "--run", str(folder), "-o", str(tmp_path / "K.npz")]) == 141
    assert {"report.html", "diagnosis.json", "comparison.html"} <= {path.name for path in folder.iterdir()}
    assert pinntk.KernelBlocks.load(tmp_path / "K.npz").names == ("poisson", "ends")


def test_a_reader_who_leaves_early_is_no_error():
    """Little text fails when it is flushed, and must not fail again when Python ends."""
    read, write = os.pipe()
    os.close(read)
    buffered = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    command = [sys.executable, "-m", "pinntk", "problems"]
    ended = subprocess.run(command, env=buffered, stdout=write, stderr=subprocess.PIPE, text=True)
    os.close(write)
    assert (ended.returncode, ended.stderr) == (141, "")
