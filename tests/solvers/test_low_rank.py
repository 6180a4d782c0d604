"""Eigenvalues of large Gram matrices from a few columns, and steps from them, against dense ones."""

import pytest
import torch

from pinntk.solvers import DampedLeastSquares, ScaledJacobian, _damped
from pinntk.solvers._low_rank import leading_eigenpairs
from tests.solvers.test_solver_edges import F64, MATRICES, Given
from tests.solvers.test_solvers import dense, setting


class Lean(Given):
    def kernel_diagonal(self):
        return self._matrix.square().sum(1)

    def kernel_columns(self, index):
        return self._matrix @ self._matrix[index].T


@pytest.fixture
def from_columns(monkeypatch):
    """Small systems are treated as large ones."""
    monkeypatch.setattr(_damped, "_LARGE", 0)
    monkeypatch.setattr(_damped, "_SHARE", 1)


def falling(n, decades, count):
    """A positive semidefinite matrix whose eigenvalues fall by so many decades."""
    generator = torch.Generator().manual_seed(0)
    Q, _ = torch.linalg.qr(torch.randn(n, count, generator=generator, **F64))
    return (Q * torch.logspace(0, -decades, count, **F64)) @ Q.T


@pytest.mark.parametrize(("decades", "rank"), [(40, 300), (8, 120), (20, 200)])
def test_eigenvalues_above_rounding_from_a_few_columns(decades, rank):
    M, asked = falling(400, decades, rank), []

    def columns(index):
        asked.extend(index.tolist())
        return M[:, index]

    values, vectors = leading_eigenpairs(M.diagonal(), columns, 400)
    assert len(values) <= min(rank, 17 / decades * rank)
    assert len(asked) < 3.5 * len(values)
    exact = torch.linalg.eigvalsh(M).flip(0)
    assert (values - exact[: len(values)]).abs().max() < 1e-14
    assert ((vectors * values) @ vectors.T - M).norm() < 5e-14
    assert (vectors.T @ vectors - torch.eye(len(values), **F64)).norm() < 1e-13


def test_too_many_eigenvalues_are_left_to_others():
    M = falling(200, 2, 200)
    assert leading_eigenpairs(M.diagonal(), lambda index: M[:, index], 60) is None
    values, vectors = leading_eigenpairs(torch.zeros(5, **F64), lambda index: M[:5, index], 3)
    assert (values.shape, vectors.shape) == ((0,), (5, 0))


@pytest.mark.parametrize("form", ["kernel", "parameters"])
@pytest.mark.parametrize("which", MATRICES)
def test_steps_of_degenerate_systems(which, form, from_columns):
    A = MATRICES[which]
    unit = float(torch.linalg.svdvals(A)[0])
    r = torch.randn(len(A), generator=torch.Generator().manual_seed(1), **F64)
    for lean in (False, True):
        memory = 3 * 8 * (A.shape[0] if form == "kernel" else A.shape[1]) ** 2 if lean else "4GiB"
        for share in (1e-3, 1e-8, 1e-11):
            system = DampedLeastSquares(Lean(A), unit * r, form, memory)
            rows = torch.cat([A / unit, share**0.5 * torch.eye(A.shape[1], **F64)])
            right = torch.cat([-r, r.new_zeros(A.shape[1])]).unsqueeze(1)
            expected = torch.linalg.lstsq(rows, right, driver="gelsd", rcond=0.0).solution.squeeze(1)
            assert (system.step(share * unit**2) - expected).norm() < 1e-3 * expected.norm()
            mu = system.damping(float(expected.norm()))
            assert float(system.step(mu).norm()) == pytest.approx(float(expected.norm()), rel=1e-3)
            assert system.largest == pytest.approx(unit**2, rel=1e-12)


def test_no_step_follows_from_zeros(from_columns):
    for shape in ((4, 7), (7, 4)):
        system = DampedLeastSquares(Lean(torch.zeros(shape, **F64)), torch.ones(shape[0], **F64))
        assert system.largest == 0
        assert not system.step(system.damping(1.0)).any()


@pytest.mark.parametrize("form", ["kernel", "parameters"])
@pytest.mark.parametrize("blocks", [False, True], ids=["whole", "blocks"])
def test_steps_have_as_many_digits_as_those_of_all_eigenvalues(form, blocks, from_columns, monkeypatch):
    network, problem, points, weights = setting()
    points = problem.sample(residual=150, boundary=20, initial=20, seed=0, **F64)
    A, r = dense(network, problem, points, weights)
    memory = 3 * 8 * (A.shape[0] if form == "kernel" else A.shape[1]) ** 2 if blocks else "4GiB"

    def system(**options):
        return DampedLeastSquares(ScaledJacobian(network, problem, points, weights), r, form, **options)

    few, exact = system(max_memory=memory), system(orthogonal=True)
    v = A @ torch.randn(A.shape[1], generator=torch.Generator().manual_seed(2), **F64)
    for relative, tolerance in ((1.01e-12, 5e-3), (1e-11, 5e-4), (1e-8, 1e-6), (1e-3, 1e-10)):
        mu = relative * exact.largest
        expected = exact.step(mu)
        assert (few.step(mu) - expected).norm() < tolerance * expected.norm()
        expected = exact.apply(v, mu)
        assert (few.apply(v, mu) - expected).norm() < tolerance * expected.norm()
    assert few.largest == pytest.approx(exact.largest, rel=1e-12)
    assert torch.equal(system(max_memory=memory).step(mu), few.step(mu))
    mu = 1e-20 * exact.largest  # by singular values, as of small systems
    assert (few.step(mu) - exact.step(mu)).norm() < 1e-4 * exact.step(mu).norm()


def test_where_they_are_many_all_are_found(monkeypatch):
    A, r = Given(MATRICES["square"]), torch.ones(12, **F64)
    expected = DampedLeastSquares(A, r).step(1e-3)
    monkeypatch.setattr(_damped, "_LARGE", 12)
    assert torch.equal(DampedLeastSquares(A, r).step(1e-3), expected)
