"""Networks, problems and precision, measured: each measurement on a healthy pair and on a sick one."""

from copy import deepcopy
from math import pi, sqrt

import pytest
import torch
from torch import nn
from torch.nn.utils.parametrizations import weight_norm

import pinntk
from pinntk.diagnostics.sanity import input_scale, layers, output_scale, precision_floor, trivial, unseen

F64 = {"dtype": torch.float64}
LINE = pinntk.Box(x=(0, 1))
PLANE = pinntk.Box(t=(0, 1), x=(0, 1))


@pinntk.residual(LINE)
def equation(u_xx, x):
    return u_xx + pi**2 * torch.sin(pi * x)


@pinntk.boundary(LINE.at(x=0))
def left(u):
    return u


@pinntk.boundary(LINE.at(x=1))
def right(u):
    return u


@pinntk.residual(PLANE)
def heat(u_t, u_xx):
    return u_t - 0.05 * u_xx


@pinntk.initial(PLANE.at(t=0))
def start(u, x):
    return u - 5 * torch.sin(pi * x)


@pinntk.boundary(PLANE.ends("x"))
def walls(u):
    return u


def poisson(*conditions) -> pinntk.Problem:
    return pinntk.Problem(LINE, conditions or [equation, left, right], exact=lambda x: torch.sin(pi * x))


def diffusion(*conditions) -> pinntk.Problem:
    return pinntk.Problem(PLANE, conditions or [heat, start, walls])


def mlp(problem: pinntk.Problem, **choices) -> nn.Module:
    return pinntk.nn.MLP(problem, **{"width": 24, "depth": 2, **F64, **choices})


def sample(problem: pinntk.Problem, n: int = 100) -> dict[str, torch.Tensor]:
    return problem.sample(residual=n, boundary=20, initial=20, method="sobol", **F64)


def sequential(*activations: nn.Module) -> nn.Sequential:
    """[1, 16, 16, 1] in plain torch."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        first, second = activations
        return nn.Sequential(nn.Linear(1, 16), first, nn.Linear(16, 16), second, nn.Linear(16, 1)).double()


# layers


@pytest.mark.parametrize("choices", [{}, {"parametrization": "ntk"}, {"parametrization": "ntk", "beta": 0.1}])
def test_a_fresh_network_is_healthy_and_large_weights_saturate_it(choices):
    problem = poisson()
    network = mlp(problem, **choices)
    found = layers(network, problem, sample(problem))
    assert [layer.name for layer in found] == ["weights.0", "weights.1", "weights.2"]
    assert [layer.activation for layer in found] == ["tanh", "tanh", ""]
    assert [layer.units for layer in found] == [24, 24, 1]
    assert all(layer.dead == 0 for layer in found)
    assert found[0].saturated <= 0.2 and found[1].saturated <= 0.2 and found[2].saturated is None
    with torch.no_grad():
        network.weights[1] *= 100
    sick = layers(network, problem, sample(problem))
    assert sick[0].saturated == found[0].saturated
    assert sick[1].saturated > 0.5
    assert sick[1].std > 50 * found[1].std


def test_pre_activations_and_gradients_are_those_of_the_formula():
    problem = poisson()
    network = mlp(problem, parametrization="ntk", beta=0.1)
    points = sample(problem)
    found = layers(network, problem, points)[0]
    x = (torch.cat(list(points.values())) - network.mean) / network.deviation
    z = x @ network.weights[0].T + 0.1 * network.biases[0]
    assert (found.mean, found.std) == pytest.approx((z.mean().item(), z.std(correction=0).item()))
    loss = sum(e.square().mean() for e in pinntk.errors(network, problem, points).values())
    (gradient,) = torch.autograd.grad(loss, network.weights[0])
    assert found.gradient == pytest.approx((gradient.norm() / network.weights[0].norm()).item())


def test_dead_relus_are_counted():
    problem, network = poisson(), sequential(nn.ReLU(), nn.ReLU(inplace=True))
    healthy = layers(network, problem, sample(problem))
    assert healthy == layers(sequential(nn.ReLU(), nn.ReLU()), problem, sample(problem))  # in place or not
    with torch.no_grad():
        network[2].bias[:12] = -100
    sick = layers(network, problem, sample(problem))
    assert healthy[1].dead < 0.6
    assert 0.75 <= sick[1].dead < 1
    assert sick[1].saturated >= sick[1].dead
    assert [layer.name for layer in sick] == ["0.weight", "2.weight", "4.weight"]


def test_a_saturated_sigmoid_is_judged_by_its_own_slope():
    problem, network = poisson(), sequential(nn.Sigmoid(), nn.SiLU())
    assert [layer.saturated for layer in layers(network, problem, sample(problem))[:2]] == [0, 0]
    for bias, saturated in ((2.5, 0), (6.0, 1)):  # slopes 0.07 and 0.0025 of 0.25
        with torch.no_grad():
            network[0].weight.zero_()
            network[0].bias.fill_(bias)
        found = layers(network, problem, sample(problem))[0]
        assert (found.saturated, found.dead, found.mean) == (saturated, 1, bias)


def test_layers_sees_computed_and_frozen_weights_and_plain_code():
    class Plain(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("B", torch.ones(4, 1, **F64))
            self.first = weight_norm(nn.Linear(4, 6).double())
            self.W = nn.Parameter(torch.randn(6, 1, generator=torch.Generator().manual_seed(0), **F64))
            self.W.requires_grad_(False)

        def forward(self, x):
            return torch.sin(3 * self.first(torch.cos(x @ self.B.T))) @ self.W

    problem = poisson()
    first, last = layers(Plain(), problem, sample(problem))
    assert (first.name, first.units, first.activation, first.gradient) == ("weight 0", 6, "sin", None)
    assert (last.name, last.units, last.activation, last.gradient) == ("W", 1, "", None)


def test_two_gates_before_their_activations_keep_their_own():
    class Gated(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.out = (nn.Linear(*size).double() for size in ((1, 8), (1, 8), (8, 1)))

        def forward(self, x):
            a, b = self.a(x), self.b(x)
            return self.out(torch.tanh(a) * torch.sigmoid(b))

    problem = poisson()
    assert [layer.activation for layer in layers(Gated(), problem, sample(problem))] == ["tanh", "sigmoid", ""]


def test_a_network_without_layers_has_none():
    class Cubic(nn.Module):
        def __init__(self):
            super().__init__()
            self.a = nn.Parameter(torch.ones(3, **F64))

        def forward(self, x):
            return self.a[0] + self.a[1] * x + self.a[2] * x**3

    assert layers(Cubic(), poisson(), sample(poisson())) == []
    assert input_scale(Cubic(), poisson()) is None


# scales


def test_inputs_on_a_large_domain_show_unless_normalised():
    domain = pinntk.Box(t=(0, 1000), x=(0, 0.01))

    @pinntk.residual(domain)
    def flow(u_t, u_x):
        return u_t + u_x

    problem = pinntk.Problem(domain, [flow])
    healthy = input_scale(mlp(problem), problem)
    assert healthy.offset < 0.01
    assert (healthy.smallest, healthy.largest) == pytest.approx((1, 1), rel=0.01)
    sick = input_scale(mlp(problem, normalize=False), problem)
    assert sick.mean == pytest.approx([500, 0.005], rel=0.01)
    assert sick.std == pytest.approx([1000 / sqrt(12), 0.01 / sqrt(12)], rel=0.01)
    assert sick.low.min() >= 0 and sick.high == pytest.approx([1000, 0.01], rel=0.01)
    assert (sick.offset, sick.largest) == (sick.mean[0], sick.std[0])
    assert sick.smallest == sick.std[1]
    assert input_scale(mlp(problem, fourier=(8, 1.0)), problem).mean.shape == (16,)
    with pytest.raises(ValueError, match="samples=1"):
        input_scale(mlp(problem), problem, samples=1)
    with pytest.raises(TypeError, match=r"\(network, problem\)"):
        input_scale(problem, mlp(problem))


class Sine(nn.Module):
    """u = a sin(pi x) + b, which solves `poisson` with a = 1, b = 0."""

    def __init__(self, a: float = 1.0, b: float = 0.0, dtype: torch.dtype = torch.float64):
        super().__init__()
        self.a, self.b = (nn.Parameter(torch.tensor(value, dtype=dtype)) for value in (a, b))

    def forward(self, x):
        return self.a * torch.sin(pi * x) + self.b


def test_sizes_of_fields_and_errors():
    problem = poisson()
    found = output_scale(Sine(0.25), problem, sample(problem))
    assert found.network["u"] == pytest.approx(0.25 / sqrt(2), rel=0.01)
    assert found.solution["u"] == pytest.approx(1 / sqrt(2), rel=0.01)
    assert found.data["equation"] == pytest.approx(pi**2 / sqrt(2), rel=0.02)
    assert found.relative["equation"] == pytest.approx(0.75)
    assert found.data["left"] == 0 and found.relative["left"] != found.relative["left"]  # homogeneous: NaN
    assert output_scale(Sine(0.0), problem, sample(problem)).relative["equation"] == pytest.approx(1)
    unknown = output_scale(mlp(diffusion()), diffusion(), sample(diffusion()))
    assert unknown.solution is None
    assert unknown.data["start"] == pytest.approx(5 / sqrt(2), rel=0.02)


def test_data_that_are_zero_to_rounding_are_homogeneous():
    @pinntk.boundary(LINE.ends("x"))
    def ends(u, x):
        return u - torch.sin(pi * x)

    for dtype in (torch.float32, torch.float64):
        problem = poisson(equation, ends)
        points = problem.sample(dtype=dtype)
        found = output_scale(Sine(b=0.1, dtype=dtype), problem, points)
        assert 0 < found.data["ends"] < 1e-6
        assert found.relative["ends"] != found.relative["ends"]


def test_a_constant_output_is_told_from_a_solution():
    problem = poisson()
    assert trivial(Sine(), problem, sample(problem))["u"].ratio == pytest.approx(1, rel=0.02)
    sick = trivial(Sine(1e-3, 0.5), problem, sample(problem))["u"]
    assert sick.ratio == pytest.approx(1e-3, rel=0.02)
    assert sick.mean == pytest.approx(0.5, abs=0.01)


def test_without_a_solution_the_data_give_the_scale():
    problem = diffusion()
    network = mlp(problem)
    found = trivial(network, problem, sample(problem))["u"]
    assert found.scale == pytest.approx(5 / sqrt(2), rel=0.02)  # of `start`; that of `walls` is 0
    with torch.no_grad():
        network.weights[-1].zero_()
    assert trivial(network, problem, sample(problem))["u"].ratio == 0

    @pinntk.boundary(PLANE.ends("x"))
    def flux(u, u_x):
        return u_x - u - 1

    slopes = diffusion(heat, flux)  # no condition asks for values alone
    found = trivial(mlp(slopes), slopes, sample(slopes))["u"]
    assert (found.scale, found.ratio) == (None, None)


# precision


def test_a_network_that_solves_the_problem_is_at_the_floor_of_its_precision():
    problem = poisson()
    points = sample(problem)
    exact = precision_floor(Sine(dtype=torch.float32), problem, points)["equation"]
    assert 0.3 < exact.ratio < 3
    assert exact.noise > 1e-8
    off = precision_floor(Sine(1.01, dtype=torch.float32), problem, points)["equation"]
    assert off.ratio < 1e-4
    assert off.error == pytest.approx(0.01 * pi**2 / sqrt(2), rel=0.05)
    assert off.noise == pytest.approx(exact.noise, rel=1)
    # In float64 an error of 1e-13 is near the floor, and one of 0.07 far above it.
    assert 0.01 < precision_floor(Sine(1 + 1e-14), problem, points)["equation"].ratio < 1
    assert precision_floor(Sine(1.01), problem, points)["equation"].ratio < 1e-12


def test_precision_and_all_other_measurements_leave_the_network_alone():
    problem = poisson()
    network = mlp(problem, dtype=torch.float32)
    before = deepcopy(network.state_dict())
    points = problem.sample()
    for measure in (layers, output_scale, trivial, precision_floor, unseen):
        measure(network, problem, points)
    input_scale(network, problem)
    for name, value in network.state_dict().items():
        assert value.dtype == before[name].dtype and torch.equal(value, before[name])
    assert all(parameter.grad is None for parameter in network.parameters())


# unseen


@pytest.mark.parametrize("choices", [{}, {"width": 100, "depth": 1, "parametrization": "ntk"}, {"width": 40, "depth": 4}])
def test_a_missing_boundary_condition_leaves_the_solution_open(choices):
    full = poisson()
    network = mlp(full, **choices)
    healthy = unseen(network, full, sample(full))["u"]
    assert healthy.share < 2e-3
    assert healthy.rate > 0.9
    for conditions in ([equation, left], [equation]):
        problem = poisson(*conditions)
        sick = unseen(network, problem, sample(problem))["u"]
        assert sick.share > 0.2
        assert sick.rate < 0.1


def test_the_free_function_is_that_of_the_equation():
    problem = poisson(equation, left)
    found = unseen(mlp(problem), problem, sample(problem))["u"]
    x = found.points[:, 0]
    assert (found.free - x / x.max()).abs().max() < 0.01  # u_xx = 0, u(0) = 0
    assert (found.deviation[x < 0.01] < 0.02).all() and (found.deviation[x > 0.5] > 0.2).all()


def test_heat_without_initial_values_or_walls():
    shares = {}
    for lacking in (None, start, walls):
        problem = diffusion(*(condition for condition in (heat, start, walls) if condition is not lacking))
        network = mlp(problem, width=100, depth=1, parametrization="ntk")
        shares[lacking and lacking.name] = unseen(network, problem, sample(problem, 300))["u"]
    assert shares[None].share < 0.005 and shares[None].rate > 0.7
    assert shares["start"].share > 10 * shares[None].share and shares["start"].rate < 0.5
    assert shares["walls"].share > 10 * shares[None].share and shares["walls"].rate < 0.5


def test_a_field_known_up_to_a_constant_is_open_and_the_other_is_not():
    @pinntk.residual(LINE)
    def momentum(p_x, x):
        return p_x - x

    @pinntk.residual(LINE)
    def motion(u_xx, p):
        return u_xx

    def gauge(p):
        return p

    network = None
    found = {}
    for name, extra in {"open": [], "held": [pinntk.boundary(LINE.at(x=0))(gauge)]}.items():
        problem = pinntk.Problem(LINE, [momentum, motion, left, right, *extra], fields=("u", "p"))
        network = network or mlp(problem)
        found[name] = unseen(network, problem, sample(problem))
    assert found["open"]["p"].share > 0.2 > 0.005 > found["open"]["u"].share
    assert found["held"]["p"].share < 0.005
    assert (found["open"]["p"].free - 1).abs().max() < 0.05


def test_too_few_points_for_a_rough_network_look_alike_until_there_are_more():
    problem = poisson()
    network = mlp(problem, fourier=(32, 1.0))
    few, many = (unseen(network, problem, sample(problem, n))["u"] for n in (10, 400))
    assert few.share > 0.2
    assert many.share < 0.1 * few.share
    assert unseen(network, problem, sample(problem, 400), most=10)["u"].share > 0.2


def test_it_is_the_posterior_of_fields_given_the_errors():
    problem = poisson(equation, left)
    network, points = mlp(problem, width=6, depth=1), sample(problem, 12)
    found = unseen(network, problem, points, tolerance=0.1, samples=16)["u"]
    K = pinntk.kernel(network, problem, points)
    noise = {name: 0.1 * (K.trace(name) / len(points[name])) ** 0.5 for name in points}
    _, std = pinntk.posterior(network, problem, points, noise).field(found.points)

    @pinntk.residual(LINE)
    def value(u):
        return u

    plain = pinntk.Problem(LINE, [value])
    prior = pinntk.kernel(network, plain, {"value": found.points}).diagonal().sqrt()
    assert found.deviation == pytest.approx((std[:, 0] / prior).tolist(), rel=1e-6)
    assert found.share == pytest.approx((std.square().sum() / prior.square().sum()).sqrt().item(), rel=1e-6)


def test_conditions_met_by_construction_and_many_points():
    problem = poisson()
    network = pinntk.nn.HardConstraint(problem, mlp(problem), factor=lambda x: x * (1 - x))
    points = sample(problem, 800)
    found = unseen(network, problem, points, most=100)["u"]
    assert found.share < 5e-3


@pytest.mark.parametrize("wrong", [{"tolerance": 0.0}, {"tolerance": 1.0}, {"samples": 1}, {"most": 0}])
def test_unseen_checks_its_arguments(wrong):
    problem = poisson()
    with pytest.raises(ValueError, match=f"{next(iter(wrong))}="):
        unseen(mlp(problem), problem, sample(problem), **wrong)


def test_a_float32_network_is_measured_as_well():
    full, open_end = poisson(), poisson(equation, left)
    network = mlp(full, dtype=torch.float32)
    assert unseen(network, full, full.sample())["u"].share < 2e-3
    assert unseen(network, open_end, open_end.sample())["u"].share > 0.2


def test_a_network_that_has_blown_up_is_refused():
    problem = poisson()
    network = mlp(problem)
    with torch.no_grad():
        network.weights[1][0, 0] = torch.nan
    with pytest.raises(ValueError, match="NaN or infinity"):
        unseen(network, problem, sample(problem))


def test_arguments_in_the_wrong_order_are_named():
    problem = poisson()
    for measure in (layers, precision_floor, unseen):
        with pytest.raises(TypeError, match=r"\(network, problem, points\)"):
            measure(problem, mlp(problem), sample(problem))
