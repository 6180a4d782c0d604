"""Reproductions of Jacot et al. 2018 and Lee et al. 2019: what they compute, and that a wrong kernel is found out."""

import copy

import circle_kernel
import circle_regression
import linearized_network
import numpy as np
import principal_components
import pytest
import random_functions
import torch
import trained_ensemble
from _reproduction import AGREES, DIFFERS, IN_KIND

import pinntk

pytestmark = pytest.mark.xdist_group("wide")  # one worker, for what they share

ANGLES = np.linspace(-np.pi, np.pi, 12, endpoint=False)


@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_descend_is_gradient_descent(activation):
    x = torch.randn(7, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    y = circle_regression.product(x)
    network = circle_regression.network(20, 1, torch.float64, activation=activation)
    other = copy.deepcopy(network)
    errors = circle_regression.descend(network, x, y, 30, 0.8)
    run = pinntk.train(
        circle_regression.task(),
        other,
        steps=30,
        optimizer="gradient-descent",
        lr=0.8,
        schedule="constant",
        weighting=pinntk.weighting.Fixed(**circle_regression.WEIGHTS),
        points=circle_regression.rows(x, y),
        log_every=1,
        progress=False,
    )
    for ours, theirs in zip(network.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-13)
    losses = run.column("loss/fit")[1][:30]
    torch.testing.assert_close(errors.square().mean(1), torch.as_tensor(losses), rtol=1e-12, atol=0)


def verdicts(script, tmp_path):
    return [check["verdict"] for check in script.main(["--quick", "-o", str(tmp_path)])["checks"]]


@pytest.mark.slow
def test_random_functions_find_a_wrong_kernel_out(tmp_path, monkeypatch):
    assert verdicts(random_functions, tmp_path)[:2] == [AGREES] * 2
    right = random_functions.limit
    monkeypatch.setattr(random_functions, "limit", lambda x: right(x) ** 1.5)
    assert verdicts(random_functions, tmp_path)[0] == DIFFERS


def test_random_functions_find_a_wrong_norm_out(tmp_path, monkeypatch):
    right = random_functions.kernel_norm
    monkeypatch.setattr(random_functions, "kernel_norm", lambda *arguments: 1.001 * right(*arguments))
    assert verdicts(random_functions, tmp_path)[1] == DIFFERS


@pytest.mark.slow
def test_the_mean_kernel_is_compared_at_its_level():
    rows = [circle_kernel.row(circle_regression.network(64, seed), ANGLES) for seed in range(60)]
    found = circle_kernel.Kernels(np.array(rows), np.empty((0, len(ANGLES))))
    right = circle_kernel.limit(ANGLES)
    far, allowed = circle_kernel.agreement(found, right, 0.05)
    assert far < allowed < 4
    assert circle_kernel.agreement(found, 1.2 * right, 0.05)[0] > allowed


def test_a_kernel_that_neither_shrinks_nor_grows_is_found_out():
    generator = np.random.default_rng(0)
    expected = circle_kernel.limit(ANGLES)

    def drawn(spread: float, growth: float) -> circle_kernel.Kernels:
        initial = expected * (1 + spread * generator.standard_normal((50, 1)))
        return circle_kernel.Kernels(initial, initial[:10] * (1 + growth + 0.01 * generator.standard_normal((10, 1))))

    def found(narrow: circle_kernel.Kernels, wide: circle_kernel.Kernels) -> list[str]:
        return [check.verdict for check in circle_kernel.checks({100: narrow, 400: wide}, expected)]

    assert found(drawn(0.2, 0.2), drawn(0.1, 0.05)) == [AGREES] * 4
    assert found(drawn(0.2, 0.2), drawn(0.15, 0.2))[2:] == [IN_KIND, DIFFERS]
    assert found(drawn(0.2, 0.0), drawn(0.3, 0.0))[2:] == [DIFFERS, DIFFERS]


@pytest.fixture(scope="module")
def law():
    x = circle_regression.circle(np.array(trained_ensemble.ANGLES))
    return trained_ensemble.law(x, circle_regression.product(x), circle_regression.circle(ANGLES))


def test_the_law_passes_its_own_tests_as_often_as_their_level_says(law):
    values, modes = np.linalg.eigh(law.covariance)
    generator = np.random.default_rng(1)
    passed = []
    for _ in range(40):
        drawn = law.mean + generator.standard_normal((20, len(values))) * np.sqrt(values.clip(0)) @ modes.T
        passed.append([comparison.passed for comparison in trained_ensemble.compared(drawn, law).values()])
    assert np.mean(passed, 0).min() >= 0.9  # 0.975 expected: 5 of 40 fail with a probability of 0.3 %
    assert not np.all(passed)


@pytest.mark.parametrize(("shift", "stretch", "failing"), [(0.6, 1.0, "mean"), (0.0, 1.6, "bands"), (0.0, 0.6, "bands")])
def test_an_ensemble_of_another_law_is_found_out(law, shift, stretch, failing):
    values, modes = np.linalg.eigh(law.covariance)
    noise = np.random.default_rng(2).standard_normal((100, len(values))) * np.sqrt(values.clip(0)) @ modes.T
    assert all(comparison.passed for comparison in trained_ensemble.compared(law.mean + noise, law).values())
    other = law.mean + shift * law.std + stretch * noise
    assert not trained_ensemble.compared(other, law)[failing].passed


@pytest.mark.slow
def test_trained_networks_follow_the_law_of_infinite_width(tmp_path):
    checks = trained_ensemble.main(["-o", str(tmp_path)])["checks"]
    assert [check["verdict"] for check in checks[:2]] == [AGREES] * 2


def test_a_rate_is_fitted_where_it_shows():
    steps = np.arange(100)
    assert principal_components.rate(0.3 * 0.9**steps) == pytest.approx(0.1)
    assert principal_components.rate(0.999**steps) is None


@pytest.mark.parametrize(
    ("large", "small", "verdict"),
    [(1.05, 1.02, AGREES), (1.2, 1.05, IN_KIND), (1.2, 1.2, DIFFERS), (1.05, 1.2, DIFFERS), (1.01, 1.05, DIFFERS)],
)
def test_principal_components_find_wrong_eigenvalues_out(large, small, verdict):
    rates, steps = np.array([0.01, 0.1, 0.3]), np.arange(200)
    observed = (1 - rates) ** steps[:, None]
    singles = {
        width: [principal_components.Single((1 - 0.1 * (1 + 3 / width)) ** steps, np.full(200, 10 / width))]
        for width in (50, 500)
    }
    alls = {
        size: [principal_components.All(factor * rates, observed)]
        for size, factor in zip(principal_components.SIZES, (large, small), strict=True)
    }
    checks = principal_components.checks(0.1, singles, alls)
    assert [check.verdict for check in checks] == [AGREES, AGREES, verdict]
    assert principal_components.checks(0.13, singles, alls)[0].verdict == DIFFERS


@pytest.mark.slow
def test_a_linearization_with_a_wrong_kernel_is_found_out(tmp_path, monkeypatch):
    assert verdicts(linearized_network, tmp_path)[0] == AGREES
    right = pinntk.cross_kernel
    monkeypatch.setattr(pinntk, "cross_kernel", lambda *given: {key: 2 * block for key, block in right(*given).items()})
    assert verdicts(linearized_network, tmp_path)[0] == DIFFERS
