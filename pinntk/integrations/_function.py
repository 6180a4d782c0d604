"""Errors that a function of the user's computes from a model that it closes over."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from pinntk._util.stand_in import with_parameters_of
from pinntk.integrations._forms import Form, as_columns
from pinntk.residuals import ForeignError
from pinntk.residuals._fields import without_compile

ROW = "row of the given points"  # the column by which points are known that are evaluated all together
MOST_ROWS = 2**24  # whose numbers float32 holds


class ErrorFunction:
    """`errors` of a `ForeignCondition`, (n, k), by a function that closes over a network's model.

    network: at home, in whose model the parameters of another are put for a call
    """

    def __init__(self, name: str, function: Callable[..., Any], form: Form, network: nn.Module):
        self.name, self.function, self.form, self.network = name, function, form, network

    def __call__(self, network: nn.Module, points: Tensor) -> Tensor:
        return with_parameters_of(self.network, network, lambda: self.at_home(points))

    def at_home(self, points: Tensor) -> Tensor:
        """For the network at home, (n, k)."""
        with without_compile(self.network), torch.enable_grad():
            returned = self.form.call(self.function, points[:, : self.form.dimension], leaves=True)
        return as_columns(f"the function of {self.name!r}", returned, len(points))


class WholeFunction:
    """The same of a function that computes the errors of all its points at once, such as one that closes over measured values
    at them: it is evaluated on all, whatever rows are asked for.

    points: all of them, (n, d); a row that is asked for has its number behind its coordinates
    """

    def __init__(self, errors: ErrorFunction, points: Tensor):
        self.errors, self.points = errors, points.detach().clone()

    def __call__(self, network: nn.Module, points: Tensor) -> Tensor:
        places = self._places(points)
        every = self.errors(network, self.points.to(points.device, points.dtype))
        return every[places]

    def owners(self, points: Tensor) -> Tensor:
        """Which of the errors asked for each of all points has, -1 for none."""
        places = self._places(points)
        found = torch.full((len(self.points),), -1, device=points.device)
        found[places] = torch.arange(len(places), device=points.device)
        return found

    def _places(self, points: Tensor) -> Tensor:
        places = points[:, -1].long()
        known = (places >= 0) & (places < len(self.points)) & (points[:, -1] == places)
        if bool(known.all()):
            own = self.points.to(points.device, points.dtype)[places]
            known = ((points[:, :-1] - own).abs() <= 1e-5 * (1 + own.abs())).all(1)
        if not bool(known.all()):
            raise ForeignError(
                f"the function of {self.errors.name!r} computes the errors of all its points at once, and knows those only "
                "that it was wrapped with; give rows of them, as problem.sample() does"
            )
        return places
