"""The command line end to end."""

import json
import os
import re
import subprocess
import sys

import numpy as np
import pytest

import pinntk
from pinntk.cli import main
from tests.cli.commands import SMALL, run

COMMANDS = ("new", "problems", "check", "train", "solve", "compare", "diagnose", "rescue", "predict", "kernel", "plot")


@pytest.mark.pixels
def test_train_draws(capsys, tmp_path):
    assert run(capsys, "train", "poisson1d", "--steps", 2, "-o", tmp_path, *SMALL)[0] == 0
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in (tmp_path / "figures").iterdir())


def test_train_then_plot_then_resume(capsys, tmp_path):
    folder = tmp_path / "run"
    status, _, _ = run(capsys, "train", "poisson1d", "--set", "k=1", "--weighting", "ntk", "--steps", 12, "-o", folder, *SMALL)
    assert status == 0
    config = json.loads((folder / "config.json").read_text())
    assert config["problem"]["parameters"] == {"k": 1}
    assert config["weighting"]["name"] == "ntk"
    names = {path.name for path in (folder / "figures").iterdir()}
    assert names == {"solution.png", "losses.png", "spectra.png", "drift.png"}
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
        pytest.param(["separable", "--rank", "3"], {"rank": 3, "normalize": True}, marks=pytest.mark.slow),
        (["piratenet", "--factorized", "1", "0.1"], {"factorized": [1.0, 0.1], "fourier": [64, 0.2]}),
        (["modified-mlp", "--adaptive-slopes", "5", "--hard", "auto"], {"adaptive_slopes": 5.0, "hard": ["ends"]}),
        pytest.param(["siren", "--omega", "5"], {"omega": 5.0, "hidden_omega": 30.0}, marks=pytest.mark.slow),
        (["mlp", "--parametrization", "ntk", "--beta", "0", "--raw-inputs"], {"beta": 0.0, "normalize": False}),
        (["mlp", "--output-scales", "u=300:20"], {"output_scales": {"u": [300.0, 20.0]}}),
        pytest.param(["mlp", "--output-scales", "none"], {"output_scales": {}}, marks=pytest.mark.slow),
    ],
)
def test_networks_are_chosen_and_come_back(capsys, tmp_path, options, expected):
    status, _, _ = run(capsys, "train", "poisson1d", "--network", *options, *SMALL, "--steps", 2, "-o", tmp_path / "run")
    network = pinntk.Run.load(tmp_path / "run").network
    assert (status, type(network)) == (0, pinntk.nn.NETWORKS[options[0]])
    assert {name: network.config[name] for name in expected} == expected


def test_fixed_weights_of_a_file_stay_beside_an_option_of_another_scheme(capsys, tmp_path):
    first = ["train", "poisson1d", "--weighting", "fixed+rba", "--weights", "ends=100", "--steps", 2, "-o", tmp_path / "a"]
    assert run(capsys, *first, *SMALL)[0] == 0
    second = ["train", "--config", tmp_path / "a", "--weighting-options", "eta=0.5", "--quiet", "-o", tmp_path / "b"]
    assert run(capsys, *second)[0] == 0
    weighting = json.loads((tmp_path / "b" / "config.json").read_text())["weighting"]
    assert weighting["weights"] == {"ends": 100.0} if "weights" in weighting else weighting["ends"] == 100.0
    assert weighting["beside"][0]["eta"] == 0.5


def test_settings_of_the_optimizer(capsys, tmp_path):
    def options_of(out):
        return json.loads((tmp_path / out / "config.json").read_text())["training"]["optimizer_options"]

    first = ["train", "poisson1d", "--steps", 2, "-o", tmp_path / "a", *SMALL]
    given = ["--optimizer-options", "weight_decay=0.1,betas=(0.5, 0.9)", "--optimizer-options", "amsgrad=true"]
    assert run(capsys, *first, *given)[0] == 0
    assert options_of("a") == {"weight_decay": 0.1, "betas": [0.5, 0.9], "amsgrad": True}
    second = ["train", "--config", tmp_path / "a", "--optimizer-options", "eps=1e-7", "--quiet", "-o", tmp_path / "b"]
    assert run(capsys, *second)[0] == 0
    assert options_of("b") == {"eps": 1e-7}


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--optimizer-options", "0.1"], "argument --optimizer-options: '0.1' is no NAME=VALUE; write it as in weight_decay=0"),
        (["--optimizer-options", "weight_deca=0"], "optimizer 'adam' with {'weight_deca': 0}"),
        (["--optimizer", "adam:3", "--optimizer-options", "eps=1"], "beside a chain of optimizers: give it to a part"),
    ],
)
def test_settings_that_the_optimizer_cannot_have(capsys, tmp_path, words, expected):
    steps = [] if "adam:3" in words else ["--steps", 2]
    try:
        status, _, err = run(capsys, "train", "poisson1d", *words, *steps, "-o", tmp_path / "a", *SMALL)
    except SystemExit as stopped:  # what argparse finds
        status, err = stopped.code, capsys.readouterr().err
    assert (status, expected in err) == (2, True), err


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
    expected = pinntk.infinite_kernel(network, problem, problem.sample(residual=3, boundary=2, method="sobol")).numpy()
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


@pytest.mark.slow
def test_a_reader_who_leaves_early_is_no_error():
    """Little text fails when it is flushed, and must not fail again when Python ends."""
    read, write = os.pipe()
    os.close(read)
    buffered = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    command = [sys.executable, "-m", "pinntk", "problems"]
    ended = subprocess.run(command, env=buffered, stdout=write, stderr=subprocess.PIPE, text=True)
    os.close(write)
    assert (ended.returncode, ended.stderr) == (141, "")
