"""Solvers on the kernel against their dense formulas, and what they reach."""

import pytest
import torch

import pinntk
from pinntk.ntk import factors
from pinntk.solvers import DampedLeastSquares, GaussNewton, NaturalGradient, ScaledJacobian, scaled_errors
from pinntk.solvers import _damped as damped_module
from pinntk.solvers._jacobian import ntk_weights
from tests.support.examples import EXAMPLES
from tests.support.networks import build


def setting(example="burgers", name="plain"):
    problem, points = EXAMPLES[example].load()
    network = build(name, problem.domain.dimension, len(problem.fields))
    weights = {key: 1.0 + 0.5 * i for i, key in enumerate(points)}
    return network, problem, points, weights


def dense(network, problem, points, weights):
    """A and r, row by row."""
    found = factors(network, problem, points)
    scale = {name: (weights[name] / len(rows)) ** 0.5 for name, rows in points.items()}
    A = torch.cat([scale[name] * found[name].matrix() for name in points])
    errors = pinntk.errors(network, problem, points)
    return A, torch.cat([scale[name] * errors[name].detach() for name in points])


@pytest.mark.parametrize("example", EXAMPLES)
def test_the_scaled_jacobian_is_the_derivative_of_the_loss(example):
    network, problem, points, weights = setting(example)
    A, r = dense(network, problem, points, weights)
    ours = ScaledJacobian(network, problem, points, weights)
    assert (ours.n, ours.p) == A.shape
    generator = torch.Generator().manual_seed(0)
    v, d = (torch.randn(size, dtype=torch.float64, generator=generator) for size in (ours.n, ours.p))
    for explicit in (False, True):
        torch.testing.assert_close(ours.matvec(d), A @ d, rtol=1e-11, atol=1e-11 * float(A.norm()))
        torch.testing.assert_close(ours.rmatvec(v), A.T @ v, rtol=1e-11, atol=1e-11 * float(A.norm()))
        if not explicit:
            torch.testing.assert_close(ours.matrix, A, rtol=1e-14, atol=0)
    torch.testing.assert_close(ours.kernel(), A @ A.T, rtol=1e-11, atol=1e-12 * float(A.norm()) ** 2)
    assert ours.squared_norm == pytest.approx(float(A.norm()) ** 2, rel=1e-12)
    torch.testing.assert_close(scaled_errors(network, problem, points, weights), r)
    loss = sum(weights[name] * e.square().mean() for name, e in pinntk.errors(network, problem, points).items())
    assert float(r @ r) == pytest.approx(loss.item(), rel=1e-12)
    trained = [p for p in (*network.parameters(), *problem.coefficients.parameters()) if p.requires_grad]
    gradient = torch.autograd.grad(loss, trained, allow_unused=True, materialize_grads=True)
    torch.testing.assert_close(2 * A.T @ r, torch.cat([g.flatten().double() for g in gradient]), rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("normal", [True, False], ids=["Cholesky", "QR"])
@pytest.mark.parametrize("form", ["kernel", "parameters"])
def test_damped_steps_equal_the_formula_in_every_form(monkeypatch, form, normal):
    monkeypatch.setattr(damped_module, "NORMAL", 0.0 if normal else float("inf"))
    network, problem, points, weights = setting()
    A, r = dense(network, problem, points, weights)
    system = DampedLeastSquares(ScaledJacobian(network, problem, points, weights), r, form)
    mu = 1e-3
    H = A.T @ A + mu * torch.eye(A.shape[1], dtype=A.dtype)
    expected = -torch.linalg.solve(H, A.T @ r)
    solved = system.solve(mu)
    assert (solved.step - expected).norm() < 1e-8 * expected.norm()
    v = torch.randn(len(r), dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    again = -torch.linalg.solve(H, A.T @ v)
    assert (solved.apply(v) - again).norm() < 1e-8 * again.norm()
    predicted = float(r @ r) - float((A @ expected + r).square().sum())
    assert system.decrease(expected) == pytest.approx(predicted, rel=1e-9)


@pytest.mark.parametrize("counts", [{"residual": 20, "boundary": 2}, {"residual": 120, "boundary": 2}])
def test_kernel_and_parameter_form_take_the_same_step(counts):
    steps = {}
    for form in ("kernel", "parameters"):
        problem = pinntk.load("poisson1d")
        network = pinntk.nn.MLP(problem, width=6, depth=2, dtype=torch.float64)
        before = torch.nn.utils.parameters_to_vector(network.parameters()).detach().clone()
        GaussNewton(network, problem, form=form).step(problem.sample(dtype=torch.float64, **counts))
        steps[form] = torch.nn.utils.parameters_to_vector(network.parameters()).detach() - before
    assert (steps["kernel"] - steps["parameters"]).norm() < 1e-8 * steps["kernel"].norm()


def test_orthogonal_factors_keep_the_digits_that_the_normal_matrix_loses(monkeypatch):
    """A with singular values down to 1e-7 of the largest: squared they are rounding."""

    class Given:
        def __init__(self, matrix):
            self.matrix, (self.n, self.p) = matrix, matrix.shape
            self.squared_norm = float(matrix.square().sum())

        def matvec(self, d):
            return self.matrix @ d

        def rmatvec(self, v):
            return self.matrix.T @ v

        def kernel(self):
            return self.matrix @ self.matrix.T

    generator = torch.Generator().manual_seed(0)
    U, _ = torch.linalg.qr(torch.randn(60, 30, generator=generator, dtype=torch.float64))
    V, _ = torch.linalg.qr(torch.randn(30, 30, generator=generator, dtype=torch.float64))
    s = torch.logspace(0, -7, 30, dtype=torch.float64)
    expected = V[:, -1]
    errors = {}
    monkeypatch.setattr(damped_module, "_CONTRACTION", float("inf"))
    for form, A in (("parameters", (U * s) @ V.T), ("kernel", ((U * s) @ V.T)[:20])):
        r = -A @ expected
        truth = torch.linalg.lstsq(
            torch.cat([A, 1e-8 * torch.eye(30, dtype=A.dtype)]), torch.cat([-r, r.new_zeros(30)])
        ).solution
        H = A.T @ A + 1e-16 * torch.eye(30, dtype=A.dtype)
        steps = {"squared": -torch.cholesky_solve((A.T @ r).unsqueeze(1), torch.linalg.cholesky(H)).squeeze(1)}
        for name, threshold in (("QR", float("inf")), ("refined", 0.0)):
            monkeypatch.setattr(damped_module, "NORMAL", threshold)
            steps[name] = DampedLeastSquares(Given(A), r, form).solve(1e-16).step
        errors[form] = {name: float((step - truth).norm() / truth.norm()) for name, step in steps.items()}
    assert errors["parameters"]["QR"] < 1e-7 < 1e-5 < errors["parameters"]["squared"]
    assert errors["parameters"]["refined"] < 0.01 * errors["parameters"]["squared"]
    assert errors["kernel"]["QR"] < 1e-6
    assert errors["kernel"]["refined"] < 1e-6


def test_the_kernel_form_needs_no_jacobian():
    network, problem, points, weights = setting()
    A = ScaledJacobian(network, problem, points, weights)
    r = scaled_errors(network, problem, points, weights)
    expected = DampedLeastSquares(A, r).solve(1e-3).step
    lean = ScaledJacobian(network, problem, points, weights)
    found = DampedLeastSquares(lean, r, max_memory=3 * 8 * A.n**2).solve(1e-3).step
    assert "matrix" not in lean.__dict__
    assert (found - expected).norm() < 1e-8 * expected.norm()
    with pytest.raises(MemoryError, match="max_memory"):
        DampedLeastSquares(lean, r, max_memory=3 * 8 * A.n**2 - 1)


def test_a_damping_below_the_rounding_is_announced_where_nothing_else_is_left():
    network, problem, points, weights = setting("poisson")
    points = {name: rows[:1].repeat(8, 1) for name, rows in points.items()}  # a singular kernel
    A = ScaledJacobian(network, problem, points, weights)
    r = scaled_errors(network, problem, points, weights)
    with pytest.warns(UserWarning, match="drowns in the kernel's rounding"):
        DampedLeastSquares(A, r, max_memory=3 * 8 * A.n**2).solve(1e-30)


def test_the_matrix_free_step_is_the_dense_one():
    changes = {}
    for matrix_free in (False, True):
        problem = pinntk.load("burgers")
        network = pinntk.nn.MLP(problem, width=8, depth=2, dtype=torch.float64)
        points = problem.sample(residual=60, initial=10, boundary=10, dtype=torch.float64)
        solver = GaussNewton(network, problem, matrix_free=matrix_free, max_memory="1MiB" if matrix_free else "4GiB")
        before = torch.nn.utils.parameters_to_vector(network.parameters()).detach().clone()
        report = solver.step(points, {"burgers": torch.linspace(0.1, 2, 60)})
        changes[matrix_free] = torch.nn.utils.parameters_to_vector(network.parameters()).detach() - before
        assert report.accepted
    assert (changes[True] - changes[False]).norm() < 1e-6 * changes[False].norm()


def solve(steps, seed=0, **settings):
    problem = pinntk.load("poisson1d")
    network = pinntk.nn.MLP(problem, width=16, depth=3, seed=seed, dtype=torch.float64)
    solver = GaussNewton(network, problem, **settings)
    reports = []
    for k in range(steps):
        points = problem.sample(residual=100, boundary=2, seed=k, method="sobol", dtype=torch.float64)
        reports.append(solver.step(points))
    return problem, network, solver, reports


def test_gauss_newton_reaches_what_adam_does_not():
    problem, network, _, reports = solve(60)
    assert problem.relative_error(network) < 1e-4
    for report in reports:
        assert report.loss < report.loss_before or not report.accepted
        assert set(report.losses) == {"poisson", "ends"}


def test_acceleration_pays():
    """A step with the curvature of its path loses more of the loss: over the same steps, by orders of magnitude."""
    with_it, without = (solve(40, acceleration=flag)[3][-1].loss for flag in (True, False))
    assert with_it < 0.1 * without


def test_momentum_carries_the_last_step_on_where_damping_leaves_it():
    """d minimizes |A d + r|^2 + mu |d - 0.6 d_previous|^2, or without d_previous where that spoils the step."""
    problem = pinntk.load("poisson1d")
    network = pinntk.nn.MLP(problem, width=6, depth=2, dtype=torch.float64)
    solver = GaussNewton(network, problem, acceleration=False, momentum=0.6)
    at, carried = [torch.nn.utils.parameters_to_vector(network.parameters()).detach()], []
    for k in range(6):
        points = problem.sample(residual=40, boundary=2, seed=k, dtype=torch.float64)
        A, r = dense(network, problem, points, solver.weights or ntk_weights(network, problem, points))
        damping = solver.step(points).damping
        at.append(torch.nn.utils.parameters_to_vector(network.parameters()).detach())
        taken, last = at[-1] - at[-2], 0.6 * (at[-2] - at[-3]) if k else torch.zeros_like(at[0])
        H = A.T @ A + damping * torch.eye(A.shape[1], dtype=A.dtype)
        with_it, without = (-torch.linalg.solve(H, A.T @ r - damping * part) for part in (last, 0 * last))
        carried.append(bool((taken - with_it).norm() < 1e-7 * taken.norm()))
        assert carried[-1] or (taken - without).norm() < 1e-7 * taken.norm()
    assert sum(carried[1:]) >= 2


def test_a_step_that_momentum_spoils_is_tried_without(monkeypatch):
    _, _, solver, _ = solve(2)
    trial, carried = solver._try, []

    def watched(mu, momentum, *rest):
        carried.append(momentum is not None)
        return (0.0, None, -1.0) if momentum is not None else trial(mu, momentum, *rest)

    monkeypatch.setattr(solver, "_try", watched)
    assert solver.step(solver.problem.sample(residual=50, boundary=2, seed=9, dtype=torch.float64)).accepted
    assert carried[0] and not any(carried[1:])


@pytest.mark.parametrize("solver_class", [GaussNewton, NaturalGradient])
def test_a_point_weight_counts_as_repeating_the_point(solver_class):
    problem = pinntk.load("burgers")
    points = problem.sample(residual=30, start=6, walls=6, seed=2, dtype=torch.float64)
    times = torch.tensor([1, 2, 4, 3, 2]).repeat(6)
    repeated = {**points, "burgers": points["burgers"].repeat_interleave(times, 0)}
    g = {"burgers": times * 30 / int(times.sum())}
    moved, losses = [], []
    for given, point_weights in ((points, g), (repeated, {})):
        network = pinntk.nn.MLP(problem, width=5, depth=2, dtype=torch.float64)
        solver = solver_class(network, problem, weights={"burgers": 1.0, "start": 2.0, "walls": 0.5})
        if isinstance(solver, NaturalGradient):  # its damping is relative to the mean diagonal, which falls with n
            solver.damping = 1e-9 * sum(map(len, given.values()))
        reports = [solver.step(given, point_weights) for _ in range(3)]
        assert all(report.accepted for report in reports)
        moved.append(torch.nn.utils.parameters_to_vector(network.parameters()).detach())
        losses.append([value for report in reports for value in (report.loss_before, report.loss, report.losses["burgers"])])
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)
    assert (moved[0] - moved[1]).norm() < 1e-6 * moved[1].norm()


@pytest.mark.parametrize("solver_class", [GaussNewton, NaturalGradient])
def test_point_weights_count_in_the_ntk_weights_of_the_first_step(solver_class):
    network, problem, points, _ = setting()
    g = {"equation": torch.linspace(0.2, 3, len(points["equation"]), dtype=torch.float64)}
    solver = solver_class(network, problem)
    expected = ntk_weights(network, problem, points, g)
    solver.step(points, g)
    assert solver.weights == pytest.approx(expected)
    assert expected != pytest.approx(ntk_weights(network, problem, points))


@pytest.mark.parametrize(
    ("point_weights", "message"),
    [
        ({"fog": torch.ones(3)}, "point weights for \\['fog'\\]: there are no such conditions"),
        ({"equation": torch.ones(3)}, "point weights of 'equation' have shape \\(3,\\); expected"),
        ({"equation": -torch.ones(EXAMPLES["burgers"].counts["residual"])}, "finite and at least 0"),
    ],
)
def test_point_weights_that_do_not_fit_are_refused(point_weights, message):
    network, problem, points, _ = setting()
    with pytest.raises(ValueError, match=message):
        GaussNewton(network, problem).step(points, point_weights)


def test_a_refused_step_changes_nothing(monkeypatch):
    problem, network, solver, _ = solve(3)
    before, damping = [p.detach().clone() for p in network.parameters()], solver.damping
    monkeypatch.setattr(solver, "_try", lambda mu, *rest: (0.0, None, float("nan")))
    report = solver.step(problem.sample(residual=20, boundary=2, seed=5, dtype=torch.float64))
    assert not report.accepted
    assert "no damping" in report.note
    assert report.loss == report.loss_before
    assert all(torch.equal(p, q) for p, q in zip(before, network.parameters(), strict=True))
    assert solver.damping == pytest.approx(100 * damping)


def test_an_interrupted_step_leaves_no_trial_behind(monkeypatch):
    problem, network, solver, _ = solve(1)
    before = [p.detach().clone() for p in network.parameters()]
    trial = solver._try

    def interrupted(*arguments):
        trial(*arguments)
        raise KeyboardInterrupt

    monkeypatch.setattr(solver, "_try", interrupted)
    with pytest.raises(KeyboardInterrupt):
        solver.step(problem.sample(residual=20, boundary=2, seed=5, dtype=torch.float64))
    assert all(torch.equal(p, q) for p, q in zip(before, network.parameters(), strict=True))


def test_a_step_from_a_state_equals_the_step_itself():
    problem, network, solver, _ = solve(5)
    state = {name: value.clone() for name, value in network.state_dict().items()}
    kept = solver.state_dict()
    points = problem.sample(residual=50, boundary=2, seed=9, dtype=torch.float64)
    first = solver.step(points)
    network.load_state_dict(state)
    other = GaussNewton(network, problem)
    other.load_state_dict(kept)
    assert other.step(points) == first


def test_coefficients_are_solved_for_with_the_network():
    problem = pinntk.load("heat_inverse", noise=0.0)
    network = pinntk.nn.MLP(problem, width=12, depth=2, dtype=torch.float64)
    run = pinntk.train(
        problem,
        network,
        optimizer="gauss-newton",
        steps=60,
        points={"residual": 400, "boundary": 50, "initial": 50},
        progress=False,
    )
    assert problem.coefficients["kappa"].item() == pytest.approx(problem.parameters["kappa"], rel=1e-3)
    assert run.relative_error < 1e-3


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"target": 1.0}, "target"),
        ({"form": "dense"}, "form='dense'"),
        ({"momentum": 1.0}, "momentum=1.0"),
        ({"weights": {"ends": 1.0}}, "poisson.* are missing"),
    ],
)
def test_bad_arguments_are_named(settings, message):
    problem = pinntk.load("poisson1d")
    network = pinntk.nn.MLP(problem, width=4, depth=1, dtype=torch.float64)
    with pytest.raises(ValueError, match=message):
        GaussNewton(network, problem, **settings).step(problem.sample(dtype=torch.float64))
