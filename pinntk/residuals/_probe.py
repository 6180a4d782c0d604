"""A few points on which a network is tried, and the network left as it was before."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from pinntk.problem import Points

_CANDIDATES = 64  # points among which those of the probe are chosen
_PROBE = 4  # points of each condition in the probe
_SEEDED = ("cuda", "xpu")  # devices with random states of their own


def select_probe(points: Points) -> Points:
    """Up to four different rows of every condition, from all over; a tensor shared by conditions stays shared."""
    chosen: dict[int, Tensor] = {}
    for rows in points.values():
        if id(rows) not in chosen:
            places = torch.linspace(0, len(rows) - 1, min(len(rows), _CANDIDATES), dtype=torch.float64).long()
            few = rows[places.to(rows.device)].unique(dim=0)
            places = torch.linspace(0, len(few) - 1, min(len(few), _PROBE), dtype=torch.float64).long()
            chosen[id(rows)] = few[places.to(rows.device)]
    return {name: chosen[id(rows)] for name, rows in points.items()}


def rows_of(probe: Points, places: tuple[int, ...]) -> Points:
    """The rows of these numbers, where there are any; a tensor shared by conditions stays shared."""
    taken = {id(rows): rows[[i for i in places if i < len(rows)]] for rows in probe.values()}
    return {name: taken[id(rows)] for name, rows in probe.items() if len(taken[id(rows)])}


@contextmanager
def untouched(network: nn.Module, training: bool | None = False) -> Iterator[None]:
    """What is computed inside leaves no trace: afterwards modes, buffers, numbers that modules count, and the random states of
    torch, numpy and Python are as before.

    training: the mode of all modules inside, of which nothing is random in evaluation mode; None for those that they have
    """
    modes = [(module, module.training) for module in network.modules()]
    device = next((p.device for p in network.parameters()), torch.device("cpu"))
    states = np.random.get_state(), random.getstate()
    with preserve(network, device):
        try:
            for module, _ in modes if training is not None else ():  # not network.train(), which may be the user's own
                module.training = bool(training)
            yield
        finally:
            np.random.set_state(states[0])
            random.setstate(states[1])
            for module, mode in modes:
                module.training = mode


@contextmanager
def preserve(network: nn.Module, device: torch.device) -> Iterator[dict[str, Tensor]]:
    """Restores buffers, numbers that modules count, and the random state; yields the buffers as they were."""
    plain = (bool, int, float, str, type(None))
    buffers = {name: (buffer, buffer.clone()) for name, buffer in network.named_buffers() if not is_lazy(buffer)}
    counts = [(m, {key: value for key, value in vars(m).items() if isinstance(value, plain)}) for m in network.modules()]
    lazy = any(is_lazy(tensor) for tensor in (*network.parameters(), *network.buffers()))
    seeded = device.type in _SEEDED
    with torch.random.fork_rng([device] if seeded else [], device_type=device.type if seeded else _SEEDED[0]):
        try:
            yield {name: value for name, (_, value) in buffers.items()}
        finally:
            if not lazy:  # its first forward makes it what it is
                _restore(network, buffers, counts)


def _restore(network: nn.Module, buffers: dict[str, tuple[Tensor, Tensor]], counts: list[tuple[nn.Module, dict]]) -> None:
    modules = dict(network.named_modules())
    for name, (buffer, value) in buffers.items():
        path, _, key = name.rpartition(".")
        if not isinstance(modules[path], torch.jit.ScriptModule):
            modules[path]._buffers[key] = buffer
        with torch.no_grad():
            if not same(buffer, value):
                buffer.copy_(value)
    for module, known in counts:
        for key, value in known.items():
            if vars(module).get(key) is not value:
                vars(module)[key] = value


def same(a: Tensor, b: Tensor) -> bool:
    return a.shape == b.shape and a.dtype == b.dtype and bool(torch.isclose(a, b, rtol=0, atol=0, equal_nan=True).all())


def random_state(device: torch.device) -> Tensor:
    state = torch.get_rng_state()
    if device.type not in _SEEDED:
        return state
    return torch.cat([state, torch.get_device_module(device).get_rng_state(device)])
