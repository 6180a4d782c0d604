"""Derivatives that are none: straight-through estimators, wrong backward passes, rules that disagree with autograd."""

import warnings

import pytest
import torch
from torch import nn

import pinntk
from pinntk import Box, Problem, residual
from pinntk.residuals import check_network
from pinntk.residuals._gradients import compare_operator
from pinntk.taylor._jet import RULES
from tests.support import reference
from tests.support.networks import build

BOX = Box(t=(0, 1), x=(-1, 1))
POINTS = {"equation": torch.tensor([[0.3, 0.2], [0.7, -0.4], [0.1, 0.9]], dtype=torch.float64)}


def problem_of(operator):
    operator.__name__ = "equation"
    return Problem(BOX, [residual(BOX)(operator)])


SECOND = problem_of(lambda u, u_xx: u + u_xx)


def warnings_of(network, problem=SECOND):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        check_network(network, problem, POINTS)
    return [str(warning.message) for warning in caught]


class StraightThrough(torch.autograd.Function):
    """round(2 x) / 2, with the gradient of x."""

    @staticmethod
    def forward(ctx, x):
        return (2 * x).round() / 2

    @staticmethod
    def backward(ctx, gradient):
        return gradient


class Twice(torch.autograd.Function):
    """sin(x), with twice its gradient."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.sin()

    @staticmethod
    def backward(ctx, gradient):
        (x,) = ctx.saved_tensors
        return 2 * gradient * x.cos()


class Right(Twice):
    @staticmethod
    def backward(ctx, gradient):
        (x,) = ctx.saved_tensors
        return gradient * x.cos()


class With(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.first, self.last, self.function = build("plain", 2, 6), build("plain", 6), function

    def forward(self, x):
        return self.last(self.function(self.first(x)))


class Quantized(nn.Module):
    """Weights rounded in the forward pass, their gradient passed on as if they were not."""

    def __init__(self):
        super().__init__()
        self.first, self.last = build("plain", 2, 6), nn.Parameter(torch.linspace(-1, 1, 6, dtype=torch.float64)[None])

    def forward(self, x):
        coarse = self.last + ((2 * self.last).round() / 2 - self.last).detach()
        return nn.functional.linear(self.first(x), coarse)


WRONG = "the gradient that autograd gives is not the derivative of the network's values"


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize(
    ("network", "expected"),
    [
        (lambda: With(StraightThrough.apply), ["coordinates", "parameters"]),
        (lambda: With(Twice.apply), ["coordinates", "parameters"]),
        (lambda: With(Right.apply), []),
        (Quantized, ["parameters"]),
        (lambda: With(lambda h: h.sin().detach() + h), ["coordinates", "parameters"]),
        (lambda: With(lambda h: h.cumsum(1)), []),
    ],
)
def test_gradients_are_compared_with_finite_differences(network, expected, dtype):
    network = network().to(dtype)
    texts = [text for text in warnings_of(network, problem_of(lambda u, u_x: u + u_x)) if WRONG in text]
    assert [f"direction of the {what}" in text for what, text in zip(expected, texts, strict=True)] == [True] * len(expected)
    assert not any(WRONG in text for text in warnings_of(network))  # said once, whatever the problem


def test_a_wrong_taylor_rule_is_named_and_not_used(monkeypatch):
    class Own(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.last = build("plain", 2, 6), build("plain", 6)

        def forward(self, x):
            return self.last(torch.erf(self.first(x)))

    right = RULES[torch.erf]
    network = Own()
    assert warnings_of(network) == []
    monkeypatch.setitem(RULES, torch.erf, lambda jet: right(jet) + 1e-6 * right(jet) * right(jet))
    network = Own()
    (text,) = warnings_of(network)
    assert text.startswith("condition 'equation': u by the Taylor engine and by nested autograd differ by")
    assert "nested reverse-mode autograd" in text
    found = pinntk.kernel(network, SECOND, POINTS).matrix()
    assert reference.relative(found, reference.kernel(network, SECOND, POINTS)) < 1e-12


class OnceOnly(torch.autograd.Function):
    """sin(x), whose gradient cannot be differentiated rightly: its own gradient is that of a constant."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.sin()

    @staticmethod
    def backward(ctx, gradient):
        (x,) = ctx.saved_tensors
        return gradient * x.cos().detach()


def test_a_wrong_second_backward_pass_leaves_the_taylor_engine_in_use():
    class Both(With):
        def forward(self, x):
            h = self.first(x)
            return self.last(OnceOnly.apply(h) if isinstance(h, torch.Tensor) else torch.sin(h))

    network = Both(None)
    (text,) = warnings_of(network)
    assert "u_xx by the Taylor engine and by nested autograd differ" in text
    assert "finite differences of the network's values confirm the Taylor engine" in text
    plain = With(torch.sin)
    plain.load_state_dict(network.state_dict())
    found, expected = (pinntk.errors(net, SECOND, POINTS)["equation"] for net in (network, plain))
    assert torch.allclose(found, expected, rtol=1e-12)


def test_a_slice_of_a_parameter_list_is_differentiated():
    """Which detaches all that is no nn.Parameter, so that functional_call with plain tensors would see no gradient."""

    class Sliced(nn.Module):
        def __init__(self):
            super().__init__()
            shapes = ((2, 6), (6, 6), (6, 1))
            matrices = [torch.linspace(-1, 1, m * n, dtype=torch.float64).view(m, n) for m, n in shapes]
            self.weights = nn.ParameterList(matrices)

        def forward(self, x):
            for weight in self.weights[:-1]:
                x = torch.tanh(x @ weight)
            return x @ self.weights[-1]

    assert warnings_of(Sliced()) == []


@pytest.mark.parametrize(
    ("operator", "wrong"),
    [
        (lambda u, u_xx: u_xx.detach() + u, True),
        (lambda u_t, u_x: u_t + torch.tensor(u_x.detach().numpy()), True),
        (lambda u, c: u + c * u.detach(), True),
        (lambda u, u_x, u_xx: u * u_x - 1e9 * u_xx, False),
        (lambda u_x: torch.relu(u_x).abs() + u_x.round() * 0, False),
        (lambda grad_u, lap_u, x: lap_u * x.detach() + grad_u.square().sum(1), False),
        (lambda u: u.log(), False),
    ],
)
def test_an_operator_that_keeps_its_gradient_back_is_named(operator, wrong):
    """Training would go by another error than the one that is reported."""
    operator.__name__ = "equation"
    names = operator.__code__.co_varnames
    problem = Problem(BOX, [residual(BOX)(operator)], coefficients={"c": 2.0} if "c" in names else {})
    rows = problem.sample(residual=4, seed=1)["equation"]
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        for _ in range(2):  # said once
            compare_operator(problem, "equation", rows)
    assert [str(one.message).partition(":")[0] for one in found] == ["condition 'equation'"] * wrong


def test_an_operator_that_cannot_be_compared_is_not_refused():
    """The comparison is in float64, on random numbers in place of fields, for which an operator need not be made."""
    table = torch.ones(1)  # float32, as the network

    def bounded(u):
        if not bool((u.abs() < 1e-3).all()):
            raise ValueError("no such temperature")
        return u

    network, rows = build("plain", 2).float(), {"equation": POINTS["equation"].float()}
    for operator in (lambda u, x: u - x[:, None].mv(table), lambda u: bounded(1e-3 * u)):
        problem = problem_of(operator)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            check_network(network, problem, rows)
