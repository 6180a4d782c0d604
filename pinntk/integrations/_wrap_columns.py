"""Columns that are not what they seem: of errors, (n, n) from an (n, 1) and an (n,); of points, in another order than named."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from pinntk._util.warn import warn_user
from pinntk.geometry._bounded import TIME
from pinntk.integrations._forms import MOST_EQUATIONS
from pinntk.integrations._function import ErrorFunction
from pinntk.integrations._given import Given
from pinntk.problem import Box
from pinntk.residuals import ForeignError

_CONSTANT = 1e-6  # of the extent of a coordinate


def check_columns(function: ErrorFunction, points: Tensor, e: Tensor, parameters: Sequence[Tensor]) -> None:
    """Raises ForeignError where errors (n, k) are those of every point once for each point, as of u (n, 1) - target (n,).

    They are where k changes with the number of points, where it is n and columns differ by numbers alone, and where it is n
    and large. Warns where columns differ by numbers alone and are not n.
    """
    n, k = e.shape
    if n < 2 or k < 2:
        return
    numbers = e.requires_grad and _differ_by_numbers(e, parameters)
    if _columns_at(function, points[::2], k) != k or (k == n and (numbers or k > MOST_EQUATIONS)):
        many = f"; if these are {n} equations, give another number of points" if k == n and not numbers else ""
        raise ForeignError(
            f"the function of {function.name!r} returned {k} errors for each of {n} points: an (n, 1) met an (n,), and "
            f"broadcasting made (n, n) of them. Make both (n, 1), by target.unsqueeze(1) or u_x[:, 0:1]{many}"
        )
    if numbers:
        warn_user(
            f"the function of {function.name!r} returned {k} errors for each point that differ by numbers alone, and are taken "
            "for equations; where an (n, 1) met a tensor of another shape, make that (n, 1)"
        )


def _columns_at(function: ErrorFunction, points: Tensor, otherwise: int) -> int:
    """Of its errors at fewer points; `otherwise` where it needs all of them."""
    try:
        return function.at_home(points).shape[1]
    except Exception:  # whatever it raises without the other points
        return otherwise


def _differ_by_numbers(e: Tensor, parameters: Sequence[Tensor]) -> bool:
    """Whether no parameter reaches the differences between columns of e, (n, k)."""
    generator = torch.Generator().manual_seed(0)
    rows, columns = (torch.rand(size, generator=generator, dtype=torch.float64) + 0.5 for size in e.shape)
    columns[1::2] *= -1
    columns[0] -= columns.sum()
    sizes = []
    for seeds in (columns, columns.abs()):
        seed = (rows[:, None] * seeds).to(e)
        found = torch.autograd.grad(e, parameters, seed, retain_graph=True, allow_unused=True)
        sizes.append(sum(float(g.double().square().sum()) for g in found if g is not None) ** 0.5)
    return sizes[0] <= torch.finfo(e.dtype).eps ** 0.5 * sizes[1] and sizes[1] > 0


def check_order(given: Mapping[str, Given], box: Box) -> None:
    """Raises ValueError where a function's arguments are the coordinates in another order; warns of initial points at several
    times and one place.
    """
    for one in given.values():
        check_names(f"conditions[{one.name!r}]: its function", one.coordinates, box)
        if one.kind != "initial" or one.points is None or TIME not in box.coordinates or len(one.points) < 2:
            continue
        rows = one.points.double()
        size = torch.as_tensor(box.high - box.low).to(rows)
        constant = (rows.amax(0) - rows.amin(0) <= _CONSTANT * size).tolist()
        fixed = [name for name, still in zip(box.coordinates, constant, strict=True) if still]
        if fixed and TIME not in fixed:
            warn_user(
                f"conditions[{one.name!r}] is initial, and its points have several t and one {fixed[0]}: columns are taken in "
                f"the domain's order {box.coordinates}; name the coordinates in the order of the columns"
            )


def check_names(what: str, names: Sequence[str] | None, box: Box) -> None:
    """Raises ValueError where names are those of the coordinates in another order."""
    if names is not None and tuple(names) != box.coordinates and sorted(names) == sorted(box.coordinates):
        taken = ", ".join(names)
        raise ValueError(
            f"{what} takes ({taken}), and the coordinates are ({', '.join(box.coordinates)}), in the order of the columns; "
            "name them in one order, in the domain, the points and the functions"
        )
