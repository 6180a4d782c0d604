"""ReLoBRaLo and SoftAdapt: their formulas by hand, what holds exactly of them, and trainings with them."""

import math
from itertools import pairwise

import pytest
import torch

import pinntk
from pinntk.weighting import Fixed, ReLoBRaLo, SelfAdaptive, SoftAdapt

LOSSES = [{"a": 3.0, "b": 0.5, "c": 1e-4}, {"a": 2.0, "b": 0.6, "c": 1e-9}, {"a": 2.5, "b": 0.1, "c": 2e-9}]


def softmax(values):
    total = sum(math.exp(v) for v in values)
    return [len(values) * math.exp(v) / total for v in values]


def test_relobralo_by_hand():
    """Equations 8 to 10 of the paper, with and without the lookback to the start."""
    for rho in (0.0, 1.0):
        scheme = ReLoBRaLo(alpha=0.9, rho=rho, temperature=0.5)
        weights = scheme.update(None, LOSSES[0], {})
        expected = [1.0, 1.0, 1.0]
        assert list(weights.values()) == expected
        for before, losses in pairwise(LOSSES):
            lately, whole = (softmax([losses[k] / (0.5 * earlier[k]) for k in losses]) for earlier in (before, LOSSES[0]))
            kept = expected if rho else whole
            expected = [0.9 * k + 0.1 * b for k, b in zip(kept, lately, strict=True)]
            weights = scheme.update(weights, losses, {})
            assert list(weights.values()) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    "scheme", [ReLoBRaLo(alpha=0.5, rho=0.5), *map(SoftAdapt, ("ratio", "original", "normalized"))], ids=str
)
def test_weights_add_up_to_the_number_of_conditions(scheme):
    generator, weights = torch.Generator().manual_seed(0), None
    for step in range(40):
        losses = dict(zip("abcd", (10 ** (8 * torch.rand(4, generator=generator) - 6)).tolist(), strict=True))
        losses["d"] *= step % 7 > 0  # a loss that is exactly zero now and then
        weights = scheme.update(weights, losses, {})
        assert sum(weights.values()) == pytest.approx(4, rel=1e-12)
        assert min(weights.values()) >= 0


def test_equal_progress_leaves_weights_equal():
    for scheme in (ReLoBRaLo(alpha=0.5), SoftAdapt(), SoftAdapt("loss-weighted", beta=0)):
        before = scheme.update(None, {"a": 4.0, "b": 4.0}, {})
        assert scheme.update(before, {"a": 1.0, "b": 1.0}, {}) == pytest.approx({"a": 1.0, "b": 1.0})
    hot = ReLoBRaLo(alpha=0.0, temperature=1e9)
    assert hot.update(hot.update(None, LOSSES[0], {}), LOSSES[1], {}) == pytest.approx(dict.fromkeys("abc", 1.0))


def test_the_lookback_is_as_frequent_as_rho_says_and_is_drawn_by_the_seed():
    def lookbacks(seed):
        scheme, found = ReLoBRaLo(alpha=1.0, rho=0.9, seed=seed), []
        weights = scheme.update(None, {"a": 1.0, "b": 1.0}, {})
        for step in range(1000):
            before, weights = weights, scheme.update(weights, {"a": 1.0, "b": 1 + 1 / (step + 2)}, {})
            found.append(weights != before)
        return found

    first = lookbacks(0)
    assert sum(first) == pytest.approx(100, abs=30)  # three standard deviations
    assert first == lookbacks(0) != lookbacks(1)


def test_softadapt_by_hand():
    before, losses = LOSSES[:2]
    change = [losses[k] - before[k] for k in losses]
    total = sum(map(abs, change))
    raw = [loss * math.exp(0.7 * s) for loss, s in zip(losses.values(), change, strict=True)]
    for variant, expected in {
        "ratio": softmax([0.7 * losses[k] / before[k] for k in losses]),
        "original": softmax([0.7 * s for s in change]),
        "normalized": softmax([0.7 * s / total for s in change]),
        "loss-weighted": [3 * part / sum(raw) for part in raw],
    }.items():
        found = SoftAdapt(variant, beta=0.7).rule(losses, before)
        assert list(found.values()) == pytest.approx(expected, rel=1e-12)
    slow_first = SoftAdapt("original").rule({"a": 5.0, "b": 0.1}, {"a": 4.0, "b": 10.0})  # the paper: the worst counts most
    assert slow_first["a"] > slow_first["b"]


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        (ReLoBRaLo, {"alpha": 1.1}),
        (ReLoBRaLo, {"rho": -0.1}),
        (ReLoBRaLo, {"temperature": 0}),
        (ReLoBRaLo, {"seed": -1}),
        (ReLoBRaLo, {"every": 0}),
        (SoftAdapt, {"variant": "fast"}),
        (SoftAdapt, {"beta": float("inf")}),
        (SoftAdapt, {"every": 0}),
    ],
)
def test_bad_settings(kind, settings):
    with pytest.raises(ValueError, match=f"{next(iter(settings))}="):
        kind(**settings)


# In a training.


def train(out=None, *, weighting, steps=6, **settings):
    problem = pinntk.load("burgers")
    network = pinntk.nn.MLP(problem, width=4, depth=1, dtype=torch.float64)
    few = {
        "points": {"residual": 8, "initial": 4, "boundary": 4},
        "lr": 0.05,
        "snapshot_every": 0,
        "progress": False,
        "schedule": "constant",
    }
    return pinntk.train(problem, network, weighting=weighting, steps=steps, out=out, log_every=1, **{**few, **settings})


def test_weights_follow_the_losses_one_step_late():
    scheme = SoftAdapt(beta=5.0)
    run = train(weighting=scheme)
    losses = [{name: row[f"loss/{name}"] for name in run.problem.names} for row in run.history]
    weights = [{name: row[f"weight/{name}"] for name in run.problem.names} for row in run.history]
    assert weights[0] == weights[1] == dict.fromkeys(run.problem.names, 1.0)
    for step in range(2, 6):
        assert weights[step] == pytest.approx(scheme.rule(losses[step - 1], losses[step - 2]), rel=1e-12)


def test_the_losses_are_those_without_point_weights():
    run = train(weighting=[SoftAdapt(beta=5.0), SelfAdaptive(initial=3.0, lr=0.5)], steps=3)
    plain = [{name: row[f"loss/{name}"] for name in run.problem.names} for row in run.history]
    weights = {name: run.history[2][f"weight/{name}"] for name in run.problem.names}
    assert weights == pytest.approx(SoftAdapt(beta=5.0).rule(plain[1], plain[0]), rel=1e-12)


def test_a_training_does_not_go_on_with_what_another_remembered():
    class Counts(Fixed):
        """A scheme of one's own that remembers, and forgets nothing at the start."""

        every = 1
        seen = 0

        def update(self, weights, measured, counts):
            self.seen += 1
            return {name: float(self.seen) for name in measured}

    scheme = Counts()
    first, second = (train(weighting=scheme, steps=3) for _ in range(2))
    assert first.weights == second.weights == dict.fromkeys(first.problem.names, 3.0)
    assert scheme.seen == 0
