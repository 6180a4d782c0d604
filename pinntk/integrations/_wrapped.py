"""A model of the user's as a network: from (n, d) points to (n, fields) values."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from pinntk._util.stand_in import with_parameters_of
from pinntk.integrations._forms import Form


class Reference:
    """To a module, from within a copy of it as well; it neither holds nor copies it."""

    def __init__(self, module: nn.Module):
        self._of = weakref.ref(module)

    def __deepcopy__(self, memo: object) -> Reference:
        return self

    def __call__(self) -> nn.Module:
        module = self._of()
        if module is None:
            raise RuntimeError("the network that pinntk.wrap returned is gone, and this copy of it evaluates a function of it")
        return module


class Wrapped(nn.Module):
    """A `model` as a network; its parameters are the model's own.

    form: how the model, or `output`, takes points
    output: what the fields are, where that is not what the model returns; a function that closes over it
    coefficients: of the problem; those that the model holds among its parameters are none of the network's
    """

    def __init__(
        self,
        model: nn.Module,
        form: Form,
        output: Callable[..., Any] | None = None,
        coefficients: Iterable[nn.Parameter] = (),
    ):
        super().__init__()
        self.model, self.form, self.output = model, form, output
        self.home = Reference(self)
        known = {id(value) for value in coefficients}
        self.not_its_own = frozenset(name for name, p in super().named_parameters() if id(p) in known)

    def named_parameters(self, *args: Any, **kwargs: Any) -> Iterator[tuple[str, nn.Parameter]]:
        """As of any module, without the problem's coefficients: copies of the network have the same ones."""
        return ((name, p) for name, p in super().named_parameters(*args, **kwargs) if name not in self.not_its_own)

    def forward(self, points: Tensor) -> Tensor:
        if self.output is None:
            return values_of(self.form.call(self.model, points))
        function = self.output
        return with_parameters_of(self.home(), self, lambda: values_of(self.form.call(function, points)))


def values_of(returned: Any) -> Tensor:
    """(n, fields) of what a model returned: one tensor, or several in a tuple or a dictionary."""
    returned = tuple(returned.values()) if isinstance(returned, Mapping) else returned
    if isinstance(returned, (tuple, list)):
        return torch.cat([part if part.ndim > 1 else part.unsqueeze(1) for part in returned], 1)
    return returned.unsqueeze(1) if returned.ndim == 1 else returned
