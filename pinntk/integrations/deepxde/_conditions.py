"""The errors of a DeepXDE model's equations and conditions at any points, for any copy of its network."""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from typing import Any

import deepxde as dde
import numpy as np
import torch
from deepxde import gradients
from torch import Tensor, nn

from pinntk.problem import ForeignNetworkError, with_parameters_of
from pinntk.residuals._checks import reaches

VALUE, COMPONENT = "value", "component"  # columns that ride along with measured points
Errors = Callable[[nn.Module, Tensor], Tensor]


def equation_errors(model: Any) -> Errors:
    """(network, points (n, d)) -> (n, k), the residuals of all k equations."""
    data = model.data

    def code(network: nn.Module, points: Tensor) -> Tensor:
        inputs = points.requires_grad_()
        outputs = network(inputs)
        given: Any = (outputs, network) if dde.config.autodiff == "forward" else outputs
        if data.auxiliary_var_fn is None:
            found = data.pde(inputs, given)
        else:
            auxiliary = np.asarray(data.auxiliary_var_fn(_array(points)), dtype=dde.config.real(np))
            found = data.pde(inputs, given, torch.as_tensor(auxiliary))
        found = list(found) if isinstance(found, (list, tuple)) else [found]
        return torch.cat([_column(f"equation {i}", e) for i, e in enumerate(found, start=1)], dim=1)

    return _for_copies(model, code)


def condition_errors(model: Any, bc: Any, d: int) -> Errors:
    """(network, points (n, d + columns)) -> (n,), of one condition."""
    own = _uncached(bc)

    def code(network: nn.Module, points: Tensor) -> Tensor:
        rows, columns = points[:, :d], points[:, d:]
        partner = partners(bc, rows, columns)
        inputs = (rows if partner is None else torch.cat([rows, partner])).requires_grad_()
        outputs, x = network(inputs), _array(inputs)
        if isinstance(bc, dde.icbc.PointSetBC):
            return outputs.gather(1, columns[:, 1:].round().long()).squeeze(1) - columns[:, 0]
        if isinstance(bc, dde.icbc.PointSetOperatorBC):
            own.values = columns
        return _column(type(bc).__name__, own.error(x, inputs, outputs, 0, len(inputs))).squeeze(1)

    return _for_copies(model, code)


def partners(bc: Any, rows: Tensor, columns: Tensor) -> Tensor | None:
    """(n, d) the other point of each error, of a condition on pairs of points; None for one on single ones."""
    if isinstance(bc, dde.icbc.PeriodicBC):
        return torch.as_tensor(bc.geom.periodic_point(_array(rows), bc.component_x)).to(rows)
    return columns if isinstance(bc, dde.icbc.Interface2DBC) else None


def pair_owners(points: Tensor) -> Tensor:
    """Which error each row of a batch of pairs belongs to, (2 n,)."""
    return torch.arange(len(points), device=points.device).repeat(2)


def _for_copies(model: Any, code: Errors) -> Errors:
    """`code` for the model's network, for copies of it, and for other networks where it asks for none in particular."""
    home = model.net

    def errors(network: nn.Module, points: Tensor) -> Tensor:
        gradients.clear()
        try:
            try:
                return with_parameters_of(home, network, lambda: code(home, points))
            except ForeignNetworkError:
                e = code(network, points)
                _require_free_of(home, network, e)
                return e
        finally:
            gradients.clear()

    return errors


def _require_free_of(home: nn.Module, network: nn.Module, e: Tensor) -> None:
    """Raises ForeignNetworkError where errors of another network depend on the parameters of the model's own."""
    if reaches(e, [p for p in home.parameters() if p.requires_grad]):
        raise ForeignNetworkError(
            f"the PDE uses model.net by itself, so its errors for a {type(network).__name__} are not known; write it with "
            "its arguments (x, y) alone"
        )


def forget_replaced(model: Any, known: np.ndarray | None) -> np.ndarray:
    """The model's training points; where they are no longer those known, conditions have values of the new ones from now on.

    DeepXDE keeps values and normals by the id of the array, which another array may get when points are drawn again.
    """
    x = model.data.train_x
    if known is not None and x is not known:
        for bc in model.data.bcs:
            for value in _cached(bc).values():
                value.__closure__[value.__code__.co_freevars.index("cache")].cell_contents.clear()
    return x


def _cached(bc: Any) -> dict[str, Any]:
    """{attribute: function of points}, of those whose values DeepXDE keeps."""
    codes = {name: getattr(value, "__code__", None) for name, value in vars(bc).items()}
    return {
        name: vars(bc)[name]
        for name, code in codes.items()
        if code is not None
        and code.co_name == "wrapper_cache"
        and "cache" in code.co_freevars
        and hasattr(vars(bc)[name], "__wrapped__")
    }


def _uncached(bc: Any) -> Any:
    """A copy whose values and normals are computed anew."""
    own = copy(bc)
    for name, value in _cached(bc).items():
        setattr(own, name, _plain(value.__wrapped__))
    if isinstance(bc, dde.icbc.PointSetOperatorBC):
        own.batch_size = None
    return own


def _plain(function: Callable[[np.ndarray], Tensor]) -> Callable[..., Tensor]:
    return lambda x, start, stop, _: function(x[start:stop])


def _array(points: Tensor) -> np.ndarray:
    """As DeepXDE's functions of coordinates expect them: in its precision, whose rounding their comparisons know."""
    return np.asarray(points.detach().cpu().numpy(), dtype=dde.config.real(np))


def _column(name: str, e: Tensor) -> Tensor:
    """(n, 1)."""
    e = e.unsqueeze(1) if e.ndim == 1 else e
    if e.ndim != 2 or e.shape[1] != 1:
        raise ValueError(f"{name} has errors of shape {tuple(e.shape)}; return (n, 1), and several equations as a list")
    return e
