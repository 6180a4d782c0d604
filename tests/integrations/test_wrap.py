"""`pinntk.wrap`: models and losses as people write them, beside the same problem in pinntk's operators."""

from __future__ import annotations

import warnings
from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest
import torch

import pinntk
from tests.integrations.wrapped import CASES, Case, X, burgers, gradient, own_network, own_points, sequential, stokes
from tests.support import reference
from tests.support.sweeps import sweep


@pytest.fixture(params=CASES)
def case(request) -> Case:
    torch.manual_seed(0)
    return CASES[request.param]()


def test_errors_kernel_and_traces_are_those_of_the_same_problem_in_pinntk(case):
    network, problem, points = pinntk.wrap(case.model, case.conditions, **case.options)
    theirs, there = own_network(case), own_points(case, points)
    expected = reference.errors(theirs, case.own, there)
    for name, e in pinntk.errors(network, problem, points).items():
        assert reference.relative(e, expected[case.names[name]]) < 1e-12, name
    K = pinntk.kernel(network, problem, points)
    own = pinntk.kernel(theirs, case.own, there)
    order = [own.names.index(case.names[name]) for name in K.names]
    rows = torch.cat([torch.arange(sum(own.sizes[:i]), sum(own.sizes[: i + 1])) for i in order])
    assert reference.relative(K.values, own.values[rows][:, rows]) < 1e-12
    assert reference.relative(K.values, reference.kernel(theirs, case.own, there)[rows][:, rows]) < 1e-12
    for name, trace in pinntk.traces(network, problem, points).items():
        assert trace == pytest.approx(own.trace(case.names[name]), rel=1e-12)


def test_parts_of_the_points_have_their_rows_of_the_kernel(case):
    network, problem, points = pinntk.wrap(case.model, case.conditions, **case.options)
    K = pinntk.kernel(network, problem, points)
    few = {name: rows[[4, 1, 2]] for name, rows in points.items()}
    places = torch.cat([sum(K.sizes[:i]) + torch.tensor([4, 1, 2]) for i in range(len(K.names))])
    assert reference.relative(pinntk.kernel(network, problem, few).values, K.values[places][:, places]) < 1e-12


def test_copies_have_errors_of_their_own(case):
    network, problem, points = pinntk.wrap(case.model, case.conditions, **case.options)
    before = deepcopy(case.model.state_dict())
    other = deepcopy(network)
    with torch.no_grad():
        for p in other.parameters():
            p.mul_(1.5)
    found = pinntk.errors(other, problem, points)
    rows = torch.rand(3, problem.domain.dimension, dtype=torch.float64)
    values = other(rows)
    for key, value in case.model.state_dict().items():
        assert torch.equal(value, before[key])
    case.model.load_state_dict(other.model.state_dict())
    for name, e in pinntk.errors(network, problem, points).items():
        assert torch.equal(found[name], e)
    assert torch.equal(values, network(rows))


@pytest.mark.parametrize("case", sweep(CASES, "burgers"), indirect=True)
def test_everything_else_works_on_it(case):
    network, problem, points = pinntk.wrap(case.model, case.conditions, **case.options)
    operator = pinntk.KernelOperator(network, problem, points)
    K = pinntk.kernel(network, problem, points).values
    v = torch.rand(len(K), dtype=torch.float64)
    assert reference.relative(operator.matvec(v), K @ v) < 1e-12
    x = pinntk.examine(network, problem, points)
    assert isinstance(pinntk.diagnose(x), list)
    assert pinntk.check(problem, network) == []
    before = x.balance.losses if hasattr(x.balance, "losses") else None
    run = pinntk.train(problem, network, points=points, steps=4, optimizer="gauss-newton", progress=False, log_every=1)
    assert run.history[-1]["loss"] < run.history[0]["loss"], before
    for settings in ({"weighting": "ntk"}, {"weighting": "self-adaptive"}, {"weighting": "gradient-norm", "resample": 1}):
        assert np.isfinite(pinntk.train(problem, network, steps=2, progress=False, **settings).history[-1]["loss"])


def test_coefficients_have_error_bars_and_train():
    case = burgers()
    network, problem, points = pinntk.wrap(case.model, case.conditions, **case.options)
    assert problem.coefficients["nu"] is case.options["coefficients"]["nu"]
    found = pinntk.posterior(network, problem, points, {"f": 0.1, "sensors": 0.1})
    expected = pinntk.posterior(own_network(case), case.own, own_points(case, points), {"equation": 0.1, "measured": 0.1})
    assert found.coefficients["nu"] == pytest.approx(expected.coefficients["nu"], rel=1e-9)
    start = float(problem.coefficients["nu"].detach())
    pinntk.train(problem, network, steps=3, points=points, progress=False)
    assert float(problem.coefficients["nu"].detach()) != start


def test_a_coefficient_that_the_model_holds_counts_once():
    case = burgers()
    case.model.nu = case.options["coefficients"]["nu"]
    network, problem, points = pinntk.wrap(case.model, case.conditions, **case.options)
    trained = pinntk.trained_parameters(network, problem)
    assert [name for name, p in trained.items() if p is case.model.nu] == ["coefficients[nu]"]
    assert "model.nu" not in dict(deepcopy(network).named_parameters()) and "model.nu" in network.state_dict()
    J = pinntk.factors(network, problem, points)["f"].matrix()
    e = pinntk.errors(network, problem, points)["f"]
    assert reference.relative(J, reference.rows(e, trained)) < 1e-12
    start = float(case.model.nu.detach())
    pinntk.train(problem, network, steps=2, points=points, progress=False)
    assert float(case.model.nu.detach()) != start


def test_a_coefficient_in_single_precision_fits_a_network_in_double():
    case = burgers()
    case.options["coefficients"]["nu"].data = torch.tensor([0.3])
    network, problem, points = pinntk.wrap(case.model, case.conditions, **case.options)
    few = {name: rows[:3] for name, rows in points.items()}  # by rows, of one graph each
    K = pinntk.kernel(network, problem, points)
    places = torch.cat([torch.arange(3), K.sizes[0] + torch.arange(3)])
    assert reference.relative(pinntk.kernel(network, problem, few).values, K.values[places][:, places]) < 1e-6


def test_wrapping_and_diagnosing_leave_the_model_and_the_random_state_as_they_are():
    torch.manual_seed(0)
    case = stokes()
    case.model[0].weight.grad = torch.ones_like(case.model[0].weight)
    before, state = deepcopy(case.model.state_dict()), torch.get_rng_state()
    network, problem, points = pinntk.wrap(case.model, case.conditions, **case.options)
    pinntk.diagnose(network, problem, points)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(value, before[name]) for name, value in case.model.state_dict().items())
    grads = {name: p.grad for name, p in case.model.named_parameters() if p.grad is not None}
    assert list(grads) == ["0.weight"] and bool((grads["0.weight"] == 1).all())


def test_the_program_of_the_document_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    document = (Path(__file__).parents[2] / "docs" / "INTEGRATIONS.md").read_text()
    section = document.partition("## Diagnose a model in plain PyTorch")[2].partition("\n## ")[0]
    program = section.partition("```python")[2].partition("```")[0]
    names: dict = {}
    exec(program, names)
    assert names["K"].sizes == (200, 50, 30) and names["run"].step == 3
    assert (tmp_path / "report.html").read_text().startswith("<!DOCTYPE html>")


@pytest.mark.slow
def test_a_compiled_model_runs_as_it_was_written():
    model = torch.compile(sequential(1))

    def pde(x):
        return gradient(gradient(model(x), x), x)

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        network, problem, points = pinntk.wrap(model, {"pde": (pde, X, "residual")})
        assert pinntk.kernel(network, problem, points).sizes == (6,)
