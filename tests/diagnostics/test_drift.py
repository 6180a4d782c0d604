"""The drift of kernels and parameters, and how long a frozen kernel predicts the training."""

from copy import deepcopy
from math import inf, nan, pi

import numpy as np
import pytest
import torch

import pinntk
from pinntk.diagnostics import drift, dynamics, frozen_prediction, parameter_drift, prediction_horizon
from pinntk.ntk import KernelBlocks

NAMES, KINDS, SIZES = ("heat", "walls"), ("residual", "boundary"), (4, 2)


def blocks(values, points=None):
    return KernelBlocks(torch.as_tensor(values, dtype=torch.float64), NAMES, KINDS, SIZES, points or {})


def random_kernel(seed):
    J = torch.randn(6, 9, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    return blocks(J @ J.T)


def test_a_kernel_has_not_drifted_from_itself():
    K = random_kernel(0)
    found = drift(K, K)
    assert (found.kernel, found.trace) == (0, 0)
    assert found.blocks == found.traces == {"heat": 0, "walls": 0}
    assert found.alignment == pytest.approx(1, abs=1e-15)
    assert found.rotation < 1e-14


def test_a_scaled_kernel_is_aligned():
    K = random_kernel(0)
    found = drift(K, blocks(3 * K.values))
    assert found.kernel == pytest.approx(2, rel=1e-14)
    assert found.trace == pytest.approx(2, rel=1e-14)
    for changes in (found.blocks, found.traces):
        assert list(changes.values()) == pytest.approx([2, 2], rel=1e-14)
    assert found.alignment == pytest.approx(1, abs=1e-14)
    assert found.rotation < 1e-13


def test_changes_by_their_definitions():
    first, now = random_kernel(0), random_kernel(1)
    A, B = first.numpy(), now.numpy()
    found = drift(first, now)
    assert found.kernel == pytest.approx(np.sqrt(((B - A) ** 2).sum() / (A**2).sum()), rel=1e-13)
    assert found.blocks["walls"] == pytest.approx(np.linalg.norm((B - A)[4:, 4:]) / np.linalg.norm(A[4:, 4:]), rel=1e-13)
    assert found.traces["heat"] == pytest.approx(np.trace(B[:4, :4]) / np.trace(A[:4, :4]) - 1, rel=1e-12)
    assert found.trace == pytest.approx(np.trace(B) / np.trace(A) - 1, rel=1e-12)
    assert found.alignment == pytest.approx((A * B).sum() / np.sqrt((A**2).sum() * (B**2).sum()), rel=1e-13)


@pytest.mark.parametrize("angle", [1e-9, 0.3, pi / 2])
def test_a_known_rotation(angle):
    """The second of two leading eigenvectors turns toward a third."""
    turn = np.eye(6)
    turn[1:3, 1:3] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    first = np.diag([9.0, 5.0, 0.5, 0.1, 0.01, 0.001])
    found = drift(blocks(first), blocks(turn @ first @ turn.T), rank=2)
    assert found.angles == pytest.approx([angle, 0], rel=1e-6, abs=1e-15)
    assert found.rotation == found.angles[0]
    one = drift(blocks(first), blocks(turn @ first @ turn.T), rank=1)
    assert one.angles == pytest.approx([0], abs=1e-15)


def test_the_leading_eigenspace_holds_99_percent_of_the_trace():
    values = np.array([90.0, 8.5, 0.6, 0.5, 0.3, 0.1])
    assert len(drift(blocks(np.diag(values)), blocks(np.diag(values))).angles) == 3
    flat = KernelBlocks(torch.eye(40, dtype=torch.float64), ("a",), ("residual",), (40,))
    assert len(drift(flat, flat).angles) == 20


def test_a_condition_that_depends_on_no_parameter():
    first = torch.zeros(6, 6, dtype=torch.float64)
    first[:4, :4] = torch.eye(4)
    still = drift(blocks(first), blocks(first))
    assert (still.blocks["walls"], still.traces["walls"]) == (0, 0)
    moved = drift(blocks(first), blocks(torch.eye(6)))
    assert (moved.blocks["walls"], moved.traces["walls"]) == (inf, inf)
    assert drift(blocks(first), blocks(0 * first)).alignment == 0


def test_the_drift_of_a_training_is_that_of_its_run():
    problem = pinntk.load("poisson1d", k=1)
    network = pinntk.nn.MLP(problem, width=20, depth=1, dtype=torch.float64)
    initial = deepcopy(network)
    run = pinntk.train(problem, network, steps=20, points={"residual": 10, "boundary": 2}, snapshot_every=20, progress=False)
    assert drift(run.snapshots[0], run.snapshots[20]).kernel == pytest.approx(run.kernel_drift()[1][-1], rel=1e-12)
    _, logged = run.column("drift")
    assert parameter_drift(initial, network) == pytest.approx(logged[-1], rel=1e-12)
    assert parameter_drift(list(initial.parameters()), network) == parameter_drift(initial, network)
    assert parameter_drift(network, network) == 0
    with pytest.raises(ValueError, match="first and now are on different points of 'poisson'"):
        drift(run.snapshots[0], pinntk.kernel(network, problem, problem.sample(seed=5, residual=10, boundary=2)))


def test_horizon():
    steps, observed = [0, 10, 20, 30, 40], np.array([8.0, 4.0, 2.0, 1.0, 0.5])
    lazy = prediction_horizon(steps, observed, 1.05 * observed)
    assert (lazy.step, lazy.regime) == (40, "lazy")
    assert lazy.deviation == pytest.approx(np.full(5, 0.05), rel=1e-12)
    assert prediction_horizon(steps, observed, 1.05 * observed, tolerance=0.051).regime == "lazy"
    left = prediction_horizon(steps, observed, observed * [1, 1.05, 0.85, 1, 0.8])  # it comes back, but has left
    assert (left.step, left.regime) == (10, "feature-learning")
    for wrong in (nan, inf):
        predicted = prediction_horizon(steps, observed, [8, 4, wrong, 1, 0.5])
        assert (predicted.step, predicted.regime) == (10, "feature-learning")
        seen = prediction_horizon(steps, [8, 4, wrong, 1, 0.5], observed)
        assert (seen.step, seen.regime) == (10, "feature-learning")
    assert prediction_horizon([5, 10], [1.0, 0.5], [2.0, 0.5]).step == 0
    assert prediction_horizon([0, 1], [0.0, 0.0], [0.0, 0.0]).regime == "lazy"
    assert prediction_horizon([0, 1], [1.0, 0.0], [1.0, 0.1]).step == 0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: prediction_horizon([0, 1], [1.0], [1.0, 1.0]), r"have shapes \(2,\), \(1,\), \(2,\); expected \(T,\) each"),
        (lambda: prediction_horizon([], [], []), r"expected \(T,\) each"),
        (lambda: prediction_horizon([1, 1], [1.0, 1.0], [1.0, 1.0]), "steps do not ascend"),
        (lambda: prediction_horizon([0, 1], [1.0, 1.0], [1.0, 1.0], 0.0), "tolerance=0.0: a fraction above 0"),
        (lambda: prediction_horizon([0, 1], [1.0, 1.0], [1.5, 1.0]), "at step 0 the prediction is 1.5, observed was 1"),
        (lambda: drift(random_kernel(0), random_kernel(0), rank=7), "rank=7: a whole number from 1 to 6"),
        (lambda: drift(blocks(np.zeros((6, 6))), random_kernel(0)), "first is zero"),
        (lambda: drift(random_kernel(0), blocks(np.full((6, 6), nan))), "now holds NaN or infinity"),
        (
            lambda: drift(random_kernel(0), KernelBlocks(torch.eye(6), NAMES, KINDS, (3, 3))),
            "first is on {'heat': 4, 'walls': 2}, now on {'heat': 3, 'walls': 3}",
        ),
        (
            lambda: parameter_drift(torch.nn.Linear(1, 2), torch.nn.Linear(1, 3)),
            r"initial has parameters of shapes \[\(2, 1\), \(2,\)\], network \[\(3, 1\), \(3,\)\]",
        ),
    ],
)
def test_wrong_arguments_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def trained(width, fraction, steps, k=0.5, seed=0):
    """Observed and predicted losses by condition, of gradient descent at a fraction of the largest stable step."""
    problem = pinntk.load("poisson1d", k=k)
    network = pinntk.nn.MLP(problem, width=width, depth=1, parametrization="ntk", dtype=torch.float64, seed=seed)
    points = problem.sample(boundary=2, residual=20, method="grid", dtype=torch.float64)
    weights = dict.fromkeys(problem.names, 1.0)
    K = pinntk.kernel(network, problem, points)
    lr = fraction * dynamics(K, pinntk.errors(network, problem, points), weights).largest_stable_step()
    every = steps // 100
    at = np.arange(0, steps + 1, every)
    predicted = frozen_prediction(network, problem, points, weights, lr, at).conditions
    run = pinntk.train(
        problem,
        network,
        steps=steps,
        optimizer="gradient-descent",
        lr=lr,
        schedule="constant",
        points=points,
        log_every=every,
        eval_every=0,
        snapshot_every=0,
        progress=False,
    )
    found = {}
    for name in problem.names:
        logged, observed = run.column(f"loss/{name}")
        assert np.array_equal(logged, at)
        found[name] = prediction_horizon(at, observed, predicted[name]), observed
    return found


def test_a_narrow_network_leaves_the_prediction_a_wide_one_does_not():
    """100 steps at 0.08 of the largest stable step: as far in time as the 2,000 below."""
    narrow, wide = trained(50, 0.08, 100), trained(2000, 0.08, 100)
    for name in ("poisson", "ends"):
        assert wide[name][0].regime == "lazy"
        assert narrow[name][0].regime == "feature-learning"
        assert 0 < narrow[name][0].step < 100


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1])
def test_the_closed_form_foretells_a_wide_network(seed):
    """poisson1d(k=0.5), normalized inputs, 20 residual points and both ends, width 2,000, 2,000 steps at 0.004 of the largest
    stable step: each loss within 5 % throughout. At width 50 one of them leaves 10 % at least."""
    for horizon, observed in trained(2000, 0.004, 2000, seed=seed).values():
        assert horizon.deviation.max() < 0.05
        assert (horizon.step, horizon.regime) == (2000, "lazy")
        assert observed[-1] < 0.8 * observed[0]
    narrow = trained(50, 0.004, 2000, seed=seed)
    left = [horizon for horizon, _ in narrow.values() if horizon.regime == "feature-learning"]
    assert left and all(20 <= horizon.step < 2000 for horizon in left)
