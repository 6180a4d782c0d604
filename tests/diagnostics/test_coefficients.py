"""What a diagnosis says of unknown coefficients: value, error bar, and whether anything determines them."""

import json
from math import inf, isnan

import pytest
import torch

import pinntk
from pinntk import Box, Problem, boundary, residual
from pinntk.cli import main
from pinntk.reporting import _terminal as verdict


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    torch.manual_seed(0)
    problem = pinntk.load("heat_inverse")
    network = pinntk.nn.MLP(problem, width=10, depth=2, dtype=torch.float64)
    settings = {"points": {"residual": 100, "boundary": 20, "initial": 20}, "optimizer": "gauss-newton", "steps": 12}
    settings |= {"out": tmp_path_factory.mktemp("runs") / "run", "snapshot_every": 0, "progress": False}
    return pinntk.train(problem, network, **settings)


def test_the_deviation_is_that_of_the_posterior(run):
    x = pinntk.examine(run)
    found = x.coefficients["kappa"]
    noise = {name: float(e.square().mean().sqrt()) for name, e in x.errors.items()}
    mean, deviation = pinntk.posterior(run.network, run.problem, run.points, noise).coefficients["kappa"]
    assert (found.value, found.deviation) == (mean, pytest.approx(deviation, rel=1e-9))
    assert found.start == run.history[0]["coefficient/kappa"]
    assert abs(found.value - 0.2) < 4 * found.deviation < 0.05


def test_a_coefficient_that_nothing_determines_has_an_infinite_deviation():
    domain = Box(x=(0, 1))

    @residual(domain)
    def flux(u_xx, k):
        return k * u_xx

    @boundary(domain.ends("x"))
    def ends(u, x):
        return u - x

    problem = Problem(domain, [flux, ends], coefficients={"k": 2.0})
    network = torch.nn.Linear(1, 1).double()  # whose u_xx is zero, whatever k is
    found = pinntk.examine(network, problem, problem.sample(residual=8, boundary=2, seed=0, dtype=torch.float64))
    assert found.coefficients["k"].deviation == inf and isnan(found.coefficients["k"].start)
    shown = verdict.diagnosis(found, [])
    assert shown["numbers"]["coefficients"]["k"] == {"value": 2.0, "deviation": None, "start": None}
    assert verdict.coefficient_sentences(shown) == ["k = 2, which the conditions do not determine"]


def test_terminal_json_and_report_lead_with_them(run, capsys):
    assert main(["diagnose", str(run.folder)]) == 0
    text = capsys.readouterr().out
    (line,) = (line for line in text.splitlines() if line.startswith("kappa = 0."))
    assert " +- " in line and line.endswith("from 1") and text.index(line) < 250  # below the title
    assert main(["diagnose", str(run.folder), "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)["numbers"]["coefficients"]["kappa"]
    assert set(shown) == {"value", "deviation", "start"}
    assert f"{shown['value']:.4f} ± {shown['deviation']:.4f}" in (run.folder / "report.html").read_text()


def test_without_coefficients_nothing_is_computed():
    problem = pinntk.load("poisson1d")
    network = pinntk.nn.MLP(problem, width=4, depth=1)
    assert pinntk.examine(network, problem, problem.sample(residual=5, boundary=2)).coefficients == {}
