"""A time slab begins as the network of the slab before ends, and no gradient goes back to that network."""

from math import pi

import pytest
import torch
from torch import nn

import pinntk
from pinntk import Box, Problem, initial, residual, slab
from pinntk.residuals._slabs import check_affine, digest
from tests.support import reference

F64 = {"dtype": torch.float64}
EVOLUTIONS = ("allen_cahn", "burgers", "convection", "reaction", "reaction_diffusion", "wave1d")
PLANE = Box(t=(0, 1), x=(0, 1))


class Exact(nn.Module):
    def __init__(self, problem, factor=1.0):
        super().__init__()
        self.exact, self.factor = problem.exact, nn.Parameter(torch.tensor(factor, **F64))

    def forward(self, x):
        return (self.factor * self.exact(*x.unbind(1))).unsqueeze(1)


class Bessel(nn.Module):
    """Has no Taylor rule."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        return torch.special.i0(self.inner(x))


def mlp(problem, seed=0):
    return pinntk.nn.MLP(problem, width=6, depth=2, seed=seed, **F64)


def sample(problem, n=9):
    return problem.sample(residual=n, initial=n, boundary=n, periodic=n, **F64)


def later(problem, number=1, slabs=2):
    """The network before a slab, another one, the slab, and points in it."""
    before, network = mlp(problem, 1), mlp(problem, 2)
    part = slab(problem, number, slabs, before)
    return before, network, part, sample(part)


def evolution(*operators, domain=PLANE, at=0.0):
    @residual(domain)
    def equation(u, u_t, u_xx):
        return u_t - u_xx + u

    return Problem(domain, [equation, *(initial(domain.at(t=at))(operator) for operator in operators)])


@pytest.mark.parametrize("name", ["convection", "reaction", "wave1d"])
def test_an_exact_solution_solves_every_slab(name):
    problem = pinntk.load(name)
    exact = Exact(problem)
    for number in (1, 2):
        part = slab(problem, number, (0.0, 0.3, 0.55, 1.0), exact)
        found = pinntk.errors(exact, part, sample(part))
        assert set(found) == set(problem.names)
        assert max(float(e.detach().abs().max()) for e in found.values()) < 1e-11
        other = pinntk.errors(Exact(problem, 1.5), part, sample(part))["start"]
        rows = sample(part)["start"]
        assert torch.allclose(other, 0.5 * exact(rows)[:, 0], atol=1e-12)


def test_value_and_velocity_are_carried_over():
    before, network, part, points = later(pinntk.load("wave1d"))
    found = pinntk.errors(network, part, points)
    for name, index in (("start", (0, 0)), ("start_velocity", (1, 0))):
        rows = points[name]
        assert set(rows[:, 0].tolist()) == {0.5}
        gap = reference.derivative(network, rows, 0, index) - reference.derivative(before, rows, 0, index)
        assert torch.allclose(found[name], gap, rtol=1e-12, atol=1e-13)
    assert pinntk.errors(before, part, points)["start_velocity"].abs().max() == 0


def test_several_fields_and_derivatives_in_one_condition():
    @residual(PLANE)
    def first(u_t, v):
        return u_t - v

    @residual(PLANE)
    def second(v_t, u_xx):
        return v_t - u_xx

    @initial(PLANE.at(t=0))
    def both(u, v, u_x, grad_v, lap_u, x):
        return u + 2 * v - x * u_x + grad_v[:, 0] + 0.1 * lap_u - torch.exp(x)

    @initial(PLANE.at(t=0))
    def speed(v):
        return v

    problem = Problem(PLANE, [first, second, both, speed], fields=("u", "v"))
    before, network, part, points = later(problem, 2, 3)
    found, alone = pinntk.errors(network, part, points), pinntk.errors(before, part, points)
    rows = points["both"]

    def of(net):
        def d(field, *index):
            return reference.derivative(net, rows, field, index)

        return d(0, 0, 0) + 2 * d(1, 0, 0) - rows[:, 1] * d(0, 0, 1) + d(1, 0, 1) + 0.1 * d(0, 0, 2)

    assert torch.allclose(found["both"], of(network) - of(before), rtol=1e-12, atol=1e-12)
    assert float(alone["both"].detach().abs().max()) == 0


def test_time_may_run_backward():
    def end(u, x):
        return u - torch.sin(pi * x)

    before, network, part, points = later(evolution(end, at=1.0))
    rows = points["end"]
    assert part.domain.bounds[0] == (0.0, 0.5) and set(rows[:, 0].tolist()) == {0.5}
    found = pinntk.errors(network, part, {"end": rows})["end"]
    assert torch.allclose(found, (network(rows) - before(rows))[:, 0], rtol=1e-13)


def test_fixed_coefficients_are_those_of_the_whole():
    @residual(PLANE)
    def decay(u, u_t, rate):
        return u_t + rate * u

    @initial(PLANE.at(t=0))
    def begin(u, level):
        return u - level

    problem = Problem(PLANE, [decay, begin], coefficients={"rate": 2.0, "level": 3.0})
    problem.coefficients.requires_grad_(False)
    before, network, part, points = later(problem)
    found, rows = pinntk.errors(network, part, points), points["decay"]
    assert torch.allclose(found["begin"], (network(points["begin"]) - before(points["begin"]))[:, 0])
    slope = reference.derivative(network, rows, 0, (1, 0))
    assert torch.allclose(found["decay"], slope + 2 * network(rows)[:, 0])


def test_the_network_before_is_a_constant():
    before, network, part, points = later(pinntk.load("wave1d"))
    found = pinntk.errors(network, part, points)
    sum(e.square().sum() for e in found.values()).backward()
    assert all(p.grad is None and p.requires_grad for p in before.parameters())
    expected = {name: e.clone() for name, e in found.items()}
    with torch.no_grad():
        for p in before.parameters():
            p.add_(1.0)
    assert all(torch.equal(e, expected[name]) for name, e in pinntk.errors(network, part, points).items())


@pytest.mark.filterwarnings("ignore:.*special_i0 has no Taylor rule")
@pytest.mark.parametrize(("kind", "path"), [(nn.Identity, "taylor"), (Bessel, "graph")])
def test_kernels_of_a_slab_meet_the_oracle(kind, path):
    problem = pinntk.load("wave1d")
    before = kind(mlp(problem, 1)) if kind is Bessel else mlp(problem, 1)
    part = slab(problem, 1, 2, before)
    network, points = Bessel(mlp(part, 2)) if kind is Bessel else mlp(part, 2), sample(part, 4)
    found = pinntk.kernel(network, part, points)
    expected = reference.kernel(network, part, points)
    assert reference.relative(found.matrix(), expected) < 1e-10
    assert {origin.path for origin in found.origins.values()} == {path}


def test_a_network_in_another_dtype_and_by_autograd():
    problem = pinntk.load("wave1d")
    before, network = Bessel(mlp(problem, 1).float()), mlp(problem, 2)
    part = slab(problem, 1, 2, before)
    rows = sample(part)["start"]
    with pytest.warns(UserWarning, match="derivatives of Bessel now come from nested reverse-mode autograd"):
        found = pinntk.errors(network, part, {"start": rows})["start"]
    assert found.dtype == torch.float64
    assert torch.allclose(found, (network(rows) - before.double()(rows))[:, 0], rtol=1e-12)


def test_a_float32_slab_has_a_kernel_and_a_diagnosis_in_float64():
    """What the network before leaves does not change with the size of the batch by its own rounding."""
    problem = pinntk.load("wave1d")
    before, network = mlp(problem, 1).float(), mlp(problem, 2).float()
    part = slab(problem, 1, 2, before)
    points = part.sample(residual=9, initial=9, boundary=9)
    assert pinntk.errors(network, part, points)["start"].dtype == torch.float32
    double, rows = mlp(problem, 2).float().double(), {name: rows.double() for name, rows in points.items()}
    gap = (double(rows["start"]) - mlp(problem, 1).float().double()(rows["start"]))[:, 0]
    assert torch.allclose(pinntk.errors(double, part, rows)["start"], gap, rtol=1e-12, atol=1e-14)
    pinntk.kernel(double, part, rows)  # refuses errors that change with the batch
    assert pinntk.diagnostics.estimate(network, part, points).relative > 0


@pytest.mark.parametrize("name", EVOLUTIONS)
def test_initial_conditions_of_the_built_in_problems_are_affine(name):
    check_affine(pinntk.load(name))


@pytest.mark.parametrize(
    "operator",
    [
        lambda u: u**2 - 1,
        lambda u: torch.relu(u),
        lambda u, x: torch.sin(u) - x,
        lambda u, u_t: u * u_t,
        lambda u, lap_u: u * lap_u - 1,
        lambda u, grad_u: u + grad_u.norm(dim=1),
        lambda u: torch.log(u),
        lambda u: u + 1e-5 * torch.tanh(u),
        lambda u: torch.clamp(u, max=500.0),
    ],
)
def test_conditions_that_are_not_affine_are_refused(operator):
    operator.__name__ = "begin"
    problem = evolution(operator)
    for number, previous in ((0, None), (1, mlp(problem))):
        with pytest.raises(ValueError, match="initial condition 'begin' is not affine in the fields"):
            slab(problem, number, 2, previous)


@pytest.mark.parametrize(
    "operator",
    [
        lambda u, x: 1e6 * (u - 1e4 * x),
        lambda u, u_t, x: 1e-6 * u + torch.exp(3 * x) * u_t - 1e3,
        lambda u, x: (u - x.float()).float(),
        lambda u, x: torch.where(x > 0.5, u - 1, u + 1),
    ],
)
def test_conditions_that_are_affine_are_not(operator):
    operator.__name__ = "begin"
    check_affine(evolution(operator))


def test_bad_arguments_are_named():
    problem = pinntk.load("convection")
    network = mlp(problem)
    for number in (-1, 4, 1.0, None):
        with pytest.raises(ValueError, match=f"slab {number!r}: of 4 slabs, 0 to 3"):
            slab(problem, number, 4, network)
    with pytest.raises(ValueError, match="slab 1 needs previous=, the network of slab_00"):
        slab(problem, 1, 4)
    with pytest.raises(ValueError, match="previous: the first slab begins as the problem does"):
        slab(problem, 0, 4, network)
    with pytest.raises(TypeError, match="previous=function: the network of the slab before"):
        slab(problem, 1, 4, lambda x: x)
    with pytest.raises(ValueError, match="'kappa' is trained"):
        slab(pinntk.load("heat_inverse"), 1, 4, network)


def test_a_fault_in_an_operator_is_placed():
    def begin(u, x):
        if x.max() > 5:
            raise RuntimeError("no")
        return u

    domain = Box(t=(0, 1), x=(0, 10))
    problem = evolution(begin, domain=domain)
    with pytest.raises(ValueError, match=r"condition 'begin' \(test_slabs.py, line \d+\): RuntimeError: no"):
        slab(problem, 1, 2, mlp(problem))


def test_a_slab_knows_the_network_that_it_begins_with():
    problem = pinntk.load("convection")
    network, other = mlp(problem, 1), mlp(problem, 2)
    assert digest(network) == digest(mlp(problem, 1)) != digest(other)
    assert slab(problem, 1, 2, network).slab == {
        "number": 1,
        "edges": (0.0, 0.5, 1.0),
        "previous": None,
        "sha256": digest(network),
    }
    buffers = mlp(problem, 1)
    buffers.mean += 1
    assert digest(buffers) != digest(network)
    assert digest(mlp(problem, 1).float()) != digest(network)
    scalar = nn.Module()
    scalar.register_buffer("count", torch.tensor(3))
    assert digest(scalar) != digest(nn.Module())
