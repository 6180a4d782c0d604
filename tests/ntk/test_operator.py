"""KernelOperator against the dense kernel."""

import numpy as np
import pytest
import torch
from scipy.sparse.linalg import eigsh

import pinntk
from pinntk import KernelOperator
from pinntk._util.memory import parse_bytes
from pinntk.ntk import _krylov as krylov
from tests.support.examples import EXAMPLES
from tests.support.networks import NETWORKS, build
from tests.support.sweeps import pairs


def burgers(width=12, depth=2, **counts):
    problem = pinntk.load("burgers")
    network = pinntk.nn.MLP(problem, width=width, depth=depth, dtype=torch.float64)
    counts = {"residual": 60, "initial": 11, "boundary": 8, **counts}
    return network, problem, problem.sample(**counts, dtype=torch.float64)


def random(*size):
    return torch.randn(*size, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def close(a, b, tolerance=1e-12):
    return float((a - b).norm()) <= tolerance * float(b.norm())


@pytest.mark.parametrize(("network_name", "example_name"), pairs(NETWORKS, EXAMPLES, each=1))
def test_products_equal_those_of_the_jacobian(example_name, network_name):
    has_the_products_of_the_jacobian(example_name, network_name)


@pytest.mark.parametrize(
    ("example_name", "network_name"),
    [
        *((name, "scaled") for name in EXAMPLES),
        *(pytest.param("burgers", name, marks=pytest.mark.slow) for name in NETWORKS if name != "scaled"),
    ],
)
def test_products_of_factors_that_are_not_kept(example_name, network_name):
    """They come anew for every product, two points at a time: for every kind of condition, and for every network."""
    has_the_products_of_the_jacobian(example_name, network_name, max_memory=1, chunk=2)


def has_the_products_of_the_jacobian(example_name, network_name, **settings):
    problem, points = EXAMPLES[example_name].load()
    network = build(network_name, problem.domain.dimension, len(problem.fields))
    operator = KernelOperator(network, problem, points, **settings)
    J = torch.cat([part.matrix() for part in pinntk.factors(network, problem, points).values()])
    K = J @ J.T
    V, W = random(operator.n, 3), random(operator.p, 3)
    assert operator.shape == tuple(K.shape)
    assert close(operator.matmat(V), K @ V)
    assert close(operator.matvec(V[:, 0]), K @ V[:, 0])
    assert close(operator.jacobian.rmatmat(V), J.T @ V)
    assert close(operator.jacobian.matmat(W), J @ W)
    assert close(operator.jacobian.rmatvec(V[:, 0]), J.T @ V[:, 0])
    assert close(operator.jacobian.matvec(W[:, 0]), J @ W[:, 0])
    assert close(operator.jacobian.normal_matmat(W), J.T @ J @ W)
    assert operator.jacobian.shape == tuple(J.shape)
    assert close(operator.diagonal(), K.diagonal())
    assert operator.trace() == pytest.approx(float(K.trace()), rel=1e-12)


def test_weights_give_the_symmetric_form():
    network, problem, points = burgers()
    weights = {"burgers": 1.0, "start": 30.0, "walls": 5.0}
    by_point = weights | {"burgers": torch.linspace(0, 2, len(points["burgers"]), dtype=torch.float64)}
    blocks = pinntk.kernel(network, problem, points)
    V = random(sum(blocks.sizes), 2)
    for given in (weights, by_point):
        operator, dense = KernelOperator(network, problem, points, weights=given), blocks.matrix(given)
        assert close(operator.matmat(V), dense @ V)
        assert close(operator.diagonal(), dense.diagonal())
    with pytest.raises(ValueError, match=r"weights for \['walls'\] are missing"):
        KernelOperator(network, problem, points, weights={"burgers": 1, "start": 1})


def test_selection_is_a_diagonal_block():
    network, problem, points = burgers()
    operator = KernelOperator(network, problem, points)
    K = pinntk.kernel(network, problem, points)
    part = operator.select("walls")
    assert close(part.matmat(torch.eye(8, dtype=torch.float64)), K["walls"])
    assert operator.trace("walls") == pytest.approx(K.trace("walls"), rel=1e-12)
    with pytest.raises(KeyError, match="no condition 'wall'"):
        operator.select("wall")


@pytest.mark.parametrize("width", [12, 3])  # p > n and p < n
def test_leading_eigenpairs(width):
    network, problem, points = burgers(width)
    operator = KernelOperator(network, problem, points)
    assert (operator.p < operator.n) == (width == 3)
    K = pinntk.kernel(network, problem, points)
    found = operator.eigh(8, tolerance=1e-11)
    expected = K.eigvalsh().flip(0)[:8]
    assert (found.values - expected).abs().max() <= 1e-12 * expected[0]
    measured = (K.matrix() @ found.vectors - found.vectors * found.values).norm(dim=0)
    assert measured.max() <= 1e-10 * expected[0]
    assert (measured - found.residuals).abs().max() <= 1e-12 * expected[0]
    assert close(found.vectors.T @ found.vectors, torch.eye(8, dtype=torch.float64), 1e-8)


def test_solve_and_its_preconditioner():
    network, problem, points = burgers()
    operator = KernelOperator(network, problem, points)
    K = pinntk.kernel(network, problem, points).matrix()
    rhs, damping = random(operator.n, 2), 1e-2
    expected = torch.linalg.solve(K + damping * torch.eye(operator.n, dtype=torch.float64), rhs)
    quick = operator.solve(rhs, damping, rank=60, tolerance=1e-10)
    plain = operator.solve(rhs, damping, rank=0, tolerance=1e-10, iterations=2000)
    assert close(quick.x, expected, 1e-7)
    assert close(plain.x, expected, 1e-6)
    assert quick.iterations < plain.iterations / 3
    one = operator.solve(rhs[:, 0], damping, rank=60, tolerance=1e-10)
    assert one.x.shape == (operator.n,)
    assert close(one.x, expected[:, 0], 1e-7)
    with pytest.warns(krylov.ConvergenceWarning, match="after 2 iterations"):
        operator.solve(rhs, damping, rank=0, iterations=2)
    with pytest.raises(ValueError, match="damping=0"):
        operator.solve(rhs, 0)


def test_spectral_density_integrates_functions_of_the_spectrum():
    network, problem, points = burgers()
    operator = KernelOperator(network, problem, points)
    nodes, weights = operator.spectral_density(probes=200, steps=25)
    values = pinntk.kernel(network, problem, points).eigvalsh().clamp_min(0)
    assert weights.sum() == pytest.approx(1)
    for function in (lambda x: x, torch.log1p):
        assert float((weights * function(nodes.clamp_min(0))).sum()) == pytest.approx(float(function(values).mean()), rel=0.1)


def test_scipy_takes_it():
    network, problem, points = burgers()
    operator = KernelOperator(network, problem, points)
    expected = pinntk.kernel(network, problem, points).eigvalsh().numpy()[-3:]
    found = np.sort(eigsh(operator.to_scipy(), 3, v0=np.ones(operator.n))[0])
    assert np.allclose(found, expected, rtol=1e-9)


def test_lanczos_restarts_on_a_slowly_decaying_spectrum():
    values = 1 / torch.arange(1, 401, dtype=torch.float64) ** 0.5
    found = krylov.leading_eigenpairs(lambda V: values[:, None] * V, values, 5, tolerance=1e-9, block=3)
    assert torch.allclose(found.values, values[:5], rtol=1e-12)
    assert found.products > 40
    with pytest.warns(krylov.ConvergenceWarning, match="after 2 iterations"):
        krylov.leading_eigenpairs(lambda V: values[:, None] * V, values, 5, tolerance=1e-9, iterations=2)


@pytest.mark.parametrize("n", [1, 2, 6, 7, 8, 13, 20, 31, 40])
@pytest.mark.filterwarnings("error")
def test_lanczos_on_a_matrix_of_a_few_blocks(n):
    A = random(n, n)
    expected = torch.linalg.eigvalsh(A @ A.T).flip(0)
    for k in {1, min(n, 3), n}:
        found = krylov.leading_eigenpairs(lambda V: A @ (A.T @ V), A[0], k)
        assert close(found.values, expected[:k], 1e-10)


def test_lanczos_has_no_ghosts_on_a_numerically_singular_spectrum():
    values = 10.0 ** -torch.arange(0, 60, dtype=torch.float64)
    Q = torch.linalg.qr(random(60, 60))[0]
    found = krylov.leading_eigenpairs(lambda V: Q @ (values[:, None] * (Q.T @ V)), values, 12, tolerance=1e-14)
    assert (found.values - values[:12]).abs().max() < 1e-14


@pytest.mark.parametrize(("text", "expected"), [("2GiB", 2**31), ("500 MB", 5 * 10**8), ("0.5KiB", 512), (7, 7), ("12", 12)])
def test_memory_budgets(text, expected):
    assert parse_bytes(text) == expected


@pytest.mark.parametrize("text", ["two", "", "1.2.3GiB", "5 lightyears", 0, -1])
def test_bad_memory_budgets(text):
    with pytest.raises(ValueError, match="max_memory="):
        parse_bytes(text)
