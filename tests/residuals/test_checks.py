"""Checks of networks: random ones, changing ones, mixed points, errors without parameters. The network stays as it was."""

import warnings

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import pinntk
from pinntk import Box, DependentPointsError, Problem, boundary, integral, periodic, residual
from pinntk.residuals import check_network, errors
from pinntk.residuals._checks import _KeptErrors, check_operators
from tests.support.examples import EXAMPLES
from tests.support.networks import NETWORKS, build
from tests.support.registered import SOME, registered
from tests.support.sweeps import pairs

BOX = Box(t=(0, 1), x=(-1, 1))
ROWS = torch.tensor([[0.3, 0.2], [0.7, -0.4], [0.1, 0.9], [0.6, 0.5], [0.9, -0.8]], dtype=torch.float64)


def problem_of(operator, **settings):
    operator.__name__ = "equation"
    return Problem(BOX, [residual(BOX)(operator)], **settings)


def checked(network, operator=lambda u, u_x: u + u_x, rows=ROWS):
    check_network(network, problem_of(operator), {"equation": rows})


def warnings_of(call):
    """The warnings of a call."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        call()
    return [str(warning.message) for warning in caught]


class Around(nn.Module):
    """A network that does something more to what `inner` gives."""

    def __init__(self, more, **buffers):
        super().__init__()
        self.inner, self.more = build("plain", 2), more
        for name, value in buffers.items():
            self.register_buffer(name, torch.tensor(value, dtype=torch.float64))

    def forward(self, x):
        return self.more(self, self.inner(x))


@pytest.mark.parametrize(("name", "example"), pairs(NETWORKS, EXAMPLES, each=1))
def test_healthy_networks_are_passed_in_silence(name, example):
    problem, points = EXAMPLES[example].load()
    network = build(name, problem.domain.dimension, len(problem.fields))
    for dtype in (torch.float64, torch.float32):
        assert warnings_of(lambda: check_network(network.to(dtype), problem, points)) == []  # another dtype is checked anew


@pytest.mark.parametrize("name", SOME)
def test_registered_problems_are_passed_in_silence(name):
    problem = registered(name)
    network = pinntk.nn.MLP(problem, width=20, depth=3)
    assert warnings_of(lambda: check_network(network, problem, problem.sample())) == []


@pytest.mark.parametrize("activation", [nn.ReLU, nn.LeakyReLU, nn.ELU, nn.SELU, nn.Hardtanh, nn.PReLU, nn.Softplus])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_kinks_are_passed_in_silence(activation, dtype):
    """Without biases all of them lie at the origin, which is among the points."""
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Linear(2, 20, bias=False), activation(), nn.Linear(20, 20, bias=False), activation(), nn.Linear(20, 1)
    )
    rows = torch.cat([ROWS, torch.zeros(1, 2, dtype=torch.float64)])
    assert warnings_of(lambda: checked(network.to(dtype), lambda u, u_x, u_t: u * u_x + u_t, rows)) == []


# Networks that are random, or change.


class Functional(nn.Module):
    def forward(self, x):
        return F.dropout(x, 0.3, training=True)


class Noise(nn.Module):
    def forward(self, x):
        return x + 1e-6 * torch.randn_like(x)


@pytest.mark.parametrize("layer", [Functional, Noise])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_random_networks_are_refused_by_the_module(layer, dtype):
    network = nn.Sequential(nn.Linear(2, 8), nn.Tanh(), layer(), nn.Linear(8, 1)).to(dtype)
    with pytest.raises(DependentPointsError, match=rf"module '2' \({layer.__name__}\) draws random numbers.*random"):
        checked(network)


def test_a_dropout_that_hits_seldom_is_refused():
    network = Around(lambda self, y: F.dropout(y, 0.05, training=True))
    with pytest.raises(DependentPointsError, match="the network draws random numbers"):
        checked(network)


def test_random_operators_are_refused():
    with pytest.raises(DependentPointsError, match=r"condition 'equation': its error is another at every evaluation.*random"):
        checked(build("plain", 2), lambda u: u + torch.randn_like(u))


def test_random_numbers_that_change_nothing_are_allowed():
    checked(Around(lambda self, y: y + 0 * torch.rand(1)))


@pytest.mark.parametrize("form", [nn.utils.parametrizations.spectral_norm, nn.utils.spectral_norm])
def test_spectral_norm_is_refused_in_training_mode_only(form):
    network = nn.Sequential(nn.Linear(2, 8), nn.Tanh(), form(nn.Linear(8, 8)), nn.Tanh(), nn.Linear(8, 1)).double()
    with pytest.raises(ValueError, match=r"module '2.*' is spectral_norm in training mode.*network\.eval\(\)"):
        checked(network)
    checked(network.eval())


def counting(self, y):
    self.calls += 1
    return y


def growing(self, y):
    self.calls += 1
    return y * self.calls


def replacing(self, y):
    self.calls = self.calls + 1
    return y * self.calls


@pytest.mark.parametrize("more", [growing, replacing])
def test_a_buffer_that_moves_the_outputs_is_named(more):
    network = nn.Sequential(Around(more, calls=0.0))
    with pytest.raises(ValueError, match=r"changes at every forward: buffer 'calls' of module '0' moves.*no fixed function"):
        checked(network)
    assert float(network[0].calls) == 0


def test_a_number_that_moves_the_outputs_is_refused():
    network = Around(growing)
    network.calls = 0
    with pytest.raises(ValueError, match="two evaluations of the network on the same points differ"):
        checked(network)


def test_networks_are_left_as_they_were():
    network = Around(lambda self, y: counting(self, y) + 0 * torch.rand(1), calls=0.0)
    network.seen, buffer = 0, network.calls
    network.register_forward_hook(lambda module, *_: setattr(module, "seen", module.seen + 1))
    state = torch.get_rng_state()
    checked(network)
    assert network.calls is buffer and float(buffer) == 0 and network.seen == 0
    assert torch.equal(torch.get_rng_state(), state)


def test_lazy_layers_become_what_they_are():
    network = nn.Sequential(nn.LazyLinear(4), nn.Tanh(), nn.LazyLinear(1))
    check_network(network, problem_of(lambda u: u), {"equation": ROWS.float()})
    assert network[2].weight.shape == (1, 4)


# Points that mix.


@pytest.mark.parametrize(
    "mix",
    [
        lambda y: y - y.mean(),
        lambda y: y - y.mean() if len(y) > 2 else y,
        lambda y: y * len(y),
        lambda y: y.cumsum(0),
        lambda y: y.flip(0).cumsum(0).flip(0),
        lambda y: y - y.max(),
        lambda y: y + torch.roll(y, 1, 0),
        lambda y: torch.cat([y[:1] * y[-1:], y[1:]]),
        lambda y: y + torch.arange(len(y))[:, None],
        lambda y: torch.cat([y[:2], y[2:] - y[1]]) if len(y) > 2 else y,
    ],
)
@pytest.mark.parametrize("closed", [True, False])
def test_mixed_points_are_found_on_open_and_closed_curves(mix, closed):
    rows = torch.cat([ROWS, ROWS[:1]]) if closed else ROWS
    with pytest.raises(DependentPointsError, match="condition 'equation': the error at a point changes"):
        checked(build("plain", 2), lambda u: mix(u[:, None])[:, 0], rows)


def test_one_point_alone_is_checked():
    checked(build("plain", 2), rows=ROWS[:1])
    checked(build("plain", 2), rows=ROWS[:1].expand(5, 2))


# Errors without parameters.


class Detached(nn.Module):
    def __init__(self, cut):
        super().__init__()
        self.inner, self.cut = build("plain", 2), cut

    def forward(self, x):
        return self.cut(self.inner(x))


INDEPENDENT = "condition 'equation': its error depends on no trained parameter"


@pytest.mark.filterwarnings("ignore:.*(no Taylor rule|not the derivative)")
@pytest.mark.parametrize(
    ("network", "operator"),
    [
        (build("plain", 2), lambda u: u.detach() - 1),
        (build("plain", 2), lambda x: x**2),
        (build("plain", 2), lambda u: torch.from_numpy(u.detach().numpy() ** 2)),
        (Detached(lambda y: y.detach()), lambda u: u),
        (Detached(lambda y: torch.from_numpy(y.cumsum(1).detach().numpy() ** 2)), lambda u: u),
    ],
)
def test_an_error_that_no_parameter_reaches_is_warned_of_once(network, operator):
    problem = problem_of(operator)
    points = {"equation": ROWS}
    assert [INDEPENDENT in text for text in warnings_of(lambda: check_network(network, problem, points))].count(True) == 1
    assert not any(INDEPENDENT in text for text in warnings_of(lambda: pinntk.kernel(network, problem, points)))
    assert not pinntk.kernel(network, problem, points).matrix().any()


@pytest.mark.parametrize("call", [pinntk.traces, pinntk.KernelOperator, pinntk.examine, pinntk.kernel])
def test_every_entry_tells_of_it(call):
    problem = problem_of(lambda u: u.detach())
    with pytest.warns(UserWarning, match=INDEPENDENT):
        call(build("plain", 2), problem, {"equation": ROWS})


def test_training_tells_of_it():
    problem = problem_of(lambda u: u.detach() - 1)
    conditions = [*problem.conditions, boundary(BOX.ends("x"))(lambda u: u)]
    with pytest.warns(UserWarning, match=INDEPENDENT):
        pinntk.train(Problem(BOX, conditions), build("plain", 2), steps=1, snapshot_every=0, progress=False)


def test_errors_that_parameters_reach_are_no_independent_ones():
    constrained = pinntk.nn.HardConstraint(
        problem_of(lambda u: u), build("plain", 2), offset=lambda x: 0 * x, factor=lambda x: 1 - x**2
    )
    ends = Problem(BOX, [boundary(BOX.ends("x"))(lambda u: u)])
    assert warnings_of(lambda: check_network(constrained, ends, ends.sample(boundary=6, dtype=torch.float64))) == []
    only = problem_of(lambda u, k: u.detach() - k, coefficients={"k": 1.0})
    partly = problem_of(lambda u, u_x: u.detach() * u_x)
    for problem in (only, partly):  # of which the gradient is wrong, but not zero
        (told,) = warnings_of(lambda problem=problem: check_network(build("plain", 2), problem, {"equation": ROWS}))
        assert "is not the derivative" in told and "no trained parameter" not in told


def test_operators_are_checked_on_what_a_network_has_at_all_points():
    """At some of them, in any order, errors are those of the network there; also of two places, and of many."""

    @residual(BOX)
    def equation(u_t, lap_u, c):
        return u_t - c * lap_u

    @periodic(BOX.ends("x"))
    def wrap(u_x):
        return u_x**2

    @integral(BOX, t=[0.0, 0.2, 0.7])
    def mass(u, x):
        return x * u**2

    problem = Problem(BOX, [equation, wrap, mass], coefficients={"c": 0.3})
    network, points = build("plain", 2), problem.sample(residual=5, periodic=5, dtype=torch.float64)
    for name, rows in points.items():
        kept = _KeptErrors(network, problem, name, rows)
        for chosen in (range(len(rows)), (1, 0), (2, 0), (2,)):
            expected = errors(network, problem, {name: rows[list(chosen)]})[name]
            assert torch.allclose(kept.at(chosen), expected, rtol=1e-12, atol=1e-14)

    check_operators(network, problem, points)

    @periodic(BOX.ends("x"))
    def mixing(u):
        return u - u.mean()

    problem = Problem(BOX, [equation, mixing], coefficients={"c": 0.3})
    with pytest.raises(DependentPointsError, match="condition 'mixing': the error at a point changes when another"):
        check_operators(network, problem, problem.sample(residual=5, periodic=5, dtype=torch.float64))
