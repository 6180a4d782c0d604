"""Networks whose parameters change nothing: no gain possible is not no error."""

import pytest
import torch
from torch import nn, pi, sin

import pinntk
from pinntk import Box, Problem, boundary, residual
from pinntk.diagnostics import estimate
from pinntk.diagnostics._architecture import lacking
from pinntk.reporting._terminal import diagnosis, text
from tests.support.diagnosed import poisson

pytestmark = pytest.mark.xdist_group("diagnose")
POINTS = {"residual": 40, "boundary": 2}


def slope(scale: float = 1.0) -> Problem:
    """u_x = scale pi cos(pi x), u(0) = 0: no second derivative, so that relu could solve it."""
    box = Box(x=(0, 1))

    @residual(box)
    def equation(u_x, x):
        return u_x - scale * pi * torch.cos(pi * x)

    @boundary(box.at(x=0))
    def start(u):
        return u

    return Problem(box, [equation, start])


def network(problem, fill, **options):
    """A fresh network whose parameters `fill(weights, biases)` has changed."""
    made = pinntk.nn.MLP(problem, **{"width": 12, "depth": 2, "dtype": torch.float64, **options})
    with torch.no_grad():
        fill(made.dense.weights, made.dense.biases)
    return made


def shut(weights, biases):
    """Units that no input turns on, or that none turns off."""
    for b in biases[:-1]:
        b.fill_(-100.0)


def nothing(weights, biases):
    pass


def last_zero(weights, biases):
    weights[-1].zero_()


def middle_zero(weights, biases):
    weights[1].zero_()


def middle_shut(weights, biases):
    weights[1].zero_()
    biases[1].fill_(-1.0)


def two_zero(weights, biases):
    weights[1].zero_()
    weights[2].zero_()


def short_run(problem, made):
    return pinntk.train(problem, made, steps=2, points=POINTS, progress=False, snapshot_every=0)


@pytest.mark.parametrize(
    ("problem", "fill", "activation", "because"),
    [
        (slope(1365.0), shut, "relu", "units of layer"),
        (slope(), shut, "relu", "units of layer"),
        (poisson(), shut, "tanh", "units of layer"),
        (poisson(), two_zero, "tanh", "are zero"),
        (slope(), middle_shut, "relu", "units of layer"),
    ],
)
def test_a_dead_network_is_named_and_its_error_is_no_zero(problem, fill, activation, because):
    run = short_run(problem, network(problem, fill, activation=activation))
    x = pinntk.examine(run)
    assert x.estimate.unmoved == ("equation",)
    assert 0.3 < x.estimate.relative < 1.5 and x.estimate.size["equation"] > 0.3
    assert x.estimate.unreachable > 0.3 and x.estimate.remaining["equation"] == x.estimate.alone["equation"] == 1
    first = pinntk.diagnose(x)[0]
    assert (first.code, first.severity) == ("saturation", "critical")
    assert first.sentence.startswith("No parameter changes the error of equation (") and because in first.sentence
    assert first.evidence["unmoved_error/equation"] == pytest.approx(
        float(x.estimate.errors["equation"].square().mean().sqrt())
    )
    assert activation != "relu" or (
        first.prescriptions[0].changes["network.arguments.activation"] == "tanh"
        and first.prescriptions[0].sentence.startswith("use tanh units")
    )


def test_nothing_at_all_that_a_parameter_changes():
    """A problem of slopes alone: the kernel is zero."""
    box = Box(x=(0, 1))

    @residual(box)
    def curve(u_xx, x):
        return u_xx + sin(pi * x)

    @boundary(box.ends("x"))
    def slopes(u_x):
        return u_x + 1

    problem = Problem(box, [curve, slopes])
    made = network(problem, shut)
    found = estimate(made, problem, problem.sample(POINTS, dtype=torch.float64))
    assert found.unmoved == ("curve", "slopes") and 0.5 < found.relative < 1 == found.unreachable
    codes = [finding.code for finding in pinntk.diagnose(short_run(problem, made))]
    assert "saturation" in codes and "step-too-small" not in codes


@pytest.mark.parametrize("fill", [last_zero, middle_zero, nothing])
def test_weights_of_zero_in_one_layer_are_not_dead(fill):
    """The first step moves them, and the next one all others."""
    problem = poisson()
    made = network(problem, fill)
    points = problem.sample(POINTS, dtype=torch.float64)
    x = pinntk.examine(made, problem, points)
    assert x.estimate.unmoved == () and max(layer.dead for layer in x.layers[:-1]) == 0
    assert "saturation" not in [finding.code for finding in pinntk.diagnose(x)]


def beside(exact: bool) -> Problem:
    """Poisson's equation and a condition that does not depend on u."""
    known = poisson(exact=exact)

    @boundary(known.domain.ends("x"))
    def forgotten(u, x):
        return 0 * u + x - 0.3

    return Problem(known.domain, [*known.conditions, forgotten], exact=known.exact)


def test_a_condition_that_does_not_depend_on_the_network_is_named_and_leaves_no_estimate():
    problem = beside(exact=False)
    run = short_run(problem, network(problem, nothing))
    x = pinntk.examine(run)
    assert x.estimate.unmoved == ("forgotten",) and x.estimate.relative == float("inf")
    findings = pinntk.diagnose(x)
    assert findings[0].code == "independent-condition" and "error of forgotten depends on no field" in findings[0].sentence
    assert "estimated_error" not in findings[0].evidence
    assert not {"saturation", "network-too-small", "step-too-large"} & {finding.code for finding in findings}
    said = diagnosis(x, findings)
    assert said["numbers"]["not_measured"]["estimated_error"] == "nothing changes the error of forgotten"
    assert "estimated error not measured" in text(said)


class Bubble(nn.Module):
    """x (1 - x) N(x) + off: the walls' values whatever the parameters are, but for `off`."""

    def __init__(self, off=0.0):
        super().__init__()
        self.inner = nn.Sequential(nn.Linear(1, 12), nn.Tanh(), nn.Linear(12, 1)).double()
        self.off = off

    def forward(self, x):
        return x * (1 - x) * self.inner(x) + self.off


def test_what_is_met_by_construction_is_no_error_and_what_is_nearly_met_is_a_small_one():
    problem = poisson(exact=False)
    points = problem.sample(POINTS, dtype=torch.float64)
    torch.manual_seed(0)
    made = Bubble()
    met = estimate(made, problem, points)
    assert met.unmoved == ()
    made.off = 1e-4
    near = estimate(made, problem, points)
    assert near.unmoved == ("walls",)
    assert near.relative == pytest.approx(met.relative, rel=1e-3)
    assert 1e-5 < near.size["walls"] < 1e-3 and near.unreachable < 0.01 + met.unreachable


def test_rounding_of_a_factor_that_is_zero_at_the_walls_is_no_error():
    problem = poisson(exact=False)

    class Sine(Bubble):
        def forward(self, x):
            return sin(pi * x) * self.inner(x)  # 1e-16 at x = 1

    assert estimate(Sine(), problem, problem.sample(POINTS, dtype=torch.float64)).unmoved == ()


def test_relu_under_second_derivatives_is_not_called_dead_and_saturated_tanh_has_them():
    problem = poisson()
    points = problem.sample(POINTS, dtype=torch.float64)
    alive = network(problem, nothing, activation="relu")
    findings = pinntk.diagnose(alive, problem, points)
    assert findings[0].code == "unsuitable-activation"
    assert not any("No parameter" in finding.sentence for finding in findings)
    assert lacking(network(problem, shut), problem, problem.names) == {}
    assert lacking(alive, problem, problem.names) == {"equation": ["u_xx"]}
