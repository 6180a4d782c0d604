"""Unknown coefficients are trained as a size times a number of size 1, by every optimizer, and resumed to the last bit."""

import numpy as np
import pytest
import torch

import pinntk
from pinntk import Box, Problem, data, residual
from pinntk.solvers import GaussNewton
from pinntk.solvers._jacobian import ScaledJacobian
from pinntk.training._coefficients import coefficient_scales
from tests.support.sweeps import sweep

F64 = {"dtype": torch.float64}
QUICK = {"points": {"residual": 20}, "progress": False, "weighting": "ntk"}


def decay(unit=1.0, start=1.0) -> Problem:
    """y_t = -k y, k in a unit of one's own; k = 3 / unit."""
    domain = Box(t=(0, 1))
    times = np.linspace(0, 1, 20)

    @residual(domain)
    def law(y, y_t, k):
        return y_t + unit * k * y

    @data(domain, times, seen=np.exp(-3 * times))
    def readings(y, seen):
        return y - seen

    return Problem(domain, [law, readings], fields=("y",), coefficients={"k": start})


def trained(problem, **settings):
    network = pinntk.nn.MLP(problem, width=10, depth=1, **F64)
    return pinntk.train(problem, network, **{**QUICK, **settings})


@pytest.mark.parametrize(
    ("optimizer", "settings"),
    [
        ("adam", {"steps": 10, "lr": 0.01}),
        ("lbfgs", {"steps": 2}),
        ("gauss-newton", {"steps": 3}),
        pytest.param("gradient-descent", {"steps": 20, "lr": 1e-3, "weighting": None}, marks=pytest.mark.slow),
        pytest.param("ssbroyden", {"steps": 6}, marks=pytest.mark.slow),
        pytest.param("natural-gradient", {"steps": 4}, marks=pytest.mark.slow),
    ],
)
def test_a_scaled_coefficient_trains_as_one_in_other_units(optimizer, settings):
    """Where k is 2^30 times as large, in a unit of 2^-30: the same numbers, to the last bits of powers of 2."""
    big = 2.0**30
    if settings.get("weighting", "ntk") == "ntk":
        settings = {**settings, "weighting": pinntk.weighting.Fixed()}  # traces count coefficients in their units
    plain, scaled = decay(), decay(1 / big, start=big)
    trained(plain, optimizer=optimizer, coefficient_scales={}, **settings)
    trained(scaled, optimizer=optimizer, coefficient_scales={"k": big}, **settings)
    found, expected = scaled.coefficients["k"].item() / big, plain.coefficients["k"].item()
    assert expected != 1 and found == pytest.approx(expected, rel=1e-9)


@pytest.mark.slow
def test_the_default_finds_a_rate_of_billions():
    problem = decay(1e-9)
    trained(problem, optimizer="gauss-newton", steps=15)
    assert problem.coefficients["k"].item() == pytest.approx(3e9, rel=1e-3)
    without = decay(1e-9)
    trained(without, optimizer="gauss-newton", steps=15, coefficient_scales={})
    assert without.coefficients["k"].item() < 1e3


@pytest.mark.parametrize("optimizer", sweep(("adam", "gauss-newton"), "gauss-newton"))
def test_a_training_is_resumed_to_the_last_bit(tmp_path, optimizer):
    settings = {"optimizer": optimizer, **({"schedule": "constant"} if optimizer == "adam" else {})}
    whole, parts, again = decay(1e-9), decay(1e-9), decay(1e-9)
    trained(whole, steps=6, out=tmp_path / "whole", **settings)
    trained(parts, steps=3, out=tmp_path / "parts", **settings)
    trained(again, steps=6, out=tmp_path / "parts", resume=True, **settings)
    assert torch.equal(whole.coefficients["k"], again.coefficients["k"])
    moved = decay(1e-9, start=1e6)  # resumed with a problem that has been trained: the scale is the checkpoint's
    trained(moved, steps=6, out=tmp_path / "parts", resume=True, **settings)
    assert torch.equal(whole.coefficients["k"], moved.coefficients["k"])


def test_scales_are_powers_of_2_and_only_where_they_are_needed():
    assert coefficient_scales(decay(1e-9), None) == {"k": 2.0**31}
    assert coefficient_scales(decay(), None) == {} == coefficient_scales(pinntk.load("burgers"), None)
    assert coefficient_scales(decay(), {"k": 1000.0}) == {"k": 1024.0}
    assert coefficient_scales(pinntk.load("heat_inverse"), None) == {}
    with pytest.raises(ValueError, match="'A' is no coefficient"):
        coefficient_scales(decay(), {"A": 2.0})


@pytest.mark.parametrize(("given", "error"), [(3.0, TypeError), ({"k": 0.0}, ValueError), ({"k": "large"}, ValueError)])
def test_what_is_no_scale_is_refused(given, error):
    with pytest.raises(error, match="coefficient_scales="):
        pinntk.TrainConfig(coefficient_scales=given)


def test_a_config_holds_what_was_given(tmp_path):
    run = trained(decay(1e-9), steps=1, coefficient_scales={"k": 5e8}, out=tmp_path / "run")
    assert pinntk.TrainConfig.from_json(run.config).coefficient_scales == {"k": 5e8}
    assert trained(decay(), steps=1).config["training"]["coefficient_scales"] is None


def test_the_scaled_jacobian_has_the_column_in_units_of_the_scale():
    problem = decay()
    network = pinntk.nn.MLP(problem, width=5, depth=1, **F64)
    points = problem.sample(residual=6, **F64)
    weights = dict.fromkeys(points, 1.0)
    plain = ScaledJacobian(network, problem, points, weights)
    scaled = ScaledJacobian(network, problem, points, weights, {"k": 8.0})
    units = torch.ones(plain.p, dtype=torch.float64)
    units[-1] = 8
    assert torch.equal(scaled.matrix, plain.matrix * units)
    assert GaussNewton(network, problem, coefficient_scales={"k": 8.0}).state_dict()["coefficient_scales"] == {"k": 8.0}
