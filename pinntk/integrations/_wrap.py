"""`pinntk.wrap`: a PINN in plain PyTorch as a network, a problem and points, for everything else of this package."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pinntk._util.precision import empty_like, without_autocast
from pinntk.geometry._sampling import generator
from pinntk.integrations._forms import Form, argument_count, argument_names, column_names, whole_form
from pinntk.integrations._function import MOST_ROWS, ROW, ErrorFunction, WholeFunction
from pinntk.integrations._given import Given, read_conditions, shown
from pinntk.integrations._wrap_checks import (
    check_coefficients,
    check_copies,
    check_model,
    probe_function,
    say_unread,
    say_unused_points,
)
from pinntk.integrations._wrap_columns import check_names, check_order
from pinntk.integrations._wrapped import Wrapped, values_of
from pinntk.problem import Box, ForeignCondition, PointSet, Problem, Region
from pinntk.problem._arguments import Vocabulary
from pinntk.residuals import check_network

_PROBED = 16  # points of a region on which a function is tried
_NO_NAMES = ("input", "inputs", "points", "self", "args")  # arguments that are no coordinates


@without_autocast
def wrap(
    model: nn.Module,
    conditions: Mapping[str, tuple[Callable[..., Any], Any, str]],
    domain: Box | None = None,
    coefficients: Mapping[str, nn.Parameter] = MappingProxyType({}),
    *,
    fields: str | Sequence[str] | None = None,
    output: Callable[..., Any] | None = None,
    exact: Callable[..., Any] | None = None,
    name: str = "problem",
) -> tuple[Wrapped, Problem, dict[str, Tensor]]:
    """A model in plain PyTorch, and the functions of its losses, as (network, problem, points).

    With these work `kernel`, `KernelOperator`, `traces`, `posterior`, `errors`, `train` and its solvers, `examine`, `diagnose`,
    the report and `rescue`. The model and its functions stay as they are; training the network trains the model.

    model: a torch.nn.Module
    conditions: {name: (function, points, kind)}
        function: of the points to the errors before they are squared, (n,), (n, 1), or (n, k) or a tuple of k for k equations,
            which become the conditions name[0], name[1], ... It closes over the model and differentiates by torch.autograd.grad
        points: a tensor (n, d), or a tuple of columns (x, t), which the function then gets as function(x, t); or a region from
            which any number of fresh points is drawn: a `Box`, faces of one, a `pinntk.problem.PointSet` with `draw`.
            The function gets copies that require gradients
        kind: "residual", "boundary", "initial", "periodic" or "data"
    domain: where the solution lives, its coordinates in the order of the columns; fresh points of residuals are drawn from it.
        Without one it is the box around the points, and all points are those that are given
    coefficients: unknown numbers of an inverse problem, by name: parameters that the functions close over, or the model's own
    fields: names of the model's outputs; u, or u1, u2, ... unless given
    output: what the fields are, a function of the points like those of the conditions, where that is not what the model returns
    exact: the exact solution, as of a `Problem`

    A function that cannot compute the errors of some of its points alone, such as one that closes over measured values at all
    of them, is always evaluated on all. For a copy of the network (in float64, or with other parameters) the functions are
    evaluated with the copy's parameters in the model.

    Raises TypeError and ValueError for what is no such model, function or points, with what to change: dropout in training
    mode, one number in place of errors, half precision, functions that no parameter of the model reaches, or that read its
    parameters past it, or parameters of another network or of none; (n, n) errors of an (n, 1) and an (n,); arguments in
    another order than the coordinates. Warns of functions that cannot be evaluated in float64, of points that they do not use,
    of errors that are squares, and of coefficients that no function reads.

    >>> import torch, pinntk
    >>> model = nn.Sequential(nn.Linear(1, 8), nn.Tanh(), nn.Linear(8, 1))
    >>> def pde(x):
    ...     u_x = torch.autograd.grad(model(x).sum(), x, create_graph=True)[0]
    ...     return torch.autograd.grad(u_x.sum(), x, create_graph=True)[0] + 2
    >>> x, ends = torch.linspace(0, 1, 20).unsqueeze(1), torch.tensor([[0.0], [1.0]])
    >>> network, problem, points = wrap(model, {"pde": (pde, x, "residual"), "ends": (model, ends, "boundary")})
    >>> pinntk.kernel(network, problem, points).sizes
    (20, 2)
    """
    check_model(model)
    check_coefficients(coefficients)
    given = read_conditions(conditions)
    box = _domain(domain, given)
    check_order(given, box)
    network, count = _network(model, output, given, box, tuple(coefficients.values()))
    made, points = _conditions(network, given, box, domain is not None, coefficients)
    problem = Problem(box, made, _fields(fields, count), exact, coefficients=dict(coefficients), name=name)
    drawn = problem.sample(dtype=next(iter(points.values())).dtype if points else None)
    points = {name: points.get(name, drawn[name]) for name in problem.names}
    problem.check(points)
    check_network(network, problem, points)
    check_copies(network, problem, points)
    return network, problem, points


def _domain(domain: Box | None, given: Mapping[str, Given]) -> Box:
    """The given one, or the box around all points."""
    if domain is not None and not isinstance(domain, Box):
        raise TypeError(f"domain is a {type(domain).__name__}; give a pinntk.Box, as in Box(t=(0, 1), x=(-1, 1))")
    regions = [one.region for one in given.values() if one.region is not None]
    known = domain if domain is not None else regions[0].domain if regions else None
    dimension = known.dimension if known is not None else next(iter(given.values())).form.dimension
    for one in given.values():
        if one.form.dimension != dimension:
            where = "the domain" if known is not None else f"{next(iter(given))!r}"
            raise ValueError(
                f"conditions[{one.name!r}]: points have {one.form.dimension} columns, and {where} has {dimension}; give the "
                "same coordinates for all, and let the function close over what else belongs to a point"
            )
    if known is not None:
        return known
    rows = np.concatenate([one.points.double().cpu().numpy() for one in given.values() if one.points is not None])
    low, high = rows.min(0), rows.max(0)
    flat = high <= low
    low, high = np.where(flat, low - 0.5, low), np.where(flat, high + 0.5, high)
    names = next((one.coordinates for one in given.values() if _are_names(one.coordinates)), None)
    names = names or (("x",) if dimension == 1 else tuple(f"x{number}" for number in range(1, dimension + 1)))
    return Box(**{key: (float(a), float(b)) for key, a, b in zip(names, low, high, strict=True)})


def _are_names(names: tuple[str, ...] | None) -> bool:
    if not names or set(names) & set(_NO_NAMES):
        return False
    try:
        Vocabulary(names, ("u",))
    except ValueError:
        return False
    return True


def _network(
    model: nn.Module,
    output: Callable[..., Any] | None,
    given: Mapping[str, Given],
    box: Box,
    coefficients: Sequence[nn.Parameter],
) -> tuple[Wrapped, int]:
    """The model as a network, called as it takes points, and the number of its fields."""
    function = model if output is None else output
    count = argument_count(model.forward if output is None else output)
    d = box.dimension
    forms = [one.form for one in given.values() if count == len(one.form.widths) > 1 and not one.form.packed]
    forms = [*forms[:1], whole_form(d), Form((1,) * d, (False,) * d), Form((d,), (d == 1,))]
    places = np.array([[0.3], [0.6]]) * np.ones(d)
    rows = torch.as_tensor(box.low + (box.high - box.low) * places)
    like = empty_like(model)
    rows = rows if like is None else rows.to(like)
    reasons = []
    for form in forms:
        try:
            with torch.no_grad():
                values = values_of(form.call(function, rows))
        except Exception as failure:  # whatever a model does with what it does not take
            reasons.append(f"{type(failure).__name__}: {(str(failure).splitlines() or [''])[0]}")
            continue
        if isinstance(values, Tensor) and values.ndim == 2 and len(values) == 2 and values.is_floating_point():
            if len(form.widths) == d > 1:
                own = argument_names(model.forward if output is None else output)
                check_names("the model" if output is None else "output", own, box)
            return Wrapped(model, form, output, coefficients), values.shape[1]
        reasons.append(f"it returned {shown(values)} for 2 points")
    what = "the model" if output is None else "output"
    raise ValueError(
        f"{what} gives no real values (n, fields) at points (n, {d}) of {box.coordinates}: {reasons[0]}. Give output=, a "
        "function that does, of the points like those of the conditions"
    )


def _fields(fields: str | Sequence[str] | None, count: int) -> tuple[str, ...]:
    if fields is None:
        return ("u",) if count == 1 else tuple(f"u{number}" for number in range(1, count + 1))
    names = (fields,) if isinstance(fields, str) else tuple(fields)
    if len(names) != count:
        raise ValueError(f"fields={names}: the model has {count} outputs; name each, in their order")
    return names


def _conditions(
    network: Wrapped, given: Mapping[str, Given], box: Box, known: bool, coefficients: Mapping[str, nn.Parameter]
) -> tuple[list[ForeignCondition], dict[str, Tensor]]:
    """Conditions, and the points of those that have any. known: whether the domain was given, so that fresh points of it are
    points of residuals too
    """
    shared: dict[tuple, tuple[Region, Tensor | None]] = {}
    made: list[ForeignCondition] = []
    points: dict[str, Tensor] = {}
    read: set[str] = set()
    like = empty_like(network)
    for one in given.values():
        rows = one.points
        if rows is None:
            assert one.region is not None
            rows = torch.as_tensor(one.region.sample(_PROBED, "uniform", generator(0, "wrap")))
        errors = ErrorFunction(one.name, one.function, one.form, network)
        tried = rows if like is None else rows.to(like)
        columns, whole, reads = probe_function(errors, tried, coefficients)
        read |= reads
        if whole and one.points is None:
            raise ValueError(
                f"the function of {one.name!r} computes the errors of all its points at once, or at points of its own, and "
                "cannot be asked at fresh ones of a region; give its points as a tensor"
            )
        fresh = known and one.kind == "residual" and not whole and _all_in(box, rows)
        key = (*one.key, whole, fresh)
        if key not in shared:
            shared[key] = _region(one, rows, box, whole, fresh)
        code: ErrorFunction | WholeFunction = errors
        owners = None
        if whole:
            say_unused_points(errors, tried, box)
            code = WholeFunction(errors, rows)
            owners = code.owners
        region, placed = shared[key]
        names = column_names(one.name, columns)
        made += [ForeignCondition(name, one.kind, region, code, column, owners) for column, name in enumerate(names)]
        if placed is not None:
            points |= dict.fromkeys(names, placed)
    say_unread(coefficients, read)
    return made, points


def _all_in(box: Box, rows: Tensor) -> bool:
    return bool((box.distance(rows.double().cpu().numpy()) <= 1e-5).all())


def _region(one: Given, rows: Tensor, box: Box, whole: bool, fresh: bool) -> tuple[Region, Tensor | None]:
    """Where a condition holds, and its points there; None for those that are drawn."""
    if one.region is not None:
        return one.region, None
    if not whole:
        return (box if fresh else PointSet(box, rows)), rows
    if len(rows) > MOST_ROWS:
        raise ValueError(f"conditions[{one.name!r}]: {len(rows)} points that are evaluated all at once; at most {MOST_ROWS}")
    numbers = torch.arange(len(rows), device=rows.device)
    return PointSet(box, rows, {ROW: numbers}), torch.cat([rows, numbers.unsqueeze(1).to(rows)], 1)
