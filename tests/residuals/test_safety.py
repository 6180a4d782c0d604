"""What users do to themselves: in-place code, mixing, foreign exceptions, and names that mislead must not pass silently."""

import math
from functools import partial

import numpy as np
import pytest
import torch

import pinntk
from pinntk import Box, DependentPointsError, KernelOperator, Problem, boundary, residual, weighting
from tests.support import reference
from tests.support.networks import build

LINE, SQUARE = Box(x=(0, 1)), Box(t=(0, 1), x=(0, 1))
POINTS = {"equation": torch.tensor([[0.3, 0.2], [0.7, 0.4], [0.1, 0.9]], dtype=torch.float64)}


def problem_of(operator, domain=SQUARE, **settings):
    operator.__name__ = "equation"
    return Problem(domain, [residual(domain)(operator)], **settings)


class LayerNormed(torch.nn.Module):
    """Layer normalization and an operation without a Taylor rule, so that derivatives come from autograd alone."""

    def __init__(self):
        super().__init__()
        self.first, self.norm, self.last = torch.nn.Linear(2, 6), torch.nn.LayerNorm(6), torch.nn.Bilinear(6, 6, 1)

    def forward(self, x):
        y = self.normalized(torch.tanh(self.first(x)))
        return self.last(y, y)

    def normalized(self, y):
        return self.norm(y)


class LayerNormedByHand(LayerNormed):
    def normalized(self, y):
        y = y - y.mean(-1, keepdim=True)
        return y * (y.square().mean(-1, keepdim=True) + self.norm.eps) ** -0.5 * self.norm.weight + self.norm.bias


@pytest.mark.filterwarnings("ignore:.*has no Taylor rule")
def test_the_fallback_does_not_use_torchs_layer_norm():
    """Third derivatives of torch 2.13's own are wrong."""
    torch.manual_seed(0)
    networks = LayerNormed().double(), LayerNormedByHand().double()
    networks[1].load_state_dict(networks[0].state_dict())
    problem = problem_of(lambda u_xx, u_t: u_xx + u_t)
    normed, by_hand = (pinntk.kernel(network, problem, POINTS).matrix() for network in networks)
    assert reference.relative(normed, by_hand) < 1e-12
    losses = [pinntk.errors(network, problem, POINTS)["equation"].square().mean() for network in networks]
    gradients = [torch.autograd.grad(loss, network.first.weight)[0] for loss, network in zip(losses, networks, strict=True)]
    assert reference.relative(*gradients) < 1e-12


def test_an_operator_that_works_in_place_harms_nobody():
    @residual(SQUARE)
    def first(u, u_x, x):
        u += u_x
        x += 1
        return u * x

    @residual(SQUARE)
    def second(u, x):
        return u * x

    problem, network = Problem(SQUARE, [first, second]), build("plain", 2)
    points = problem.sample(residual=4, dtype=torch.float64)
    before = points["first"].clone()
    together = pinntk.errors(network, problem, points)
    assert torch.equal(points["first"], before)
    assert torch.allclose(together["second"], pinntk.errors(network, problem, {"second": before})["second"], rtol=1e-12)


class Doubling(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = build("plain", 2)

    def forward(self, x):
        x *= 2
        return self.inner(x)


def test_a_network_that_works_in_place_harms_nobody():
    problem, network = pinntk.load("helmholtz2d"), Doubling()
    assert problem.relative_error(network) == problem.relative_error(network)
    points = problem.sample(residual=4, boundary=3, dtype=torch.float64)
    before = points["walls"].clone()
    pinntk.kernel(network, problem, points)
    assert torch.equal(points["walls"], before)


@pytest.mark.parametrize("alias", [lambda h: h.double(), lambda h: h.contiguous(), lambda h: h**1])
def test_in_place_changes_reach_the_aliases_that_torch_has(alias):
    class Aliased(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.last = build("plain", 2, 3), build("plain", 3)

        def forward(self, x):
            h = self.first(x)
            kept, h = h, alias(h)
            h += 1
            return self.last(torch.tanh(kept) + torch.sin(h))

    problem, network = problem_of(lambda u_x, u_t: u_x * u_t), Aliased()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("warnings.warn", lambda *_, **__: None)  # falling back is fine, a wrong value is not
        found = pinntk.kernel(network, problem, POINTS).matrix()
    assert reference.relative(found, reference.kernel(network, problem, POINTS)) < 1e-12


def test_modules_that_are_part_of_a_network_twice_are_left_as_they_were():
    """torch.func.functional_call leaves a copy's tensors in them."""

    class Twice(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second, self.last = torch.nn.Linear(1, 8), torch.nn.Linear(8, 8), torch.nn.Linear(8, 1)
            self.again = self.second

        def forward(self, x):
            return self.last(torch.tanh(self.again(torch.tanh(self.second(torch.tanh(self.first(x)))))))

    problem, network = pinntk.load("poisson1d"), Twice()
    before = dict(network.named_parameters(remove_duplicate=False))
    K = pinntk.kernel(network, problem, problem.sample(residual=6, boundary=2))
    after = dict(network.named_parameters(remove_duplicate=False))
    assert all(after[name] is p and p.dtype == torch.float32 for name, p in before.items())
    points = problem.sample(residual=6, boundary=2, dtype=torch.float64)
    assert reference.relative(K.values, reference.kernel(network.double(), problem, points)) < 1e-5


def test_an_operator_that_mixes_boundary_points_is_found():
    @boundary(LINE.ends("x"))
    def ends(u):
        return u - u.mean()

    problem = Problem(LINE, [ends])
    with pytest.raises(DependentPointsError, match="condition 'ends'"):
        pinntk.kernel(build("plain", 1), problem, problem.sample(boundary=6, dtype=torch.float64))


def test_no_grad_inside_a_network_is_not_followed_silently():
    class Cut(Doubling):
        def forward(self, x):
            with torch.no_grad():
                y = x.sin()
            return self.inner(x) + y[:, :1]

    problem, network = problem_of(lambda u_x, u_t: u_x + u_t), Cut()
    with pytest.warns(UserWarning, match="no_grad"):
        found = pinntk.errors(network, problem, POINTS)["equation"]
    assert torch.allclose(found, pinntk.errors(network, problem, POINTS, "autograd")["equation"])


@pytest.mark.parametrize(
    ("operator", "message"),
    [
        (lambda u: np.sin(u), "Can't call numpy"),
        (lambda u: math.sin(u), "use torch.sin, not math or numpy"),
        (lambda u, x: u if x > 0 else -u, "torch.where, not if"),
        (lambda u: u + undefined, "NameError"),  # noqa: F821
        (lambda u: u / (1 // 0), "ZeroDivisionError"),
    ],
)
def test_an_operator_that_fails_is_named_with_its_line(operator, message):
    with pytest.raises(ValueError, match=r"condition 'equation' \(test_safety.py, line \d+\)") as caught:
        pinntk.errors(build("plain", 2), problem_of(operator), POINTS)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("def problem(:\n", "mine.py, line 1: invalid syntax"),
        ("import nowhere_to_be_found\n\n\ndef problem():\n    pass\n", "mine.py, line 1: ModuleNotFoundError"),
        ("import nowhere_to_be_found\n", "mine.py defines no function problem"),
        ("def problem():\n    return {}['a']\n", "mine.py, line 2: KeyError"),
        ("def problem(k):\n    return k\n", "mine needs a value for 'k'"),
    ],
)
def test_a_problem_file_that_fails_is_named_with_its_line(tmp_path, text, message):
    path = tmp_path / "mine.py"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        pinntk.load(path)


@pytest.mark.parametrize("field", ["u_x", "lap_u", "u_n"])
def test_a_field_that_reads_as_a_derivative_is_refused(field):
    with pytest.raises(ValueError, match=f"the name '{field}' reads as a derivative of 'u'"):
        problem_of(lambda u: u, fields=("u", field))


def test_weights_are_checked_alike_everywhere():
    problem = pinntk.load("poisson1d")
    network, points = pinntk.nn.MLP(problem, width=4, depth=1), problem.sample(boundary=2, residual=3)
    uses = KernelOperator, pinntk.kernel(network, problem, points).eigvalsh
    calls = [partial(uses[0], network, problem, points), uses[1]]
    for call in calls:
        for weights, message in (
            ({"ends": -1, "poisson": 1}, "weight ends=-1"),
            ({"ends": 1}, "missing"),
            ({"ends": 1, "poisson": 1, "walls": 1}, "no such conditions"),
        ):
            with pytest.raises(ValueError, match=message):
                call(weights=weights)


def test_ntk_weights_leave_a_hard_constraint_alone():
    with pytest.warns(UserWarning, match="does not depend on the parameters"):
        weights = weighting.NTK().rule({"a": 1.0, "b": 0.0}, {"a": 1, "b": 1})
    assert weights["b"] == 1.0


def test_ntk_weights_take_small_traces_at_their_word():
    assert weighting.NTK().rule({"a": 1.0, "b": 3e-17}, {"a": 1, "b": 1})["b"] == pytest.approx(1 / 3e-17)


@pytest.mark.parametrize("outputs", [1, 2])
def test_an_error_is_not_computed_from_a_wrong_shape(outputs):
    problem = pinntk.load("poisson1d")
    network = build("plain", 1, outputs)
    if outputs == 1:
        network.forward = lambda x, forward=network.forward: forward(x)[:, 0]
    with pytest.raises(ValueError, match="the network returned shape"):
        problem.relative_error(network)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda p, n: pinntk.train(n, p, steps=1),
            r"train\(MLP, Problem\): give a pinntk.Problem, .*, in this order",
        ),
        (lambda p, n: pinntk.kernel(p, n, {}), "the order is|expected a torch.nn.Module"),
        (lambda p, n: pinntk.train(p, n, steps=1, weighting=weighting.NTK), "give an object"),
        (lambda p, n: pinntk.train(p, n, steps=1, weighting="ntkk"), "weighting='ntkk' is unknown"),
        (lambda p, n: pinntk.train(p, n, steps=1, points=10), "points=int: give counts"),
        (lambda p, n: pinntk.train(p, n, steps=1, optimizer=torch.optim.SGD(n.parameters())), "give its name, or a factory"),
        (lambda p, n: pinntk.train(p, n, steps=1, decay=-1), "decay=-1"),
        (lambda p, n: pinntk.kernel(n, p, p.sample(), dtype="float64"), "dtype=float64"),
    ],
)
def test_calls_that_mean_something_else(call, message):
    problem = pinntk.load("poisson1d")
    with pytest.raises((TypeError, ValueError), match=message):
        call(problem, pinntk.nn.MLP(problem, width=3, depth=1))
