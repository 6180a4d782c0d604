"""Solvers on the kernel against their dense formulas, and what they reach."""

import pytest
import torch

import pinntk
from pinntk.ntk import factors
from pinntk.solvers import DampedLeastSquares, GaussNewton, NaturalGradient, ScaledJacobian, scaled_errors
from pinntk.solvers._jacobian import ntk_weights
from pinntk.solvers._phase import Phase
from tests.support.examples import EXAMPLES
from tests.support.networks import build
from tests.support.sweeps import sweep


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
    torch.testing.assert_close(torch.cat(list(ours.row_blocks(3))), A, rtol=1e-14, atol=0)
    columns = [block.clone() for block in ours.column_blocks(40)]
    assert sum(block.shape[1] for block in columns) == ours.p and max(block.shape[1] for block in columns) < ours.p
    torch.testing.assert_close(sum(B @ B.T for B in columns), A @ A.T, rtol=1e-11, atol=1e-12 * float(A.norm()) ** 2)
    torch.testing.assert_close(ours.kernel(), A @ A.T, rtol=1e-11, atol=1e-12 * float(A.norm()) ** 2)
    index = torch.randperm(ours.n, generator=generator)[: ours.n // 2]
    expected = (A @ A.T)[:, index]
    torch.testing.assert_close(ours.kernel_columns(index), expected, rtol=1e-11, atol=1e-12 * float(A.norm()) ** 2)
    torch.testing.assert_close(ours.kernel_diagonal(), A.square().sum(1), rtol=1e-11, atol=1e-12 * float(A.norm()) ** 2)
    torch.testing.assert_close(scaled_errors(network, problem, points, weights), r)
    loss = sum(weights[name] * e.square().mean() for name, e in pinntk.errors(network, problem, points).items())
    assert float(r @ r) == pytest.approx(loss.item(), rel=1e-12)
    trained = [p for p in (*network.parameters(), *problem.coefficients.parameters()) if p.requires_grad]
    gradient = torch.autograd.grad(loss, trained, allow_unused=True, materialize_grads=True)
    torch.testing.assert_close(2 * A.T @ r, torch.cat([g.flatten().double() for g in gradient]), rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("orthogonal", [True, False], ids=["singular values", "eigenvalues"])
@pytest.mark.parametrize("form", ["kernel", "parameters"])
@pytest.mark.parametrize("tall", [False, True], ids=["n < p", "n > p"])
@pytest.mark.parametrize("blocks", [False, True], ids=["whole", "blocks"])
@pytest.mark.parametrize("mu", sweep((1e-3, 1e-20), 1e-20))
def test_damped_steps_equal_the_formula_in_every_form(form, orthogonal, blocks, tall, mu):
    network, problem, points, weights = setting()
    if tall:
        points = problem.sample(residual=400, boundary=20, initial=20, seed=0, dtype=torch.float64)
    A, r = dense(network, problem, points, weights)
    mu *= float(A.square().sum())
    jacobian, memory = ScaledJacobian(network, problem, points, weights), "4GiB"
    if blocks:
        memory = 3 * 8 * (A.shape[0] if form == "kernel" else A.shape[1]) ** 2
        with pytest.raises(MemoryError, match="max_memory"):
            DampedLeastSquares(jacobian, r, form, memory - 1)
    system = DampedLeastSquares(jacobian, r, form, memory, orthogonal)
    rows = torch.cat([A, mu**0.5 * torch.eye(A.shape[1], dtype=A.dtype)])

    def solve(v):
        right = torch.cat([-v, v.new_zeros(A.shape[1])])
        return torch.linalg.lstsq(rows, right.unsqueeze(1), driver="gelsd", rcond=0.0).solution.squeeze(1)

    expected = solve(r)
    tolerance = 1e-4 if tall else 1e-7  # the oracle's own: a least squares problem of condition 1e10
    assert (system.step(mu) - expected).norm() < tolerance * expected.norm()
    v = A @ torch.randn(A.shape[1], dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    again = solve(v)
    least = 1e-15 * float(A.norm() * v.norm()) / mu if blocks else 0.0  # there is no Q, and A^T v is rounded
    assert (system.apply(v, mu) - again).norm() < 1e-5 * again.norm() + least
    assert system.largest == pytest.approx(float(torch.linalg.svdvals(A)[0]) ** 2, rel=1e-12)
    assert ("matrix" in jacobian.__dict__) == (not blocks or tall == (form == "kernel"))


@pytest.mark.parametrize("form", ["kernel", "parameters"])
def test_the_damping_of_a_length_gives_a_step_of_that_length(form):
    network, problem, points, weights = setting()
    A, r = dense(network, problem, points, weights)
    system = DampedLeastSquares(ScaledJacobian(network, problem, points, weights), r, form)
    longest = float((torch.linalg.pinv(A, rtol=1e-14) @ r).norm())
    for share in (0.9, 0.5, 1e-3, 1e-8):
        mu = system.damping(share * longest)
        close = 1e-6 if mu > 1e-12 * system.largest else 0.021
        assert float(system.step(mu).norm()) == pytest.approx(share * longest, rel=close)
    assert system.damping(1e6 * longest) == pytest.approx(system.least, rel=1e-9)


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


@pytest.mark.parametrize("form, least", [("kernel", 4e-26), ("parameters", 1e-34)])
def test_below_the_least_damping_nothing_is_answered(form, least):
    network, problem, points, weights = setting()
    A = ScaledJacobian(network, problem, points, weights)
    r = scaled_errors(network, problem, points, weights)
    system = DampedLeastSquares(A, r, form, 3 * 8 * (A.n if form == "kernel" else A.p) ** 2)
    assert system.damping(1e90) == system.least == pytest.approx(least * system.largest)
    assert system.step(system.least).isfinite().all()
    with pytest.raises(ValueError, match="drowns in rounding"):
        system.step(0.5 * system.least)


def solve(steps, seed=0, **settings):
    problem = pinntk.load("poisson1d")
    network = pinntk.nn.MLP(problem, width=16, depth=3, seed=seed, dtype=torch.float64)
    solver = GaussNewton(network, problem, **settings)
    reports = []
    for k in range(steps):
        points = problem.sample(residual=100, boundary=2, seed=k, method="sobol", dtype=torch.float64)
        reports.append(solver.step(points))
    return problem, network, solver, reports


@pytest.mark.slow
def test_gauss_newton_reaches_what_adam_does_not_and_corrections_pay():
    """By them the loss falls further over the same steps, by orders of magnitude."""
    problem, network, _, reports = solve(40)
    assert problem.relative_error(network) < 1e-4
    for report in reports:
        assert report.loss < report.loss_before or not report.accepted
        assert set(report.losses) == {"poisson", "ends"}
    without = solve(40, corrections=0)[3]
    assert reports[-1].loss < 0.1 * without[-1].loss


@pytest.mark.parametrize("corrections", [0, 1, 10])
def test_a_step_is_as_long_as_its_true_decrease_allows(corrections):
    """Of the lengths tried, interpolated; each with its corrections, as far as they contract and lower the loss."""
    problem = pinntk.load("poisson1d")
    network = pinntk.nn.MLP(problem, width=6, depth=2, dtype=torch.float64)
    solver = GaussNewton(network, problem, corrections=corrections, radii=5, target=0.3)
    parameters = list(network.parameters())
    counted = 0
    for k in range(12):
        points = problem.sample(residual=40, boundary=2, seed=k, dtype=torch.float64)
        A, r = dense(network, problem, points, solver.weights or ntk_weights(network, problem, points))
        weights = solver.weights or ntk_weights(network, problem, points)
        start = torch.nn.utils.parameters_to_vector(parameters).detach()
        report = solver.step(points)
        taken = torch.nn.utils.parameters_to_vector(parameters).detach() - start
        H = A.T @ A + report.damping * torch.eye(A.shape[1], dtype=A.dtype)

        def errors_at(d, points=points, weights=weights, start=start):
            torch.nn.utils.vector_to_parameters(start + d, parameters)
            return scaled_errors(network, problem, points, weights)

        def apply(v, A=A, H=H):
            return -torch.linalg.solve(H, A.T @ v)

        d = apply(r)
        loss, limit = float(errors_at(d).square().sum()), 0.375 * d.norm()
        for _ in range(corrections):
            further = apply(errors_at(d) - A @ d)
            found = float(errors_at(further).square().sum())
            if (further - d).norm() >= limit or found >= loss:
                break
            counted += 1
            enough = found > 0.9 * loss
            limit, d, loss = 0.75 * (further - d).norm(), further, found
            if enough:
                break
        torch.nn.utils.vector_to_parameters(start + taken, parameters)
        if report.accepted:
            assert (taken - d).norm() < 1e-5 * taken.norm()
            assert report.loss == pytest.approx(loss, rel=1e-5)
            assert report.step_length == pytest.approx(float(taken.norm()))
            assert solver.radius == report.step_length
        else:
            assert not taken.any()
    assert (counted > 0) == (corrections > 0)


@pytest.mark.parametrize(
    ("bends", "length"),
    [
        (lambda x: 1.0, 3.0),
        (lambda x: -1.0, 3**-5),
        (lambda x: 1 - 20 * x, 1 / 27),
        (lambda x: 1 - x, 0.7),
        (lambda x: 1 - 0.1 * x, 3.0),
    ],
)
def test_the_length_is_where_the_ratio_comes_down_to_the_target(bends, length):
    """bends: the ratio of true to promised decrease at a length; the radius is 1, between 1/3 and 3 with six others."""
    _, _, solver, _ = solve(0)
    solver.radius = 1.0
    tried = []

    def trial(at):
        tried.append(at)
        return bends(at), 0.0, at, torch.zeros(1)

    assert solver._longest(trial, 0.3)[1] == pytest.approx(length, rel=0.02)
    assert tried[0] == pytest.approx(1 / 3)


def test_it_converges_once_the_damping_is_small_and_the_loss_stands():
    phase = Phase()
    for loss in [1.0] * 100:
        phase.advance(1e-6, loss)  # the damping is large: the loss may stand for long before it falls
    assert not phase.converging
    for k in range(100):
        phase.advance(1e-15, 0.9**k)  # halves in seven steps
    assert not phase.converging
    state = phase.state_dict()
    for k in range(60):
        phase.advance(1e-15, 0.9**100 * (1 + k % 3))
        if phase.converging:
            break
    assert 10 <= k <= 40
    other = Phase()
    other.load_state_dict(state)
    for _ in range(k + 1):
        assert not other.converging
        other.advance(1e-15, 0.9**100 * (1 + _ % 3))
    assert other.converging


def test_a_solver_explores_anew_when_told():
    _, _, solver, _ = solve(2)
    assert solver.phase == "explore"
    solver.converge()
    assert solver.phase == "converge"
    solver.step(solver.problem.sample(residual=20, boundary=2, seed=5, dtype=torch.float64))
    assert solver.phase == "converge"
    solver.explore()
    assert solver.phase == "explore"
    assert solver.size == sum(p.numel() for p in solver.network.parameters())


@pytest.mark.slow
def test_it_goes_to_rounding():
    problem = pinntk.load("poisson1d", k=1)
    network = pinntk.nn.MLP(problem, width=8, depth=2, dtype=torch.float64)
    run = pinntk.train(
        problem, network, optimizer="gauss-newton", steps=300, points={"residual": 60}, progress=False, snapshot_every=0
    )
    assert run.relative_error < 1e-11


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
    before, radius = [p.detach().clone() for p in network.parameters()], solver.radius
    monkeypatch.setattr(solver, "_longest", lambda trial, target: (1e-3, float("nan"), torch.zeros(1)))
    report = solver.step(problem.sample(residual=20, boundary=2, seed=5, dtype=torch.float64))
    assert not report.accepted
    assert "does not lower the loss" in report.note
    assert report.loss == report.loss_before
    assert all(torch.equal(p, q) for p, q in zip(before, network.parameters(), strict=True))
    assert solver.radius == pytest.approx(radius / 3**5)


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


@pytest.mark.slow
def test_coefficients_are_solved_for_with_the_network():
    problem = pinntk.load("heat_inverse", noise=0.0)
    network = pinntk.nn.MLP(problem, width=12, depth=2, dtype=torch.float64)
    run = pinntk.train(
        problem,
        network,
        optimizer="gauss-newton",
        steps=25,
        points={"residual": 60, "boundary": 12, "initial": 12},
        progress=False,
    )
    assert problem.coefficients["kappa"].item() == pytest.approx(problem.parameters["kappa"], rel=1e-3)
    assert run.relative_error < 1e-3


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"form": "dense"}, "form='dense'"),
        ({"target": 1.0}, "target=1.0"),
        ({"radii": 1}, "radii=1"),
        ({"corrections": -1}, "corrections=-1"),
        ({"weights": {"ends": 1.0}}, "poisson.* are missing"),
    ],
)
def test_bad_arguments_are_named(settings, message):
    problem = pinntk.load("poisson1d")
    network = pinntk.nn.MLP(problem, width=4, depth=1, dtype=torch.float64)
    with pytest.raises(ValueError, match=message):
        GaussNewton(network, problem, **settings).step(problem.sample(dtype=torch.float64))
