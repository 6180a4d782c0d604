"""What `pinntk.wrap` refuses, and what it says."""

from __future__ import annotations

import re

import pytest
import torch
from torch import nn

import pinntk
from pinntk.residuals import ForeignError
from tests.integrations.wrapped import X, sequential, wrap_function


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
        wrap_function(sequential(1), function)


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
