"""Values that are no real numbers: complex and whole ones, NaN and infinity, each by condition, point or parameter."""

import numpy as np
import pytest
import torch
from torch import nn

import pinntk
from pinntk import Box, NonFiniteError, Problem, boundary, data, residual
from pinntk.solvers import GaussNewton, NaturalGradient, SelfScaledBroyden
from tests.support.networks import build
from tests.support.small_problems import mlp, poisson, sample

BOX = Box(t=(0, 1), x=(-1, 1))
ROWS = torch.tensor([[0.3, 0.2], [0.7, -0.4], [0.1, 0.9]], dtype=torch.float64)
POINTS = {"equation": ROWS}


def problem_of(operator, **settings):
    operator.__name__ = "equation"
    return Problem(BOX, [residual(BOX)(operator)], **settings)


# Complex and whole numbers.


@pytest.mark.parametrize("call", [pinntk.errors, pinntk.kernel, pinntk.traces, pinntk.KernelOperator, pinntk.examine])
@pytest.mark.parametrize(
    ("operator", "message"),
    [
        (lambda u: 1j * u, r"condition 'equation' returned torch.complex128.*make two conditions.*\.real.*\.imag"),
        (lambda u: torch.complex(u, u), "returned torch.complex128"),
        (lambda u: u > 0, "returned torch.bool, which has no derivative"),
        (lambda u: u.round().long(), "returned torch.int64, which has no derivative"),
    ],
)
def test_errors_that_are_no_real_numbers_are_refused(call, operator, message):
    with pytest.raises(ValueError, match=message):
        call(build("plain", 2), problem_of(operator), POINTS)


def test_real_and_imaginary_parts_are_two_conditions():
    def value(u, u_x):
        return u + 1j * u_x

    @residual(BOX)
    def real(u, u_x):
        return value(u, u_x).real

    @residual(BOX)
    def imaginary(u, u_x):
        return value(u, u_x).imag

    rows, network = POINTS["equation"], build("plain", 2)
    K = pinntk.kernel(network, Problem(BOX, [real, imaginary]), {"real": rows, "imaginary": rows})
    expected = pinntk.kernel(network, problem_of(lambda u: u), POINTS).matrix()
    assert torch.allclose(K["real"], expected, rtol=1e-12)


class Returning(nn.Module):
    def __init__(self, more):
        super().__init__()
        self.inner, self.more = build("plain", 2), more

    def forward(self, x):
        return self.more(self.inner(x))


@pytest.mark.filterwarnings("ignore:.*(no Taylor rule|not the derivative)")
@pytest.mark.parametrize(
    ("more", "dtype"), [(lambda y: 1j * y, "complex128"), (lambda y: y > 0, "bool"), (torch.Tensor.int, "int32")]
)
def test_outputs_that_are_no_real_numbers_are_refused(more, dtype):
    network = Returning(lambda y: more(y) if isinstance(y, torch.Tensor) else more(y.value))
    for call in (pinntk.errors, pinntk.kernel):
        with pytest.raises(ValueError, match=f"the network returned torch.{dtype}, and fields are real"):
            call(network, problem_of(lambda u: u), POINTS)
    with pytest.raises(ValueError, match=f"the network returned torch.{dtype}"):
        problem_of(lambda u: u).predict(network, POINTS["equation"].numpy())


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: pinntk.kernel(build("plain", 2), problem_of(lambda u: u), {"equation": POINTS["equation"] + 0j}),
            "'equation'",
        ),
        (lambda: pinntk.errors(build("plain", 2), problem_of(lambda u: u), {"equation": np.full((3, 2), 1j)}), "'equation'"),
        (
            lambda: problem_of(lambda u: u, exact=lambda x: torch.exp(1j * x)).exact_values(POINTS["equation"]),
            "exact for field 'u'",
        ),
        (lambda: problem_of(lambda u: u, exact=lambda x: 1j).exact_values(POINTS["equation"]), "exact for field 'u'"),
        (lambda: problem_of(lambda u, k: k * u, coefficients={"k": 1 + 1j}), "coefficient 'k'"),
        (lambda: problem_of(lambda u, k: k * u, coefficients={"k": nn.Parameter(torch.tensor(1j))}), "coefficient 'k'"),
        (lambda: data(BOX, [[0.1, 0.2]], seen=[1j]), "data column 'seen'"),
        (lambda: data(BOX, np.array([[0.1, 0.2j]]), seen=[1]), "data points"),
        (
            lambda: (
                problem_of(
                    lambda u: u, reference=lambda: pinntk.GridSolution((np.arange(2.0), np.arange(2.0)), 1j * np.ones((2, 2)))
                ).solution
            ),
            "the values of the reference",
        ),
    ],
)
def test_complex_numbers_among_the_given_ones_are_refused(call, message):
    with pytest.raises(TypeError, match=f"{message}.*: complex numbers, where real ones belong; make two"):
        call()


class Complex(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.last = build("plain", 1, 3), nn.Parameter(torch.ones(1, 3, dtype=torch.complex128))

    def forward(self, x):
        h = self.first(x)
        return nn.functional.linear(h + 0j, self.last).real


@pytest.mark.filterwarnings("ignore:.*no Taylor rule")
@pytest.mark.parametrize(
    "call",
    [
        lambda n, p, x: GaussNewton(n, p),
        lambda n, p, x: NaturalGradient(n, p),
        lambda n, p, x: pinntk.posterior(n, p, x, {"equation": 1.0, "left": 1.0, "right": 1.0}),
        lambda n, p, x: pinntk.examine(n, p, x).balance,
        lambda n, p, x: pinntk.train(p, n, steps=1, optimizer="gauss-newton", progress=False),
    ],
)
def test_complex_parameters_are_refused_where_only_real_ones_work(call):
    problem = poisson()
    with pytest.raises(ValueError, match=r"parameter 'last' is torch.complex128, and .* takes real parameters only"):
        call(Complex(), problem, sample(problem, 5))


def test_quasi_newton_refuses_complex_parameters():
    with pytest.raises(ValueError, match=r"parameter '0' is torch.complex128, and SelfScaledBroyden takes real"):
        SelfScaledBroyden(Complex().parameters())


# NaN and infinity.


def logarithmic():
    """log(x), which is NaN or infinite where x <= 0, and finite elsewhere."""
    return problem_of(lambda u, x: u * torch.log(x)), {
        "equation": torch.tensor([[0.5, 0.5], [0.25, 0.0], [0.5, -0.5], [0.1, 1.0]]).double()
    }


BY_POINT = r"condition 'equation': .* at 2 of 4 points \(row 1 at \(t=0.25, x=0\), row 2 at \(t=0.5, x=-0.5\)\)"
ENTRIES = [
    pinntk.kernel,
    pinntk.traces,
    lambda n, p, x: pinntk.KernelOperator(n, p, x).trace(),
    lambda n, p, x: pinntk.KernelOperator(n, p, x) @ torch.ones(4),
    lambda n, p, x: pinntk.cross_kernel(n, p, x, x),
    lambda n, p, x: pinntk.posterior(n, p, x, {"equation": 1.0}),
    lambda n, p, x: GaussNewton(n, p).step(x),
    lambda n, p, x: GaussNewton(n, p, weights={"equation": 1.0}).step(x),
    lambda n, p, x: NaturalGradient(n, p).step(x),
    lambda n, p, x: NaturalGradient(n, p, weights={"equation": 1.0}).step(x),
    pinntk.diagnose,
    lambda n, p, x: pinntk.examine(n, p, x).balance,
    lambda n, p, x: pinntk.examine(n, p, x).errors,
]


@pytest.mark.parametrize("entry", ENTRIES)
def test_conditions_and_points_of_nan_are_named(entry):
    problem, points = logarithmic()
    with pytest.raises(NonFiniteError, match=BY_POINT):
        entry(build("plain", 2), problem, points)


@pytest.mark.parametrize("entry", ENTRIES[:-3])
def test_a_gradient_that_is_nan_where_the_error_is_not(entry):
    problem = problem_of(lambda u, t: torch.where(t > 0.5, u, torch.sqrt(0 * u)))
    points = {"equation": POINTS["equation"][[0, 1, 1, 2]]}
    assert pinntk.errors(build("plain", 2), problem, points)["equation"].isfinite().all()
    with pytest.raises(NonFiniteError, match=r"gradient in the param.* is NaN at all 4 points; .*torch.where"):
        entry(build("plain", 2), problem, points)


def test_rows_are_counted_over_all_chunks():
    problem = poisson()
    points = problem.sample(boundary=1, residual=3000, dtype=torch.float64)
    points["equation"][2500] = 0.125
    operator = problem["equation"].operator

    def equation(u_xx, x):
        return operator(u_xx, x) / (x - 0.125)

    broken = pinntk.Problem(problem.domain, [residual(problem.domain)(equation)])
    with pytest.raises(NonFiniteError, match=r"at 1 of 952 points \(row 2500 at \(x=0.125\)\)"):
        pinntk.traces(mlp(broken, width=4, depth=1), broken, {"equation": points["equation"]})


def test_a_network_that_has_blown_up_is_named_by_its_parameter():
    problem, network = poisson(), mlp(poisson())
    with torch.no_grad():
        network.dense.biases[0].fill_(torch.nan)
    with pytest.raises(NonFiniteError, match=r"the network has blown up, its parameter 'dense.biases.0' is not finite"):
        pinntk.kernel(network, problem, sample(problem, 5))


def test_an_overflow_of_the_kernels_dtype_is_named():
    problem = problem_of(lambda u: 1e30 * u)
    assert pinntk.kernel(build("plain", 2), problem, POINTS).matrix().isfinite().all()
    with pytest.raises(NonFiniteError, match=r"the diagonal of K is infinite at 3 of 3 points.*overflow"):
        pinntk.kernel(build("plain", 2), problem, POINTS, dtype=torch.float32)


@pytest.mark.parametrize(("factor", "message"), [(torch.nan, "the loss that .* starts from is nan"), (1e300, "gradient|loss")])
def test_quasi_newton_does_not_start_from_nan(factor, message):
    x = torch.ones(2, dtype=torch.float64, requires_grad=True)
    optimizer = SelfScaledBroyden([x])

    def closure():
        optimizer.zero_grad()
        loss = factor * x.square().sum()
        loss = loss * loss
        loss.backward()
        return loss

    with pytest.raises(NonFiniteError, match=message):
        optimizer.step(closure)


def test_quasi_newton_names_the_parameter_of_a_broken_gradient():
    x, y = torch.ones(2, requires_grad=True), torch.zeros(3, requires_grad=True)
    optimizer = SelfScaledBroyden([x, y])

    def closure():
        optimizer.zero_grad()
        loss = x.square().sum() + torch.where(y > 0, y.sqrt(), y**2).sum()
        loss.backward()
        return loss

    with pytest.raises(NonFiniteError, match=r"NaN or infinite in parameter 1, of shape \(3,\)"):
        optimizer.step(closure)


@pytest.mark.parametrize("optimizer", ["adam", "gauss-newton", "natural-gradient", "ssbroyden"])
@pytest.mark.parametrize("snapshot_every", [0, 1])
def test_a_training_says_at_which_step(optimizer, snapshot_every):
    problem, points = logarithmic()
    with pytest.raises(pinntk.NonFiniteLossError, match=r"step 0: .*'equation'.*no checkpoint was written"):
        settings = {"optimizer": optimizer, "points": points, "snapshot_every": snapshot_every}
        pinntk.train(problem, build("plain", 2), steps=2, progress=False, **settings)


def test_a_hard_constraint_is_no_broken_gradient():
    domain = Box(x=(0, 1))
    problem = Problem(domain, [boundary(domain.ends("x"))(lambda u: u)])
    network = pinntk.nn.HardConstraint(problem, build("plain", 1), offset=lambda x: 0 * x, factor=lambda x: x * (1 - x))
    assert not pinntk.kernel(network, problem, problem.sample(boundary=4, dtype=torch.float64)).matrix().any()
