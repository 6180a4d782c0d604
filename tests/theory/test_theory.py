"""Formulas of docs/THEORY.md from the loss to linear dynamics, on the oracle's e and J."""

from __future__ import annotations

from math import pi

import numpy as np
import pytest
import torch
from scipy.linalg import expm
from torch.func import grad
from torch.nn.utils import parameters_to_vector

import pinntk
from pinntk.diagnostics import balance, dynamics, field_kernel, spectrum
from tests.support import reference
from tests.support.examples import EXAMPLES
from tests.support.networks import build
from tests.support.reference import relative
from tests.support.theory import WEIGHTS, Features, joined, moved, poisson, steepening, tangent

# 1. From the loss to the kernel.


def test_errors():
    problem, points = EXAMPLES["burgers"].load()
    network = build("plain", 2)
    expected = reference.errors(network, problem, points)
    for name, e in pinntk.errors(network, problem, points).items():
        assert relative(e, expected[name]) < 1e-12


def test_loss():
    network, problem, points, e, _, D = poisson()
    found = balance(network, problem, points, WEIGHTS)
    assert found.loss["ends"] == pytest.approx(float(e[5:].square().mean()), rel=1e-12)
    total = sum(WEIGHTS[name] * found.loss[name] for name in points)
    assert total == pytest.approx(float(D @ e**2) / 2, rel=1e-12)


def test_jacobian():
    network, problem, points, _, J, _ = poisson()
    found = pinntk.factors(network, problem, points)
    assert relative(torch.cat([part.matrix() for part in found.values()]), J) < 1e-12


def test_gradient():
    network, problem, points, e, _, D = poisson()
    parts = reference.errors(network, problem, points)
    loss = sum(WEIGHTS[name] * part.square().mean() for name, part in parts.items())
    expected = parameters_to_vector(torch.autograd.grad(loss, list(network.parameters())))
    operator = pinntk.KernelOperator(network, problem, points, weights=WEIGHTS)  # its J is D^1/2 J
    assert relative(operator.jacobian.rmatvec(D.sqrt() * e), expected) < 1e-12


def test_kernel():
    network, problem, points, _, J, _ = poisson()
    assert relative(pinntk.kernel(network, problem, points).matrix(), J @ J.T) < 1e-12


def test_errors_follow_the_kernel():
    network, problem, points, e, J, D = poisson()
    velocity, h = -J.T @ (D * e), 1e-6
    ahead, behind = (joined(reference.errors(moved(network, s * velocity), problem, points)) for s in (h, -h))
    K = pinntk.kernel(network, problem, points).matrix()
    assert relative((ahead - behind) / (2 * h), -K @ (D * e)) < 1e-6


def test_the_loss_falls_by_the_squared_gradient():
    network, problem, points, e, J, D = poisson()
    scaled = D.sqrt() * e
    fall = float(scaled @ pinntk.kernel(network, problem, points).matrix(WEIGHTS) @ scaled)
    gradient, h = J.T @ (D * e), 1e-6
    assert fall == pytest.approx(float(gradient @ gradient), rel=1e-12)
    ahead, behind = (joined(reference.errors(moved(network, s * gradient), problem, points)) for s in (-h, h))
    assert float(D @ (ahead**2 - behind**2)) / (4 * h) == pytest.approx(-fall, rel=1e-6)


def test_conditions_move_each_other():
    network, problem, points, e, J, _ = poisson()
    found = balance(network, problem, points, WEIGHTS)
    K, e = J @ J.T, {"equation": e[:5], "ends": e[5:]}
    rows = {"equation": slice(0, 5), "ends": slice(5, 7)}
    G = torch.tensor([[float(4 / len(a) / len(b) * a @ K[rows[i], rows[j]] @ b) for j, b in e.items()] for i, a in e.items()])
    for i, name in enumerate(e):
        fall = sum(WEIGHTS[other] * float(G[i, j]) for j, other in enumerate(e))
        assert found.gradient_rate[name] == pytest.approx(fall / found.loss[name], rel=1e-6)
    cosine = float(G[0, 1] / (G[0, 0] * G[1, 1]).sqrt())
    assert float(found.conflict[0, 1]) == pytest.approx(cosine, rel=1e-6)
    assert found.alignment == pytest.approx(cosine, rel=1e-6)


# 2. Blocks.


def test_blocks():
    problem, points = EXAMPLES["stokes"].load()
    network = build("plain", 2, 3)
    J = reference.jacobian(network, problem, points)
    J_u = torch.cat([rows for name, rows in J.items() if problem[name].kind != "residual"])
    J_r = torch.cat([rows for name, rows in J.items() if problem[name].kind == "residual"])
    K = pinntk.kernel(network, problem, points)
    for found, expected in ((K.uu, J_u @ J_u.T), (K.ur, J_u @ J_r.T), (K.rr, J_r @ J_r.T)):
        assert relative(found, expected) < 1e-12


def test_operators_act_on_the_kernel():
    network, problem, points, *_ = poisson()
    K, k = pinntk.kernel(network, problem, points), tangent(network)
    k_yy = grad(grad(k, 1), 1)
    x, y = points["equation"][1, 0], points["equation"][3, 0]
    assert float(K.rr[1, 3]) == pytest.approx(float(grad(grad(k_yy, 0), 0)(x, y).detach()), rel=1e-10)
    assert float(K.ur[0, 3]) == pytest.approx(float(k_yy(points["ends"][0, 0], y).detach()), rel=1e-10)


def test_a_nonlinear_operator_acts_by_its_derivative():
    problem, points = steepening()
    network = build("plain", 1)
    k = tangent(network)

    def value(x):
        return network(x.reshape(1, 1))[0, 0]

    def linearized(f, axis):
        return lambda *z: grad(value)(z[axis]) * f(*z) + value(z[axis]) * grad(f, axis)(*z)

    expected = linearized(linearized(k, 0), 1)(*points["advection"][:, 0])
    found = pinntk.kernel(network, problem, points).matrix()[0, 1]
    assert float(found) == pytest.approx(float(expected.detach()), rel=1e-10)


def test_more_points_leave_the_normalized_trace():
    network, problem, points, *_ = poisson()
    twice = {name: torch.cat([rows, rows]) for name, rows in points.items()}
    once, again = pinntk.kernel(network, problem, points), pinntk.kernel(network, problem, twice)
    assert pinntk.traces(network, problem, twice)["ends"] == pytest.approx(2 * once.trace("ends"), rel=1e-12)
    values, repeated = spectrum(once).blocks["equation"], spectrum(again).blocks["equation"]
    assert relative(repeated[:5], values) < 1e-10
    assert float(repeated[5:].abs().max()) < 1e-12 * float(values[0])
    assert again.trace("equation") / 10 == pytest.approx(float(values.sum()), rel=1e-12)


def test_coupling_is_at_most_one():
    network, problem, points, _, J, _ = poisson()
    K = J @ J.T
    expected = K[:5, 5:].norm() / (K[:5, :5].norm() * K[5:, 5:].norm()).sqrt()
    found = balance(network, problem, points).coupling
    assert float(found[0, 1]) == pytest.approx(float(expected), rel=1e-12)
    assert 0 < float(found[0, 1]) < 1


# 3. Linear dynamics.


def frozen(count: int = 9):
    """What `dynamics` predicts of a network that is linear in its parameters, and e, J and the diagonal of D."""
    network, problem, points, e, J, D = poisson(Features(count))
    K = pinntk.kernel(network, problem, points)
    return dynamics(K, pinntk.errors(network, problem, points), WEIGHTS), K, e.numpy(), J.numpy(), D.numpy()


def test_gradient_flow_is_an_exponential():
    found, _, e, J, D = frozen()
    for t in (0.0, 1e-3, 0.1):
        assert np.allclose(joined(found.errors(t)), expm(-J @ J.T * D * t) @ e, rtol=0, atol=1e-9)


def test_the_spectrum_is_real_and_not_negative():
    _, K, _, J, D = frozen(4)  # 7 errors, 4 parameters: 3 eigenvalues are zero
    values = np.linalg.eigvals(J @ J.T * D)
    assert np.abs(values.imag).max() < 1e-10 * values.real.max()
    assert np.allclose(np.sort(values.real), K.eigvalsh(WEIGHTS), rtol=0, atol=1e-10 * values.real.max())
    assert float(K.eigvalsh(WEIGHTS)[0]) > -K.floor(WEIGHTS)
    rates, V = K.eigh(WEIGHTS)
    assert relative(V @ torch.diag(rates) @ V.T, K.matrix(WEIGHTS)) < 1e-12


def test_modes_decay_alone():
    found, K, e, J, D = frozen()
    modes = spectrum(K, WEIGHTS)
    start = modes.project({"equation": torch.from_numpy(e[:5]), "ends": torch.from_numpy(e[5:])})
    t = 0.3 / float(modes.values[2])
    later = expm(-J @ J.T * D * t) @ e
    c = modes.vectors.T @ torch.from_numpy(np.sqrt(D) * later)
    assert torch.allclose(c, start * torch.exp(-modes.values * t), rtol=0, atol=1e-9 * float(start.norm()))
    assert float(found.losses(t).total) == pytest.approx(float(D @ later**2) / 2, rel=1e-8)
    errors = {"equation": torch.from_numpy(e[:5]), "ends": torch.from_numpy(e[5:])}
    assert float(modes.remaining(errors, t).sum()) == pytest.approx(float((D @ later**2) / (D @ e**2)), rel=1e-8)


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_gradient_descent(momentum):
    """Of the network itself, whose errors are linear in its parameters."""
    found, _, e, J, D = frozen()
    lr = 0.99 * found.largest_stable_step(momentum)
    theta, b = np.zeros(J.shape[1]), np.zeros(J.shape[1])
    for _ in range(200):
        b = momentum * b + J.T @ (D * (e + J @ theta))
        theta = theta - lr * b
    assert np.allclose(joined(found.errors_after(200, lr, momentum)), e + J @ theta, rtol=0, atol=1e-8)
    if not momentum:
        power = np.linalg.matrix_power(np.eye(7) - lr * J @ J.T * D, 200)
        assert np.allclose(power @ e, e + J @ theta, rtol=0, atol=1e-8)
    falls, grows = (
        found.losses_after([0, 20000], s * found.largest_stable_step(momentum), momentum).total for s in (0.99, 1.01)
    )
    assert falls[1] < falls[0] < grows[1]


def test_momentum_speeds_slow_modes():
    found, _, _, _, D = frozen()
    momentum, k = 0.9, 4
    lr = 1e-3 / found.rates[-1]
    steps = round((1 - momentum) / (lr * found.rates[k]))
    c = found.modes.T @ (np.sqrt(D) * joined(found.errors_after(steps, lr, momentum)).numpy())
    expected = np.exp(-steps * lr * found.rates[k] / (1 - momentum))
    assert c[k] / found.components[k] == pytest.approx(expected, rel=0.01)


def test_other_quantities_follow_the_cross_kernel():
    network, problem, points, e, J, D = poisson(Features())
    found = dynamics(pinntk.kernel(network, problem, points), pinntk.errors(network, problem, points), WEIGHTS)
    test = torch.linspace(0, 1, 4, dtype=torch.float64)[:, None]
    phi = torch.tanh(test @ network.b + network.c)  # the Jacobian of u
    cross, K = phi @ J.T, J @ J.T
    t = 0.5
    remains = torch.from_numpy(expm(-(K * D).numpy() * t)) @ e
    expected = cross @ torch.linalg.solve(K, remains - e)  # K D integrated over time is 1 - exp(-K D t)
    change = found.changes(field_kernel(network, problem, test, points), np.array([t, 1e12]))["u"]
    assert np.allclose(change[0], expected, rtol=0, atol=1e-5)
    regression = -cross @ torch.linalg.solve(K, e)
    assert np.allclose(change[1], regression, rtol=1e-3, atol=1e-3)


def test_what_lies_in_the_null_space_stays():
    found, K, e, J, D = frozen(4)
    rates, V = K.eigh(WEIGHTS)
    c = V.numpy().T @ (np.sqrt(D) * e)
    left = float((c[:3] ** 2).sum() / 2)
    assert float(found.losses(1e15).total) == pytest.approx(left, rel=1e-6)
    best = e - J @ np.linalg.lstsq(np.sqrt(D)[:, None] * J, np.sqrt(D) * e, rcond=None)[0]
    assert left == pytest.approx(float(D @ best**2) / 2, rel=1e-9)
    start, least, most = float((c**2).sum() / 2), float(rates[3]), float(rates[-1])
    for t in (0.1 / most, 1 / most, 1 / least):
        loss = float(found.losses(t).total)
        assert np.exp(-2 * most * t) <= (loss - left) / (start - left) <= np.exp(-2 * least * t)
    assert found.steps_to(0.99 * left / start, 1 / most) == float("inf")


def test_average_rates():
    network, problem, points, _, J, D = poisson()
    found = balance(network, problem, points, WEIGHTS)
    norms = J.square().sum(1)
    assert found.mean_diagonal["ends"] == pytest.approx(float(norms[5:].mean()), rel=1e-12)
    rates = pinntk.kernel(network, problem, points).eigvalsh(WEIGHTS)
    assert sum(found.rate.values()) == pytest.approx(float(rates.sum()), rel=1e-12)
    assert float(rates.sum()) == pytest.approx(float(D @ norms), rel=1e-12)


def ring(n: int = 32):
    """u and u_xx on a circle, where the limit of a network with periodic inputs has a kernel of x - x' alone."""
    domain = pinntk.Box(x=(0, 1))

    @pinntk.residual(domain)
    def value(u):
        return u

    @pinntk.residual(domain)
    def curvature(u_xx):
        return u_xx

    problem = pinntk.Problem(domain, [value, curvature])
    options = {"activation": "erf", "parametrization": "ntk", "dtype": torch.float64}
    network = pinntk.nn.MLP(problem, width=4, depth=1, periodic="x", **options)  # its width says nothing
    grid = torch.arange(n, dtype=torch.float64)[:, None] / n
    rows = pinntk.infinite_cross_kernel(
        network, problem, dict.fromkeys(problem.names, grid[:1]), dict.fromkeys(problem.names, grid)
    )
    return pinntk.infinite_kernel(network, problem, {"value": grid}), rows


def test_spectral_bias():
    K, rows = ring()
    k, k_rr = (np.fft.fft(rows[name, name][0].numpy()).real for name in ("value", "curvature"))
    values = spectrum(K).blocks["value"].numpy()
    assert np.allclose(np.sort(k)[::-1] / 32, values, rtol=0, atol=1e-12 * values[0])
    m = np.arange(6)
    assert np.allclose(k_rr[m], (2 * pi * m) ** 4 * k[m], rtol=1e-5, atol=1e-5 * k_rr.max())
    assert (np.diff(k[1:8]) < 0).all()
