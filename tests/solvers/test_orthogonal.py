"""Damped steps by a QR factorization for every damping, against singular values."""

import gc
import weakref
from math import log

import pytest
import torch

import pinntk
from pinntk.solvers import DampedLeastSquares, _gauss_newton, _householder
from pinntk.solvers._householder import DampedTriangle, Triangularized
from pinntk.solvers._jacobian import ScaledJacobian
from pinntk.solvers._length import LengthSearch
from tests.solvers.test_solver_edges import F64, Given


def normal(*size, seed=0):
    return torch.randn(*size, generator=torch.Generator().manual_seed(seed), **F64)


@pytest.fixture(params=[128, 7], ids=["one panel", "panels of 7"])
def panels(request, monkeypatch):
    monkeypatch.setattr(_householder, "_PANEL", request.param)


@pytest.mark.parametrize("shape", [(30, 17), (17, 30), (14, 14), (1, 5), (5, 1)])
def test_a_matrix_is_q_times_r(shape, panels):
    A = normal(*shape)
    A[:, 0] = 0  # a column that needs no reflection
    found = Triangularized(A)
    n, m = shape
    Q = torch.stack([found.rotate(e) for e in torch.eye(n, **F64)], 1)
    assert (Q.T @ Q - torch.eye(n, **F64)).norm() < 1e-14
    assert torch.equal(found.R, found.R.triu()) and found.R.shape == (m, m)
    assert (Q @ torch.cat([found.R, A.new_zeros(n, m)])[:n] - A).norm() < 1e-13 and not found.R[n:].any()
    v = normal(n, seed=1)
    assert (found.rotate(v, transpose=True) - Q.T @ v).norm() < 1e-13
    assert torch.equal(found.rotate(v[:1]), found.rotate(torch.cat([v[:1], v.new_zeros(n - 1)])))


@pytest.mark.parametrize("mu", [1.0, 1e-20])
@pytest.mark.parametrize("k", [1, 7, 20])
def test_a_triangle_over_a_multiple_of_the_identity(k, mu, panels):
    R = normal(k, k).triu()
    kept = R.clone()
    found = DampedTriangle(R, mu)
    assert torch.equal(R, kept) and torch.equal(found.T, found.T.triu())
    stacked = torch.cat([R, mu**0.5 * torch.eye(k, **F64)])
    columns = torch.stack([found.rotate(column, transpose=True) for column in stacked.T], 1)
    assert (columns[:k] - found.T).norm() < 1e-13 and columns[k:].norm() < 1e-13
    v = normal(2 * k)
    assert (found.rotate(found.rotate(v), transpose=True) - v).norm() < 1e-13
    assert (found.T @ found.solve(v[:k]) - v[:k]).norm() < 1e-9 * found.solve(v[:k]).norm()
    assert (found.T.T @ found.solve(v[:k], transpose=True) - v[:k]).norm() < 1e-9 * found.solve(v[:k], transpose=True).norm()


def graded(n, p, decades):
    """A with singular values down to so many decades below 1, and errors that long steps reach."""
    k = min(n, p)
    U, V = (torch.linalg.qr(normal(size, k, seed=seed)).Q for size, seed in ((n, 1), (p, 2)))
    A = (U * torch.logspace(0, -decades, k, **F64)) @ V.T
    return A, A @ normal(p, seed=3) + 1e-3 * normal(n, seed=4)


def by_singular_values(A, v, mu):
    U, S, Vh = torch.linalg.svd(A, full_matrices=False)
    return -Vh.T @ (S * (U.T @ v) / (S.square() + mu))


@pytest.mark.parametrize("form", ["kernel", "parameters"])
@pytest.mark.parametrize("shape", [(60, 40), (40, 60)], ids=["n > p", "n < p"])
def test_steps_have_the_digits_of_singular_values(shape, form, panels):
    """A step is good to rounding times the condition sqrt(largest / mu), by both; what it minimizes, much closer."""
    A, r = graded(*shape, 16)
    system = DampedLeastSquares(Given(A), r, form, orthogonal=True)
    assert system.largest == pytest.approx(1.0, rel=1e-12)
    for exponent in range(0, 31, 3):
        mu = 10.0**-exponent
        for v in (r, A @ normal(shape[1], seed=5)):
            d, expected = system.apply(v, mu), by_singular_values(A, v, mu)
            assert (d - expected).norm() < max(1e-13, 5e-15 / mu**0.5) * expected.norm()
            left, least = (float((A @ x + v).square().sum() + mu * x.square().sum()) for x in (d, expected))
            assert left < 1.001 * least + 1e-29 * float(v @ v)  # what rounding leaves
        assert torch.equal(system.step(mu), system.apply(r, mu))


@pytest.fixture
def made(monkeypatch):
    """Dampings that were factored."""
    found = []
    monkeypatch.setattr(
        DampedTriangle, "__init__", lambda self, R, mu, init=DampedTriangle.__init__: (found.append(mu), init(self, R, mu))[1]
    )
    return found


def test_a_damping_that_is_held_is_factored_once(made):
    A, r = graded(12, 9, 6)
    system = DampedLeastSquares(Given(A), r, orthogonal=True)
    for held in (1e-3, 1e-4):
        first = system.step(held)
        system.hold(held)
        for tried in (1e-5, 1e-6, 1e-7):
            system.step(held * tried)
        assert torch.equal(system.step(held), first) and made.count(held) == 1


@pytest.mark.parametrize("memory", ["4GiB", 2 * 3 * 8 * 60**2], ids=["whole", "in blocks"])
@pytest.mark.parametrize("form", ["kernel", "parameters"])
def test_lengths_cost_few_factorizations(form, memory, made):
    A, r = graded(80, 60, 13) if form == "parameters" else graded(60, 80, 13)
    system = DampedLeastSquares(Given(A), r, form, memory, orthogonal=True, first=1e-16)
    longest = float(by_singular_values(A, r, 1e-18).norm())
    for k in range(8):
        length = longest / 9 * 9 ** (k / 7)
        mu = system.damping(length)
        assert float(by_singular_values(A, r, mu).norm()) == pytest.approx(length, rel=0.021)
        assert torch.equal(system.step(mu), system.step(mu))
    assert len(made) <= 16
    assert system.damping(1e90) == pytest.approx(system.least)


@pytest.mark.parametrize(
    "length",
    [
        lambda mu: 1 / (1 + mu),
        lambda mu: sum(s / (s * s + mu) for s in (1.0, 1e-4, 1e-9)),
        lambda mu: 1 / (1 + 1e3 * mu) + 1e3 / (1 + 1e25 * mu),
    ],
)
def test_the_search_finds_every_length_between_plateaus(length):
    tried = []

    def measure(mu):
        tried.append(mu)
        slope = (log(length(mu * 1.0001)) - log(length(mu))) / log(1.0001)
        return length(mu), slope

    search = LengthSearch(1e-30, 1e-6)
    for share in (0.999, 0.5, 1e-1, 1e-3, 1e-6):
        aim, before = share * length(1e-30), len(tried)
        assert length(search(measure, aim)) == pytest.approx(aim, rel=0.021)
        assert len(tried) - before <= 12
    assert search(measure, 2 * length(1e-30)) == 1e-30
    assert LengthSearch(1e-30, 1e-6)(lambda mu: (0.0, 0.0), 1.0) == 1e-30


def test_what_a_step_was_made_of_goes_with_it(monkeypatch):
    """Without waiting for the garbage collector, which does not see how much of a GPU's memory a few objects hold."""
    made = []

    class Watched(ScaledJacobian):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            made.append(weakref.ref(self))

    monkeypatch.setattr(_gauss_newton, "ScaledJacobian", Watched)
    problem = pinntk.load("poisson1d")
    network = pinntk.nn.MLP(problem, width=4, depth=1, dtype=torch.float64)
    points = problem.sample(residual=40, dtype=torch.float64)
    solver = pinntk.solvers.GaussNewton(network, problem)
    gc.collect()
    gc.disable()
    try:
        for step in range(6):
            if step == 3:
                solver.converge()
            solver.step(points)
            assert made[-1]() is None
    finally:
        gc.enable()
    assert len(made) == 6
