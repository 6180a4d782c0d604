"""Networks as config.json describes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn

from pinntk.nn import NETWORKS
from pinntk.nn._dense import option_names
from pinntk.problem import Problem


def describe_network(network: nn.Module) -> dict[str, Any]:
    dtype = next((str(p.dtype).removeprefix("torch.") for p in network.parameters()), "float32")
    arguments = dict(vars(network)["config"]) if type(network) in NETWORKS.values() else None
    count = sum(p.numel() for p in network.parameters())
    return {"class": _class_name(type(network)), "arguments": arguments, "dtype": dtype, "parameters": count}


def _class_name(kind: type) -> str:
    """By the door through which users get it."""
    return f"{'pinntk.nn' if kind in NETWORKS.values() else kind.__module__}.{kind.__qualname__}"


def network_class(config: Mapping[str, Any]) -> type[nn.Module] | None:
    """The class of config.json's network, if pinntk can build it from its arguments."""
    known = {_class_name(kind): kind for kind in NETWORKS.values()}
    return None if config["network"]["arguments"] is None else known.get(config["network"]["class"])


def arguments_of(described: Mapping[str, Any]) -> dict[str, Any]:
    """Of section "network", none of a network of one's own; those that pinntk did not have yet are as it worked then."""
    arguments = described["arguments"]
    return {} if arguments is None else {"output_scales": {}, **arguments}


def build_network(config: Mapping[str, Any], problem: Problem) -> nn.Module:
    """The network that config.json describes, with its initial weights."""
    described, kind = config["network"], network_class(config)
    if kind is None:
        raise ValueError(
            f"the run's network is {described['class']}, which pinntk cannot build; give it to Run.load(folder, network)"
        )
    dtype = getattr(torch, described.get("dtype", "float32"), None)
    if not isinstance(dtype, torch.dtype):
        raise ValueError(f"the configuration's network.dtype is {described['dtype']!r}, not a dtype of torch, such as float32")
    try:
        return kind(problem, dtype=dtype, **arguments_of(described))
    except TypeError as error:
        raise ValueError(f"the configuration's network.arguments do not fit {described['class']}: {error}") from error


def network_options(kind: type[nn.Module]) -> list[str]:
    """The arguments of a network of `pinntk.nn` that config.json records and changes may name."""
    return [name for name in option_names(kind) if name not in ("problem", "inputs", "outputs", "dtype", "device")]


def with_parameters(network: nn.Module, values: Sequence[Tensor]) -> nn.Module | None:
    """A copy of the network with these parameters; None where they do not fit."""
    network = deepcopy(network)
    own = list(network.parameters())
    if not own or [p.shape for p in own] != [value.shape for value in values]:
        return None
    with torch.no_grad():
        for p, value in zip(own, values, strict=True):
            p.copy_(value)
    return network


@torch.no_grad()
def drift(network: nn.Module, initial: Sequence[Tensor]) -> float:
    """norm(theta - theta_0) / norm(theta_0)."""
    moved = [(p - start).norm() for p, start in zip(network.parameters(), initial, strict=True)]
    return float(torch.stack(moved).norm() / torch.stack([start.norm() for start in initial]).norm())
