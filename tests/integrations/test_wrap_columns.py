"""What wrapped functions return: equations in columns, broadcasts and squares."""

from __future__ import annotations

import warnings

import pytest
import torch
from torch import Tensor, nn

import pinntk
from pinntk.residuals import ForeignError
from tests.integrations.wrapped import X, gradient, sequential, wrap_function


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
        wrap_function(sequential(1), function, torch.linspace(0, 1, n).unsqueeze(1))


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
        wrap_function(sequential(1), lambda m, x: m(x) - torch.tensor([1.0, 2.0]).to(x))


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
        wrap_function(sequential(1), function)
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
