"""The spectrum against matrix exponentials and closed forms; frequencies against waves of known frequency."""

import doctest
from importlib import import_module
from math import log, pi

import pytest
import torch

from pinntk.diagnostics import error_frequency, mode_frequency, spectrum
from pinntk.ntk import KernelBlocks, kernel
from pinntk.problem import Box, Problem, residual
from tests.support import reference
from tests.support.examples import EXAMPLES
from tests.support.networks import build
from tests.support.reference import relative

spectrum_module = import_module("pinntk.diagnostics._spectrum")
WEIGHTS = {"poisson": [2.0, 0.3], "burgers": [1.0, 0.1, 5.0, 0.7, 3.0], "inverse": [0.4, 20.0]}
CASES = [("plain", "poisson"), ("shared", "burgers"), ("fourier", "inverse")]


def of(values, sizes=None, dtype=torch.float64, points=None):
    """A kernel of conditions a, b, ..."""
    sizes = (len(values),) if sizes is None else sizes
    names = tuple("abcdef"[: len(sizes)])
    return KernelBlocks(values.to(dtype), names, ("residual",) * len(sizes), sizes, {} if points is None else points)


@pytest.fixture(params=CASES, ids="-".join)
def case(request):
    """(kernel, errors, weights, D) with K from the oracle."""
    name, example = request.param
    problem, points = EXAMPLES[example].load()
    network = build(name, problem.domain.dimension, len(problem.fields))
    K = kernel(network, problem, points)
    weights = dict(zip(points, WEIGHTS[example], strict=True))
    D = torch.cat([torch.full((len(rows),), 2 * weights[c] / len(rows), dtype=torch.float64) for c, rows in points.items()])
    e = {c: error.detach() for c, error in reference.errors(network, problem, points).items()}
    return K, e, weights, D, reference.kernel(network, problem, points)


def test_values_are_those_of_K_D_and_vectors_diagonalise(case):
    K, _, weights, D, expected = case
    found = spectrum(K, weights)
    rates = torch.linalg.eigvals(expected * D).real.sort(descending=True).values
    assert relative(found.values, rates) <= 1e-12
    symmetric = D.sqrt()[:, None] * expected * D.sqrt()
    assert relative(found.vectors @ found.values.diag() @ found.vectors.T, symmetric) <= 1e-12
    assert float(found.values.sum()) == pytest.approx(float((expected.diagonal() * D).sum()), rel=1e-12)
    assert found.floor == pytest.approx(K.floor(weights), rel=1e-12)
    assert found.stable_step == pytest.approx(2 / float(rates[0]), rel=1e-12)
    assert (found.names, found.sizes, found.weights) == (K.names, K.sizes, weights)


def test_blocks(case):
    K, _, weights, _, _ = case
    for name, values in spectrum(K, weights).blocks.items():
        assert relative(values.flip(0), torch.linalg.eigvalsh(K[name] / len(values))) <= 1e-12
        assert float(values.sum()) == pytest.approx(K.trace(name) / len(values), rel=1e-12)


def test_weights_are_one_unless_given(case):
    K = case[0]
    assert torch.equal(spectrum(K).values, spectrum(K, dict.fromkeys(K.names, 1)).values)


def test_shares(case):
    K, e, weights, D, _ = case
    found = spectrum(K, weights)
    scaled = D.sqrt() * torch.cat(list(e.values()))
    assert relative(found.vectors @ found.project(e), scaled) <= 1e-12
    share = found.share(e)
    assert relative(share, found.project(e) ** 2 / scaled.square().sum()) <= 1e-12
    assert float(share.sum()) == pytest.approx(1, rel=1e-12)
    loss = sum(weights[name] * float(one.square().mean()) for name, one in e.items())
    assert float(found.project(e).square().sum()) == pytest.approx(2 * loss, rel=1e-12)
    assert relative(sum(found.participation.values()), torch.ones(len(D)).double()) <= 1e-12


def test_the_order_of_errors_is_that_of_the_kernel(case):
    K, e, weights, _, _ = case
    found = spectrum(K, weights)
    assert torch.equal(found.project(dict(reversed(e.items()))), found.project(e))


@pytest.mark.parametrize("time", [0.0, 0.01, 1.0])
def test_remaining_is_gradient_flow(case, time):
    K, e, weights, D, expected = case
    found = spectrum(K, weights)
    before = torch.cat(list(e.values()))
    after = torch.matrix_exp(-time * expected * D) @ before
    remaining = found.remaining(e, time)
    assert float(remaining.sum()) == pytest.approx(float((D * after**2).sum() / (D * before**2).sum()), rel=1e-9)
    assert remaining.shape == found.values.shape
    assert (remaining <= found.share(e)).all()


def test_remaining_and_unlearned_mode_by_mode():
    found = spectrum(of(torch.diag(torch.tensor([1.0, 3.0, 5.0])).double() * 3 / 2))  # D = 2 / 3
    e = {"a": torch.tensor([2.0, 1.0, 2.0])}
    assert found.values.tolist() == pytest.approx([5, 3, 1])
    expected = torch.tensor([4 / 9, 1 / 9, 4 / 9]).double() * (-2 * found.values * 0.3).exp()
    assert relative(found.remaining(e, 0.3), expected) <= 1e-7
    assert [found.unlearned(e, t) for t in (0.0, 0.19, 0.25, 0.5, 1.5)] == pytest.approx([1, 1, 5 / 9, 4 / 9, 0])


def test_a_negative_eigenvalue_of_rounding_does_not_grow():
    found = spectrum(of(torch.diag(torch.tensor([1.0, -1e-17]))))
    assert found.values[1] < 0
    assert float(found.remaining({"a": torch.ones(2)}, 1e20).sum()) == pytest.approx(0.5)


def test_no_error_and_tiny_errors():
    found = spectrum(of(torch.eye(3)))
    assert found.share({"a": torch.zeros(3)}).tolist() == [0, 0, 0]
    assert float(found.share({"a": torch.full((3,), 1e-200, dtype=torch.float64)}).sum()) == pytest.approx(1)


@pytest.mark.parametrize("n", [1, 7])
def test_multiple_of_the_identity(n):
    found = spectrum(of(3 * torch.eye(n)))
    assert found.effective_rank == pytest.approx(n)
    assert found.rank == n
    assert found.condition == pytest.approx(1)


def test_rank_condition_and_effective_rank():
    Q = torch.linalg.qr(torch.randn(6, 6, generator=torch.Generator().manual_seed(0)).double())[0]
    found = spectrum(of(Q[:, :3] @ torch.diag(torch.tensor([6.0, 3.0, 1.0]).double()) @ Q[:, :3].T))
    assert found.rank == 3
    assert found.condition == pytest.approx(6)
    entropy = -sum(p * log(p) for p in (0.6, 0.3, 0.1))
    assert log(found.effective_rank) == pytest.approx(entropy)


def test_floor_of_float32():
    assert spectrum(of(torch.eye(4), dtype=torch.float32)).floor == pytest.approx(4 * 2**-23 * 0.5)
    assert spectrum(of(torch.diag(torch.tensor([1.0, 1e-8])), dtype=torch.float32)).rank == 1


@pytest.mark.parametrize("exponent", [0.5, 2.0, 4.0])
def test_decay_of_a_power_law(exponent):
    k = torch.arange(1, 301).double()
    values = k**-exponent
    assert spectrum(of(values.diag())).decay == pytest.approx(exponent, rel=1e-9)
    values[:3] = 1e3  # more than 1 % of 300 modes are not asked
    assert spectrum(of(values.diag())).decay > exponent + 0.01
    values[:3], values[:2] = k[:3] ** -exponent, 1e3
    assert spectrum(of(values.diag())).decay == pytest.approx(exponent, rel=1e-9)


def test_every_octave_counts_alike_in_the_decay():
    """k^-1 and then k^-3, four octaves each; an unweighted fit sees little but the second."""
    k = torch.arange(1, 257).double()
    found = spectrum(of(torch.where(k < 16, 1 / k, 256 / k**3).diag())).decay
    assert 2.1 < found < 2.5


def test_zero_kernel():
    found = spectrum(of(torch.zeros(3, 3)))
    assert (found.rank, found.effective_rank, found.floor, found.stable_step) == (0, 0.0, 0.0, float("inf"))
    assert found.condition != found.condition
    assert found.decay != found.decay
    assert found.unlearned({"a": torch.ones(3)}, 10) == pytest.approx(1)


def test_repr():
    assert repr(spectrum(of(2 * torch.eye(3)))) == "Spectrum(n=3, rank=3, lambda_max=1.33)"


ONES = {"a": torch.ones(2), "b": torch.ones(1)}
BAD = [
    (lambda K: spectrum(K.matrix()), TypeError, "kernel is a Tensor; expected KernelBlocks"),
    (lambda K: spectrum(K, {"a": 1.0}), ValueError, r"weights for \['b'\] are missing"),
    (lambda K: spectrum(K, {"a": 1.0, "b": -1.0}), ValueError, "weight b=-1.0"),
    (lambda K: spectrum(of(torch.full((2, 2), torch.nan))), ValueError, "kernel holds NaN"),
    (lambda K: spectrum(K).project([1, 2, 3]), TypeError, "errors is a list"),
    (lambda K: spectrum(K).project({"a": torch.ones(2)}), ValueError, r"errors of \('a',\).*\('a', 'b'\)"),
    (lambda K: spectrum(K).share({**ONES, "a": torch.ones(3)}), ValueError, r"errors\['a'\] has shape \(3,\); expected \(2,\)"),
    (lambda K: spectrum(K).share({**ONES, "b": torch.tensor([torch.inf])}), ValueError, r"errors\['b'\] holds NaN or inf"),
    (lambda K: spectrum(K).remaining(ONES, -1.0), ValueError, "time=-1.0"),
    (lambda K: spectrum(K).unlearned(ONES, float("nan")), ValueError, "time=nan"),
    (lambda K: mode_frequency(K, torch.ones(3, 1), "c"), KeyError, "no condition 'c'"),
    (lambda K: mode_frequency(K, torch.ones(3, 1), "b"), ValueError, "does not know the points of 'b'"),
    (lambda K: mode_frequency(K, torch.ones(2, 1), "a"), ValueError, r"vectors has shape \(2, 1\); expected \(3, modes\)"),
    (lambda K: error_frequency(torch.ones(3), torch.ones(3)), ValueError, r"points has shape \(3,\)"),
    (lambda K: error_frequency(torch.ones(3, 1), torch.ones(3, 1)), ValueError, r"values has shape \(3, 1\) for 3 points"),
    (lambda K: error_frequency(torch.ones(1, 1), torch.tensor([torch.nan])), ValueError, "values holds NaN"),
    (lambda K: error_frequency(torch.ones(1, 1), torch.ones(1), [(1, 0)]), ValueError, r"bounds=\[\(1, 0\)\].*low < high"),
    (lambda K: error_frequency(torch.ones(1, 1), torch.ones(1), [(0, 1)] * 2), ValueError, "at most 1 coordinates"),
]


@pytest.mark.parametrize(("call", "kind", "message"), BAD, ids=[message for _, _, message in BAD])
def test_what_is_refused(call, kind, message):
    with pytest.raises(kind, match=message):
        call(of(torch.eye(3), (2, 1), points={"a": torch.tensor([[0.0], [1.0]])}))


# Frequencies.


def scattered(n, d, seed=0):
    return torch.rand(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("n", [200, 500])
@pytest.mark.parametrize("m", [0.5, 1, 4, 10])
def test_waves_in_one_dimension(n, m):
    x = scattered(n, 1, n)
    found = error_frequency(x, torch.sin(2 * pi * m * x[:, 0] + 0.4), [(0, 1)])
    assert found.mean == pytest.approx(m, rel=1e-6)
    assert found.dominant == m


@pytest.mark.parametrize("n", [200, 500])
@pytest.mark.parametrize("m", [1, 4, 10])
def test_products_of_waves_in_two_dimensions(n, m):
    x = scattered(n, 2, n)
    found = error_frequency(x, torch.sin(2 * pi * m * x).prod(1))
    assert found == pytest.approx((2**0.5 * m,) * 2, rel=0.01)


def test_three_dimensions_and_ten():
    x = scattered(400, 3)
    assert error_frequency(x, torch.cos(2 * pi * (2 * x[:, 0] - 3 * x[:, 2])), [(0, 1)] * 3).mean == pytest.approx(13**0.5)
    x = scattered(400, 10)
    assert error_frequency(x, torch.sin(2 * pi * x[:, 7]), [(0, 1)] * 10).mean == pytest.approx(1)


def test_the_mean_is_weighted_by_power():
    x = scattered(400, 1)[:, 0]
    found = error_frequency(x[:, None], 2 * torch.sin(4 * pi * x) + torch.sin(16 * pi * x), [(0, 1)])
    assert found.dominant == 2
    assert found.mean == pytest.approx((4 * 2 + 1 * 8) / 5, rel=0.1)


@pytest.mark.parametrize("m", [1.25, 3.7, 9.3])
def test_between_the_wavevectors(m):
    x = scattered(300, 1)
    assert error_frequency(x, torch.sin(2 * pi * m * x[:, 0]), [(0, 1)]).mean == pytest.approx(m, abs=0.3)


def test_noise_does_not_move_it():
    x = scattered(300, 1)
    noise = torch.randn(300, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    assert error_frequency(x, torch.sin(8 * pi * x[:, 0]) + 0.5 * noise, [(0, 1)]).mean == pytest.approx(4, rel=1e-6)


def test_scale_of_values_and_of_coordinates_do_not_matter():
    x = scattered(200, 2)
    values = torch.sin(2 * pi * 3 * x[:, 1]) + 0.5 * x[:, 0]
    plain = error_frequency(x, values, [(0, 1)] * 2)
    moved = error_frequency(x * torch.tensor([5.0, 100.0]) - 7, 1e-200 * values, [(-7, -2), (-7, 93)])
    assert moved == pytest.approx(plain, rel=1e-6)


def test_cycles_are_of_the_domain_not_of_the_points():
    x = 0.5 * scattered(200, 1)
    values = torch.sin(2 * pi * 8 * x[:, 0])
    assert error_frequency(x, values, [(0, 1)]).dominant == 8
    assert error_frequency(x, values).dominant == 4  # in half the domain


def test_on_a_grid_the_lowest_of_equal_waves_counts():
    line = torch.linspace(0, 1, 20, dtype=torch.float64)
    x = torch.cartesian_prod(line, line)
    assert error_frequency(x, torch.sin(2 * pi * 4 * x).prod(1)) == pytest.approx((2**0.5 * 4,) * 2)


def test_no_wave_at_all():
    x = scattered(50, 2)
    assert error_frequency(x, torch.full((50,), 3.0)) == (0, 0)
    assert error_frequency(x, torch.zeros(50)) == (0, 0)
    assert error_frequency(torch.ones(50, 2), torch.randn(50, generator=torch.Generator().manual_seed(0))) == (0, 0)
    assert error_frequency(torch.ones(1, 1), torch.ones(1)) == (0, 0)


def test_points_in_a_corner():
    """Cosine and sine are both nearly constant there; a constant must not count twice."""
    x = 0.4 + 0.03 * scattered(50, 1)
    assert error_frequency(x, torch.ones(50), [(0, 1)]) == (0, 0)


def test_less_than_a_percent_does_not_count():
    x = scattered(300, 1)[:, 0]
    assert error_frequency(x[:, None], torch.sin(2 * pi * x) + 0.05 * torch.sin(80 * pi * x), [(0, 1)]).mean == 1


def test_many_points_are_thinned(monkeypatch):
    x = scattered(5000, 1)
    values = torch.sin(2 * pi * 40 * x[:, 0])
    assert error_frequency(x, values, [(0, 1)]).mean == pytest.approx(40)
    monkeypatch.setattr(spectrum_module, "_MOST_POINTS", 50)
    assert error_frequency(x, values, [(0, 1)]).dominant <= 25


def test_modes_of_a_kernel_with_a_known_spectrum():
    """cos(pi k x) with falling eigenvalues: mode k has k / 2 cycles on its condition, and nothing on the other."""
    n = 150
    x = (torch.arange(n).double()[:, None] + 0.5) / n
    k = torch.arange(70).double()
    features = torch.cos(pi * k * x) * 0.8**k
    K = torch.zeros(n + 2, n + 2).double()
    K[2:, 2:] = features @ features.T
    K[:2, :2] = 1e3 * torch.eye(2)
    blocks = of(K, (2, n), points={"a": torch.tensor([[0.0, 7.0], [1.0, 8.0]]), "b": x})
    found = spectrum(blocks, {"a": 1.0, "b": float(n)})
    vectors = found.vectors[:, :14]
    assert mode_frequency(blocks, vectors, "b", [(0, 1)]) == pytest.approx([0, 0, *(k[:12] / 2).tolist()], abs=1e-3)
    assert mode_frequency(blocks, vectors, "a")[2:].abs().max() == 0
    assert found.participation["a"][:3].tolist() == pytest.approx([1, 1, 0])


def test_columns_of_measurements_are_no_coordinates():
    x = scattered(200, 2)
    values = torch.sin(2 * pi * 3 * x[:, 0]) + torch.sin(2 * pi * 7 * x[:, 1])
    assert error_frequency(x, values).mean == pytest.approx(5, rel=0.1)
    assert error_frequency(x, values, [(0, 1)]).mean == pytest.approx(3, rel=0.1)
    blocks = of(torch.eye(201), (1, 200), points={"a": torch.ones(1, 1), "b": x})
    assert float(mode_frequency(blocks, torch.cat([torch.ones(1), values])[:, None], "b")) == pytest.approx(3, rel=0.1)


def test_rounding_of_a_mode_that_lives_elsewhere_has_no_frequency():
    x = scattered(60, 1)
    wave = torch.sin(2 * pi * 3 * x[:, 0])
    blocks = of(torch.eye(61), (1, 60), points={"a": torch.ones(1, 1), "b": x})
    vectors = torch.stack([torch.cat([torch.ones(1), 1e-12 * wave]), torch.cat([torch.ones(1), wave])], 1)
    assert mode_frequency(blocks, vectors, "b", [(0, 1)]).tolist() == pytest.approx([0, 3])


def test_a_face_is_searched_as_finely_as_a_domain_of_its_own_dimension():
    x = scattered(300, 3)
    x[:, 1] = 1
    assert error_frequency(x, torch.sin(2 * pi * 8 * x[:, 2]), [(0, 1)] * 3).mean == pytest.approx(8)


def test_frequencies_of_an_ordinary_kernel_rise_with_the_mode():
    """Low frequencies train first (Rahaman et al. 2019): true of the kernel of a plain network's values."""
    domain = Box(x=(0, 1))

    @residual(domain)
    def value(u):
        return u

    problem = Problem(domain, [value])
    points = problem.sample(seed=0, residual=80, dtype=torch.float64)
    K = kernel(build("plain", 1, 1), problem, points)
    found = mode_frequency(K, spectrum(K).vectors[:, :5], "value", domain.bounds)
    assert (found.diff() > 0).all()
    assert found[0] <= 0.5


def test_documentation():
    assert doctest.testmod(spectrum_module).failed == 0
