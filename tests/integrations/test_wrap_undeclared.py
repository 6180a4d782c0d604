"""Networks and numbers that wrapped functions read and nobody declared."""

from __future__ import annotations

import warnings

import pytest
import torch
from torch import nn

import pinntk
from pinntk.residuals import ForeignError
from tests.integrations.wrapped import X, gradient, sequential
from tests.support import reference


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
        pinntk.wrap(model, {"less its mean": (weighted, X, "residual")})
    matrix = torch.rand(2, 3, requires_grad=True)
    with pytest.warns(
        UserWarning, match=r"depend on matrix of shape \(2, 3\), which the model does not hold: taken for points"
    ):
        pinntk.wrap(model, {"pde": (lambda x: model(x) * matrix.to(x).sum(), X, "residual")})


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


def test_a_coefficient_that_no_function_reads_is_named():
    model, nu = sequential(1), nn.Parameter(torch.tensor(0.1))
    with pytest.warns(UserWarning, match=r"coefficients\['nu'\] is read by no function"):
        pinntk.wrap(model, {"pde": (lambda x: model(x) - nu.item(), X, "residual")}, coefficients={"nu": nu})
