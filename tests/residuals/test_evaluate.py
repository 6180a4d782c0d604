"""Errors of a problem on points: the Taylor path, the autograd path and the oracle."""

import warnings

import pytest
import torch
from torch import nn

from pinntk.ntk import kernel
from pinntk.problem import Box, Problem, boundary, periodic, residual
from pinntk.residuals import check_network, errors
from pinntk.residuals._fallback import has_factors
from pinntk.taylor import DependentPointsError, UnsupportedOperationError
from tests.support import reference
from tests.support.examples import EXAMPLES
from tests.support.networks import NETWORKS, WITHOUT_RULE, build
from tests.support.sweeps import pairs

TOLERANCE = 1e-12
BOX = Box(t=(0, 1), x=(-1, 1))
POINTS = {"equation": torch.tensor([[0.3, 0.2], [0.7, -0.4], [0.1, 0.9]], dtype=torch.float64)}


def problem_of(operator, **kwargs):
    operator.__name__ = "equation"
    return Problem(BOX, [residual(BOX)(operator)], **kwargs)


SIMPLE = problem_of(lambda u, u_x: u + u_x)


@pytest.mark.parametrize(("name", "example"), pairs(NETWORKS, EXAMPLES, each=1))
def test_both_paths_agree_with_the_oracle(name, example):
    problem, points = EXAMPLES[example].load()
    network = build(name, problem.domain.dimension, len(problem.fields))
    taylor, autograd = (errors(network, problem, points, method) for method in ("taylor", "autograd"))
    expected = reference.errors(network, problem, points)
    assert list(taylor) == list(autograd) == list(points)
    for condition, error in expected.items():
        assert reference.relative(taylor[condition], error) <= TOLERANCE, condition
        assert reference.relative(autograd[condition], error) <= TOLERANCE, condition


@pytest.mark.parametrize("method", ["taylor", "autograd"])
def test_errors_are_differentiable_in_parameters_and_coefficients(method):
    problem, points = EXAMPLES["everything"].load()
    network = build("gated", 3, 2)
    trained = [*network.parameters(), *problem.coefficients.values()]
    found, expected = (
        torch.autograd.grad(sum(e.square().sum() for e in every.values()), trained)
        for every in (errors(network, problem, points, method), reference.errors(network, problem, points))
    )
    assert reference.relative(torch.cat([g.flatten() for g in found]), torch.cat([g.flatten() for g in expected])) <= TOLERANCE


@pytest.mark.parametrize("name", WITHOUT_RULE)
def test_an_operation_without_a_rule_warns_once_and_gives_the_right_values(name):
    problem, points = EXAMPLES["everything"].load()
    network = build(name, 3, 2)
    with pytest.raises(UnsupportedOperationError, match=name):
        errors(network, problem, points, "taylor")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = errors(network, problem, points)
        errors(network, problem, points)
    messages = [str(warning.message) for warning in caught if "nested reverse-mode autograd" in str(warning.message)]
    assert [name in message for message in messages] == [True]
    assert not has_factors(network)
    for condition, error in reference.errors(network, problem, points).items():
        assert reference.relative(found[condition], error) <= TOLERANCE, condition


def test_a_known_error_by_hand():
    class Wave(nn.Module):
        def forward(self, x):
            return torch.sin(2 * x[:, 1:]) * x[:, :1] ** 2

    t, x = POINTS["equation"].unbind(1)
    problem = problem_of(lambda u_t, u_xx, lap_u, t, grad_u, points: u_t + 3 * u_xx - lap_u + t * grad_u[:, 0] + points[:, 1])
    expected = 2 * t * torch.sin(2 * x) - 8 * t**2 * torch.sin(2 * x) + 2 * t**3 * torch.cos(2 * x) + x
    for method in ("taylor", "autograd"):
        assert reference.relative(errors(Wave(), problem, POINTS, method)["equation"], expected) <= TOLERANCE


def test_outward_normal_derivative_by_hand():
    problem = Problem(BOX, [boundary(BOX.ends("x"))(lambda u_n: u_n)])
    rows = torch.tensor([[0.5, -1.0], [0.5, 1.0]], dtype=torch.float64)

    class Square(nn.Module):
        def forward(self, x):
            return (x[:, 1:] + 2) ** 2

    assert errors(Square(), problem, {"<lambda>": rows})["<lambda>"].tolist() == [-2.0, 6.0]


def test_points_move_to_the_networks_dtype():
    network = build("plain", 2).float()
    assert errors(network, SIMPLE, POINTS)["equation"].dtype == torch.float32
    assert errors(network, SIMPLE, POINTS, "autograd")["equation"].dtype == torch.float32


def test_points_may_be_numpy_arrays_or_lists():
    problem, points = EXAMPLES["poisson"].load()
    network = build("plain", 1, 1)
    expected, K = errors(network, problem, points), kernel(network, problem, points)
    backwards = {name: rows.numpy()[::-1] for name, rows in points.items()}
    for rows in backwards.values():
        rows.flags.writeable = False
    for name, e in errors(network, problem, backwards).items():
        assert torch.equal(e, expected[name].flip(0))
    assert kernel(network, problem, backwards).trace() == pytest.approx(K.trace())
    assert torch.equal(errors(network, problem, {"ends": points["ends"].tolist()})["ends"], expected["ends"])


@pytest.mark.parametrize("rows", [None, "abc", [["0.5"]], [[0.1], [0.2, 0.3]], [[object()]]])
def test_points_that_are_no_numbers_are_named(rows):
    problem, network = EXAMPLES["poisson"].build(), build("plain", 1, 1)
    for measure in (errors, kernel):
        with pytest.raises(TypeError, match=r"points\['ends'\] is a .*give an \(n, d\) tensor or numpy array"):
            measure(network, problem, {"ends": rows})


def test_errors_do_not_need_gradients_to_be_on():
    for method in ("taylor", "autograd"):
        with torch.no_grad():
            found = errors(build("plain", 2), SIMPLE, POINTS, method)["equation"]
        assert reference.relative(found, reference.errors(build("plain", 2), SIMPLE, POINTS)["equation"]) <= TOLERANCE


def test_periodic_conditions_of_two_coordinates_may_share_a_tensor():
    def wrap_t(u):
        return u

    def wrap_x(u):
        return u

    problem = Problem(BOX, [periodic(BOX.ends("t"))(wrap_t), periodic(BOX.ends("x"))(wrap_x)])
    corner = torch.tensor([[0.0, -1.0]], dtype=torch.float64)
    points = {"wrap_t": corner, "wrap_x": corner}
    network = build("plain", 2)
    for name, error in reference.errors(network, problem, points).items():
        assert reference.relative(errors(network, problem, points)[name], error) <= TOLERANCE, name


# Refusals.


def test_unknown_method():
    with pytest.raises(ValueError, match="method='exact'; use 'auto', 'taylor' or 'autograd'"):
        errors(build("plain", 2), SIMPLE, POINTS, "exact")


@pytest.mark.parametrize(
    ("operator", "shape"),
    [
        (lambda u: u.sum(), r"shape \(\)"),
        (lambda u: u[:, None], r"shape \(3, 1\)"),
        (lambda u: 0.0, "float"),
        (lambda grad_u: grad_u, r"shape \(3, 1\)"),
    ],
)
@pytest.mark.parametrize("method", ["taylor", "autograd"])
def test_an_operator_that_returns_a_wrong_shape(operator, shape, method):
    with pytest.raises(ValueError, match=rf"condition 'equation' returned {shape} for 3 points; expected .* shape \(3,\)"):
        errors(build("plain", 2), problem_of(operator), POINTS, method)


def test_normals_where_there_are_none():
    with pytest.raises(ValueError, match=r"condition 'equation': 'u_n' needs boundary faces .* has no outward normal"):
        problem_of(lambda u_n: u_n)


@pytest.mark.parametrize("method", ["taylor", "autograd"])
def test_a_wrong_number_of_outputs(method):
    with pytest.raises(ValueError, match=r"returned shape \(3, 2\) for 3 points; expected \(3, 1\)"):
        errors(build("plain", 2, 2), SIMPLE, POINTS, method)
    with pytest.raises(ValueError, match=r"returned shape \(3,\) for 3 points; expected \(3, 1\)"):
        errors(nn.Sequential(build("plain", 2), nn.Flatten(0)), SIMPLE, POINTS, method)


def test_check_network_accepts_every_network():
    for name in [*NETWORKS, "cumsum"]:
        network = build(name, 2)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            assert check_network(network, SIMPLE, POINTS) is None


def test_a_wrong_number_of_inputs():
    with pytest.raises(ValueError, match=r"does not accept 2 inputs, coordinates \('t', 'x'\)"):
        check_network(build("plain", 3), SIMPLE, POINTS)
    with pytest.raises(ValueError, match=r"returned shape \(3, 3\) for 3 points; expected \(3, 1\)"):
        check_network(build("plain", 2, 3), SIMPLE, POINTS)
    with pytest.raises(TypeError, match=r"network is a function; expected a torch\.nn\.Module"):
        check_network(lambda x: x, SIMPLE, POINTS)


def test_layers_that_mix_points_or_draw_at_random():
    for layer in (nn.BatchNorm1d(12), nn.Dropout(0.1)):
        network = build("plain", 2)
        network.layers.insert(2, layer.double())
        with pytest.raises(DependentPointsError, match=r"module 'layers\.2' is .*call network\.eval\(\)"):
            check_network(network, SIMPLE, POINTS)
        assert check_network(network.eval(), SIMPLE, POINTS) is None
    network = nn.Sequential(build("plain", 2), nn.BatchNorm1d(1, track_running_stats=False).double()).eval()
    with pytest.raises(DependentPointsError, match="batch statistics"):
        check_network(network, SIMPLE, POINTS)


class Mixing(nn.Module):
    def __init__(self, mix):
        super().__init__()
        self.inner, self.mix = build("plain", 2), mix

    def forward(self, x):
        return self.mix(self.inner(x))


@pytest.mark.filterwarnings("ignore:.*nested reverse-mode")
@pytest.mark.parametrize(
    "mix",
    [
        lambda y: y - y.mean(0),
        lambda y: y / y.norm(),
        lambda y: torch.cumsum(y, 0),
        lambda y: y.flip(0).cumsum(0).flip(0),
        lambda y: y - torch.amax(y, 0),
        lambda y: y - torch.amin(y, 0),
    ],
    ids=["mean", "norm", "earlier points", "later points", "amax", "amin"],
)
def test_a_network_that_mixes_points(mix):
    for problem in (SIMPLE, problem_of(lambda u: u)):
        with pytest.raises(DependentPointsError):
            check_network(Mixing(mix), problem, POINTS)


def test_an_operator_that_mixes_points():
    with pytest.raises(DependentPointsError, match="condition 'equation': the error at a point changes"):
        check_network(build("plain", 2), problem_of(lambda u: u - u.mean()), POINTS)
