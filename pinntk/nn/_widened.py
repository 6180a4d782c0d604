"""A wider network that computes the same function."""

from __future__ import annotations

from copy import deepcopy
from itertools import pairwise
from math import sqrt

import torch
from torch import Tensor, nn

from pinntk.nn._dense import apart, draw_log_scales
from pinntk.nn._layers import check_sizes, draw
from pinntk.nn._mlp import MLP

_BETWEEN = 1_000_003  # seeds of one width and the next


def widened(network: MLP, width: int, *, seed: int | None = None) -> MLP:
    r"""A copy of an MLP with more units in every hidden layer that computes the same function, to rounding.

    New units have incoming weights and biases as at initialization. The weights from them to units that there were are zero:

        W_l = [[W_l, 0], [random, random]],    b_l = [b_l, random],    W_L = [W_L, 0]

    so that J has a new column for each of those weights, the new unit's values, and keeps its columns of the old parameters.
    Units that are duplicated, with half the weights each, keep the function too, but their columns are those that there were:
    the new network can learn no more than the old one.

    In the NTK parametrization the old weights grow by the square root of the ratio of the fan-ins, sqrt(width / old width),
    and their columns of J are smaller by as much.

    width: units in each hidden layer, more than now
    seed: draws the new weights; by default the network's own seed and `width` say it

    `network.config` and config.json have the new width. Device, dtype, buffers and hard conditions stay. Raises TypeError for
    another network than an `MLP`, ValueError for a width that is not above the present one, and for an MLP whose layers were
    exchanged since it was made.

    >>> import torch
    >>> network = MLP(inputs=2, outputs=1, width=8, depth=3, dtype=torch.float64)
    >>> x = torch.rand(5, 2, dtype=torch.float64)
    >>> bool((widened(network, 12)(x) - network(x)).abs().max() < 1e-14)
    True
    """
    old = _width(network)
    check_sizes(width=width)
    if width <= old:
        raise ValueError(f"width={width!r}: the hidden layers have {old} units already; give more")
    seed = network.config["seed"] + _BETWEEN * width if seed is None else seed
    generator = torch.Generator().manual_seed(seed)
    wider = deepcopy(network)
    dense = wider.dense
    rule = "ntk" if dense.parametrization == "ntk" else dense.options["initialization"]
    sizes = [dense.weights[0].shape[1], *[width] * network.config["depth"], len(dense.weights[-1])]
    factors = dense.options["factorized"]
    scales = draw_log_scales(factors, sizes[1:], apart(generator)) if factors else []
    for layer, (fan_in, fan_out) in enumerate(pairwise(sizes)):
        weight, bias = draw(fan_in, fan_out, rule, generator)
        before = dense.weights[layer]
        if factors:
            weight = weight / torch.exp(scales[layer])[:, None]
            dense.log_scales[layer] = _within(scales[layer], dense.log_scales[layer].detach(), dense.log_scales[layer])
        scale = sqrt(fan_in / before.shape[1]) if dense.parametrization == "ntk" else 1.0
        dense.weights[layer] = _within(dense.options["gain"] * weight, scale * before.detach(), before)
        dense.biases[layer] = _within(bias, dense.biases[layer].detach(), dense.biases[layer])
    wider.config = {**wider.config, "width": width}
    return wider


def _within(drawn: Tensor, old: Tensor, like: nn.Parameter) -> nn.Parameter:
    """The old values first, then zeros in the same rows, and below what was drawn."""
    whole = drawn.to(like)
    whole[: len(old)] = 0
    whole[tuple(slice(size) for size in old.shape)] = old
    return nn.Parameter(whole, requires_grad=like.requires_grad)


def _width(network: nn.Module) -> int:
    """Raises TypeError or ValueError for what is not an MLP as it was made."""
    if type(network) is not MLP:
        kind = type(network)
        raise TypeError(f"{kind.__module__}.{kind.__qualname__} cannot be widened: only a pinntk.nn.MLP can")
    width, weights = int(network.config["width"]), network.dense.weights
    sizes = [weights[0].shape[1], *[width] * network.config["depth"], len(weights[-1])]
    shapes = [tuple(weight.shape) for weight in weights]
    if shapes != (expected := [(fan_out, fan_in) for fan_in, fan_out in pairwise(sizes)]):
        raise ValueError(f"the MLP cannot be widened: its weights are {shapes}, and those of its config {expected}")
    return width
