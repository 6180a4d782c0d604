"""Code that closes over a network, evaluated for another one: with the other's parameters in the place of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from torch import Tensor, nn
from torch.func import functional_call

Result = TypeVar("Result")


class ForeignNetworkError(TypeError):
    """Foreign code cannot compute the errors of this network."""


def with_parameters_of(home: nn.Module, network: nn.Module, call: Callable[[], Result]) -> Result:
    """call(), in which `home` has the parameters, the buffers and the modes of `network`.

    For code that closes over `home`, or over parts of it, and is to be evaluated for a copy of it: in float64, or with other
    parameters. Gradients reach the parameters of `network`. `home` is as before when it returns.

    Raises `ForeignNetworkError` where `network` is not a copy of `home`, of the same class and with tensors of the same names
    and shapes: what such code would compute for it is not known.

    >>> import torch
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
        raise ForeignNetworkError(
            f"a {type(network).__name__} stands where foreign code computes errors of a {type(home).__name__} that it closes "
            "over: give that network, or a copy of it"
        )
    with _modes_of(home, network):
        return functional_call(_Call(home, call), {f"home.{name}": tensor for name, tensor in state.items()}, ())


class _Call(nn.Module):
    """A call as a module that holds the one whose parameters it uses."""

    def __init__(self, home: nn.Module, call: Callable[[], Any]):
        super().__init__()
        self.home, self.call = home, call

    def forward(self) -> Any:
        return self.call()


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
