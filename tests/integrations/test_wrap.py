"""`pinntk.wrap`: models and losses as people write them, beside the same problem in pinntk's operators."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import pinntk
from pinntk.residuals import ForeignError
from tests.support import reference


def gradient(value: Tensor, x: Tensor) -> Tensor:
    return torch.autograd.grad(value, x, grad_outputs=torch.ones_like(value), create_graph=True)[0]


class Columns(nn.Module):
    """A model of two columns, as in many public repositories; its scale is no parameter."""

    def __init__(self, outputs: int = 1):
        super().__init__()
        self.hidden1, self.hidden2 = nn.Linear(2, 10), nn.Linear(10, 10)
        self.out = nn.Linear(10, outputs)
        self.register_buffer("scale", torch.tensor([1.0, 2.0]))

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        inputs = torch.cat([x, t], dim=1) / self.scale
        return self.out(torch.tanh(self.hidden2(torch.tanh(self.hidden1(inputs)))))


def sequential(inputs: int, outputs: int = 1) -> nn.Module:
    return nn.Sequential(nn.Linear(inputs, 10), nn.Tanh(), nn.Linear(10, 10), nn.Tanh(), nn.Linear(10, outputs))


@dataclass
class Case:
    """What `wrap` is called with; own: the same in pinntk; names: of its conditions beside those of `wrap`."""

    model: nn.Module
    conditions: dict
    own: pinntk.Problem
    names: dict[str, str]
    options: dict


def burgers() -> Case:
    """Columns, a function of (x, t), an unknown viscosity, measured values in a closure."""
    model, domain = Columns().double(), pinntk.Box(x=(-1, 1), t=(0, 1))
    nu = nn.Parameter(torch.tensor([0.3], dtype=torch.float64))
    x, t = (2 * torch.rand(23, 1, dtype=torch.float64) - 1).requires_grad_(), torch.rand(23, 1, dtype=torch.float64)
    xd, td = 2 * torch.rand(9, 1, dtype=torch.float64) - 1, torch.rand(9, 1, dtype=torch.float64)
    seen = torch.sin(xd) * td

    def f(x, t):
        u = model(x, t)
        u_t, u_x = gradient(u, t), gradient(u, x)
        return u_t + u * u_x - nu * gradient(u_x, x)

    def sensors(x, t):
        return model(x, t) - seen

    @pinntk.residual(domain)
    def equation(u, u_t, u_x, u_xx, nu):
        return u_t + u * u_x - nu * u_xx

    @pinntk.data(domain, torch.cat([xd, td], 1), seen=seen.flatten())
    def measured(u, seen):
        return u - seen

    own = pinntk.Problem(domain, [equation, measured], coefficients={"nu": nu})
    conditions = {"f": (f, (x, t), "residual"), "sensors": (sensors, (xd, td), "data")}
    return Case(model, conditions, own, {"f": "equation", "sensors": "measured"}, {"coefficients": {"nu": nu}})


def stokes() -> Case:
    """(n, d) points, equations as a tuple, pressure by its gradient, walls and a point."""
    model, domain = sequential(2, 3).double(), pinntk.Box(x=(0, 1), y=(0, 1))
    inside = torch.rand(15, 2, dtype=torch.float64)
    wall = torch.cat([torch.rand(6, 1, dtype=torch.float64), torch.zeros(6, 1, dtype=torch.float64)], 1)

    def equations(xy):
        u, v, p = model(xy).split(1, dim=1)
        du, dv, dp = gradient(u, xy), gradient(v, xy), gradient(p, xy)
        lap_u = gradient(du[:, 0:1], xy)[:, 0:1] + gradient(du[:, 1:2], xy)[:, 1:2]
        lap_v = gradient(dv[:, 0:1], xy)[:, 0:1] + gradient(dv[:, 1:2], xy)[:, 1:2]
        return dp[:, 0] - lap_u.squeeze(1), dp[:, 1:2] - lap_v, du[:, 0] + dv[:, 1]

    def no_slip(xy):
        return model(xy)[:, :2]

    @pinntk.residual(domain)
    def first(p_x, lap_u):
        return p_x - lap_u

    @pinntk.residual(domain)
    def second(p_y, lap_v):
        return p_y - lap_v

    @pinntk.residual(domain)
    def mass(u_x, v_y):
        return u_x + v_y

    @pinntk.boundary(domain.at(y=0))
    def wall_u(u):
        return u

    @pinntk.boundary(domain.at(y=0))
    def wall_v(v):
        return v

    own = pinntk.Problem(domain, [first, second, mass, wall_u, wall_v], fields=("u", "v", "p"))
    conditions = {"ns": (equations, inside, "residual"), "wall": (no_slip, wall, "boundary")}
    names = {"ns[0]": "first", "ns[1]": "second", "ns[2]": "mass", "wall[0]": "wall_u", "wall[1]": "wall_v"}
    return Case(model, conditions, own, names, {"fields": ("u", "v", "p"), "domain": domain})


def transformed() -> Case:
    """A solution that is not the model's output, and the derivative of it that a chain rule in the function gives."""
    model, domain = sequential(1).double(), pinntk.Box(x=(0, 2))
    x = torch.linspace(0, 2, 11, dtype=torch.float64)

    def solution(x):
        return x * (2 - x) * model(x.unsqueeze(1)).squeeze(1)

    def ode(x):
        u = solution(x)
        return gradient(gradient(u, x), x) + u**3

    class Solution(nn.Module):
        def __init__(self):
            super().__init__()
            self.model = model

        def forward(self, x):
            return x * (2 - x) * self.model(x)

    @pinntk.residual(domain)
    def cubic(u, u_xx):
        return u_xx + u**3

    own = pinntk.Problem(domain, [cubic])
    own_network = Solution()
    case = Case(model, {"ode": (ode, x, "residual")}, own, {"ode": "cubic"}, {"output": solution})
    case.own_network = own_network
    return case


CASES: dict[str, Callable[[], Case]] = {"burgers": burgers, "stokes": stokes, "transformed": transformed}


@pytest.fixture(params=CASES)
def case(request) -> Case:
    torch.manual_seed(0)
    return CASES[request.param]()


def own_network(case: Case) -> nn.Module:
    """The case's model as a network in plain form."""
    if hasattr(case, "own_network"):
        return case.own_network
    if isinstance(case.model, Columns):
        return _Joined(case.model)
    return case.model


class _Joined(nn.Module):
    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, points):
        return self.model(points[:, :1], points[:, 1:])


def own_points(case: Case, points) -> dict[str, Tensor]:
    """What was given, with the measured columns of pinntk in the place of row numbers."""
    d, found = case.own.domain.dimension, {}
    for name, rows in points.items():
        own = case.own[case.names[name]]
        given = torch.as_tensor(own.region.rows).to(rows) if own.columns else rows[:, :d]
        found[case.names[name]] = given
    return found


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


def test_a_training_that_went_wrong_is_rescued_on_a_copy_of_the_model():
    torch.manual_seed(0)
    model = sequential(1)
    x, ends = torch.linspace(0, 1, 30).unsqueeze(1), torch.tensor([[0.0], [1.0]])
    conditions = {"pde": (lambda x: gradient(gradient(model(x), x), x) + torch.pi**2 * torch.sin(torch.pi * x), x, "residual")}
    conditions["ends"] = (model, ends, "boundary")
    network, problem, points = pinntk.wrap(model, conditions, exact=lambda x: torch.sin(torch.pi * x))
    run = pinntk.train(problem, network, points=points, steps=100, lr=1e-6, progress=False)
    before = deepcopy(model.state_dict())
    found = pinntk.rescue(run, rounds=2, progress=False)
    assert found.score_before > 0.1 > 0.01 > found.score_after, str(found)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    model.load_state_dict(found.after.network.model.float().state_dict())
    assert problem.relative_error(network) == pytest.approx(found.score_after, rel=0.1)


def test_a_loop_that_was_recorded_is_rescued_and_one_with_coefficients_says_what_to_type():
    torch.manual_seed(0)
    model = sequential(1)
    conditions = {"pde": (lambda x: gradient(model(x), x) + model(x), X, "residual")}
    conditions["start"] = (lambda x: model(x) - 1, X[:1], "initial")
    run = _recorded(model, *pinntk.wrap(model, conditions, exact=lambda x: torch.exp(-x)))
    solve = pinntk.Prescription("solve", {"training.optimizer": "gauss-newton", "training.steps": 10})
    found = pinntk.rescue(run, prescription=solve, findings=[], progress=False)
    assert found.score_before > 0.1 > 1e-2 > found.score_after, str(found)
    case = burgers()
    run = _recorded(case.model, *pinntk.wrap(case.model, case.conditions, **case.options))
    call = r'pinntk.train\(problem, network, points=points, optimizer="gauss-newton", steps=10\)$'
    with pytest.raises(ValueError, match=f"the coefficients nu are the parameters that the run has trained.*: {call}"):
        pinntk.rescue(run, prescription=solve, findings=[], progress=False)


def _recorded(model: nn.Module, network: nn.Module, problem: pinntk.Problem, points: dict[str, Tensor]) -> pinntk.Run:
    """Two steps in a loop of someone's own."""
    adam = torch.optim.Adam(model.parameters())
    with pinntk.Recorder(problem, network, points, optimizer=adam) as recorder:
        for step in range(2):
            adam.zero_grad()
            sum(e.square().mean() for e in pinntk.errors(network, problem, points).values()).backward()
            adam.step()
            recorder.log(step)
    return recorder.run


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


# Points.


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


# What is refused, and said.

X = torch.linspace(0, 1, 6).unsqueeze(1)


def _with(model: nn.Module, function: Callable, points=X, **options):
    return pinntk.wrap(model, {"pde": (partial(function, model), points, "residual")}, **options)


class NoModule:
    def __init__(self):
        self.net = sequential(1)


@pytest.mark.parametrize(
    ("function", "error", "message"),
    [
        (lambda m, x: (m(x) ** 2).mean(), ForeignError, "returned one number for 6 points; return the errors themselves"),
        (lambda m, x: m(x)[:3], ForeignError, r"returned shape \(3, 1\) for 6 points"),
        (lambda m, x: m(x).detach(), ForeignError, "depend on no parameter of the model"),
        (lambda m, x: x * 2, ForeignError, "depend on no parameter of the model"),
        (lambda m, x: m(x).detach().numpy(), ForeignError, "returned a ndarray"),
        (lambda m, x: 1 / 0, ForeignError, r"called with 1 tensor\(s\) of shape \(6, 1\) in torch.float32, failed: ZeroDiv"),
        (lambda m, x: m(x) + torch.randn(1), pinntk.DependentPointsError, "something in it is random"),
        (lambda m, x: m(x) > 0, ForeignError, "returned torch.bool, which has no derivative"),
        (lambda m, x: (), ForeignError, "returned no errors"),
    ],
)
def test_functions_that_give_no_errors_are_refused(function, error, message):
    with pytest.raises(error, match=message):
        _with(sequential(1), function)


@pytest.mark.parametrize(
    ("model", "error", "message"),
    [
        (nn.Sequential(nn.Linear(1, 4), nn.Dropout(0.1), nn.Linear(4, 1)), pinntk.DependentPointsError, "'1' is dropout"),
        (nn.Sequential(nn.Linear(1, 4), nn.BatchNorm1d(4), nn.Linear(4, 1)), pinntk.DependentPointsError, "batch statistics"),
        (sequential(1).half(), ValueError, "torch.float16, which leaves nothing of derivatives; wrap model.float"),
        (nn.DataParallel(sequential(1)), TypeError, "give model.module"),
        (NoModule(), TypeError, r"give the torch.nn.Module inside of it, its .net"),
        (nn.Sequential(nn.LazyLinear(3)), ValueError, "has no shape yet; call the model once"),
        (sequential(1).requires_grad_(False), ValueError, "no parameter with requires_grad=True"),
    ],
)
def test_models_that_cannot_be_wrapped_are_refused(model, error, message):
    with pytest.raises(error, match=message):
        pinntk.wrap(model, {"pde": (lambda x: model(x), X, "residual")})


def test_dropout_that_is_off_is_none():
    network = nn.Sequential(nn.Linear(1, 4), nn.Dropout(0.5), nn.Linear(4, 1)).eval()
    assert len(pinntk.wrap(network, {"pde": (network, X, "residual")})) == 3


@pytest.mark.parametrize("unit", [1.0, 1e-4, 1e-9])
def test_parameters_that_are_read_past_the_model_are_refused(unit):
    model = nn.Linear(1, 1)
    weight, bias = model.weight, model.bias
    with pytest.raises(ForeignError, match="reads parameters past the model"):
        pinntk.wrap(model, {"pde": (lambda x: unit * torch.tanh(x @ weight.T + bias), X, "residual")})


@pytest.mark.parametrize("unit", [1.0, 1e-4])
def test_functions_that_need_all_their_points_are_known_in_small_units(unit):
    model = sequential(1)
    points = pinntk.wrap(model, {"pde": (lambda x: unit * (model(x) - model(x).mean()), X, "residual")})[2]
    apart = pinntk.wrap(model, {"pde": (lambda x: unit * model(x), X, "residual")})[2]
    assert points["pde"].shape[1] == apart["pde"].shape[1] + 1


def test_a_function_that_is_single_precision_only_is_said_to_be():
    model, fixed = sequential(2), torch.ones(1, 2)
    with pytest.warns(UserWarning, match="diagnose needs float64, and there condition 'pde'.*must be in that dtype as well"):
        network, problem, points = pinntk.wrap(model, {"pde": (lambda x: model(x @ fixed), X, "residual")}, output=lambda x: x)
    assert pinntk.kernel(network, problem, points).sizes == (6,)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"conditions": {"pde": (nn.Identity(), X)}}, TypeError, r"expected \(function, points, kind\)"),
        ({"conditions": {"pde": (nn.Identity(), X, "pde")}}, ValueError, "kind='pde'; one of"),
        ({"conditions": {"pde": (nn.Identity(), [0.0, 1.0], "residual")}}, TypeError, "points are a list; expected a tensor"),
        ({"conditions": {"pde": (nn.Identity(), X.long(), "residual")}}, ValueError, "floating-point numbers"),
        ({"conditions": {"pde": (nn.Identity(), X * float("nan"), "residual")}}, ValueError, "NaN or infinity in row 0"),
        ({"conditions": {"pde": (nn.Identity(), (X, X[:2]), "residual")}}, ValueError, "with one n"),
        ({"conditions": {}}, TypeError, "expected {name:"),
        ({"domain": (0, 1)}, TypeError, "domain is a tuple; give a pinntk.Box"),
        ({"domain": pinntk.Box(x=(0, 1), y=(0, 1))}, ValueError, "points have 1 columns, and the domain has 2"),
        ({"domain": pinntk.Box(x=(0, 0.5))}, ValueError, "row 3 is"),
        ({"coefficients": {"k": torch.tensor(1.0)}}, TypeError, "give the nn.Parameter that the functions close over"),
        ({"coefficients": {"k": nn.Parameter(torch.ones(2))}}, ValueError, "has 2 numbers; a coefficient is one"),
        ({"fields": ("u", "v")}, ValueError, "the model has 1 outputs"),
        ({"fields": ("x",)}, ValueError, "the name 'x' is taken twice"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(arguments, error, message):
    model = sequential(1)
    given = {"conditions": {"pde": (model, X, "residual")}, **arguments}
    with pytest.raises(error, match=message):
        pinntk.wrap(model, **given)


def _second_network(seed: int = 0):
    """u'(k u')' of two networks, and the functions in the way of a class and of a helper."""
    torch.manual_seed(seed)
    model, k = sequential(1).double(), sequential(1).double()

    def flux(x):
        return k(x) * gradient(model(x), x)

    return model, k, lambda x: gradient(flux(x), x)


def test_a_second_network_that_is_not_given_is_refused_by_name_and_known_in_the_model():
    model, k, pde = _second_network()
    x = X.double()
    message = r"'pde' depend on what .*: k, a Sequential \(6 parameters\)\. Wrap .*output= for the solution; detach what"
    with pytest.raises(ForeignError, match=message):
        pinntk.wrap(model, {"pde": (pde, x, "residual")})
    both = nn.ModuleDict({"u": model, "k": k})
    network, problem, points = pinntk.wrap(both, {"pde": (pde, x, "residual")}, output=lambda x: model(x))
    z = x.clone().requires_grad_()
    J = reference.rows(pde(z).flatten(), dict(both.named_parameters()))
    assert reference.relative(pinntk.kernel(network, problem, points).values, J @ J.T) < 1e-12
    k.requires_grad_(False)
    network, problem, points = pinntk.wrap(model, {"pde": (pde, x, "residual")})
    J = reference.rows(pde(z).flatten(), dict(model.named_parameters()))
    assert reference.relative(pinntk.kernel(network, problem, points).values, J @ J.T) < 1e-12


@pytest.mark.parametrize("shape", [(), (1,), (1, 1)])
@pytest.mark.parametrize("parameter", [True, False])
def test_an_unknown_number_that_is_not_declared_is_refused_by_name(shape, parameter):
    nu = nn.Parameter(torch.ones(shape)) if parameter else torch.ones(shape, requires_grad=True)

    class Held:
        def __init__(self):
            self.net, self.nu = sequential(1), nu

        def net_f(self, x):
            return gradient(self.net(x), x) - self.nu.reshape(()) * 10

    held = Held()
    with pytest.raises(
        ForeignError, match=r"leave it out: self.nu of shape \(.*\)\. Give unknown numbers as nn.Parameters in coeff"
    ):
        pinntk.wrap(held.net, {"pde": (held.net_f, X, "residual")})
    if parameter:
        pinntk.wrap(held.net, {"pde": (held.net_f, X, "residual")}, coefficients={"nu": nu})


def test_tensors_that_require_gradients_and_are_points_may_be_kept():
    model, right = sequential(1), torch.linspace(0, 1, 6).unsqueeze(1).requires_grad_()
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        pinntk.wrap(model, {"pair": (lambda x: model(x) - model(right.to(x)), X - 0.01, "periodic")})

    def weighted(x):
        nodes = torch.linspace(0, 1, 5, dtype=x.dtype).unsqueeze(1).requires_grad_()  # made at each call
        return model(x) - gradient(model(nodes), nodes).mean()

    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        pinntk.wrap(model, {"integral": (weighted, X, "residual")})
    matrix = torch.rand(2, 3, requires_grad=True)
    with pytest.warns(
        UserWarning, match=r"depend on matrix of shape \(2, 3\), which the model does not hold: taken for points"
    ):
        pinntk.wrap(model, {"pde": (lambda x: model(x) * matrix.to(x).sum(), X, "residual")})


@pytest.mark.parametrize("n", [3, 30])
@pytest.mark.parametrize(
    "function",
    [
        lambda m, x: m(x) - torch.linspace(0, 1, len(x)).to(x),
        lambda m, x: m(x) - target(x),
        lambda m, x: gradient(m(x), x)[:, 0] - m(x),
    ],
    ids=["target of its points", "target of all points", "two of one network"],
)
def test_an_n_1_that_meets_an_n_is_refused(function, n):
    with pytest.raises(
        ForeignError, match=rf"returned {n} errors for each of {n} points: an \(n, 1\) met an \(n,\).*unsqueeze"
    ):
        _with(sequential(1), function, torch.linspace(0, 1, n).unsqueeze(1))


def target(x: Tensor) -> Tensor:
    """Of all points, whatever is asked for, (n,)."""
    return torch.linspace(0, 1, 30 if len(x) > 10 else 3).to(x)


def test_as_many_equations_as_points_are_equations():
    model = sequential(1, 3)
    with torch.no_grad():
        model[-1].weight.zero_()
        model[-1].bias.zero_()  # errors that are all the same
    points = torch.linspace(0, 1, 3).unsqueeze(1)
    _, _, given = pinntk.wrap(model, {"walls": (model, points, "boundary")})
    assert list(given) == ["walls[0]", "walls[1]", "walls[2]"]
    with pytest.warns(UserWarning, match="returned 2 errors for each point that differ by numbers alone"):
        _with(sequential(1), lambda m, x: m(x) - torch.tensor([1.0, 2.0]).to(x))


@pytest.mark.parametrize(
    ("function", "squares"),
    [
        (lambda m, x: (gradient(m(x), x) - 1) ** 2, True),
        (lambda m, x: 0.5 * (gradient(m(x), x) - 1).square().squeeze(1), True),
        (lambda m, x: torch.nn.functional.mse_loss(m(x), x, reduction="none"), True),
        (lambda m, x: (u := m(x), u * u), True),
        (lambda m, x: gradient(m(x), x) ** 2 + m(x) ** 2, True),
        (lambda m, x: gradient(m(x), x) ** 2 - 1, False),
        (lambda m, x: m(x) ** 3, False),
        (lambda m, x: m(x) * gradient(m(x), x), False),
    ],
)
def test_squares_are_said_to_be_squared_again(function, squares):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        _with(sequential(1), function)
    assert ["returns squares" in str(one.message) for one in caught] == [True] * squares


def test_a_solution_that_is_a_square_is_an_error_all_the_same():
    class Positive(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = sequential(1)

        def forward(self, x):
            return self.net(x) ** 2

    model = Positive()
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        pinntk.wrap(model, {"walls": (lambda x: model(x), X, "boundary")})


def test_a_parameter_beside_the_network_that_is_wrapped_has_its_name():
    class Inverse(nn.Module):
        def __init__(self):
            super().__init__()
            self.net, self.nu, self.k = sequential(1), nn.Parameter(torch.tensor([0.1])), nn.Linear(1, 1)

        def f(self, x):
            return gradient(self.net(x), x) - self.nu * self.k(x)

    inverse = Inverse()
    with pytest.raises(
        ForeignError, match=r"leave it out: self\.k, a Linear \(2 parameters\); self\.nu of shape \(1,\)\. Wrap .*\. Give unk"
    ):
        pinntk.wrap(inverse.net, {"pde": (inverse.f, X, "residual")})
    assert len(pinntk.wrap(inverse, {"pde": (inverse.f, X, "residual")}, output=lambda x: inverse.net(x))) == 3


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


def test_a_coefficient_that_no_function_reads_is_named():
    model, nu = sequential(1), nn.Parameter(torch.tensor(0.1))
    with pytest.warns(UserWarning, match=r"coefficients\['nu'\] is read by no function"):
        pinntk.wrap(model, {"pde": (lambda x: model(x) - nu.item(), X, "residual")}, coefficients={"nu": nu})


def test_the_model_in_the_place_of_the_network_is_refused():
    model = sequential(1)
    _, problem, points = pinntk.wrap(model, {"pde": (lambda x: model(x), X, "residual")})
    with pytest.raises(
        pinntk.problem.ForeignNetworkError, match="a Sequential, which is only a part of it, was given: give the"
    ):
        pinntk.diagnose(model, problem, points)


def test_a_model_that_gives_no_field_needs_an_output():
    class Pair(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = sequential(1)

        def forward(self, x, scale):
            return {"u": scale * self.net(x)}

    class Named(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = sequential(1, 2)

        def forward(self, x):
            return dict(zip("up", self.net(x).split(1, 1), strict=True))

    model = Pair()
    conditions = {"pde": (lambda x: model(x, 2.0)["u"], X, "residual")}
    with pytest.raises(ValueError, match=re.escape("the model gives no real values (n, fields) at points (n, 1)")):
        pinntk.wrap(model, conditions)
    network, _, _ = pinntk.wrap(model, conditions, output=lambda x: model(x, 2.0)["u"])
    assert torch.equal(network(X), 2.0 * model.net(X))
    named = Named()
    network, _, _ = pinntk.wrap(named, {"pde": (lambda x: named(x)["p"], X, "residual")}, fields=("u", "p"))
    assert torch.equal(network(X), named.net(X))


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
