"""Complex unknowns as two fields: both parts of the error are those that one would write by hand."""

import pytest
import torch

import pinntk
from pinntk import Box, Problem, boundary, complex_parts, initial, integral, residual
from pinntk.problem._equation import equation
from pinntk.residuals import OperatorError
from tests.support import reference

F64 = {"dtype": torch.float64}
BOX = Box(t=(0, 1), x=(-1, 1), y=(0, 2))
FIELDS = ("u", "v")


def complex_problem() -> Problem:
    @complex_parts(residual(BOX), h=FIELDS)
    def wave(h, h_t, lap_h, c, x):
        return 1j * h_t + c * lap_h + abs(h) ** 2 * h - x

    @complex_parts(boundary(BOX.ends("x")), h=FIELDS)
    def outgoing(h, h_n, grad_h, n_x, shift=2.0):
        return h_n - 1j * h * n_x + shift * grad_h[:, 1]

    @complex_parts(initial(BOX.at(t=0)), h=FIELDS)
    def start(h, x, points):
        return h - torch.exp(1j * x) * points[:, 2]

    return Problem(BOX, [*wave, *outgoing, *start], FIELDS, coefficients={"c": 0.7})


def by_hand() -> Problem:
    @residual(BOX)
    def wave_real(u, v, v_t, lap_u, c, x):
        return -v_t + c * lap_u + (u**2 + v**2) * u - x

    @residual(BOX)
    def wave_imag(u, v, u_t, lap_v, c):
        return u_t + c * lap_v + (u**2 + v**2) * v

    @boundary(BOX.ends("x"))
    def outgoing_real(u_n, v, n_x, u_y):
        return u_n + v * n_x + 2 * u_y

    @boundary(BOX.ends("x"))
    def outgoing_imag(v_n, u, n_x, v_y):
        return v_n - u * n_x + 2 * v_y

    @initial(BOX.at(t=0))
    def start_real(u, x, y):
        return u - torch.cos(x) * y

    @initial(BOX.at(t=0))
    def start_imag(v, x, y):
        return v - torch.sin(x) * y

    conditions = [wave_real, wave_imag, outgoing_real, outgoing_imag, start_real, start_imag]
    return Problem(BOX, conditions, FIELDS, coefficients={"c": 0.7})


def test_parts_are_those_that_one_would_write():
    problem, other = complex_problem(), by_hand()
    assert problem.names == other.names
    network = pinntk.nn.MLP(problem, width=5, depth=2, **F64)
    points = problem.sample(residual=3, boundary=4, initial=3, **F64)
    found, expected = pinntk.errors(network, problem, points), pinntk.errors(network, other, points)
    for name, error in expected.items():
        assert reference.relative(found[name], error) < 1e-14, name
    K = pinntk.kernel(network, problem, points).matrix()
    assert reference.relative(K, pinntk.kernel(network, other, points).matrix()) < 1e-12
    assert reference.relative(K, reference.kernel(network, problem, points)) < 1e-12
    assert problem.gauge == other.gauge == {}


def test_its_equation():
    found = [equation(complex_problem()[f"wave_{part}"]) for part in ("real", "imag")]
    whole = "1j * h_t + c * lap_h + abs(h) ** 2 * h = x"
    assert found == [f"real part of {whole}", f"imaginary part of {whole}"]


def test_two_unknowns_and_single_precision():
    box = Box(x=(0, 1))

    @complex_parts(residual(box), a=("a1", "a2"), b=("b1", "b2"))
    def coupled(a_x, b, x):
        return a_x - (1 + 2j) * b * x

    problem = Problem(box, coupled, ("a1", "a2", "b1", "b2"))
    network = pinntk.nn.MLP(problem, width=4, depth=1)
    points = problem.sample(residual=5)
    found = pinntk.errors(network, problem, points)
    assert {error.dtype for error in found.values()} == {torch.float32}
    _, _, b1, b2 = network(points["coupled_real"]).T
    slope = [reference.derivative(network.double(), points["coupled_real"], field, (1,)) for field in (0, 1)]
    x = points["coupled_real"][:, 0]
    assert torch.allclose(found["coupled_real"].double(), slope[0] - (b1 - 2 * b2) * x, atol=1e-5)
    assert torch.allclose(found["coupled_imag"].double(), slope[1] - (2 * b1 + b2) * x, atol=1e-5)


def test_an_error_that_is_real_is_refused():
    @complex_parts(residual(BOX), h=FIELDS)
    def size(h):
        return abs(h) - 1

    problem = Problem(BOX, size, FIELDS)
    network = pinntk.nn.MLP(problem, width=3, depth=1, **F64)
    with pytest.raises(OperatorError, match=r"'size_real'.*it returned a tensor of torch.float64, and"):
        pinntk.errors(network, problem, problem.sample(residual=2, **F64))


@pytest.mark.parametrize(
    ("kind", "unknowns", "error", "message"),
    [
        (lambda: residual(BOX), {}, ValueError, "name the unknown and its two fields"),
        (lambda: residual(BOX), {"h": "uv"}, ValueError, "h='uv': the fields of its real and of its imaginary part"),
        (lambda: residual(BOX), {"h": ("u",)}, ValueError, r"h=\('u',\): the fields"),
        (lambda: integral(BOX), {"h": FIELDS}, TypeError, "an integral equals one real number"),
        (lambda: complex_parts(residual(BOX), h=FIELDS), {"h": FIELDS}, TypeError, "needs a condition"),
    ],
)
def test_refused(kind, unknowns, error, message):
    with pytest.raises(error, match=message):
        complex_parts(kind(), **unknowns)(lambda h, h_t: h + h_t)


def test_a_misspelled_argument_is_named():
    with pytest.raises(ValueError, match="unknown argument 'h_q'"):
        Problem(BOX, complex_parts(residual(BOX), h=FIELDS)(lambda h, h_q: h + h_q), FIELDS)
