"""What holds of every scheme of weights: a stop loses nothing, and config.json says all that it takes to train again."""

import json

import pytest
import torch

import pinntk
from pinntk.weighting import (
    NTK,
    RBA,
    SCHEMES,
    VRBA,
    Causal,
    Fixed,
    GradientNorm,
    ReLoBRaLo,
    RemainingTime,
    SelfAdaptive,
    SoftAdapt,
    UPGrad,
)

POINTS = {"residual": 12, "initial": 6, "boundary": 6}
FAST = {"eta": 0.1, "gamma": 0.5}
CASES = {  # with settings that move weights within a few steps
    "fixed": Fixed(walls=3.0),
    "ntk": NTK(every=2, momentum=0.5),
    "gradient-norm": GradientNorm(every=2, momentum=0.5),
    "relobralo": ReLoBRaLo(alpha=0.5, rho=0.5),
    "softadapt": SoftAdapt(every=2, beta=5.0),
    "self-adaptive": SelfAdaptive(initial=2.0, lr=0.5),
    "rba": RBA(**FAST),
    "vrba": VRBA(**FAST),
    "vrba, square": VRBA("square", **FAST),
    "remaining-time": RemainingTime(power=3.0),
    "config": "config",
    "pcgrad": "pcgrad",
    "upgrad": "upgrad",
    "ntk+vrba": [NTK(every=4, momentum=0.5), VRBA(**FAST)],
    "ntk+upgrad": [NTK(every=3), UPGrad()],
    "rba+config": [RBA(**FAST), "config"],
    "softadapt+remaining-time": [SoftAdapt(every=2, beta=5.0), RemainingTime()],
}
SETTINGS = {name: {"weighting": scheme} for name, scheme in CASES.items()} | {
    "causal": {"causal": Causal(epsilon=10.0, slices=3)},
    "remaining-time, resampled": {"weighting": ["ntk", RemainingTime()], "resample": 2},
    "remaining-time, causal": {"weighting": RemainingTime(), "causal": Causal(epsilon=10.0, slices=3)},
    "ntk, causal": {"weighting": NTK(every=2), "causal": Causal(epsilon=(1e-9, 1.0, 10.0), slices=3)},
}


def train(out=None, *, steps, **settings):
    problem = pinntk.load("burgers")
    network = pinntk.nn.MLP(problem, width=5, depth=1, dtype=torch.float64)
    few = {"points": POINTS, "lr": 1e-2, "schedule": "constant", "log_every": 1, "snapshot_every": 0, "progress": False}
    return pinntk.train(problem, network, steps=steps, out=out, **few, **settings)


def bits(run):
    """All that a training leaves."""
    rows = [{**row, "seconds": 0} for row in run.history]
    return [
        *([part.tolist() for part in run.network.parameters()], rows, run.weights),
        {name: weights.tolist() for name, weights in run.point_weights.items()},
    ]


@pytest.fixture(scope="module")
def plain():
    return bits(train(steps=7))


def test_no_scheme_is_forgotten():
    assert set(SCHEMES) <= set(CASES)


@pytest.mark.parametrize("name", SETTINGS)
def test_a_stop_loses_no_bit_and_the_configuration_trains_again(tmp_path, plain, name):
    whole = train(steps=7, **SETTINGS[name])
    assert bits(whole)[0] != plain[0]  # or it would hold of a scheme that does nothing
    train(tmp_path, steps=3, **SETTINGS[name])
    resumed = train(tmp_path, steps=7, resume=True, **SETTINGS[name])
    assert bits(resumed) == bits(whole)
    assert bits(pinntk.Run.load(tmp_path)) == bits(whole)
    config = json.loads((tmp_path / "config.json").read_text())
    assert bits(pinntk.train_as(config, progress=False)) == bits(whole)
