"""The points of wrapped functions: given, drawn, all of them at once, and in what form."""

from __future__ import annotations

import pytest
import torch

import pinntk
from pinntk.residuals import ForeignError
from tests.integrations.wrapped import Columns, X, _Joined, burgers, gradient, sequential, stokes
from tests.support import reference


def test_coordinates_are_named_by_the_function_or_the_domain():
    case = burgers()
    _, problem, points = pinntk.wrap(case.model, case.conditions, **case.options)
    assert problem.coordinates == ("x", "t") and problem.domain.bounds[1][0] == pytest.approx(
        min(float(case.conditions[name][1][1].min()) for name in case.conditions)
    )
    assert torch.equal(points["f"], torch.cat(case.conditions["f"][1], 1).detach())
    case = stokes()
    _, problem, points = pinntk.wrap(case.model, case.conditions, fields=("u", "v", "p"))
    assert problem.coordinates == ("x1", "x2") and points["ns[0]"] is points["ns[2]"]
    _, problem, _ = pinntk.wrap(case.model, case.conditions)
    assert problem.fields == ("u1", "u2", "u3")


def test_residuals_have_fresh_points_in_a_domain_that_is_given():
    case = stokes()
    _, problem, points = pinntk.wrap(case.model, case.conditions, **case.options)
    assert problem["ns[0]"].region == problem.domain and problem["wall[0]"].region.given is not None
    assert problem.sample({"ns[0]": 40})["ns[0]"].shape == (40, 2)
    assert points["ns[0]"].shape == (15, 2)


@pytest.mark.parametrize("columns", [True, False])
def test_regions_are_drawn_from(columns):
    model, domain = Columns().double(), pinntk.Box(x=(0, 1), t=(0, 1))

    def by_columns(x, t):
        return gradient(model(x, t), t)

    def by_points(p):
        return gradient(model(p[:, :1], p[:, 1:]), p)[:, 1]

    function = by_columns if columns else by_points
    given = {"pde": (function, domain, "residual"), "start": (lambda x, t: model(x, t) - x, domain.at(t=0), "initial")}
    network, problem, points = pinntk.wrap(model, given)
    assert points["pde"].shape == (1000, 2) and bool((points["start"][:, 1] == 0).all())
    expected = reference.derivative(_Joined(model), points["pde"].double(), 0, (0, 1))
    assert reference.relative(pinntk.errors(network, problem, points)["pde"], expected) < 1e-12


def test_functions_of_all_their_points_are_known_at_those_only():
    case = burgers()
    network, problem, points = pinntk.wrap(case.model, case.conditions, **case.options)
    assert problem["sensors"].columns and not problem["f"].columns
    for wrong in (points["sensors"] + 0.5, points["sensors"] + 100.0, points["sensors"] * torch.tensor([2.0, 1.0, 1.0])):
        with pytest.raises(ForeignError, match="knows those only"):
            problem["sensors"].errors(network, wrong)


def test_points_of_its_own_are_said_to_be_taken_for_those_given():
    model = sequential(1)
    x = torch.linspace(0, 1, 5).unsqueeze(1)
    with pytest.warns(UserWarning, match="'start' does not use the points that it is called with"):
        network, problem, points = pinntk.wrap(model, {"start": (lambda p: model(x.to(p)), x, "initial")})
    assert torch.equal(pinntk.errors(network, problem, points)["start"], model(x).squeeze(1))


def test_a_sum_over_all_points_is_an_error_of_all_of_them():
    model = sequential(1).double()
    x = torch.linspace(0, 1, 6, dtype=torch.float64).unsqueeze(1)
    network, problem, points = pinntk.wrap(model, {"mean": (lambda x: model(x) - model(x).mean(), x, "residual")})
    J = reference.rows((model(x) - model(x).mean()).flatten(), dict(network.named_parameters()))
    assert reference.relative(pinntk.kernel(network, problem, points).values, J @ J.T) < 1e-12


@pytest.mark.parametrize("unit", [1.0, 1e-4])
def test_functions_that_need_all_their_points_are_known_in_small_units(unit):
    model = sequential(1)
    points = pinntk.wrap(model, {"pde": (lambda x: unit * (model(x) - model(x).mean()), X, "residual")})[2]
    apart = pinntk.wrap(model, {"pde": (lambda x: unit * model(x), X, "residual")})[2]
    assert points["pde"].shape[1] == apart["pde"].shape[1] + 1


def test_coordinates_in_another_order_than_the_arguments_are_refused():
    model, x, t = Columns(), torch.rand(9, 1), torch.rand(9, 1)
    conditions = {"start": (lambda x, t: model(x, t) - x, (x, 0 * t), "initial")}
    box = pinntk.Box(t=(0, 1), x=(0, 1))
    with pytest.raises(ValueError, match=r"'start'\]: its function takes \(x, t\), and the coordinates are \(t, x\)"):
        pinntk.wrap(model, conditions, domain=box)
    swapped = {"start": (lambda t, x: model(x, t) - x, (0 * t, x), "initial")}
    with pytest.raises(ValueError, match=r"the model takes \(x, t\), and the coordinates are \(t, x\)"):
        pinntk.wrap(model, swapped, domain=box)
    network, _, _ = pinntk.wrap(model, swapped, domain=box, output=lambda t, x: model(x, t))
    assert torch.equal(network(torch.cat([t, x], 1)), model(x, t))
    joined = _Joined(model)
    start = torch.cat([x, 0 * t], 1)
    with pytest.warns(UserWarning, match=r"'start'\] is initial, and its points have several t and one x"):
        pinntk.wrap(joined, {"start": (lambda p: joined(p) - p[:, :1], start, "initial")}, domain=box)


def test_points_that_the_function_stored_are_named_as_the_cause():
    model, stored = sequential(1), X.clone().requires_grad_()
    with pytest.raises(ForeignError, match=r"compute and differentiate with the points that it is called with$"):
        pinntk.wrap(model, {"pde": (lambda z: gradient(model(z), stored), X, "residual")})
    with pytest.raises(TypeError, match=r"its function takes no arguments; let it take the points, as in f\(x\)"):
        pinntk.wrap(model, {"pde": (lambda: gradient(model(stored), stored), X, "residual")})
    with pytest.warns(UserWarning, match="use(s)? .*the place of stored ones") as caught:
        pinntk.wrap(model, {"pde": (lambda z: gradient(model(stored), stored), X, "residual")})
    assert ["Use the points that it is called with in the place of stored ones" in str(one.message) for one in caught] == [
        False,
        True,
    ]


def test_points_of_other_forms_say_how_to_make_columns():
    model = sequential(1)
    with pytest.raises(ForeignError, match=r"give columns, by x.unsqueeze\(1\)"):
        pinntk.wrap(model, {"pde": (model, X.squeeze(1), "residual")})
    for points in (X.numpy(), (X.numpy(), X.numpy())):
        with pytest.raises(TypeError, match=r"torch.from_numpy\(points\).float\(\)"):
            pinntk.wrap(model, {"pde": (model, points, "residual")})
