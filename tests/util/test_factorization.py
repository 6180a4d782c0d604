"""Cholesky factors, with and without a jitter."""

import pytest
import torch

from pinntk._util.factorization import cholesky

F64 = torch.float64


def test_no_jitter_where_none_is_needed():
    L, jitter = cholesky(2 * torch.eye(2, dtype=F64), "matrix")
    assert torch.equal(L, 2**0.5 * torch.eye(2, dtype=F64))
    assert jitter == 0


def test_a_jitter_is_announced_with_its_size():
    K = torch.ones(3, 3, dtype=F64)
    with pytest.warns(UserWarning, match=r"matrix is singular to rounding: 1e-1[0-9] of its diagonal was added; move points"):
        L, jitter = cholesky(K, "matrix", advice="move points")
    assert 1e-15 <= jitter <= 1e-10
    assert (L @ L.T - K - jitter * torch.eye(3, dtype=F64)).abs().max() < 1e-15


@pytest.mark.parametrize("unit", [torch.tensor(3.0, dtype=F64), torch.tensor([1.0, 2.0, 3.0], dtype=F64)])
def test_damping_in_units_of_the_diagonal(unit):
    K = torch.ones(3, 3, dtype=F64)
    L, jitter = cholesky(K, "matrix", unit=unit, damping=0.5)
    assert jitter == 0
    assert (L @ L.T - K - 0.5 * torch.diag(unit.expand(3))).abs().max() < 1e-14


def test_an_indefinite_matrix_is_refused():
    with pytest.raises(torch.linalg.LinAlgError, match="matrix is not positive definite, even with 1e-08 of its"):
        cholesky(-torch.ones(3, 3, dtype=F64), "matrix")
