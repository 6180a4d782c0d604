"""examples/: each runs with few steps, and as it stands in the slow tests, with what it promises."""

from importlib import import_module
from pathlib import Path

import pytest
import torch

import pinntk
from tests.support.sweeps import sweep

FILES = sorted((Path(__file__).parents[2] / "examples").glob("*.py"))
SHORT = {
    "bring_your_own": {"steps": 2},
    "custom_solver": {"steps": 2},
    "diagnose_and_rescue": {"name": "poisson1d", "steps": 2, "seconds": 0.5},
    "infinite_width": {"widths": (4, 8), "residual": 5},
    "inverse": {"steps": 1, "residual": 10},
    "own_pde": {"steps": 1},
}


def run(name, tmp_path, monkeypatch, /, **settings):
    monkeypatch.chdir(tmp_path)
    return import_module(f"examples.{name}").main(**settings)


def test_each_has_its_settings_and_says_how_to_run_it():
    assert [path.stem for path in FILES] == sorted(SHORT)
    assert [path.name for path in FILES if f"python examples/{path.name}" not in path.read_text(encoding="utf-8")] == []


@pytest.mark.filterwarnings("ignore")  # of what has not been trained
@pytest.mark.parametrize("name", sweep(SHORT, "own_pde", "inverse", "custom_solver", "infinite_width"))
def test_it_runs_with_few_steps(name, tmp_path, monkeypatch, capsys):
    assert run(name, tmp_path, monkeypatch, **SHORT[name]) is not None
    assert capsys.readouterr().out
    assert [path.name for path in tmp_path.iterdir()] == (["own_pde.png"] if name == "own_pde" else [])


@pytest.mark.slow
def test_own_pde(tmp_path, monkeypatch):
    assert run("own_pde", tmp_path, monkeypatch).relative_error < 1e-3


@pytest.mark.slow
def test_diagnose_and_rescue(tmp_path, monkeypatch):
    rescued = run("diagnose_and_rescue", tmp_path, monkeypatch, seconds=300)  # 30 are enough where nothing else runs
    assert rescued.before.relative_error > 0.5 and rescued.findings
    assert rescued.improvement > 10


@pytest.mark.slow
def test_bring_your_own(tmp_path, monkeypatch):
    without, weighted, kernel = run("bring_your_own", tmp_path, monkeypatch)
    assert 5 * weighted < without
    assert kernel.sizes == (100, 2)


@pytest.mark.slow
def test_inverse(tmp_path, monkeypatch):
    fitted = run("inverse", tmp_path, monkeypatch)
    low, high = fitted.interval("kappa", 0.99)
    assert low < 0.2 < high and high - low < 0.01


@pytest.mark.slow
def test_custom_solver(tmp_path, monkeypatch):
    assert run("custom_solver", tmp_path, monkeypatch) < 1e-4


def test_the_custom_step_solves_what_it_says(tmp_path, monkeypatch):
    """One step by the p x p form of the same least squares, an independent oracle."""
    problem = pinntk.load("poisson1d", k=4)
    network = pinntk.nn.MLP(problem, width=20, depth=3, activation="sin", dtype=torch.float64)
    solver = import_module("examples.custom_solver")
    points = problem.sample(residual=60, boundary=2, seed=0, dtype=torch.float64)
    r = solver.scaled({name: e.detach() for name, e in pinntk.errors(network, problem, points).items()})
    J = solver.scaled({name: part.matrix() for name, part in pinntk.factors(network, problem, points).items()})
    b, mu = torch.randn(J.shape[1], dtype=torch.float64, generator=torch.Generator().manual_seed(0)), 1e-2
    kernel_form = b - J.T @ torch.linalg.solve(J @ J.T + mu * torch.eye(len(r)).to(J), r + J @ b)
    parameter_form = torch.linalg.solve(J.T @ J + mu * torch.eye(J.shape[1]).to(J), mu * b - J.T @ r)
    assert torch.allclose(kernel_form, parameter_form, rtol=1e-8, atol=1e-10)


@pytest.mark.slow
def test_infinite_width(tmp_path, monkeypatch):
    distances, solution = run("infinite_width", tmp_path, monkeypatch)
    assert distances == sorted(distances, reverse=True) and distances[-1] < 0.2
    assert solution.relative_error() < 1e-6
