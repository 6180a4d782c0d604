"""Which path the engine takes to J, and the certificate that lets it."""

import gc
import weakref

import pytest
import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel

import pinntk
from pinntk import DependentPointsError, graph_factors
from pinntk.ntk import _taylor_factors as taylor_factors
from pinntk.ntk._factors import compute_factors
from tests.support import network_types, reference
from tests.support.reference import relative
from tests.support.reference import rows as rows_of
from tests.support.residual_styles import mlp
from tests.support.sweeps import sweep

TOLERANCE = 1e-12


@pytest.fixture(autouse=True)
def seeded():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


def problem_of(order):
    domain = pinntk.Box(t=(0, 1), x=(0, 1))

    @pinntk.residual(domain)
    def equation(u, u_t, u_xx):
        return u_t + u**2 - u_xx

    @pinntk.residual(domain)
    def values(u, t):
        return u * t

    return pinntk.Problem(domain, [equation if order else values])


class ByFormula(nn.Module):
    """Layer normalization by hand, for the oracle."""

    def __init__(self, norm):
        super().__init__()
        self.weight, self.bias, self.eps = norm.weight, norm.bias, norm.eps

    def forward(self, h):
        h = h - h.mean(-1, keepdim=True)
        return self.weight * h / (h.square().mean(-1, keepdim=True) + self.eps).sqrt() + self.bias


@pytest.mark.parametrize("order", sweep((0, 2), 2))
@pytest.mark.parametrize("name", network_types.NETWORK_TYPES)
@pytest.mark.filterwarnings("ignore:.*nested reverse-mode", "ignore:.*come one by one")
def test_kernels_of_every_type_of_network(name, order):
    network, problem = network_types.build(name), problem_of(order)
    drawn = problem.sample(residual=12, seed=0, dtype=torch.float64)
    found = pinntk.kernel(network, problem, drawn)
    for owner in network.modules():
        for part, module in list(owner.named_children()):
            if isinstance(module, nn.LayerNorm):
                setattr(owner, part, ByFormula(module))
    with sdpa_kernel(SDPBackend.MATH):
        (e,) = reference.errors(network, problem, drawn).values()
        J = rows_of(e, dict(network.named_parameters()))
    assert relative(found.matrix(), J @ J.T) <= TOLERANCE
    assert pinntk.traces(network, problem, drawn) == pytest.approx(found.traces(), rel=1e-12)
    (origin,) = found.origins.values()
    assert origin.path in ("taylor", "graph", "rows")


@pytest.mark.parametrize("whole", [True, False])
def test_a_compiled_network_is_read_as_it_was_written(whole):
    network, problem = mlp(), problem_of(2)
    drawn = problem.sample(residual=6, seed=0, dtype=torch.float64)
    expected = pinntk.kernel(network, problem, drawn).matrix()
    if whole:
        compiled = torch.compile(network, backend="eager")
    else:
        compiled = nn.Sequential(*network[:2], torch.compile(network[2], backend="eager"), *network[3:])
    assert relative(pinntk.kernel(compiled, problem, drawn).matrix(), expected) <= TOLERANCE


def circle(operator):
    """The first and the last of these points are one; there `operator` sees no difference."""
    domain = pinntk.Box(x=(-1, 1), y=(-1, 1))
    angle = torch.linspace(0, 2 * torch.pi, 12, dtype=torch.float64)
    problem = pinntk.Problem(domain, [pinntk.residual(domain)(operator)])
    return problem, {operator.__name__: torch.stack([torch.cos(angle), torch.sin(angle)], 1)}


def from_the_third_point_on(u):
    return u - torch.nn.functional.pad(u[:-2], (2, 0))


def differences(u):
    return u - u.roll(3)


@pytest.mark.parametrize("operator", [from_the_third_point_on, differences])
@pytest.mark.parametrize(
    "last", [nn.Identity(), network_types.Then(lambda s, h: h.cumsum(1), nn.Identity())], ids=["jets", "graph"]
)
@pytest.mark.filterwarnings("ignore:.*nested reverse-mode")
def test_points_that_mix_beyond_a_check_are_found_by_the_certificate(operator, last):
    network = nn.Sequential(mlp(), last)
    problem, where = circle(operator)
    with pytest.raises(DependentPointsError, match=f"condition '{operator.__name__}': errors depend on which other points"):
        compute_factors(network, problem, where)


def test_a_tape_that_misses_a_use_fails_its_certificate(monkeypatch):
    network, problem = mlp(), problem_of(2)
    drawn = problem.sample(residual=6, seed=0, dtype=torch.float64)
    expected = reference.kernel(network, problem, drawn)
    add = taylor_factors._TapeUses.add
    monkeypatch.setattr(
        taylor_factors._TapeUses,
        "add",
        lambda self, use, B, own: None if len(use.output) == 16 else add(self, use, 0.5 * B, own),
    )
    with pytest.warns(UserWarning, match=r"condition 'equation' fails its certificate in the Taylor engine"):
        found = pinntk.kernel(network, problem, drawn)
    assert relative(found.matrix(), expected) <= TOLERANCE
    assert found.origins["equation"].path == "graph"


def test_certificates_are_made_once_for_a_network_and_a_number_of_points():
    network, problem = mlp(), problem_of(2)
    first, again, more = (
        pinntk.kernel(network, problem, problem.sample(residual=n, seed=s, dtype=torch.float64)).origins["equation"]
        for n, s in ((6, 0), (6, 1), (7, 2))
    )
    assert first.certificate <= 1e-12
    assert again.certificate is None
    assert more.certificate <= 1e-12
    assert str(first).startswith("taylor, certificate ")


@pytest.mark.filterwarnings("ignore:.*nested reverse-mode")
def test_the_way_that_passed_is_taken_again():
    """Attention has its points second: read in order, its factors pass the first certificate and are wrong."""
    network, problem = network_types.build("attention"), problem_of(0)
    drawn = problem.sample(residual=12, seed=0, dtype=torch.float64)
    first, again = (pinntk.traces(network, problem, drawn)["values"] for _ in range(2))
    assert again == pytest.approx(first, rel=1e-14)
    assert first == pytest.approx(float(reference.kernel(network, problem, drawn).trace()), rel=1e-12)


def test_coefficients_and_several_conditions_by_the_graph():
    domain = pinntk.Box(t=(0, 1), x=(0, 1))

    @pinntk.residual(domain)
    def heat(u_t, u_xx, nu):
        return u_t - nu**2 * u_xx

    @pinntk.periodic(domain.ends("x"))
    def wrap(u, u_x):
        return u + u_x

    problem = pinntk.Problem(domain, [heat, wrap], coefficients={"nu": 0.7})
    network = nn.Sequential(mlp(2, 1), network_types.Then(lambda s, h: h.cumsum(1), nn.Identity()))
    drawn = problem.sample(residual=8, periodic=5, seed=0, dtype=torch.float64)
    with pytest.warns(UserWarning, match="nested reverse-mode autograd, which is as exact"):
        found = pinntk.kernel(network, problem, drawn)
    assert relative(found.matrix(), reference.kernel(network, problem, drawn)) <= TOLERANCE
    assert {origin.path for origin in found.origins.values()} == {"graph"}


@pytest.mark.filterwarnings("ignore:.*nested reverse-mode")
def test_what_is_remembered_keeps_nothing_alive():
    """An operator that refers to the network, and to a cached certificate."""

    def used():
        network = nn.Sequential(mlp(), network_types.Then(lambda s, h: h.cumsum(1), nn.Identity()))
        domain = pinntk.Box(t=(0, 1), x=(0, 1))

        @pinntk.residual(domain)
        def equation(u, u_t):
            return u_t - u * network[0][0].bias.sum().detach()

        problem = pinntk.Problem(domain, [equation])
        drawn = problem.sample(residual=6, seed=0, dtype=torch.float64)
        pinntk.kernel(network, problem, drawn)
        graph_factors(pinntk.errors(network, problem, drawn)["equation"], network)
        return weakref.ref(network), weakref.ref(problem)

    references = used()
    gc.collect()
    assert [reference() for reference in references] == [None, None]


def test_a_parameter_that_is_trained_later_is_certified_anew():
    network, problem = mlp(), problem_of(2)
    drawn = problem.sample(residual=6, seed=0, dtype=torch.float64)
    network[0].bias.requires_grad_(False)
    pinntk.kernel(network, problem, drawn)
    network[0].bias.requires_grad_(True)
    found = pinntk.kernel(network, problem, drawn)
    assert found.origins["equation"].certificate <= 1e-12
    assert relative(found.matrix(), reference.kernel(network, problem, drawn)) <= TOLERANCE
