"""Infinite-width kernels against the literature, finite differences, frozen operators and wide networks."""

from math import asin, pi, sqrt

import pytest
import torch

import pinntk
from pinntk import Box, InfiniteMLP, Problem, boundary, infinite_cross_kernel, infinite_kernel, initial, periodic, residual
from pinntk.ntk.infinite import _dual as dual
from tests.support.reference import relative
from tests.support.sweeps import sweep

F64 = torch.float64


def line():
    domain = Box(x=(0, 1))

    @residual(domain)
    def second(u_xx):
        return u_xx

    @boundary(domain.ends("x"))
    def ends(u):
        return u

    return Problem(domain, [second, ends])


def rows(*values):
    return torch.tensor(values, dtype=F64).reshape(len(values), -1)


# The kernel of Wang, Yu & Perdikaris: values of TARGETS by 200-point quadrature, rr(.5, .5) also by Monte Carlo.


def test_the_papers_kernel():
    K = infinite_kernel(InfiniteMLP(1, "tanh"), line(), {"second": rows(0, 0.5, 1), "ends": rows(0, 1)})
    expected = {
        ("uu", 0, 0): 1.85870,
        ("uu", 0, 1): 1.63300,
        ("uu", 1, 1): 2.21899,
        ("rr", 0, 0): 5.20908,
        ("rr", 1, 1): 4.07727,
        ("rr", 2, 2): 2.24504,
        ("rr", 0, 2): -1.00359,
        ("ur", 0, 0): -0.76111,
        ("ur", 0, 1): -0.22930,
        ("ur", 1, 1): -0.55890,
    }
    for (block, i, j), value in expected.items():
        assert abs(float(getattr(K, block)[i, j]) - value) < 5.1e-6, (block, i, j)


@pytest.mark.parametrize(("normalize", "expected"), [(False, (2.039, 3.963)), (True, (2.649, 399.96))])
def test_average_rates(normalize, expected):
    """c = Tr K / n of the paper; normalized, x is divided by 0.2916, the deviation of its 100 points."""
    problem = line()
    x = torch.linspace(0, 1, 100, dtype=F64)[:, None]
    mean, deviation = float(x.mean()), float(x.std(correction=0))
    limit = InfiniteMLP(1, "tanh", inputs=(lambda x: (x - mean) / deviation) if normalize else lambda x: x)
    assert infinite_kernel(limit, problem, {"ends": rows(0, 1)}).trace() / 2 == pytest.approx(expected[0], abs=1e-3)
    trace = sum(infinite_kernel(limit, problem, {"second": part}).trace() for part in x.split(10))
    assert trace / 100 == pytest.approx(expected[1], rel=2e-4)


# Closed forms of the literature, one pair at a time.


def literature(activation, x, y, depth, weight, beta):
    """(Theta, Sigma) by the recursion as it is printed, on plain numbers."""

    def dual_of(q11, q12, q22):
        if activation == "erf":  # Williams 1998
            value = 2 / pi * asin(2 * q12 / sqrt((1 + 2 * q11) * (1 + 2 * q22)))
            return value, 4 / pi / sqrt((1 + 2 * q11) * (1 + 2 * q22) - 4 * q12**2)
        cosine = max(-1.0, min(1.0, q12 / sqrt(q11 * q22)))  # Cho & Saul 2009
        angle = torch.acos(torch.tensor(cosine, dtype=F64)).item()
        value = sqrt(q11 * q22) / (2 * pi) * (sqrt(1 - cosine**2) + (pi - angle) * cosine)
        return value, (pi - angle) / (2 * pi)

    def affine(value):
        return weight**2 * value + beta**2

    d = len(x)
    q11, q12, q22 = (affine(sum(a * b for a, b in zip(p, q, strict=True)) / d) for p, q in ((x, x), (x, y), (y, y)))
    theta = q12
    for _ in range(depth):
        (v11, _), (v12, slope), (v22, _) = dual_of(q11, q11, q11), dual_of(q11, q12, q22), dual_of(q22, q22, q22)
        q11, q12, q22 = affine(v11), affine(v12), affine(v22)
        theta = q12 + weight**2 * theta * slope
    return theta, q12


@pytest.mark.parametrize("activation", ["erf", "relu"])
@pytest.mark.parametrize("depth", [0, 1, 3])
def test_closed_forms_of_the_literature(activation, depth):
    domain = Box(x=(-1, 1), y=(-1, 1))

    @residual(domain)
    def value(u):
        return u

    problem, limit = Problem(domain, [value]), InfiniteMLP(depth, activation, weight_scale=1.3, beta=0.4)
    points = torch.rand(7, 2, generator=torch.Generator().manual_seed(0), dtype=F64) * 2 - 1
    ntk, nngp = (infinite_kernel(limit, problem, {"value": points}, kind=kind).values for kind in ("ntk", "nngp"))
    for i, x in enumerate(points.tolist()):
        for j, y in enumerate(points.tolist()):
            theta, sigma = literature(activation, x, y, depth, 1.3, 0.4)
            slack = 1e-7 if activation == "relu" and i == j else 1e-12  # acos near 1 has half the digits there, ours not
            assert float(ntk[i, j]) == pytest.approx(theta, rel=slack)
            assert float(nngp[i, j]) == pytest.approx(sigma, rel=1e-12)


# Derivative blocks.


def test_derivative_blocks_equal_finite_differences():
    """Of the value block, sixth order in both points: u_tt - c u_xx against u, and against itself."""
    domain = Box(t=(0, 1), x=(0, 1))

    @residual(domain)
    def wave(u_tt, u_xx, x):
        return u_tt - (1 + x) * u_xx

    @initial(domain.at(t=0))
    def start(u):
        return u

    problem = Problem(domain, [wave, start])
    limit = InfiniteMLP(2, "gelu", beta=0.7)
    X = torch.rand(3, 2, generator=torch.Generator().manual_seed(1), dtype=F64) * 0.8 + 0.1
    Y = torch.cat([torch.zeros(2, 1, dtype=F64), rows(0.2, 0.9)], 1)
    K = infinite_kernel(limit, problem, {"wave": X, "start": Y})
    stencil = {-3: 1 / 90, -2: -3 / 20, -1: 3 / 2, 0: -49 / 18, 1: 3 / 2, 2: -3 / 20, 3: 1 / 90}
    h = 0.02

    def shifted(points):
        """Points of the stencil, and weights of the operator there."""
        moved, weights = [], []
        for axis in (0, 1):
            for k, c in stencil.items():
                step = torch.zeros(2, dtype=F64)
                step[axis] = k * h
                moved.append(points + step)
                weights.append((c if axis == 0 else -c * (1 + points[:, 1])) * torch.ones(len(points), dtype=F64) / h**2)
        return moved, weights

    moved, weights = shifted(X)
    wide = Box(t=(-1, 2), x=(-1, 2))

    @residual(wide)
    def anywhere(u):
        return u

    everywhere = Problem(wide, [anywhere])
    allpoints = torch.cat([*moved, Y])
    V = infinite_kernel(limit, everywhere, {"anywhere": allpoints}).values
    L = torch.zeros(len(X) + len(Y), len(allpoints), dtype=F64)
    for s, w in enumerate(weights):
        for i in range(len(X)):
            L[i, s * len(X) + i] += w[i]
    for j in range(len(Y)):
        L[len(X) + j, len(moved) * len(X) + j] = 1
    assert relative(K.values, L @ V @ L.T) < 1e-6


def test_the_collapsed_laplacian_is_the_sum_of_second_derivatives():
    domain = Box.cube(3)

    @residual(domain)
    def collapsed(lap_u):
        return lap_u

    @residual(domain)
    def spelled(u_x1x1, u_x2x2, u_x3x3):
        return u_x1x1 + u_x2x2 + u_x3x3

    points = torch.rand(4, 3, dtype=F64, generator=torch.Generator().manual_seed(2))
    K = infinite_kernel(InfiniteMLP(2, "tanh"), Problem(domain, [collapsed, spelled]), {"collapsed": points, "spelled": points})
    assert relative(K["collapsed"], K["spelled"]) < 1e-11
    assert relative(K["collapsed", "spelled"], K["spelled"]) < 1e-11


def test_a_nonlinear_operator_is_linearized_where_one_says():
    domain = Box(x=(0, 1))

    @residual(domain)
    def transport(u, u_x):
        return u * u_x

    @residual(domain)
    def frozen(u, u_x, x):
        return 2 * torch.cos(2 * x) * u + torch.sin(2 * x) * u_x

    class Sine(torch.nn.Module):
        def forward(self, x):
            return torch.sin(2 * x)

    limit, points = InfiniteMLP(1, "erf"), rows(0.1, 0.4, 0.8)
    with pytest.raises(ValueError, match=r"not linear in the fields.*at="):
        infinite_kernel(limit, Problem(domain, [transport]), {"transport": points})
    nonlinear = Problem(domain, [transport], exact=lambda x: torch.sin(2 * x))
    expected = infinite_kernel(limit, Problem(domain, [frozen]), {"frozen": points}).values
    for at in (Sine(), "exact"):
        assert relative(infinite_kernel(limit, nonlinear, {"transport": points}, at=at).values, expected) < 1e-13
    with pytest.raises(ValueError, match="at='exat'"):
        infinite_kernel(limit, nonlinear, {"transport": points}, at="exat")


def test_a_periodic_condition_is_the_difference_of_its_ends():
    domain = Box(t=(0, 1), x=(0, 2))

    @periodic(domain.ends("x"))
    def wrap(u):
        return u

    @residual(domain)
    def value(u):
        return u

    problem, limit = Problem(domain, [value, wrap]), InfiniteMLP(1, "tanh")
    t = rows(0.2, 0.7)
    left, right = (torch.cat([t, torch.full_like(t, end)], 1) for end in (0, 2))
    K = infinite_kernel(limit, problem, {"wrap": left}).values
    V = infinite_kernel(limit, Problem(domain, [value]), {"value": torch.cat([left, right])}).values
    D = torch.cat([torch.eye(2, dtype=F64), -torch.eye(2, dtype=F64)], 1)
    assert relative(K, D @ V @ D.T) < 1e-10


def test_fields_are_independent_and_coefficients_are_parameters():
    domain = Box(x=(0, 1))

    @residual(domain)
    def first(u, v_x):
        return u + v_x

    @residual(domain)
    def second(v):
        return v

    problem, points = Problem(domain, [first, second], fields=("u", "v")), rows(0.1, 0.6)
    limit = InfiniteMLP(1, "sin")
    K = infinite_kernel(limit, problem, {"first": points, "second": points})

    @residual(domain)
    def value(u):
        return u

    @residual(domain)
    def slope(u_x):
        return u_x

    single = infinite_kernel(limit, Problem(domain, [value, slope]), {"value": points, "slope": points})
    assert relative(K["first"], single["value"] + single["slope"]) < 1e-13
    assert relative(K["first", "second"], single["slope", "value"]) < 1e-13

    @residual(domain)
    def scaled(u, c, x):
        return u + c * x

    inverse = Problem(domain, [scaled], coefficients={"c": 2.0})
    found = infinite_kernel(limit, inverse, {"scaled": points}).values
    assert relative(found, single["value"] + points @ points.T) < 1e-13
    assert relative(infinite_kernel(limit, inverse, {"scaled": points}, kind="nngp").values, single["value"]) > 0.1


# Networks of finite width.

WIDE = {
    "poisson1d": {"activation": "sin", "gain": 1.2, "beta": 0.5},
    "helmholtz2d": {"fourier": (4, 0.3)},
    "convection": {"periodic": "x", "depth": 2},
}


@pytest.mark.parametrize("name", sweep(WIDE, "poisson1d"))
def test_wide_networks_have_this_kernel_on_average(name):
    problem = pinntk.load(name)
    settings = {"depth": 1, "parametrization": "ntk", "dtype": F64} | WIDE[name]
    points = problem.sample(residual=4, boundary=3, initial=3, periodic=2, seed=3, dtype=F64)

    def draw(seed):
        network = pinntk.nn.MLP(problem, width=200, seed=seed, **settings)
        network.embeddings.load_state_dict(first.embeddings.state_dict())  # the same random features
        return network

    first = pinntk.nn.MLP(problem, width=1, seed=0, **settings)
    K = infinite_kernel(first, problem, points)
    found = pinntk.mean_kernel(draw, problem, points, range(30), expected=K.values)
    scale = K.values.diagonal().sqrt()
    settled = found.standard_error > 1e-10 * scale[:, None] * scale  # what is random at all
    scores = found.scores(K.values)[settled]
    assert 0.3 < scores.square().mean().sqrt() < 1.8
    assert ((found.mean.values - K.values)[~settled].abs() <= 1e-8 * K.values.abs().max()).all()
    assert found.distances.shape == (30,)
    assert float(found.distances.mean()) == pytest.approx(found.spread, rel=0.3)


@pytest.mark.slow
def test_the_covariance_of_initial_errors_is_the_nngp():
    problem = pinntk.load("poisson1d", k=1)
    points = problem.sample(residual=3, boundary=2, method="grid", dtype=F64)
    limit = pinntk.nn.MLP(problem, width=1, depth=1, parametrization="ntk")
    expected = infinite_kernel(limit, problem, points, kind="nngp").values
    samples = []
    for seed in range(600):
        network = pinntk.nn.MLP(problem, width=300, depth=1, parametrization="ntk", seed=seed, dtype=F64)
        with torch.no_grad():
            samples.append(torch.cat(list(pinntk.errors(network, problem, points).values())))
    e = torch.stack(samples)
    found = (e - e.mean(0)).T @ (e - e.mean(0)) / len(e)
    scale = expected.diagonal().sqrt()
    assert ((found - expected) / (scale[:, None] * scale)).abs().max() < 0.2  # 3 to 4 standard errors


def test_mean_kernel_is_the_mean():
    problem = line()
    points = {"second": rows(0.2, 0.7), "ends": rows(0.0)}

    def draw(seed):
        return pinntk.nn.MLP(problem, width=8, depth=1, parametrization="ntk", seed=seed, dtype=F64)

    found = pinntk.mean_kernel(draw, problem, points, range(5))
    each = torch.stack([pinntk.kernel(draw(seed), problem, points).values for seed in range(5)])
    assert relative(found.mean.values, each.mean(0)) < 1e-14
    assert relative(found.std, each.std(0)) < 1e-12
    assert relative(found.standard_error, each.std(0) / sqrt(5)) < 1e-12
    assert relative(found.running[2], each[:3].mean(0).diagonal()) < 1e-14
    assert found.distances.numel() == 0
    assert found.mean.names == ("second", "ends")
    with pytest.raises(ValueError, match="needs at least 2"):
        pinntk.mean_kernel(draw, problem, points, [0])


# What else there is to ask.


def test_cross_blocks_and_chunks_are_those_of_the_whole(monkeypatch):
    from pinntk.ntk.infinite import _limit as module

    problem, limit = line(), InfiniteMLP(2, "tanh")
    points = {"second": torch.linspace(0, 1, 9, dtype=F64)[:, None], "ends": rows(0, 1, 0)}
    K = infinite_kernel(limit, problem, points)
    monkeypatch.setattr(module, "_PAIRS", 7)
    monkeypatch.setattr(dual, "_CHUNK", 2**10)
    cross = infinite_cross_kernel(limit, problem, {"ends": points["ends"]}, points)
    assert set(cross) == {("ends", "second"), ("ends", "ends")}
    for (i, j), block in cross.items():
        assert relative(block, K[i, j]) < 1e-11
    assert relative(cross["ends", "ends"][0], cross["ends", "ends"][2]) < 1e-14  # a repeated point
    assert torch.equal(K.values, K.values.T)
    assert K.eigvalsh()[0] > -1e-10 * K.eigvalsh()[-1]


def test_width_says_nothing_and_the_seed_neither():
    problem = pinntk.load("poisson1d")
    points = problem.sample(residual=4, boundary=2, seed=1)
    kernels = [
        infinite_kernel(pinntk.nn.MLP(problem, width=w, depth=2, parametrization="ntk", seed=s), problem, points).values
        for w, s in ((1, 0), (30, 5))
    ]
    assert kernels[0].dtype == F64
    assert torch.equal(*kernels)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_a_gpu_it_is_the_same():
    problem = pinntk.load("poisson1d")
    points = problem.sample(residual=6, boundary=2, seed=1)
    for activation in ("tanh", "erf"):
        network = pinntk.nn.MLP(problem, width=1, depth=2, parametrization="ntk", activation=activation)
        expected = infinite_kernel(network, problem, points).values
        found = infinite_kernel(network.cuda(), problem, points).values
        assert found.device.type == "cuda"
        assert relative(found, expected) < 1e-10


def test_bad_input():
    problem = line()
    points = {"second": rows(0.5)}
    with pytest.raises(ValueError, match=r'no limit; use MLP.*parametrization="ntk"'):
        infinite_kernel(pinntk.nn.MLP(problem), problem, points)
    with pytest.raises(TypeError, match="Linear has no known limit"):
        infinite_kernel(torch.nn.Linear(1, 1), problem, points)
    with pytest.raises(ValueError, match=r"kernel of values only.*smooth activation"):
        infinite_kernel(InfiniteMLP(1, "relu"), problem, points)
    with pytest.raises(ValueError, match="kink"):
        infinite_kernel(InfiniteMLP(1, torch.relu), problem, {"ends": rows(0)})
    with pytest.raises(ValueError, match="activation='swish' has no infinite-width kernel"):
        InfiniteMLP(1, "swish")
    with pytest.raises(TypeError, match="activation is a int"):
        InfiniteMLP(1, 3)
    with pytest.raises(ValueError, match="depth=-1"):
        InfiniteMLP(-1)
    with pytest.raises(ValueError, match="gain=0"):
        InfiniteMLP(1, gain=0)
    with pytest.raises(ValueError, match="beta=-1"):
        InfiniteMLP(1, beta=-1)
    with pytest.raises(ValueError, match="kind='nn'"):
        infinite_kernel(InfiniteMLP(), problem, points, kind="nn")
