"""Dual activations E[s(u) s(v)] and their Taylor coefficients: closed forms, Hermite series, plain integrals."""

from math import pi, sqrt

import pytest
import torch
from numpy.polynomial import Polynomial
from torch.nn import functional as F

from pinntk.ntk.infinite import _dual as dual

F64 = torch.float64


def test_relu_on_the_diagonal_is_half_the_variance():
    """E[relu(u)^2] = q / 2, also where rounding makes the correlation exceed 1."""
    q = torch.tensor([0.3, 1.0, 7.1], dtype=F64)
    found = dual.dual_table("relu", q, q * (1 + 1e-16), q, [(0, 0, 0), (0, 1, 0)])
    assert torch.allclose(found[0, 0, 0], q / 2, rtol=1e-14)
    assert torch.allclose(found[0, 1, 0], torch.full_like(q, 0.5), rtol=1e-7)


@pytest.mark.parametrize("order", [0, 1, 2])
@pytest.mark.parametrize(
    ("closed", "function"),
    [
        ("erf", torch.erf),
        ("sin", torch.sin),
        ("cos", torch.cos),
        ("gaussian", lambda x: torch.exp(-0.5 * x * x)),
        ("identity", lambda x: 1 * x),
        (Polynomial([0.3, -1.0, 0.5, 0.2]), lambda x: 0.3 - x + 0.5 * x * x + 0.2 * x * x * x),
    ],
)
def test_quadrature_equals_closed_forms(closed, function, order):
    """Hermite series against formulas, Taylor coefficients of all powers, at equal, opposite, repeated and zero points."""
    q11 = torch.tensor([1.0, 1.0, 0.5, 2.0, 0.0, 1.7], dtype=F64)
    q22 = torch.tensor([1.0, 1.0, 1.5, 0.1, 1.0, 1.7], dtype=F64)
    q12 = torch.tensor([1.0, -1.0, 0.3, 0.0, 0.0, 1.7 - 1e-9], dtype=F64)
    indices = [(a, b, c) for a in range(order + 1) for c in range(order + 1) for b in range(2 * order + 2 - a - c)]
    expected, found = (dual.dual_table(activation, q11, q12, q22, indices) for activation in (closed, function))
    for index in indices:
        assert (expected[index] - found[index]).abs().max() < 1e-10 * max(1, expected[index].abs().max()), index


def test_the_dual_of_exp():
    """E[exp(u) exp(v)] = exp of half the variance of u + v."""
    q11, q12, q22 = (torch.tensor([value], dtype=F64) for value in (0.4, -0.1, 0.7))
    found = dual.dual_table("exp", q11, q12, q22, [(0, 0, 0), (1, 1, 1)])
    value = torch.exp(0.5 * (q11 + q22) + q12)
    assert torch.allclose(found[0, 0, 0], value, rtol=1e-14)
    assert torch.allclose(found[1, 1, 1], value / 4, rtol=1e-13)


@pytest.mark.parametrize("name", ["tanh", "sigmoid", "silu", "gelu", "softplus"])
def test_hermite_series_against_a_plain_integral(name):
    """E[s(u) s(v)] and E[s'(u) s'(v)] by a fine grid in two dimensions."""
    q11, q12, q22 = 0.8, 0.5, 1.4
    z = torch.arange(-9, 9, 0.02, dtype=F64)
    w = 0.02 / sqrt(2 * pi) * torch.exp(-0.5 * z * z)
    u = sqrt(q11) * z[:, None].expand(-1, len(z))
    v = q12 / sqrt(q11) * z[:, None] + sqrt(q22 - q12**2 / q11) * z
    found = dual.dual_table(name, *(torch.tensor([q], dtype=F64) for q in (q11, q12, q22)), [(0, 0, 0), (0, 1, 0)])
    s = {"tanh": torch.tanh, "sigmoid": torch.sigmoid, "silu": F.silu, "gelu": F.gelu, "softplus": F.softplus}[name]
    for index, power in (((0, 0, 0), 0), ((0, 1, 0), 1)):
        parts = []
        for x in (u, v):
            x = x.clone().requires_grad_()
            y = s(x)
            parts.append(torch.autograd.grad(y.sum(), x)[0] if power else y.detach())
        expected = float(w @ (parts[0] * parts[1]) @ w)
        assert float(found[index]) == pytest.approx(expected, rel=1e-10)


def test_large_variances_are_good_or_refused():
    """sigma = 6: many terms; against erf, whose formula knows no size."""
    q = torch.tensor([36.0], dtype=F64)
    indices = [(0, 0, 0), (0, 1, 0)]
    expected, found = (dual.dual_table(s, q, 0.99 * q, q, indices) for s in ("erf", torch.erf))
    assert all(torch.allclose(expected[i], found[i], rtol=1e-9) for i in indices)
    with pytest.raises(ValueError, match="very large variance"):
        dual.dual_table("tanh", 1e6 * q, q, q, indices)
