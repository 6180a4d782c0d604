"""Solvers where matrices, errors or steps are degenerate."""

import pytest
import torch

import pinntk
from pinntk.solvers import DampedLeastSquares, GaussNewton, NaturalGradient

F64 = {"dtype": torch.float64}
FORMS = [("kernel", False), ("kernel", True), ("parameters", False), ("parameters", True)]


class Given:
    """A as a matrix; `lean` where it may not be formed."""

    spread = False

    def __init__(self, matrix, lean=False):
        self._matrix, self._lean, (self.n, self.p) = matrix, lean, matrix.shape

    @property
    def matrix(self):
        assert not self._lean
        return self._matrix

    def matvec(self, d):
        return self._matrix @ d

    def rmatvec(self, v):
        return self._matrix.T @ v

    def kernel(self):
        return self._matrix @ self._matrix.T

    def row_blocks(self, most):
        return self._matrix.split(most)

    def column_blocks(self, most):
        return self._matrix.split(most, 1)


def matrices():
    generator = torch.Generator().manual_seed(0)

    def normal(*size):
        return torch.randn(*size, generator=generator, **F64)

    wide, tall = normal(12, 30), normal(30, 12)
    return {
        "of rank 3, wide": normal(20, 3) @ normal(3, 40),
        "of rank 3, tall": normal(40, 3) @ normal(3, 20),
        "of rank 6, decaying": normal(20, 6) @ (torch.logspace(0, -5, 6, **F64)[:, None] * normal(6, 40)),
        "repeated rows": torch.cat([wide, wide[:7]]),
        "a row of zeros": torch.cat([wide, torch.zeros(1, 30, **F64)]),
        "one row": normal(1, 9),
        "one column": normal(9, 1),
        "one number": normal(1, 1),
        "square": normal(12, 12),
        "one row more": normal(13, 12),
        "many rows": normal(300, 5),
        "tiny": 1e-100 * wide,
        "tiny, tall": 1e-100 * tall,
        "huge": 1e150 * wide,
        "huge, tall": 1e150 * tall,
    }


MATRICES = matrices()


@pytest.mark.parametrize(("form", "orthogonal"), FORMS)
@pytest.mark.parametrize("which", MATRICES)
def test_steps_of_degenerate_systems(which, form, orthogonal):
    """Errors that no step reaches are among r."""
    A = MATRICES[which]
    unit = float(torch.linalg.svdvals(A)[0])
    r = torch.randn(len(A), generator=torch.Generator().manual_seed(1), **F64)
    for share in (1e-3, 1e-8, 1e-11, *((1e-20,) if orthogonal and torch.linalg.matrix_rank(A) == min(A.shape) else ())):
        system = DampedLeastSquares(Given(A), unit * r, form, orthogonal=orthogonal)
        rows = torch.cat([A / unit, share**0.5 * torch.eye(A.shape[1], **F64)])
        right = torch.cat([-r, r.new_zeros(A.shape[1])]).unsqueeze(1)
        expected = torch.linalg.lstsq(rows, right, driver="gelsd", rcond=0.0).solution.squeeze(1)
        found = system.step(share * unit**2)
        tolerance = 1e-9 if orthogonal and share > 1e-4 else 1e-3
        assert (found - expected).norm() < tolerance * expected.norm()
        mu = system.damping(float(expected.norm()))
        assert float(system.step(mu).norm()) == pytest.approx(float(expected.norm()), rel=0.021 if orthogonal else 1e-3)


def test_no_step_follows_from_zeros():
    for shape in ((4, 7), (7, 4)):
        for form, orthogonal in FORMS:
            system = DampedLeastSquares(
                Given(torch.zeros(shape, **F64)), torch.ones(shape[0], **F64), form, orthogonal=orthogonal
            )
            assert system.largest == 0
            assert not system.step(system.damping(1.0)).any()


def test_a_kernel_without_its_matrix_has_the_same_steps():
    A = MATRICES["repeated rows"]
    r = torch.randn(len(A), generator=torch.Generator().manual_seed(1), **F64)
    lean = DampedLeastSquares(Given(A, lean=True), r, max_memory=3 * 8 * len(A) ** 2)
    whole = DampedLeastSquares(Given(A), r, orthogonal=True)
    longest = float((torch.linalg.pinv(A, rtol=1e-12) @ r).norm())
    for share in (1e-3, 0.5, 0.99):
        mu = lean.damping(share * longest)
        d, expected = (system.step(mu) for system in (lean, whole))
        assert (d - expected).norm() < 1e-6 * expected.norm()


def test_a_form_that_does_not_fit_is_refused_beforehand():
    for form, shape in (("parameters", (3, 2000)), ("kernel", (2000, 3))):
        A, r = Given(torch.zeros(shape, **F64)), torch.zeros(shape[0], **F64)
        DampedLeastSquares(A, r, max_memory="1MiB")
        with pytest.raises(MemoryError, match=f"{shape[0]} errors and {shape[1]} parameters need more than max_memory='1MiB'"):
            DampedLeastSquares(A, r, form, max_memory="1MiB")


def test_orthogonal_factors_keep_the_digits_that_the_normal_matrix_loses():
    """A with singular values down to 1e-7 of the largest: squared they are rounding."""
    generator = torch.Generator().manual_seed(0)
    U, _ = torch.linalg.qr(torch.randn(60, 30, generator=generator, dtype=torch.float64))
    V, _ = torch.linalg.qr(torch.randn(30, 30, generator=generator, dtype=torch.float64))
    s = torch.logspace(0, -7, 30, dtype=torch.float64)
    expected = V[:, -1]
    for form, A in (("parameters", (U * s) @ V.T), ("kernel", ((U * s) @ V.T)[:20])):
        r = -A @ expected
        rows = torch.cat([A, 1e-8 * torch.eye(30, dtype=A.dtype)])
        truth = torch.linalg.lstsq(rows, torch.cat([-r, r.new_zeros(30)]), driver="gelsd").solution
        H = A.T @ A + 1e-16 * torch.eye(30, dtype=A.dtype)
        squared = -torch.cholesky_solve((A.T @ r).unsqueeze(1), torch.linalg.cholesky(H)).squeeze(1)
        found = DampedLeastSquares(Given(A), r, form).step(1e-16)
        errors = [float((step - truth).norm() / truth.norm()) for step in (found, squared)]
        assert errors[0] < 1e-6
        assert errors[0] < 1e-2 * errors[1]


def setting(dtype=torch.float64, seed=0):
    problem = pinntk.load("poisson1d")
    network = pinntk.nn.MLP(problem, width=6, depth=2, seed=seed, dtype=dtype)
    return problem, network, problem.sample(residual=20, boundary=2, seed=0, method="sobol", dtype=dtype)


def parameters(network):
    return torch.nn.utils.parameters_to_vector(network.parameters()).detach().clone()


@pytest.mark.parametrize("beyond", [-1.0, 0.1])  # NaN, or too little
def test_a_step_is_not_lost_to_a_longer_one(beyond):
    problem, network, _ = setting()
    solver = GaussNewton(network, problem)
    solver.radius, cliff, tried = 1.0, 0.63, []

    def trial(length):
        tried.append(length)
        after = beyond if length == max(tried) else -1.0  # the one between is shorter
        return (0.9 if length < cliff else after), 0.0, length, torch.zeros(1)

    assert solver._longest(trial, 0.25)[1] == sorted(tried)[2] < cliff < tried[-1] < tried[-2]


def test_a_radius_lost_in_rounding_comes_back():
    problem, network, points = setting()
    solver = GaussNewton(network, problem)
    solver.radius = 1e-320  # after 700 steps that were refused
    for _ in range(25):
        assert solver.step(points).accepted
    assert solver.radius > 1e-2


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_loss_that_is_rounding_is_called_so(dtype):
    problem, network, points = setting(dtype)
    points = {name: rows[:2] for name, rows in points.items()}
    solver = GaussNewton(network, problem)
    assert not solver.step(points).note
    assert any("is rounding" in solver.step(points).note for _ in range(59))


@pytest.mark.parametrize("when", ["in a trial", "in what follows a refused step"])
def test_an_interrupted_step_leaves_no_trial_behind(when, monkeypatch):
    problem, network, points = setting()
    solver = GaussNewton(network, problem)
    before = parameters(network)
    called = []

    def interrupted(*arguments):
        called.append(when)
        with torch.no_grad():
            next(network.parameters()).add_(1.0)
        raise KeyboardInterrupt

    if when == "in a trial":
        monkeypatch.setattr(solver, "_longest", interrupted)
    else:
        monkeypatch.setattr(solver, "_longest", lambda trial, target: (1.0, float("inf"), torch.zeros(1)))
        monkeypatch.setattr(solver, "_rounding", interrupted)
    with pytest.raises(KeyboardInterrupt):
        solver.step(points)
    assert called
    assert torch.equal(parameters(network), before)


@pytest.mark.parametrize("solver_class", [GaussNewton, NaturalGradient])
@pytest.mark.parametrize("g", [None, torch.linspace(0, 2, 20)])
def test_a_condition_without_weight_has_a_loss(solver_class, g):
    problem, network, points = setting()
    e = pinntk.errors(network, problem, points)["poisson"].detach()
    solver = solver_class(network, problem, weights={"poisson": 0.0, "ends": 1.0})
    report = solver.step(points, None if g is None else {"poisson": g})
    assert report.losses["poisson"] == pytest.approx(float(((1 if g is None else g) * e**2).mean()))
    assert report.loss_before == pytest.approx(report.losses["ends"])


def test_frozen_parameters_stay():
    problem, network, points = setting()
    first, *others = network.parameters()
    first.requires_grad_(False)
    before = [p.detach().clone() for p in (first, *others)]
    solver = GaussNewton(network, problem)
    assert solver.step(points).accepted
    assert solver.size == sum(p.numel() for p in others)
    assert torch.equal(first, before[0])
    assert not any(torch.equal(p, q) for p, q in zip(others, before[1:], strict=True) if p.any())


def test_conditions_met_by_construction_stay_met():
    problem = pinntk.load("poisson1d")
    network = pinntk.nn.MLP(problem, width=6, depth=2, hard="auto", **F64)
    assert network.hard == ("ends",)
    solver = GaussNewton(network, problem)
    reports = [solver.step(problem.sample(residual=30, boundary=2, seed=0, **F64)) for _ in range(8)]
    assert reports[-1].loss < 0.5 * reports[0].loss_before
    assert all(report.losses["ends"] < 1e-25 for report in reports)
