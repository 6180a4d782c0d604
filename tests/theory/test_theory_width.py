"""Formulas of docs/THEORY.md for infinitely wide networks, by quadrature, closed forms, and what networks of some width do."""

from __future__ import annotations

import copy
from math import pi

import numpy as np
import pytest
import torch
from scipy.linalg import expm
from torch import nn
from torch.func import grad

import pinntk
from pinntk.diagnostics import drift, parameter_drift
from pinntk.ntk.infinite import _dual as dual
from tests.support.examples import EXAMPLES
from tests.support.reference import relative
from tests.support.theory import WEIGHTS, diagonal, steepening

LIMIT = pinntk.InfiniteMLP(depth=1, activation="erf")


def wide(width: int, seed: int) -> nn.Module:
    """What tends to `LIMIT`."""
    options = {"activation": "erf", "parametrization": "ntk", "dtype": torch.float64}
    return pinntk.nn.MLP(inputs=1, outputs=1, width=width, depth=1, seed=seed, **options)


# 4. Infinite width.


Z, STEP = np.linspace(-9, 9, 181, retstep=True)
DENSITY = STEP * np.exp(-(Z**2) / 2) / np.sqrt(2 * pi)


def expectation(f, q11, q12, q22) -> float:
    """E[f(u, v)] over a Gaussian pair, by the trapezoidal rule."""
    v_u = q12 / np.sqrt(q11)
    u, v = np.sqrt(q11) * Z[:, None], v_u * Z[:, None] + np.sqrt(max(0.0, q22 - v_u**2)) * Z
    return float(DENSITY @ f(u, v) @ DENSITY)


def slope(x):
    return 1 - np.tanh(x) ** 2


def values_problem(points):
    domain = pinntk.Box(x=(-1, 2))

    @pinntk.residual(domain)
    def value(u):
        return u

    return pinntk.Problem(domain, [value]), {"value": torch.tensor(points, dtype=torch.float64)[:, None]}


def test_the_parametrization():
    network = pinntk.nn.MLP(
        inputs=3, outputs=1, width=400, depth=1, parametrization="ntk", beta=0.5, gain=2.0, dtype=torch.float64
    )
    (W_0, W_1), (b_0, b_1) = network.dense.weights, network.dense.biases
    x = torch.tensor([[0.3, -1.0, 0.7]], dtype=torch.float64)
    hidden = torch.tanh(W_0 @ x[0] / 3**0.5 + 0.5 * b_0)
    assert torch.allclose(network(x)[0], W_1 @ hidden / 400**0.5 + 0.5 * b_1, rtol=1e-12, atol=0)
    assert float(W_0.detach().std()) == pytest.approx(2, rel=0.1)
    assert float(b_0.detach().std()) == pytest.approx(1, rel=0.1)


@pytest.mark.parametrize("kind", ["nngp", "ntk"])
def test_recursions(kind):
    x, beta, gain = np.array([0.3, 1.1]), 0.5, 1.2
    q = np.outer(x, x)
    Sigma, Theta = gain**2 * q + beta**2, q + beta**2
    for _ in range(2):
        pairs = [[(Sigma[i, i], Sigma[i, j], Sigma[j, j]) for j in (0, 1)] for i in (0, 1)]
        E = np.array([[expectation(lambda u, v: np.tanh(u) * np.tanh(v), *pair) for pair in row] for row in pairs])
        dE = np.array([[expectation(lambda u, v: slope(u) * slope(v), *pair) for pair in row] for row in pairs])
        Sigma, Theta = gain**2 * E + beta**2, E + beta**2 + gain**2 * Theta * dE
    problem, points = values_problem(x)
    network = pinntk.nn.MLP(
        inputs=1, outputs=1, width=3, depth=2, parametrization="ntk", beta=beta, gain=gain
    )  # its width says nothing
    found = pinntk.infinite_kernel(network, problem, points, kind=kind).matrix()
    assert np.allclose(found, Sigma if kind == "nngp" else Theta, rtol=1e-9)


def test_dual_activations():
    q = (0.9, 0.4, 1.3)
    tensors = [torch.tensor([value], dtype=torch.float64) for value in q]
    found = dual.dual_table("tanh", *tensors, [(0, 0, 0), (0, 1, 0), (1, 0, 0)])
    assert float(found[0, 0, 0]) == pytest.approx(expectation(lambda u, v: np.tanh(u) * np.tanh(v), *q), rel=1e-8)
    assert float(found[0, 1, 0]) == pytest.approx(expectation(lambda u, v: slope(u) * slope(v), *q), rel=1e-8)
    bent = expectation(lambda u, v: -2 * np.tanh(u) * slope(u) * np.tanh(v), *q) / 2  # E[s''(u) s(v)] / 2
    assert float(found[1, 0, 0]) == pytest.approx(bent, rel=1e-7)
    arcsine = 2 / pi * np.arcsin(2 * q[1] / np.sqrt((1 + 2 * q[0]) * (1 + 2 * q[2])))
    assert float(dual.dual_table("erf", *tensors, [(0, 0, 0)])[0, 0, 0]) == pytest.approx(arcsine, rel=1e-13)


def test_mehler():
    q11, q12, q22 = 0.9, 0.4, 1.3
    rho, total, factorial = q12 / np.sqrt(q11 * q22), 0.0, 1.0
    for k in range(40):
        factorial *= max(k, 1)
        h = np.polynomial.hermite_e.hermeval(Z, np.eye(40)[k]) / np.sqrt(factorial)
        f, g = (DENSITY @ (np.tanh(np.sqrt(q) * Z) * h) for q in (q11, q22))
        total += f * g * rho**k
    tensors = [torch.tensor([value], dtype=torch.float64) for value in (q11, q12, q22)]
    assert float(dual.dual_table("tanh", *tensors, [(0, 0, 0)])[0, 0, 0]) == pytest.approx(total, rel=1e-9)


def erf_tangent(x, y):
    """Of one hidden layer, by hand, as a function of two numbers."""

    def covariance(a, b):
        return a * b + 1

    spread = (1 + 2 * covariance(x, x)) * (1 + 2 * covariance(y, y)) - 4 * covariance(x, y) ** 2
    value = 2 / pi * torch.atan(2 * covariance(x, y) / spread.sqrt())
    return value + 1 + covariance(x, y) * 4 / pi / spread.sqrt()


def test_operators_act_on_the_limit():
    problem, points = EXAMPLES["poisson"].load()
    found = pinntk.infinite_kernel(LIMIT, problem, points)
    k_yy = grad(grad(erf_tangent, 1), 1)
    x, y = points["equation"][1, 0], points["equation"][3, 0]
    assert float(found.rr[1, 3]) == pytest.approx(float(grad(grad(k_yy, 0), 0)(x, y)), rel=1e-10)
    assert float(found.ur[0, 3]) == pytest.approx(float(k_yy(points["ends"][0, 0], y)), rel=1e-10)


def root_mean_square(values) -> float:
    return float(np.sqrt(np.mean(np.square(np.asarray(values)))))


def test_the_initial_kernel_concentrates():
    problem, points = values_problem([-0.9, 0.1, 1.0])
    limit = pinntk.infinite_kernel(LIMIT, problem, points).matrix()
    spread = [
        root_mean_square(pinntk.mean_kernel(lambda seed: wide(w, seed), problem, points, range(20), expected=limit).distances)
        for w in (16, 256)
    ]
    assert 2.5 < spread[0] / spread[1] < 6.5  # 16 times the width, 4 times less


def test_drift_falls_with_width():
    problem, points = values_problem([-0.9, 0.1, 1.0])
    target = torch.tensor([-1.0, 0.5, 1.0], dtype=torch.float64)
    moves = {}
    for width in (64, 1024):
        found = []
        for seed in range(12):
            network = wide(width, seed)
            first, start = pinntk.kernel(network, problem, points), copy.deepcopy(network)
            parameters = list(network.parameters())
            for _ in range(20):
                loss = (network(points["value"])[:, 0] - target).square().mean()
                slopes = torch.autograd.grad(loss, parameters)
                with torch.no_grad():
                    for p, s in zip(parameters, slopes, strict=True):
                        p -= 0.1 * s
            found.append((drift(first, pinntk.kernel(network, problem, points)).kernel, parameter_drift(start, network)))
        moves[width] = [root_mean_square(column) for column in zip(*found, strict=True)]
    kernel, parameters = (moves[64][i] / moves[1024][i] for i in (0, 1))
    assert kernel > 7  # the root of the width would give 4, the width 16
    assert 3 < parameters < 5


def test_a_nonlinear_operator_stays_random():
    problem, points = steepening()
    spread, distance = [], []
    for width in (32, 512):
        networks = [wide(width, seed) for seed in range(4)]
        K = [pinntk.kernel(network, problem, points).matrix() for network in networks]
        mean = torch.stack(K).mean(0)
        spread.append(root_mean_square([relative(one, mean) for one in K]))
        given = [pinntk.infinite_kernel(LIMIT, problem, points, at=network).matrix() for network in networks]
        distance.append(root_mean_square([relative(one, limit) for one, limit in zip(K, given, strict=True)]))
    assert spread[1] > 0.3
    assert distance[1] < 0.3 * distance[0]


def extended():
    """The example "poisson" on few points, the errors of u = 0, the diagonal of D, and kernels of errors and field alike."""
    problem, points = EXAMPLES["poisson"].load()
    points = {"equation": points["equation"][:3], "ends": points["ends"]}

    @pinntk.residual(problem.domain)
    def value(u):
        return u

    both = pinntk.Problem(problem.domain, [*problem.conditions, value])
    x = torch.tensor([[0.15], [0.62]], dtype=torch.float64)
    Sigma, Theta = (pinntk.infinite_kernel(LIMIT, both, {**points, "value": x}, kind=kind).values for kind in ("nngp", "ntk"))
    start = torch.cat([torch.sin(3 * points["equation"][:, 0]), torch.zeros(2, dtype=torch.float64)])
    return problem, points, x, start, diagonal(points, WEIGHTS), Sigma, Theta


def test_the_law_of_trained_networks():
    problem, points, x, start, D, Sigma, Theta = extended()
    found = pinntk.infinite_ensemble(LIMIT, problem, points, WEIGHTS)
    for t in (0.0, 0.3, 20.0):
        both = np.zeros((10, 10))
        both[:5, :5], both[:5, 5:] = -(Theta[:5, :5] * D) * t, np.eye(5) * t
        R = Theta[5:, :5] * D @ torch.from_numpy(expm(both)[:5, 5:])  # the block is the integral
        assert torch.allclose(found.mean(x, t)[:, 0], -R @ start, rtol=1e-9, atol=1e-12)
        half = R @ Sigma[:5, 5:]
        expected = Sigma[5:, 5:] - half - half.T + R @ Sigma[:5, :5] @ R.T
        assert torch.allclose(found.covariance(x, t), expected, rtol=1e-9, atol=1e-12)


def test_collocation():
    problem, points, x, start, _, _, Theta = extended()
    noise = {"equation": 0.1, "ends": 0.01}
    S = torch.diag(torch.tensor([0.1, 0.1, 0.1, 0.01, 0.01], dtype=torch.float64) ** 2)
    solved = torch.linalg.solve(Theta[:5, :5] + S, torch.cat([start[:, None], Theta[:5, 5:]], 1))
    found = pinntk.collocate(LIMIT, problem, points, noise=noise)
    assert torch.allclose(found.mean(x)[:, 0], -Theta[5:, :5] @ solved[:, 0], rtol=1e-9, atol=0)
    variance = (Theta[5:, 5:] - Theta[5:, :5] @ solved[:, 1:]).diagonal()
    assert torch.allclose(found.std(x)[:, 0] ** 2, variance, rtol=1e-8, atol=0)
    trained = pinntk.infinite_ensemble(LIMIT, problem, points, WEIGHTS).mean(x, float("inf"))
    assert torch.allclose(pinntk.collocate(LIMIT, problem, points).mean(x), trained, rtol=1e-6, atol=0)
