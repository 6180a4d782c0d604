"""The states of torch's global generators: the CPU's, and that of the device on which a network draws."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager

import torch
from torch import Tensor


def states(device: torch.device) -> dict[str, Tensor]:
    """{device type: state}, for `restore`."""
    found = {"cpu": torch.get_rng_state()}
    return found if device.type == "cpu" else found | {device.type: torch.get_device_module(device).get_rng_state(device)}


def seed(number: int, device: torch.device) -> None:
    """The CPU's generator and this device's; `torch.manual_seed` would change those of all other devices too."""
    torch.default_generator.manual_seed(number)
    if device.type != "cpu":
        module = torch.get_device_module(device)
        with module.device(device):
            module.manual_seed(number)


def restore(states: Mapping[str, Tensor], device: torch.device) -> None:
    """Puts back what `states` found; a device of another kind keeps the state that it has."""
    torch.set_rng_state(states["cpu"])
    if device.type != "cpu" and device.type in states:
        torch.get_device_module(device).set_rng_state(states[device.type], device)


def fork(device: torch.device) -> AbstractContextManager:
    """What is drawn inside changes nothing outside."""
    if device.type == "cpu":
        return torch.random.fork_rng(devices=[])
    return torch.random.fork_rng(devices=[device], device_type=device.type)
