"""Formulas of docs/THEORY.md for weights, second-order steps, posteriors and the factored kernel, on the oracle's e and J."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.func import functional_call, grad, jacrev
from torch.nn.utils import parameters_to_vector, vector_to_parameters

import pinntk
from pinntk.diagnostics import balance, weights_by_name
from pinntk.ntk._gram import is_structured
from pinntk.solvers import DampedLeastSquares, GaussNewton, NaturalGradient, ScaledJacobian, scaled_errors
from pinntk.training import AttentionWeights, CausalWeights, ErrorValues, SelfAdaptiveWeights, losses
from pinntk.weighting import NTK, RBA, VRBA, Causal, GradientNorm, SelfAdaptive
from tests.support import reference
from tests.support.examples import EXAMPLES
from tests.support.networks import build
from tests.support.reference import relative
from tests.support.theory import WEIGHTS, Features, bent, diagonal, moved, poisson, scaled

# 5. Rules for weights.


def test_ntk_weights():
    network, problem, points, _, J, _ = poisson()
    trace = {"equation": float(J[:5].square().sum()), "ends": float(J[5:].square().sum())}
    found = NTK().rule(pinntk.traces(network, problem, points), {"equation": 5, "ends": 2})
    total = trace["equation"] / 5 + trace["ends"] / 2
    assert found["ends"] == pytest.approx(total / (trace["ends"] / 2), rel=1e-12)
    letter = NTK(normalization="sum").rule(trace, {"equation": 5, "ends": 2})
    assert letter["ends"] == pytest.approx(sum(trace.values()) / trace["ends"], rel=1e-12)


def test_ntk_weights_balance_the_rates():
    network, problem, points, _, J, _ = poisson()
    weights = NTK().rule(pinntk.traces(network, problem, points), {"equation": 5, "ends": 2})
    found = balance(network, problem, points, weights)
    c = [float(J[:5].square().sum()) / 5, float(J[5:].square().sum()) / 2]
    assert list(found.rate.values()) == pytest.approx([2 * sum(c), 2 * sum(c)], rel=1e-12)
    assert found.imbalance == pytest.approx(1, rel=1e-12)
    assert balance(network, problem, points).imbalance == pytest.approx(max(c) / min(c), rel=1e-12)


def test_more_points_leave_the_mean_rule():
    network, problem, points, *_ = poisson()
    more = points | {"ends": points["ends"].repeat(6, 1)}
    kernels = [pinntk.kernel(network, problem, rows) for rows in (points, more)]
    mean, letter = (
        [NTK(normalization=name).rule(K.traces(), dict(zip(K.names, K.sizes, strict=True))) for K in kernels]
        for name in ("mean", "sum")
    )
    assert mean[1] == pytest.approx(mean[0], rel=1e-12)
    ratio = [weights["ends"] / weights["equation"] for weights in letter]
    assert ratio[1] == pytest.approx(ratio[0] / 6, rel=1e-12)
    largest = [K.eigvalsh(weights)[-1] for K, weights in zip(kernels, mean, strict=True)]
    assert float(largest[1]) == pytest.approx(float(largest[0]), rel=1e-12)


def test_gradient_norm_weights():
    network, problem, points, e, J, _ = poisson()
    norms = {"equation": float((2 * J[:5].T @ e[:5] / 5).norm()), "ends": float((2 * J[5:].T @ e[5:] / 2).norm())}
    pulled = float(4 * e[5:] @ pinntk.kernel(network, problem, points)["ends"] @ e[5:] / 4) ** 0.5
    assert balance(network, problem, points).gradient_norm["ends"] == pytest.approx(pulled, rel=1e-12)
    found = GradientNorm().rule(balance(network, problem, points).gradient_norm)
    assert found == pytest.approx({name: sum(norms.values()) / norm for name, norm in norms.items()}, rel=1e-12)


def test_what_is_called_ntk():
    network, problem, points, e, _, _ = poisson()
    K, parts = pinntk.kernel(network, problem, points), {"equation": e[:5], "ends": e[5:]}
    found = weights_by_name(K, parts)
    quotient = {name: float(part @ K[name] @ part / (part @ part)) for name, part in parts.items()}
    sums = {name: float(K[name].sum()) for name in parts}
    ratio = found["kernel-sum"]["ends"] / found["kernel-sum"]["equation"]
    assert ratio == pytest.approx(sums["equation"] / sums["ends"], rel=1e-12)
    ratio = found["root-sum-gradient"]["ends"] / found["root-sum-gradient"]["equation"]
    assert ratio == pytest.approx((quotient["equation"] / quotient["ends"]) ** 0.5, rel=1e-12)
    for name, part in parts.items():
        values = torch.linalg.eigvalsh(K[name])
        assert float(values[0]) <= quotient[name] <= float(values[-1]) <= K.trace(name)
        assert 0 <= sums[name] <= len(part) * float(values[-1])


def test_causal_weights():
    problem = EXAMPLES["burgers"].build()
    causal = Causal(epsilon=2.0, slices=4)
    L = torch.tensor([0.3, 0.1, 0.7, 0.2], dtype=torch.float64)
    assert causal.rule(L).tolist() == pytest.approx([1, np.exp(-0.6), np.exp(-0.8), np.exp(-2.2)], rel=1e-12)
    network = build("plain", 2)
    rows = {"equation": problem.sample(residual=24, seed=3, dtype=torch.float64)["equation"]}
    e = reference.errors(network, problem, rows)["equation"].detach()
    places = (4 * rows["equation"][:, 0]).long()
    L = torch.stack([e[places == k].square().mean() for k in range(4)])
    single = pinntk.Problem(problem.domain, [problem["equation"]])
    g = CausalWeights(causal, ErrorValues(network, single), single, rows, rows).compute(torch.float64)["equation"]
    assert float((g * e**2).mean()) == pytest.approx(float((causal.rule(L) * L).mean()), rel=1e-10)


def test_point_weights():
    network, problem, points, e, J, D = poisson()
    g = torch.tensor([1.0, 0.2, 3.0, 0.5, 2.0, 1.0, 1.0], dtype=torch.float64)
    counts = {name: len(rows) for name, rows in points.items()}
    found = losses(network, problem, points, counts, {"equation": g[:5], "ends": g[5:]})
    loss = sum(WEIGHTS[name] * part for name, part in found.items())
    gradient = parameters_to_vector(torch.autograd.grad(loss, list(network.parameters())))
    assert relative(gradient, J.T @ (g * D * e)) < 1e-10


def test_ostrowski():
    network, problem, points, *_ = poisson(bent())
    K = pinntk.kernel(network, problem, points)
    g = torch.tensor([1.0, 0.2, 3.0, 0.5, 2.0, 0.7, 1.5], dtype=torch.float64)
    values = K.eigvalsh({"equation": g[:5], "ends": g[5:]})
    even = dict.fromkeys(points, 1.0)
    plain = torch.linalg.eigvals(K.matrix() * g * diagonal(points, even)).real.sort().values
    assert torch.allclose(values, plain, rtol=1e-6, atol=1e-12 * float(values[-1]))
    ratio = values / K.eigvalsh(even)
    assert 0.2 - 1e-6 <= float(ratio.min()) < float(ratio.max()) <= 3.0 + 1e-6


def test_self_adaptive_weights():
    network, problem, points, e, _, _ = poisson()
    weights = torch.tensor([1.0, 0.2, 3.0, 0.5, 2.0], dtype=torch.float64)
    scheme = SelfAdaptive(lr=0.1, initial={"equation": weights}, optimizer="gradient-ascent")
    found = SelfAdaptiveWeights(scheme, ErrorValues(network, problem), problem, points, seed=0)
    assert torch.allclose(found.compute(torch.float64)["equation"], weights**2, rtol=1e-12, atol=0)
    found.advance()
    raised = weights + 0.1 * 2 * weights * e[:5] ** 2 / 5
    assert torch.allclose(found.compute(torch.float64)["equation"], raised**2, rtol=1e-10, atol=0)


def test_residual_based_attention():
    network, problem, points, e, _, _ = poisson()
    found = AttentionWeights(RBA(eta=0.1, gamma=0.5), ErrorValues(network, problem), problem, points)
    relative_size = e[:5].abs() / e[:5].abs().max()
    first, second = 0.5 + 0.1 * relative_size, 0.25 + 0.15 * relative_size
    assert torch.allclose(found.compute(torch.float64)["equation"], first**2, rtol=1e-10, atol=0)
    found.advance()
    assert torch.allclose(found.compute(torch.float64)["equation"], second**2, rtol=1e-10, atol=0)


def test_variational_attention_is_the_best_tilt():
    """Donsker and Varadhan: the largest sum q |e| - epsilon sum q log(n q) is epsilon log mean exp(|e| / epsilon)."""
    _, _, _, e, _, _ = poisson()
    e, step, c = e[:5], 7, 0.5
    epsilon = c * float(e.abs().max()) / np.log(step + 2)
    tilt = VRBA(c=c).tilt(e, step)
    q = tilt / tilt.sum()

    def worth(q):
        return float((q * e.abs()).sum() - epsilon * (q * (5 * q).log()).sum())

    assert worth(q) == pytest.approx(epsilon * float((e.abs() / epsilon).exp().mean().log()), rel=1e-12)
    others = torch.rand(50, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert all(worth(other / other.sum()) < worth(q) for other in others)
    assert torch.equal(VRBA(potential="square").tilt(e, step), e.abs() / e.abs().max())


# 6. Gauss-Newton.


def test_scaled_errors():
    network, problem, points, A, r = scaled()
    assert relative(scaled_errors(network, problem, points, WEIGHTS), r) < 1e-12
    found = ScaledJacobian(network, problem, points, WEIGHTS)
    assert relative(found.kernel(), A @ A.T) < 1e-12
    assert relative(pinntk.kernel(network, problem, points).matrix(WEIGHTS), 2 * A @ A.T) < 1e-12


@pytest.mark.parametrize("form", ["kernel", "parameters"])
def test_damped_step(form):
    network, problem, points, A, r = scaled()
    mu = 1e-3
    found = DampedLeastSquares(ScaledJacobian(network, problem, points, WEIGHTS), r, form).step(mu)
    by_points = -A.T @ torch.linalg.solve(A @ A.T + mu * torch.eye(len(A)).to(A), r)
    by_parameters = -torch.linalg.solve(A.T @ A + mu * torch.eye(A.shape[1]).to(A), A.T @ r)
    assert relative(found, by_points) < 1e-10
    assert relative(found, by_parameters) < 1e-8


def test_a_damped_step_flattens_the_spectrum():
    network, problem, points, A, r = scaled()
    U, s, _ = torch.linalg.svd(A, full_matrices=False)
    mu = float(s[3]) ** 2
    system = DampedLeastSquares(ScaledJacobian(network, problem, points, WEIGHTS), r)
    d = system.step(mu)
    after = r + A @ d
    assert relative(U.T @ after, mu / (mu + s**2) * (U.T @ r)) < 1e-8
    promised = float((A @ d).square().sum() + 2 * mu * d.square().sum())
    assert promised == pytest.approx(float(r @ r - after @ after), rel=1e-8)


def curvature(network, problem, points, d):
    """r''(d): the second derivative of the scaled errors along d."""
    parameters = list(network.parameters())
    parts = d.split([p.numel() for p in parameters])
    tangents = {name: part.view_as(p) for (name, p), part in zip(network.named_parameters(), parts, strict=True)}

    def r(h):
        def u(p):
            return functional_call(network, {name: q + h * tangents[name] for name, q in network.named_parameters()}, (p,))

        u_xx = torch.vmap(grad(grad(lambda x: u(x.reshape(1, 1))[0, 0])))(points["equation"][:, 0])
        return torch.cat([(WEIGHTS["equation"] / 5) ** 0.5 * u_xx, (WEIGHTS["ends"] / 2) ** 0.5 * u(points["ends"])[:, 0]])

    return jacrev(jacrev(r))(torch.zeros((), dtype=torch.float64)).detach()


def test_geodesic_acceleration():
    """It removes the second order of the error that a step along a straight line makes."""
    network, problem, points, A, r = scaled(bent())
    system = DampedLeastSquares(ScaledJacobian(network, problem, points, WEIGHTS), r)
    d = system.step(1e-12)
    second = curvature(network, problem, points, d)
    a = 0.5 * system.apply(second, 1e-12)
    assert relative(a, -0.5 * torch.linalg.pinv(A) @ second) < 1e-5
    wrong = {}
    for h in (1e-2, 5e-3):
        for name, change in (("straight", h * d), ("bent", h * d + h**2 * a)):
            after = scaled_errors(moved(network, change), problem, points, WEIGHTS)
            wrong[name, h] = float((after - (1 - h) * r).norm())
    assert wrong["straight", 1e-2] / wrong["straight", 5e-3] == pytest.approx(4, rel=0.1)
    assert wrong["bent", 1e-2] / wrong["bent", 5e-3] == pytest.approx(8, rel=0.1)


@pytest.mark.parametrize(("radius", "bent_is_better"), [(0.3, False), (0.7, True)])
def test_gauss_newton_takes_that_step(radius, bent_is_better):
    """Where it lowers the loss. The first correction is the acceleration up to the third order of d."""
    network, problem, points, A, r = scaled(bent())
    start = parameters_to_vector(network.parameters()).detach()
    solver = GaussNewton(network, problem, weights=WEIGHTS, corrections=1)
    solver.radius = radius
    report = solver.step(points)
    found = parameters_to_vector(network.parameters()).detach() - start
    K = A @ A.T + report.damping * torch.eye(len(A)).to(A)

    def apply(v):
        return -A.T @ torch.linalg.solve(K, v)

    def errors(d):
        return scaled_errors(moved(network, d), problem, points, WEIGHTS)

    d = apply(r)
    vector_to_parameters(start, network.parameters())
    corrected = apply(errors(d) - A @ d)
    assert report.accepted
    assert (errors(corrected).norm() < errors(d).norm()) == bent_is_better
    assert relative(found, corrected if bent_is_better else d) < 1e-7
    acceleration = 0.5 * apply(curvature(network, problem, points, d))
    wrong = []
    for h in (1e-2, 5e-3):
        wrong.append(float((apply(errors(h * d) - r - h * A @ d) - h**2 * acceleration).norm()))
    assert wrong[0] / wrong[1] == pytest.approx(8, rel=0.1)


def test_momentum_of_solvers():
    network, problem, points, _, _ = scaled()
    solver = NaturalGradient(network, problem, weights=WEIGHTS, damping=1e-3, momentum=0.8)
    assert solver.step(points).accepted
    previous = solver.state_dict()["phi"]
    _, _, _, A, r = scaled(network)
    report = solver.step(points)
    root = report.damping**0.5 * torch.eye(A.shape[1]).to(A)
    expected = torch.linalg.lstsq(torch.cat([A, root]), torch.cat([-r, root @ (-0.8 * previous)]), driver="gelsd").solution
    assert relative(-solver.state_dict()["phi"], expected) < 1e-7


def test_a_full_step_is_regression():
    """Of a network that is linear in its parameters; damping is noise."""
    network, problem, points, e, J, _ = poisson(Features())
    test = torch.linspace(0, 1, 4, dtype=torch.float64)[:, None]
    J_test, mu = torch.tanh(test @ network.b + network.c), 0.1
    before = network(test)[:, 0].detach()
    noise = torch.cat([torch.full((len(rows),), mu * len(rows) / WEIGHTS[name]) for name, rows in points.items()])
    expected = before - J_test @ J.T @ torch.linalg.solve(J @ J.T + noise.double().diag(), e)
    A, r = ScaledJacobian(network, problem, points, WEIGHTS), scaled_errors(network, problem, points, WEIGHTS)
    after = moved(network, DampedLeastSquares(A, r).step(mu))(test)[:, 0]
    assert relative(after - before, expected - before) < 1e-6


def test_posterior():
    network, problem, points, _, J, _ = poisson(Features())
    noise, width = {"equation": 0.3, "ends": 0.1}, 0.7
    S = torch.cat([torch.full((len(rows),), noise[name] ** 2, dtype=torch.float64) for name, rows in points.items()])
    test = torch.linspace(0, 1, 4, dtype=torch.float64)[:, None]
    J_test = torch.tanh(test @ network.b + network.c)
    precision = J.T @ (J / S[:, None]) + torch.eye(J.shape[1]).to(J) / width**2
    by_parameters = (J_test @ torch.linalg.solve(precision, J_test.T)).diagonal()
    K, cross = width**2 * J @ J.T, width**2 * J_test @ J.T
    by_points = (width**2 * J_test @ J_test.T - cross @ torch.linalg.solve(K + S.diag(), cross.T)).diagonal()
    _, std = pinntk.posterior(network, problem, points, noise, prior=width).field(test)
    assert relative(std[:, 0] ** 2, by_parameters) < 1e-8
    assert relative(std[:, 0] ** 2, by_points) < 1e-8


# 7. Exactness.


def test_factored_gradient():
    network, problem, points, _, J, _ = poisson()
    outer = pinntk.factors(network, problem, points)["equation"].outers["layers.2.weight"]
    start = sum(p.numel() for p in list(network.parameters())[:2])
    assert len(outer.A) == 3  # u, u_x and u_xx
    rows = sum(torch.einsum("nb,na->nba", B, A) for A, B in zip(outer.A, outer.B, strict=True)).flatten(1)
    assert relative(rows, J[:5, start : start + 120]) < 1e-12


def test_factored_kernel():
    wide = pinntk.nn.MLP(inputs=1, outputs=1, width=48, depth=2, dtype=torch.float64)
    network, problem, points, _, J, _ = poisson(wide)
    part = pinntk.factors(network, problem, points)["equation"]
    K = sum(rows @ rows.T for rows in part.rows.values())
    for outer in part.outers.values():
        K = K + torch.einsum("sia,tja,sib,tjb->ij", outer.A, outer.A, outer.B, outer.B)
    assert relative(K, J[:5] @ J[:5].T) < 1e-12
    assert is_structured(part, part, "dense.weights.1")  # the others are cheaper by explicit columns
    assert relative(pinntk.ntk.gram(part, part), K) < 1e-12


def test_factored_trace():
    network, problem, points, _, J, _ = poisson()
    part = pinntk.factors(network, problem, points)["equation"]
    trace = sum(float(rows.square().sum()) for rows in part.rows.values())
    for outer in part.outers.values():
        trace += float(torch.einsum("sia,tia,sib,tib->", outer.A, outer.A, outer.B, outer.B))
    assert trace == pytest.approx(float(J[:5].square().sum()), rel=1e-12)
    assert pinntk.traces(network, problem, points)["equation"] == pytest.approx(trace, rel=1e-12)


def test_rounding_floor():
    network, problem, points, *_ = poisson(Features(4))
    K = pinntk.kernel(network, problem, points)
    values = K.eigvalsh()
    assert float(values[:3].abs().max()) < K.floor() < float(values[3])
    assert K.floor() == pytest.approx(7 * np.finfo(float).eps * float(values[-1]), rel=1e-12, abs=0)
