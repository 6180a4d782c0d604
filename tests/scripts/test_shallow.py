"""Networks trained at once in closed form, against `pinntk.train`, one by one."""

from copy import deepcopy

import _shallow as shallow
import pytest
import torch
from _shallow import Shallow

import pinntk


@pytest.mark.parametrize(
    "settings", [{"parametrization": "ntk", "normalize": False}, {"initialization": "normal"}, {"parametrization": "ntk"}]
)
def test_they_end_where_train_ends(settings, monkeypatch):
    monkeypatch.setattr(shallow, "_ENTRIES", 2 * 5 * 7)  # two networks at a time
    problem = pinntk.load("poisson1d", k=2)
    networks = [pinntk.nn.MLP(problem, width=7, depth=1, seed=seed, dtype=torch.float64, **settings) for seed in range(3)]
    points = problem.sample(boundary=3, residual=5, seed=1, dtype=torch.float64)
    weights = [pinntk.weighting.Fixed(boundary=boundary, poisson=0.5) for boundary in (1, 10, 30)]
    together = Shallow(deepcopy(networks), problem, points, {"ends": [1, 10, 30], "poisson": 0.5})
    together.descend(10, 1e-4)
    together.descend(10, 1e-4)
    for network, weighting, ours in zip(networks, weights, together.update(), strict=True):
        start = deepcopy(network)
        pinntk.train(
            problem,
            network,
            steps=20,
            optimizer="gradient-descent",
            lr=1e-4,
            schedule="constant",
            weighting=weighting,
            points=points,
            snapshot_every=0,
            progress=False,
        )
        for p_0, p, expected in zip(start.parameters(), ours.parameters(), network.parameters(), strict=True):
            assert (expected - p_0).abs().max() > 1e-4
            torch.testing.assert_close(p, expected, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("settings", [{"depth": 2}, {"activation": "sin"}, {"beta": 0.1, "parametrization": "ntk"}])
def test_other_networks_are_refused(settings):
    problem = pinntk.load("poisson1d")
    network = pinntk.nn.MLP(problem, **{"width": 4, "depth": 1, **settings})
    with pytest.raises(ValueError, match="one hidden layer of tanh"):
        Shallow([network], problem, problem.sample())
    with pytest.raises(ValueError, match="equal but for their weights"):
        plain, wide = (pinntk.nn.MLP(problem, width=width, depth=1) for width in (4, 5))
        Shallow([plain, wide], problem, problem.sample())
