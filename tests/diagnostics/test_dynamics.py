"""Predicted training against matrix exponentials, the recurrences themselves, and the training of linear networks."""

from copy import deepcopy
from math import inf

import numpy as np
import pytest
import torch
from scipy.linalg import expm
from torch import nn

import pinntk
from pinntk.diagnostics import dynamics, field_kernel
from pinntk.diagnostics._dynamics import _flow_sums
from pinntk.ntk import KernelBlocks
from tests.support.examples import EXAMPLES
from tests.support.sweeps import sweep

NAMES, KINDS, SIZES = ("heat", "start", "walls"), ("residual", "initial", "boundary"), (4, 2, 3)
WEIGHTS = {"heat": 0.5, "start": 20.0, "walls": 3.0}
MOMENTA = [0.0, 0.5, 0.9, 0.99]


class Features(nn.Module):
    """u = a . tanh(B x) + b, with B fixed and a, b trained: linear in its parameters, so its kernel never changes."""

    def __init__(self, inputs, outputs, count=7):
        super().__init__()
        generator = torch.Generator().manual_seed(3)
        self.register_buffer("B", 2 * torch.randn(inputs, count, generator=generator, dtype=torch.float64))
        self.last = nn.Linear(count, outputs, dtype=torch.float64)
        with torch.no_grad():
            for p in self.last.parameters():
                p.copy_(torch.randn(p.shape, generator=generator, dtype=torch.float64))

    def forward(self, x):
        return self.last(torch.tanh(x @ self.B))


def example(rank=14, weights=WEIGHTS):
    """A kernel of that rank on 9 points, errors, and K D."""
    generator = torch.Generator().manual_seed(rank)
    J = torch.randn(9, rank, dtype=torch.float64, generator=generator)
    K = KernelBlocks(J @ J.T, NAMES, KINDS, SIZES)
    e = torch.randn(9, dtype=torch.float64, generator=generator)
    errors = dict(zip(NAMES, e.split(SIZES), strict=True))
    D = np.diag([2 * weights[name] / n for name, n in zip(NAMES, SIZES, strict=True) for _ in range(n)])
    return dynamics(K, errors, weights), J.numpy(), D, e.numpy()


def joined(errors):
    return np.concatenate([errors[name] for name in NAMES], -1)


def heavy_ball(J, D, e, steps, lr, momentum):
    """Errors and the parameters' movement, step by step, as torch.optim.SGD takes them."""
    theta, buffer = np.zeros(J.shape[1]), np.zeros(J.shape[1])
    for _ in range(steps):
        buffer = momentum * buffer + J.T @ (D @ (e + J @ theta))
        theta = theta - lr * buffer
    return e + J @ theta, theta


@pytest.mark.parametrize("rank", [14, 5])
def test_gradient_flow_is_the_matrix_exponential(rank):
    found, J, D, e = example(rank)
    times = np.array([0.0, 0.003, 0.1, 2.0])
    expected = np.stack([expm(-J @ J.T @ D * t) @ e for t in times])
    assert np.allclose(joined(found.errors(times)), expected, rtol=0, atol=1e-11)
    assert np.allclose(joined(found.errors(0.1)), expected[2], rtol=0, atol=1e-11)
    losses = found.losses(times)
    for name, part in zip(NAMES, np.split(expected, np.cumsum(SIZES)[:-1], 1), strict=True):
        assert losses.conditions[name] == pytest.approx((part**2).mean(1), rel=1e-8)
    assert losses.total == pytest.approx(sum(WEIGHTS[name] * losses.conditions[name] for name in NAMES), rel=1e-14)


@pytest.mark.parametrize("rank", [14, 5])
@pytest.mark.parametrize("momentum", MOMENTA)
@pytest.mark.parametrize("fraction", [0.001, 0.6, 0.95])
def test_gradient_descent_is_the_recurrence(rank, momentum, fraction):
    found, J, D, e = example(rank)
    lr = fraction * found.largest_stable_step(momentum)
    steps = [0, 1, 2, 7, 100, 1000]
    expected = [heavy_ball(J, D, e, k, lr, momentum)[0] for k in steps]
    assert np.allclose(joined(found.errors_after(steps, lr, momentum)), expected, rtol=0, atol=1e-10)
    assert np.allclose(joined(found.errors_after(100, lr, momentum)), expected[4], rtol=0, atol=1e-10)
    losses = found.losses_after(steps, lr, momentum)
    assert losses.conditions["walls"] == pytest.approx([(row[6:] ** 2).mean() for row in expected], rel=1e-6, abs=1e-18)


def test_many_steps_keep_their_digits():
    """The slow mode of a huge count of steps, momentum by the asymptotic rate eta l / (1 - m)."""
    K = KernelBlocks(torch.diag(torch.tensor([1e-9, 1.0], dtype=torch.float64)), ("a",), ("residual",), (2,))
    found = dynamics(K, {"a": torch.ones(2, dtype=torch.float64)}, {"a": 1.0})  # D is the identity
    steps = 10**12
    assert found.errors_after(steps, 1e-3)["a"] == pytest.approx([np.exp(-1), 0], rel=1e-11, abs=1e-15)
    assert found.errors_after(steps // 10, 1e-3, 0.9)["a"] == pytest.approx([np.exp(-1), 0], rel=1e-9, abs=1e-15)
    # A double root of the recurrence of momentum, x = (1 - sqrt m)^2, has no two eigenvectors.
    lr = (1 - 0.9**0.5) ** 2
    J, D, e = np.diag([1e-9**0.5, 1.0]), np.eye(2), np.ones(2)
    for k in (3, 50, 400):
        assert np.allclose(found.errors_after(k, lr, 0.9)["a"], heavy_ball(J, D, e, k, lr, 0.9)[0], rtol=0, atol=1e-13)


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_the_largest_stable_step(momentum):
    found, *_ = example()
    largest = found.largest_stable_step(momentum)
    below, above = (found.losses_after([0, 2000, 4000], f * largest, momentum).total for f in (0.99, 1.01))
    assert below[0] > 10 * below[1] and below[1] >= below[2]
    assert above[0] < above[1] < above[2]
    assert found.losses_after([0, 10**6], 1.05 * largest, momentum).total[1] == inf
    assert found.losses_after(10**6, 1.05 * largest, momentum).conditions["heat"] == inf
    cross = {("u", name): torch.ones(1, n) for name, n in zip(NAMES, SIZES, strict=True)}
    assert abs(found.changes_after(cross, 10**6, 1.05 * largest, momentum)["u"]) == [inf]


@pytest.mark.parametrize("rates_of_rank", [14, 5])
@pytest.mark.parametrize("momentum", MOMENTA)
def test_other_quantities_move_with_the_parameters(rates_of_rank, momentum):
    found, J, D, e = example(rates_of_rank)
    J_test = np.random.default_rng(0).normal(size=(6, J.shape[1]))
    cross = {("u", name): torch.from_numpy(part) for name, part in zip(NAMES, np.split(J_test @ J.T, [4, 6], 1), strict=True)}
    lr = 0.5 * found.largest_stable_step(momentum)
    steps = [0, 1, 30, 1000]
    expected = [J_test @ heavy_ball(J, D, e, k, lr, momentum)[1] for k in steps]
    assert np.allclose(found.changes_after(cross, steps, lr, momentum)["u"], expected, rtol=0, atol=1e-9)
    # Gradient flow, as many small steps.
    moved = found.changes(cross, 0.2)["u"]
    small = found.changes_after(cross, 2 * 10**9, 1e-10)["u"]
    assert np.allclose(moved, small, rtol=1e-6, atol=1e-7)
    # The training errors are quantities too.
    own = {("e", name): torch.from_numpy(part) for name, part in zip(NAMES, np.split(J @ J.T, [4, 6], 1), strict=True)}
    assert np.allclose(e + found.changes(own, 0.2)["e"], joined(found.errors(0.2)), rtol=0, atol=1e-11)


def test_a_condition_of_weight_zero_is_predicted_and_not_trained_on():
    weights = {**WEIGHTS, "start": 0.0}
    found, J, D, e = example(weights=weights)
    assert np.allclose(joined(found.errors(0.1)), expm(-J @ J.T @ D * 0.1) @ e, rtol=0, atol=1e-12)
    expected, _ = heavy_ball(J, D, e, 50, 0.01, 0.5)
    assert np.allclose(joined(found.errors_after(50, 0.01, 0.5)), expected, rtol=0, atol=1e-11)


def test_sums_are_safe_at_and_near_a_rate_of_zero():
    rates = np.array([0.0, 1e-300, 1e-20, 1e-9, 1.0, 1e9])
    found = _flow_sums(rates, np.array([0.0, 1e-30, 3.0]))
    assert np.isfinite(found).all()
    assert np.array_equal(found[0], np.zeros(6))
    assert found[1] == pytest.approx(np.full(6, 1e-30), rel=1e-15)
    assert found[2] == pytest.approx([3, 3, 3, 3 - 4.5e-9, 1 - np.exp(-3), 1e-9], rel=1e-15)


def test_rates_below_rounding_do_not_decay():
    """Rank 5 of 9: rounding leaves four eigenvalues that are nearly zero, of either sign."""
    found, J, D, _ = example(rank=5)
    assert (found.rates == 0).sum() == 4 and (found.rates[4:] > found.floor).all()
    ever = joined(found.errors(1e12))
    assert np.allclose(J.T @ D @ ever, 0, atol=1e-9)  # what remains no parameter can reach
    rest = found.losses(1e12).total
    fraction = float(rest / found.losses(0.0).total)
    lr = 0.5 * found.largest_stable_step()
    assert found.steps_to(1.01 * fraction, lr) < inf
    assert found.steps_to(0.99 * fraction, lr) == inf


@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.97])
@pytest.mark.parametrize(("fraction", "lr"), [(0.5, 0.02), (0.01, 0.02), (1e-4, 0.02), (0.05, 0.3)])
def test_steps_to_is_the_first_step_of_that_loss(momentum, fraction, lr):
    found, *_ = example()
    lr = lr * found.largest_stable_step(momentum)
    steps = found.steps_to(fraction, lr, momentum)
    losses = found.losses_after(np.arange(int(steps) + 1), lr, momentum).total
    assert losses[-1] <= fraction * losses[0] < losses[:-1].min()
    assert found.steps_to(1.0, lr, momentum) == 0
    assert found.steps_to(fraction, 1.01 * found.largest_stable_step(momentum), momentum) == inf


def test_steps_to_with_momentum_is_the_first_of_many_passages():
    K = KernelBlocks(torch.ones(1, 1, dtype=torch.float64), ("a",), ("residual",), (1,))
    found = dynamics(K, {"a": torch.ones(1, dtype=torch.float64)}, {"a": 0.5})  # one mode of rate 1, which swings
    losses = found.losses_after(np.arange(100), 0.01, 0.99).total / 0.5
    first = int((losses <= 0.1).argmax())
    assert losses[first + 3 :].max() > 0.5
    assert found.steps_to(0.1, 0.01, 0.99) == first


def test_steps_to_far_away():
    K = KernelBlocks(torch.diag(torch.tensor([1e-9, 1.0], dtype=torch.float64)), ("a",), ("residual",), (2,))
    found = dynamics(K, {"a": torch.ones(2, dtype=torch.float64)}, {"a": 1.0})
    assert found.steps_to(0.25, 0.1) == pytest.approx(np.log(2) / 2 * 1e10, rel=1e-6)
    assert found.steps_to(0.25, 0.1, 0.9) == pytest.approx(np.log(2) / 2 * 1e9, rel=1e-6)
    assert found.steps_to(0.25, 1e-12) == inf  # more steps than can be counted


@pytest.mark.parametrize("name", ["poisson", "stokes", "inverse"])
@pytest.mark.parametrize("momentum", sweep((0.0, 0.8), 0.8))
def test_a_network_that_is_linear_in_its_parameters_trains_as_predicted(name, momentum):
    problem, points = EXAMPLES[name].load()
    if name == "stokes":  # the only nonlinear one, by v^2
        points.pop("momentum_y")
    for coefficient in problem.coefficients.values():
        coefficient.requires_grad_(False)
    network = Features(problem.domain.dimension, len(problem.fields))
    weights = {condition: 1.0 + i for i, condition in enumerate(points)}
    test = torch.from_numpy(problem.domain.grid((3,) * problem.domain.dimension))
    start = network(test).detach().numpy()
    found = dynamics(pinntk.kernel(network, problem, points), pinntk.errors(network, problem, points), weights)
    lr = 0.7 * found.largest_stable_step(momentum)
    optimizer = torch.optim.SGD(network.parameters(), lr=lr, momentum=momentum)
    cross = field_kernel(network, problem, test, points)
    for step in range(201):
        errors = pinntk.errors(network, problem, points)
        if step in (0, 1, 20, 200):
            predicted, losses = found.errors_after(step, lr, momentum), found.losses_after(step, lr, momentum)
            for condition, e in errors.items():
                e = e.detach().numpy()
                assert np.abs(predicted[condition] - e).max() <= 1e-10 * max(1, np.abs(e).max())
                assert losses.conditions[condition] == pytest.approx(np.mean(e**2), rel=1e-10, abs=1e-20)
            change = found.changes_after(cross, step, lr, momentum)
            now = network(test).detach().numpy()
            for i, field in enumerate(problem.fields):
                assert np.abs(start[:, i] + change[field] - now[:, i]).max() <= 1e-10
        optimizer.zero_grad()
        sum(weights[condition] * e.square().mean() for condition, e in errors.items()).backward()
        optimizer.step()


def test_the_kernel_of_the_fields_is_that_of_explicit_gradients():
    """With coefficients that train: no field depends on them, and so they add nothing."""
    problem, points = EXAMPLES["everything"].load()
    network = pinntk.nn.MLP(problem, width=6, depth=2, dtype=torch.float64)
    test = torch.from_numpy(problem.domain.grid((2, 2, 2)))
    before = deepcopy(network.state_dict())
    cross = field_kernel(network, problem, test, points)
    parameters = list(network.parameters())

    def rows(values):
        gradients = [torch.autograd.grad(value, parameters, retain_graph=True, allow_unused=True) for value in values]
        return torch.stack(
            [
                torch.cat([(torch.zeros_like(p) if g is None else g).flatten() for p, g in zip(parameters, row, strict=True)])
                for row in gradients
            ]
        )

    errors = pinntk.errors(network, problem, points)
    assert list(cross) == [(field, name) for field in problem.fields for name in problem.names]
    for i, field in enumerate(problem.fields):
        J_test = rows(network(test)[:, i])
        for name, e in errors.items():
            assert torch.allclose(cross[field, name], J_test @ rows(e).T, rtol=1e-10, atol=1e-12)
    assert all(torch.equal(before[key], value) for key, value in network.state_dict().items())


def losses_at(fraction, width, steps, momentum=0.0, lazy=False):
    """The weighted loss at each step of gradient descent at a fraction of the largest stable step, and what was predicted."""
    problem = pinntk.load("poisson1d", k=0.5)
    points = problem.sample(boundary=2, residual=10, method="grid", dtype=torch.float64)
    network = pinntk.nn.MLP(problem, width=width, depth=1, parametrization="ntk", dtype=torch.float64)
    if lazy:  # exactly: with the hidden layer held, the network is linear in what trains
        network.dense.weights[0].requires_grad_(False)
        network.dense.biases[0].requires_grad_(False)
    weights = dict.fromkeys(problem.names, 1.0)
    found = dynamics(pinntk.kernel(network, problem, points), pinntk.errors(network, problem, points), weights)
    lr = fraction * found.largest_stable_step(momentum)
    options = {"optimizer": "sgd", "optimizer_options": {"momentum": momentum}, "lr": lr, "schedule": "constant"}
    run = pinntk.train(
        problem, network, steps=steps, points=points, log_every=1, eval_every=0, snapshot_every=0, progress=False, **options
    )
    at, observed = run.column("loss")
    return observed, found.losses_after(at, lr, momentum).total


@pytest.mark.parametrize("momentum", sweep((0.0, 0.9), 0.9))
def test_training_falls_below_the_largest_stable_step_and_blows_up_above_it(momentum):
    falling, predicted = losses_at(0.95, 2000, 300, momentum, lazy=True)
    assert falling == pytest.approx(predicted, rel=1e-6)
    assert falling[-1] < 1e-3 * falling[0]
    rising, predicted = losses_at(1.05, 2000, 100, momentum, lazy=True)
    assert rising == pytest.approx(predicted, rel=1e-6)
    assert rising[-1] > 1e6 * rising[0]


@pytest.mark.slow
def test_a_wide_network_is_thrown_up_above_the_largest_stable_step():
    """All layers train, so above it the loss rises only until the kernel has shrunk (the catapult of Lewkowycz et al. 2020):
    tenfold at width 50,000."""
    falling, predicted = losses_at(0.95, 50_000, 100)
    assert falling == pytest.approx(predicted, rel=0.05)
    assert (np.diff(falling[::2]) < 0).all()
    rising, predicted = losses_at(1.05, 50_000, 60)
    assert rising[:10] == pytest.approx(predicted[:10], rel=0.1)
    assert rising.max() > 5 * rising[0]


K = KernelBlocks(torch.eye(3, dtype=torch.float64), ("heat", "walls"), ("residual", "boundary"), (2, 1))
ERRORS = {"heat": torch.ones(2), "walls": torch.ones(1)}
ONES = {"heat": 1.0, "walls": 1.0}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"errors": {"heat": torch.ones(2)}}, r"errors of \['walls'\] are missing"),
        ({"errors": {**ERRORS, "start": torch.ones(1)}}, r"errors of \['start'\]: the kernel has no such conditions"),
        ({"errors": {**ERRORS, "heat": torch.ones(2, 1)}}, r"errors\['heat'\] has shape \(2, 1\); expected \(2,\)"),
        ({"errors": {**ERRORS, "walls": torch.full((1,), torch.nan)}}, r"errors\['walls'\] holds NaN or infinity"),
        ({"weights": {"heat": 1.0}}, r"weights for \['walls'\] are missing"),
        ({"kernel": KernelBlocks(K.values * inf, K.names, K.kinds, K.sizes)}, "kernel holds NaN or infinity"),
    ],
)
def test_wrong_inputs_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        dynamics(**{"kernel": K, "errors": ERRORS, "weights": ONES, **arguments})


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda d: d.errors(-1.0), "times=-1.0: finite and at least 0"),
        (lambda d: d.losses([0, inf]), "finite and at least 0"),
        (lambda d: d.errors_after(1.5, 0.1), "steps=1.5: whole numbers of at least 0"),
        (lambda d: d.errors_after([0, -1], 0.1), "whole numbers of at least 0"),
        (lambda d: d.errors_after(3, 0.0), "lr=0.0: a learning rate, finite and above 0"),
        (lambda d: d.losses_after(3, 0.1, 1.0), "momentum=1.0: at least 0 and below 1"),
        (lambda d: d.largest_stable_step(-0.1), "momentum=-0.1: at least 0 and below 1"),
        (lambda d: d.steps_to(0.0, 0.1), "loss_fraction=0.0: above 0 and at most 1"),
        (lambda d: d.steps_to(0.1, -0.1), "lr=-0.1: a learning rate"),
        (lambda d: d.changes({("u", "heat"): torch.ones(4, 2)}, 1.0), r"no kernel of 'u' with \['walls'\]"),
        (
            lambda d: d.changes({("u", "heat"): torch.ones(4, 2), ("u", "walls"): torch.ones(4, 2)}, 1.0),
            r"cross\['u', 'walls'\] has shape \(4, 2\); expected \(m, 1\)",
        ),
    ],
)
def test_wrong_arguments_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call(dynamics(K, ERRORS, ONES))


def test_a_zero_kernel_has_no_largest_step():
    still = dynamics(KernelBlocks(0 * K.values, K.names, K.kinds, K.sizes), ERRORS, ONES)
    assert still.largest_stable_step() == inf
    assert still.steps_to(0.5, 1.0) == inf
    assert np.array_equal(still.errors_after(10, 1.0)["heat"], [1, 1])
