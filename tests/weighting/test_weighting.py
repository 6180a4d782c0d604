import warnings

import numpy as np
import pytest
import torch

import pinntk
from pinntk.weighting import NTK, Causal, Fixed, GradientNorm

TRACES, COUNTS = {"a": 6.0, "b": 2.0}, {"a": 3, "b": 4}


def test_rules_by_hand():
    assert NTK(normalization="sum").rule(TRACES, COUNTS) == {"a": 8 / 6, "b": 4.0}
    assert NTK(normalization="mean").rule(TRACES, COUNTS) == {"a": 2.5 / 2, "b": 2.5 / 0.5}
    equal = {"a": 5, "b": 5}
    assert NTK(normalization="sum").rule(TRACES, equal) == pytest.approx(NTK().rule(TRACES, equal), rel=1e-14)


def test_groups_share_a_weight():
    traces, counts = {"a": 1.0, "b": 3.0, "c": 4.0}, {"a": 1, "b": 1, "c": 1}
    weights = NTK(normalization="sum", groups=[("a", "b")]).rule(traces, counts)
    assert weights == {"a": 2.0, "b": 2.0, "c": 2.0}
    with pytest.raises(ValueError, match="'zz' must be one of"):
        NTK(groups=[("zz",)]).start(pinntk.load("poisson1d"))


def test_a_condition_that_comes_back_into_the_loss_has_no_old_weight():
    traces, counts = {"a": 10.0, "b": 30.0}, {"a": 1, "b": 1}
    assert NTK(momentum=0.9).update({"a": 0.0, "b": 2.0}, traces, counts) == pytest.approx(
        {"a": 4.0, "b": 0.9 * 2 + 0.1 * 4 / 3}
    )


def test_momentum_starts_after_the_first_update():
    weighting = NTK(normalization="sum")
    assert weighting.momentum == 0.9
    first = weighting.update(None, TRACES, COUNTS)
    assert first == {"a": 8 / 6, "b": 4.0}
    second = weighting.update(first, {"a": 2.0, "b": 2.0}, COUNTS)
    assert second["b"] == pytest.approx(0.9 * 4 + 0.1 * 2)


def test_a_condition_without_parameters_keeps_weight_one():
    with pytest.warns(UserWarning, match="'?b'? does not depend on the parameters"):
        assert NTK().rule({"a": 1.0, "b": 0.0}, {"a": 1, "b": 1}) == {"a": 1.0, "b": 1.0}


def test_mean_weights_do_not_change_when_points_are_added():
    problem = pinntk.load("poisson1d")
    network = pinntk.nn.MLP(problem, width=20, dtype=torch.float64)
    few = problem.sample(boundary=10, residual=10, method="grid")
    many = {"ends": few["ends"], "poisson": few["poisson"].repeat(5, 1)}
    found = [NTK().rule(pinntk.traces(network, problem, p), {k: len(v) for k, v in p.items()}) for p in (few, many)]
    assert found[0] == pytest.approx(found[1])


def test_fixed_weights_by_name_and_kind():
    problem = pinntk.load("wave1d")
    weights = Fixed(initial=5, start=7).start(problem)
    assert weights == {"wave": 1.0, "start": 7.0, "start_velocity": 5.0, "walls": 1.0}
    with pytest.raises(ValueError, match="weight for 'wals'"):
        Fixed(wals=1).start(problem)
    with pytest.raises(ValueError, match="weight walls=-1"):
        Fixed(walls=-1)


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"every": 0}, "every=0"), ({"momentum": 1}, "momentum=1"), ({"normalization": "x"}, "normalization='x'")],
)
def test_bad_settings(settings, message):
    with pytest.raises(ValueError, match=message):
        NTK(**settings)


@pytest.mark.slow
def test_wave1d_weights_at_initialization_lie_in_the_measured_bands():
    """The notebook of Wang, Yu & Perdikaris: [2, 500 x 3, 1], Xavier, normalized inputs, N_u = N_ut = N_r = 300, the u points
    shared out equally over t = 0 and the two walls."""
    found = []
    for seed in range(5):
        problem = pinntk.load("wave1d")
        network = pinntk.nn.MLP(problem, width=500, depth=3, initialization="xavier", seed=seed)
        points = problem.sample(start=100, walls=200, start_velocity=300, wave=300, seed=seed)
        counts = {name: len(rows) for name, rows in points.items()}
        weights = NTK(normalization="sum", groups=[("start", "walls")]).rule(pinntk.traces(network, problem, points), counts)
        found.append([weights[name] for name in ("start", "start_velocity", "wave")])
    lambda_u, lambda_ut, lambda_r = np.median(found, 0)
    assert 5.7 <= lambda_u <= 7.6
    assert 2.4 <= lambda_ut <= 3.6
    assert 1.7 <= lambda_r <= 2.5


def test_a_condition_without_a_kernel_is_warned_of_once():
    scheme = NTK()
    with pytest.warns(UserWarning, match="does not depend on the parameters"):
        scheme.update(None, {"a": 1.0, "b": 0.0}, {"a": 1, "b": 1})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        scheme.update({"a": 1.0, "b": 1.0}, {"a": 1.0, "b": 0.0}, {"a": 1, "b": 1})


def test_gradient_norm_rule_by_hand():
    scheme = GradientNorm()
    assert (scheme.every, scheme.momentum) == (100, 0.9)
    first = scheme.update(None, {"a": 3.0, "b": 1.0}, COUNTS)
    assert first == {"a": 4 / 3, "b": 4.0}
    second = scheme.update(first, {"a": 1.0, "b": 1.0}, COUNTS)
    assert second == pytest.approx({"a": 0.9 * 4 / 3 + 0.1 * 2, "b": 0.9 * 4 + 0.1 * 2})
    with pytest.warns(UserWarning, match="condition b has no gradient"):
        assert scheme.rule({"a": 1.0, "b": 0.0}) == {"a": 1.0, "b": 1.0}
    for settings in ({"every": 0}, {"momentum": 1.0}):
        with pytest.raises(ValueError, match=next(iter(settings))):
            GradientNorm(**settings)


def test_causal_weights_by_hand():
    causal = Causal(epsilon=(0.5, 2.0), slices=4)
    losses = torch.tensor([1.0, 0.0, 3.0, 7.0], dtype=torch.float64)
    expected = torch.exp(-torch.tensor([0.0, 1.0, 1.0, 4.0], dtype=torch.float64) / 2)
    assert torch.allclose(causal.rule(losses), expected, rtol=1e-15)
    assert torch.allclose(causal.rule(losses, 1), expected**4, rtol=1e-14)
    small, large = torch.tensor([1.0, 0.995]), torch.tensor([1.0, 0.98])
    assert [causal.next_rung(small, 0), causal.next_rung(large, 0), causal.next_rung(small, 1)] == [1, 0, 1]
    problem = pinntk.load("burgers")
    rows = torch.tensor([[0.0, 0.5], [0.2499, 0.0], [0.25, -1.0], [1.0, 1.0]])
    assert causal.slice_of(problem, rows).tolist() == [0, 0, 1, 3]
    assert causal.names(problem) == ["burgers"]
    assert Causal(**causal.describe()).describe() == causal.describe()
    assert Causal(3).describe() == {"epsilon": 3.0, "slices": 16, "threshold": 0.99}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epsilon": 0}, "epsilon=0: a number above 0"),
        ({"epsilon": (1, 0.1)}, "in ascending order"),
        ({"epsilon": "ladder"}, "epsilon='ladder'"),
        ({"epsilon": float("nan")}, "epsilon=nan"),
        ({"slices": 1}, "slices=1"),
        ({"threshold": 1.0}, r"threshold=1\.0"),
    ],
)
def test_bad_causal_settings(settings, message):
    with pytest.raises(ValueError, match=message):
        Causal(**settings)


def test_causal_weights_need_time():
    with pytest.raises(ValueError, match=r"need a coordinate 't'.*leave causal out"):
        Causal().names(pinntk.load("poisson1d"))
