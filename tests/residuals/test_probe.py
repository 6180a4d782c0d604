"""A network that is looked at and left as it was."""

import random

import numpy as np
import pytest
import torch
from torch import nn

from pinntk.residuals._probe import untouched


class Counting(nn.Module):
    def __init__(self):
        super().__init__()
        self.calls, self.seen = 0, nn.Buffer(torch.zeros(()))

    def forward(self, x):
        self.calls, self.seen = self.calls + 1, self.seen + 1
        return x


def states():
    return [torch.get_rng_state().tolist(), np.random.get_state()[1].tolist(), random.getstate()]


@pytest.mark.parametrize(("training", "inside"), [(False, [False] * 3), (True, [True] * 3), (None, [True, False, True])])
def test_what_is_computed_inside_leaves_no_trace(training, inside):
    network = nn.Sequential(nn.BatchNorm1d(2), Counting())
    network[0].eval()
    before, mean = states(), network[0].running_mean
    with pytest.raises(KeyError), untouched(network, training):
        assert [module.training for module in network.modules()] == inside
        network[0].train()
        network(torch.rand(4, 2))
        np.random.random(), random.random()
        network.eval()
        assert network[1].calls == 1 and bool(mean.any())
        raise KeyError
    assert [module.training for module in network.modules()] == [True, False, True]
    assert states() == before
    assert network[1].calls == 0 and network[1].seen.item() == 0
    assert network[0].running_mean is mean and not mean.any() and network[0].num_batches_tracked.item() == 0
