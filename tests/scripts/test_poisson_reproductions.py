"""Reproductions of Wang, Yu & Perdikaris 2022: a wrong kernel, drift or error gets another verdict."""

from dataclasses import replace

import boundary_weight_sweep as sweep
import infinite_width
import kernel_drift
import numpy as np
import poisson_spectra
import pytest
import torch
import wave_weights
from _reproduction import AGREES, DIFFERS, IN_KIND

import pinntk

# Spectra.


@pytest.mark.parametrize(("c_rr", "verdict"), [(200.0, AGREES), (10.0, IN_KIND), (3.8, DIFFERS)])
def test_a_discrepancy_of_rates_needs_a_ratio(c_rr, verdict):
    assert poisson_spectra.discrepancy("a", 2.0, c_rr).verdict == verdict


def test_rates_and_rank_are_those_of_the_kernel():
    found = poisson_spectra.spectra(6, 0, poisson_spectra.SET_UPS["as printed"])
    u, r = (torch.linalg.eigvalsh(block) for block in (found.kernel.uu, found.kernel.rr))
    assert found.rates == pytest.approx((float(u.sum()) / 100, float(r.sum()) / 100))
    assert found.rank_uu == 2
    assert found.change == 0.0
    other = replace(found, kernels={**found.kernels, 2: replace(found.kernel, values=1.1 * found.kernel.values)})
    assert other.change == pytest.approx(0.1)


def test_time_to_a_fraction_is_that_of_one_mode():
    K = pinntk.KernelBlocks(torch.eye(1, dtype=torch.float64), ("a",), ("boundary",), (1,))
    one = poisson_spectra.dynamics(K, {"a": torch.ones(1)}, {"a": 1.0})  # L = exp(-4 t)
    assert poisson_spectra.time_to(one, 0.01) == pytest.approx(np.log(100) / 4, rel=0.06)
    never = poisson_spectra.dynamics(replace(K, values=0 * K.values), {"a": torch.ones(1)}, {"a": 1.0})
    assert poisson_spectra.time_to(never, 0.01) == np.inf


# Infinite width.


def limit_checks(**wrong):
    reference = np.array(list(infinite_width.REFERENCE.values()))
    given = {"table": reference, "rates": infinite_width.RATES, "scores": np.ones(10), "everywhere": np.ones(20)}
    given |= {"networks": 5, "width": 10, "slopes": (-0.5, -0.3)}
    return [check.verdict for check in infinite_width.checks(**{**given, **wrong})]


def test_a_wrong_limit_differs():
    reference = np.array(list(infinite_width.REFERENCE.values()))
    assert limit_checks() == [AGREES] * 4
    assert limit_checks(table=reference + 1e-5) == [DIFFERS, AGREES, AGREES, AGREES]
    assert limit_checks(rates={"raw": (2.039, 3.97), "normalized": (2.649, 399.96)}) == [AGREES, DIFFERS, AGREES, AGREES]
    assert limit_checks(scores=np.array([3.1, *np.ones(9)])) == [AGREES, AGREES, DIFFERS, AGREES]
    assert limit_checks(slopes=(-0.3, -0.5)) == [AGREES, AGREES, AGREES, DIFFERS]


def test_the_slope_leaves_narrow_networks_out():
    distances = {10: np.array([1.0]), 100: np.array([0.4, 0.4]), 400: np.array([0.1, 0.4])}
    assert infinite_width.slope(distances, 100) == pytest.approx(-0.5)


def test_entries_are_read_from_their_place():
    points = {"poisson": infinite_width.column(0, 0.5, 1), "ends": infinite_width.column(0, 1)}
    row = infinite_width.rows(points)
    values = torch.arange(25, dtype=torch.float64).reshape(5, 5)
    assert infinite_width.entries(values, points)[-1] == values[row["u", 1], row["r", 0.5]] == 4 * 5 + 1


# Drift.


@pytest.mark.parametrize(
    ("kernels", "verdict"), [((0.9, 0.3, 0.09), AGREES), ((9.0, 3.0, 0.9), IN_KIND), ((0.3, 0.9, 0.09), DIFFERS)]
)
def test_drift_must_fall(kernels, verdict):
    falling = np.array([[0.8, 0.8], [0.4, 0.4], [0.2, 0.2]])
    assert kernel_drift.falling("a", (10, 100, 500), np.array(kernels)[:, None], falling).verdict == verdict
    assert kernel_drift.falling("a", (10, 100, 500), np.array([[0.9], [0.3], [0.09]]), falling[::-1]).verdict == DIFFERS


def test_slope_of_a_power_law():
    widths = np.array([10, 100, 500])
    assert kernel_drift.slope(widths, 3 * widths**-0.5) == pytest.approx(-0.5)
    assert kernel_drift.root("a", widths, 3 * widths[:, None] ** -0.58).verdict == AGREES
    assert kernel_drift.root("a", widths, 3 * widths[:, None] ** -0.62).verdict == DIFFERS


@pytest.mark.parametrize(("last", "verdict"), [(10.9, AGREES), (9.1, AGREES), (11.1, DIFFERS), (8.9, DIFFERS)])
def test_a_spectrum_that_moves_differs(last, verdict):
    drifts = kernel_drift.Drifts(np.zeros(1), np.zeros(1), np.zeros(1), (np.array([10.0, 1.0]), np.array([last, 1.0])))
    assert kernel_drift.unchanged("a", 500, drifts).verdict == verdict


@pytest.mark.parametrize("depth", [1, 2])
def test_drift_is_that_of_the_paper_s_training(depth):
    """L = 1/2 sum e^2 over 100 copies of the ends and 100 points inside, by torch alone."""
    set_up = replace(kernel_drift.SET_UPS[0], depth=depth, steps=40)
    found = kernel_drift.trained(set_up, width=6, seeds=2, share=0.1, marks=2)
    problem = pinntk.load("poisson1d", k=1)
    points = problem.sample(boundary=100, residual=100, seed=0, dtype=torch.float64)
    network = pinntk.nn.MLP(problem, width=6, depth=depth, seed=1, dtype=torch.float64, **set_up.network)
    start = torch.cat([p.detach().flatten() for p in network.parameters()])
    K_0 = pinntk.kernel(network, problem, points).values
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1 / 40)
    for _ in range(4):
        optimizer.zero_grad()
        (sum(e.square().sum() for e in pinntk.errors(network, problem, points).values()) / 2).backward()
        optimizer.step()
    end = torch.cat([p.detach().flatten() for p in network.parameters()])
    K = pinntk.kernel(network, problem, points).values
    assert found.steps.tolist() == [0, 2, 4]
    assert found.parameters[-1, 1] == pytest.approx(float((end - start).norm() / start.norm()), rel=1e-9)
    assert found.kernel[-1, 1] == pytest.approx(float((K - K_0).norm() / K_0.norm()), rel=1e-9)


# Weights.


def test_a_sweep_without_the_effect_differs():
    good, bad = np.array([[2.4e-1, 1e-1, 5e-2, 1e-2, 1.6e-3, 2e-3, 5e-3]]), np.full((1, 7), 0.6)

    def verdicts(code, printed=bad, rule=100.0, drift=0.01):
        of_code, of_printed = (sweep.Sweep(errors, np.array([rule]), np.array([drift])) for errors in (code, printed))
        return [check.verdict for check in sweep.checks(of_code, of_printed)]

    assert verdicts(good) == [AGREES, AGREES, AGREES, AGREES, AGREES, DIFFERS]
    assert verdicts(bad, good) == [AGREES, DIFFERS, DIFFERS, AGREES, AGREES, AGREES]
    assert verdicts(5 * good)[:2] == [IN_KIND, IN_KIND]
    assert verdicts(good, rule=1.0)[2:4] == [DIFFERS, DIFFERS]
    assert verdicts(good, drift=0.2)[4] == DIFFERS


def test_the_wave_problem_has_a_condition_for_each_wall():
    wave = wave_weights.problem()
    assert {name for names in wave_weights.GROUPS.values() for name in names} == set(wave.names) == set(wave_weights.COUNTS)
    points = wave.sample(seed=0, **wave_weights.COUNTS)
    assert points["left"][:, 1].unique().tolist() == [0.0]
    assert points["right"][:, 1].unique().tolist() == [1.0]


@pytest.mark.parametrize(
    ("ours", "verdict"), [((7.0, 3.0, 1.5), AGREES), ((70.0, 3.0, 1.5), IN_KIND), ((3.0, 7.0, 1.5), DIFFERS)]
)
def test_logged_weights_are_compared_one_by_one(ours, verdict):
    assert wave_weights.compared("", np.array([ours]), wave_weights.LOGGED[0]).verdict == verdict


def test_wave_weights_at_full_width_are_the_notebook_s():
    assert wave_weights.compared("", wave_weights.first_weights(500, 1), wave_weights.LOGGED[0]).verdict == AGREES
