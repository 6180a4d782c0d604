"""Verdicts on conditions in a diagnosis: from the problem, whatever became of the network."""

import pytest
import torch

import pinntk
from pinntk import Box, Problem, boundary, initial, residual
from pinntk._util.numbers import number
from pinntk.diagnostics import estimate
from pinntk.diagnostics._corners import corners
from pinntk.diagnostics._rules_problem import _share_beside
from pinntk.reporting._terminal import diagnosis, text
from tests.support.diagnosed import codes, poisson, trained
from tests.support.ill_conditions import value
from tests.support.ill_conflict import CONFLICT
from tests.support.ill_trivial import TRIVIAL
from tests.support.small_problems import stokes


def fresh(problem, **network):
    return pinntk.nn.MLP(problem, **{"width": 24, "depth": 2, "dtype": torch.float64, **network})


def test_no_network_makes_good_conditions_look_bad():
    problem = poisson(exact=False)
    points = problem.sample(residual=60, boundary=2)
    collapsed = fresh(problem)
    with torch.no_grad():
        for parameter in collapsed.parameters():
            parameter.zero_()
    for network in (fresh(problem, gain=60.0), fresh(problem, width=2, normalize=False), collapsed):
        found = codes(network, problem, points)
        assert not {"conflict", "wrong-problem"} & set(found)


def test_a_saturated_run_has_no_conflict_and_a_contradiction_has_one():
    points = {"residual": 40, "boundary": 2}
    assert "conflict" not in codes(trained(poisson(), {"gain": 60.0}, steps=50, points=points))
    run = trained(CONFLICT["insulated_line"](True), steps=50, points=points)
    found = pinntk.diagnose(run)[0]
    assert (found.code, found.severity) == ("conflict", "critical")
    assert found.evidence["contradiction"] > 0.5


def test_zero_is_a_trivial_solution_unless_it_is_the_only_one():
    points = {"residual": 20, "boundary": 2}
    run = trained(TRIVIAL["schroedinger"](True), steps=20, points=points)
    assert codes(run)[0] == "trivial-solution"

    def level(y_x):
        return y_x

    box = Box(x=(0, 1))
    only = Problem(box, [residual(box)(level), value(box.at(x=0), 0.0, "y")], "y")
    assert "trivial-solution" not in codes(fresh(only), only, only.sample(residual=20, boundary=1))


def test_conditions_without_weight_do_not_count():
    problem = CONFLICT["two_values"](True)
    points, network = problem.sample(residual=60, boundary=20, method="sobol"), fresh(CONFLICT["two_values"](True))
    weights = dict.fromkeys(problem.names, 1.0)
    assert "conflict" in codes(network, problem, points, weights)
    assert "conflict" not in codes(network, problem, points, weights | {"second": 0.0})


def test_a_free_pressure_is_a_note_at_the_end_and_the_texts_say_so():
    problem = stokes(exact=lambda x, y: (0 * x, 0 * x, x * y + 1e4))  # it need not be one for this
    x = pinntk.examine(fresh(problem), problem, problem.sample(residual=80, boundary=20))
    found = pinntk.diagnose(x)
    assert (found[-1].code, found[-1].severity) == ("gauge", "note")
    assert found[-1].sentence.endswith("Errors are measured up to a constant of p.")
    said = diagnosis(x, found)
    assert said["up_to"] == "up to a constant of p"
    assert f"relative L2 error {number(x.relative_error)} up to a constant of p" in text(said).replace("\n", " ")


def test_estimates_do_not_depend_on_a_free_constant():
    problem = stokes()
    points = problem.sample(residual=40, boundary=20, dtype=torch.float64)
    network = pinntk.nn.MLP(problem, width=12, depth=1, dtype=torch.float64)
    found = estimate(network, problem, points)
    with torch.no_grad():
        network.dense.biases[-1][2] += 1e3
    moved = estimate(network, problem, points)
    assert moved.relative == pytest.approx(found.relative, rel=1e-6)
    assert moved.size == pytest.approx(found.size, rel=1e-6) and moved.parts == pytest.approx(found.parts, rel=1e-6)
    assert float(moved.change[:, 2].mean()) == pytest.approx(0, abs=1e-9)
    with torch.no_grad():
        network.dense.biases[-1][0] += 1e3  # u is determined
    assert estimate(network, problem, points).relative != pytest.approx(found.relative, rel=0.1)


@pytest.mark.slow
def test_a_corner_is_the_cause_where_the_errors_lie_beside_it():
    box = Box(t=(0, 1), x=(0, 1))

    @residual(box)
    def heat(u_t, u_xx):
        return u_t - 0.1 * u_xx

    @initial(box.at(t=0))
    def start(u):
        return u - 1

    @boundary(box.ends("x"))
    def walls(u):
        return u

    problem = Problem(box, [heat, start, walls])
    points = {"residual": 200, "initial": 40, "boundary": 60}
    run = trained(problem, steps=15, points=points, optimizer="gauss-newton", lr=None)
    first = pinntk.diagnose(run)[0]
    assert (first.code, first.evidence["corner_gap"]) == ("conflict", 1)
    assert "disagree where they meet, at t = 0, x = 0" in first.sentence
    assert _share_beside(pinntk.examine(run), corners(problem, problem.names)[0]) > 0.6  # of two strips, a fifth of the domain


def test_a_jump_in_a_corner_does_not_explain_a_field_that_is_wrong_everywhere():
    """Two conditions jump in a corner of a problem that has hardly been trained: another cause is named."""
    box = Box(x=(0, 1), y=(0, 1))

    @residual(box)
    def laplace(lap_u):
        return lap_u

    @boundary(box.at(y=1))
    def lid(u):
        return u - 1

    @boundary(box.ends("x") | box.at(y=0))
    def walls(u):
        return u

    problem = Problem(box, [laplace, lid, walls])
    run = trained(problem, steps=60, points={"residual": 100, "boundary": 40}, lr=2e-4)
    examined = pinntk.examine(run)
    assert _share_beside(examined, corners(problem, problem.names)[0]) < 0.5
    found = pinntk.diagnose(examined)
    assert {finding.code: finding.severity for finding in found}["conflict"] == "warning"
    assert found[0].code != "conflict"


def test_a_network_that_meets_its_boundary_does_so_with_whatever_parameters_it_has():
    """Trained ones may have a kernel of short waves only, which leaves the field open between the points."""
    domain = Box(x=(0, 1))

    @residual(domain)
    def poisson(u_xx):
        return u_xx + 1

    problem = Problem(domain, [poisson])
    inner = pinntk.nn.MLP(problem, width=30, depth=2, activation="sin", dtype=torch.float64)
    with torch.no_grad():
        for weight in (p for p in inner.parameters() if p.ndim > 1):
            weight.mul_(30)
    points = problem.sample(method="sobol", dtype=torch.float64)
    for factor, is_open in ((lambda x: x * (1 - x), False), (lambda x: 1 + x, True)):
        network = pinntk.nn.HardConstraint(problem, inner, factor=factor)
        assert pinntk.diagnostics.undetermined(network, problem, points)["u"].rate < 0.5
        assert ("wrong-problem" in [found.code for found in pinntk.check(problem, network)]) == is_open
