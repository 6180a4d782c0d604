"""Checks of a network and its problem, once before a kernel or a training."""

from __future__ import annotations

import torch
from torch import nn

from pinntk.evaluate import errors, to_network
from pinntk.problem import Points, Problem, check_output
from pinntk.taylor import DependentPoints

_BATCH_NORMS = (nn.modules.batchnorm._BatchNorm,)
_DROPOUTS = (nn.modules.dropout._DropoutNd,)


def check_network(network: nn.Module, problem: Problem, points: Points) -> None:
    """Raises an error that says what to change if the network does not fit the problem or mixes points.

    ValueError: wrong number of inputs or outputs, a device without float64; DependentPoints: batch normalisation or dropout
    in training mode, a network or an operator that mixes points.
    """
    if not isinstance(network, nn.Module):
        raise TypeError(f"network is a {type(network).__name__}; expected a torch.nn.Module that maps (n, d) to (n, fields)")
    if any(parameter.device.type == "mps" for parameter in network.parameters()):
        raise ValueError("the network is on 'mps', which has no float64, and kernels are summed in it; call network.cpu()")
    for path, module in network.named_modules():
        if isinstance(module, _DROPOUTS) and module.training and module.p > 0:
            raise DependentPoints(f"module {path!r} is dropout in training mode, so errors are random; call network.eval()")
        if isinstance(module, _BATCH_NORMS) and (module.training or module.running_mean is None):
            raise DependentPoints(
                f"module {path!r} is batch normalisation with batch statistics, so the error at one point depends on the "
                "others and the kernel is undefined; call network.eval() or remove it"
            )
    d = problem.domain.dimension
    ends = {id(rows): rows[[0, -1]] for rows in points.values()}  # the first and the last, which seldom coincide
    probe = to_network(network, {name: ends[id(rows)] for name, rows in points.items()})
    first = next(iter(probe.values()))[:, :d].clone()
    try:
        with torch.no_grad():
            output = network(first)
    except (RuntimeError, IndexError, ValueError) as error:
        raise ValueError(
            f"the network does not accept {d} inputs, coordinates {problem.coordinates}: it failed on a tensor of shape "
            f"{tuple(first.shape)} and dtype {first.dtype} with: {error}"
        ) from error
    check_output(output, problem, len(first))
    _check_independence(network, problem, probe)


def _check_independence(network: nn.Module, problem: Problem, probe: Points) -> None:
    """The error at a point must not change when another point leaves the batch."""
    together = errors(network, problem, probe)
    for end in (slice(None, 1), slice(-1, None)):  # either may be the one that looks at the other, as in a cumulative sum
        alone = errors(network, problem, {name: rows[end] for name, rows in probe.items()})
        for name, both in together.items():
            scale = both.abs().max() + alone[name].abs().max() + 1
            if (both[end] - alone[name]).abs().max() > torch.finfo(both.dtype).eps ** 0.5 * scale:
                raise DependentPoints(
                    f"condition {name!r}: the error at a point changes when another point leaves the batch. The network or "
                    "the operator mixes points (a mean over the batch, say); write it point by point"
                )
