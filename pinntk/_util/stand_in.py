"""Networks, and code that closes over them, evaluated with other tensors in the place of their own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

Result = TypeVar("Result")


class ForeignNetworkError(TypeError):
    """Foreign code cannot compute the errors of this network."""


def call_with(module: nn.Module, tensors: Mapping[str, Tensor], *args: Any) -> Any:
    """module(*args) with other parameters and buffers, by name, in the place of its own.

    As torch.func.functional_call, which leaves the other tensors in a module that is part of another one under two names.
    Raises TypeError for TorchScript.

    >>> layer = nn.Linear(1, 1, bias=False)
    >>> float(call_with(layer, {"weight": torch.tensor([[2.0]])}, torch.tensor([3.0])))
    6.0
    """
    with tensors_in_place(module, tensors):
        return module(*args)


@contextmanager
def tensors_in_place(module: nn.Module, tensors: Mapping[str, Tensor]) -> Iterator[None]:
    """The module with other parameters and buffers; what is one tensor under several names stays one."""
    own = dict((*module.named_parameters(remove_duplicate=False), *module.named_buffers(remove_duplicate=False)))
    new = {id(own[name]): tensor for name, tensor in tensors.items()}
    places: list[tuple[Any, str, Tensor]] = []
    for part in module.modules():
        if isinstance(part, torch.jit.ScriptModule):
            raise TypeError("a TorchScript module keeps its parameters; give the module that it was made from")
        for table in (part._parameters, part._buffers):
            places += [(table, key, tensor) for key, tensor in table.items() if tensor is not None and id(tensor) in new]
    try:
        for table, key, tensor in places:
            table[key] = new[id(tensor)]
        yield
    finally:
        for table, key, tensor in places:
            table[key] = tensor


def with_parameters_of(home: nn.Module, network: nn.Module, call: Callable[[], Result]) -> Result:
    """call(), in which `home` has the parameters, the buffers and the modes of `network`.

    For code that closes over `home`, or over parts of it, and is to be evaluated for a copy of it: in float64, or with other
    parameters. Gradients reach the parameters of `network`. `home` is as before when it returns.

    Raises `ForeignNetworkError` where `network` is not a copy of `home`, of the same class and with tensors of the same names
    and shapes: what such code would compute for it is not known.

    >>> from copy import deepcopy
    >>> home = nn.Linear(1, 1)
    >>> other = deepcopy(home).double()
    >>> with_parameters_of(home, other, lambda: home(torch.ones(1, 1, dtype=torch.float64))).dtype
    torch.float64
    """
    if network is home:
        return call()
    state = _tensors(network)
    if type(network) is not type(home) or _shapes(state) != _shapes(_tensors(home)):
        part = ", which is only a part of it," if any(network is module for module in home.modules()) else ""
        raise ForeignNetworkError(
            f"the errors of this problem are computed for its own network, a {type(home).__name__}, or a copy of it, and a "
            f"{type(network).__name__}{part} was given: give the network that wrap, from_model or from_solver returned with "
            "the problem"
        )
    with _modes_of(home, network), tensors_in_place(home, state):
        return call()


def _tensors(module: nn.Module) -> dict[str, Tensor]:
    return dict((*module.named_parameters(), *module.named_buffers()))


def _shapes(tensors: dict[str, Tensor]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in tensors.items()}


@contextmanager
def _modes_of(home: nn.Module, network: nn.Module) -> Iterator[None]:
    """Training or evaluation, module by module."""
    before = [(module, module.training) for module in home.modules()]
    try:
        for (module, _), other in zip(before, network.modules(), strict=True):
            module.training = other.training
        yield
    finally:
        for module, mode in before:
            module.training = mode
