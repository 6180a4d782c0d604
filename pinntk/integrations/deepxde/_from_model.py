"""`from_model`: a DeepXDE model as a network, a problem and points."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import deepxde as dde
import numpy as np
import torch
from torch import Tensor, nn

from pinntk.integrations._undeclared import say_undeclared
from pinntk.integrations.deepxde._conditions import COMPONENT, VALUE, condition_errors, equation_errors, pair_owners
from pinntk.integrations.deepxde._errors import Block, evaluate, require_mean_squares
from pinntk.integrations.deepxde._geometry import box_of, condition_region, equation_region
from pinntk.integrations.deepxde._model import require_model, untouched
from pinntk.problem import Box, ForeignCondition, GridSolution, PointSet, Problem
from pinntk.residuals import errors

_KINDS = {  # of which every other condition is a "boundary" one
    dde.icbc.IC: "initial",
    dde.icbc.PeriodicBC: "periodic",
    dde.icbc.PointSetBC: "data",
    dde.icbc.PointSetOperatorBC: "data",
}
_PAIRS = (dde.icbc.PeriodicBC, dde.icbc.Interface2DBC)


def from_model(model: Any) -> tuple[nn.Module, Problem, dict[str, Tensor]]:
    """(network, problem, points) of a compiled `dde.Model`, for everything else in pinntk.

        network, problem, points = from_model(model)
        pinntk.kernel(network, problem, points), pinntk.diagnose(network, problem, points)

    Every equation is a condition named pde (pde_1, pde_2 of a system), every boundary condition one named after its class
    (DirichletBC; DirichletBC_1, DirichletBC_2 where there are several), in DeepXDE's order of losses. They are DeepXDE's own
    code, evaluated at any points and for copies of the network, by automatic differentiation.

    points: those of the training, {condition: (n, d)}; a PointSetBC's values ride along as a column, and the component of the
        output they are of. Fresh ones come from DeepXDE's geometry: `problem.sample()`
    problem: coordinates are x, y, z and t, the last one; fields u, or u0, u1, ... as in y[:, 0:1]; coefficients are the
        external trainable variables, variable_1, variable_2, ..., shared with the model; the solution is the one that
        `dde.data` was given, at the test points

    Raises ValueError for a model that `NTKWeighting` would refuse, for integral and fractional equations, and for errors that
    depend on which other points are in the batch.
    """
    require_model(model, "from_model")
    data = model.data
    if type(data).losses is not dde.data.PDE.losses or type(data).losses_train is not dde.data.data.Data.losses_train:
        raise ValueError(
            f"from_model works on dde.data.PDE and TimePDE, and a {type(data).__name__} has errors that use more points than "
            "their own; NTKWeighting works on it"
        )
    with untouched(model):
        blocks = evaluate(model)
        require_mean_squares(model, blocks)
        conditions, points = _conditions(model, blocks), training_points(model, blocks)
        problem = Problem(
            conditions[0].region.domain,
            conditions,
            fields=_fields(model),
            reference=_reference(model),
            coefficients=_coefficients(model),
            name="DeepXDE model",
        )
        _require_errors_of_batch(model, problem, points, blocks)
        say_undeclared(
            model.net,
            problem,
            points,
            "Where it is to be trained: model.compile(..., external_trainable_variables=[...]), or as a part of model.net",
        )
    return model.net, problem, points


def training_points(model: Any, blocks: Sequence[Block]) -> dict[str, Tensor]:
    """The points of `from_model`, as they are now: {condition: (n, d)}."""
    like = next(model.net.parameters())
    spans, number = _spans(model), len(blocks) - len(model.data.bcs)
    points = dict.fromkeys((block.name for block in blocks[:number]), torch.as_tensor(spans[-1]).to(like))
    for block, bc, given in zip(blocks[number:], model.data.bcs, spans[:-1], strict=True):
        points[block.name] = torch.as_tensor(_rows(bc, given)).to(like)
    return points


def _conditions(model: Any, blocks: Sequence[Block]) -> list[ForeignCondition]:
    data, spans = model.data, _spans(model)
    box = box_of(data.geom, [np.asarray(data.train_x)])
    number = len(blocks) - len(data.bcs)
    conditions: list[ForeignCondition] = []
    if number:
        region, equations = equation_region(data.geom, box, spans[-1]), equation_errors(model)
        conditions += [
            ForeignCondition(block.name, "residual", region, equations, column) for column, block in enumerate(blocks[:number])
        ]
    for block, bc, given in zip(blocks[number:], data.bcs, spans[:-1], strict=True):
        region = _region(bc, data.geom, box, given)
        kind = next((kind for of, kind in _KINDS.items() if isinstance(bc, of)), "boundary")
        owners = pair_owners if isinstance(bc, _PAIRS) else None
        code = condition_errors(model, bc, box.dimension)
        conditions.append(ForeignCondition(block.name, kind, region, code, owners=owners))
    return conditions


def _spans(model: Any) -> list[np.ndarray]:
    """The rows of the batch that each condition has, and last those of the equations."""
    x = np.asarray(model.data.train_x)
    starts = np.cumsum([0, *model.data.num_bcs]).tolist()
    return [x[start:stop] for start, stop in pairwise([*starts, len(x)])]


def _region(bc: Any, geometry: Any, box: Box, given: np.ndarray) -> PointSet:
    d, names = box.dimension, [VALUE, COMPONENT]
    if isinstance(bc, (dde.icbc.PointSetBC, dde.icbc.PointSetOperatorBC)):
        rows = _measured(bc, bc.points, slice(None))
    elif isinstance(bc, dde.icbc.Interface2DBC):
        rows, names = _rows(bc, given), [f"other_{name}" for name in box.coordinates]
    else:
        return condition_region(bc, geometry, box, _rows(bc, given))
    return PointSet(box, rows[:, :d], dict(zip(names, rows[:, d:].T, strict=False)))


def _rows(bc: Any, given: np.ndarray) -> np.ndarray:
    """A condition's points of those rows of the batch, with what rides along."""
    if isinstance(bc, (dde.icbc.PointSetBC, dde.icbc.PointSetOperatorBC)):
        return _measured(bc, given, slice(None) if bc.batch_size is None else bc.batch_indices)
    if isinstance(bc, dde.icbc.Interface2DBC):
        return np.hstack(np.split(given, 2))
    return np.split(given, 2)[0] if isinstance(bc, dde.icbc.PeriodicBC) else given


def _measured(bc: Any, points: np.ndarray, which: Any) -> np.ndarray:
    """Rows (coordinates, value, and of a PointSetBC the component), one for each measured component of each point."""
    operator = isinstance(bc, dde.icbc.PointSetOperatorBC)
    component = 0 if operator else bc.component
    components = list(component) if isinstance(component, (list, tuple)) else [component]
    values = bc.values.detach().cpu().numpy()
    values = values[which] if values.ndim else values
    values = np.broadcast_to(values.reshape(-1, 1) if values.ndim == 1 else values, (len(points), len(components)))
    parts = [np.column_stack([points, values[:, i], np.full(len(points), c)]) for i, c in enumerate(components)]
    rows = np.stack(parts, axis=1).reshape(-1, points.shape[1] + 2)
    return rows[:, :-1] if operator else rows


def _fields(model: Any) -> tuple[str, ...]:
    with torch.no_grad():
        outputs = model.net(torch.as_tensor(model.data.train_x[:1])).shape[1]
    return ("u",) if outputs == 1 else tuple(f"u{i}" for i in range(outputs))


def _reference(model: Any) -> Any:
    """The known solution at DeepXDE's test points, if it is one of all fields."""
    data = model.data
    if data.soln is None:
        return None
    x, y = data.test()[:2]
    if np.shape(y) != (len(x), len(_fields(model))):
        return None
    first = np.unique(x, axis=0, return_index=True)[1]  # points of conditions come twice; in 1D they are sorted for curves
    x, y = (np.asarray(rows, dtype=float)[first] for rows in (x, y))
    return lambda: GridSolution((x,), y)


def _coefficients(model: Any) -> dict[str, nn.Parameter]:
    found: dict[str, Any] = {}
    for number, variable in enumerate(model.external_trainable_variables, start=1):
        if variable.ndim:
            raise ValueError(
                f"from_model: external variable {number} has shape {tuple(variable.shape)}; a problem's coefficients are "
                "numbers: use one dde.Variable for each"
            )
        variable._is_param = True  # so that torch takes the leaf tensor itself for an nn.Parameter, and not a copy
        found[f"variable_{number}"] = variable
    return found


def _require_errors_of_batch(model: Any, problem: Problem, points: dict[str, Tensor], blocks: Sequence[Block]) -> None:
    """Raises ValueError where errors on a condition's own points are not those in the batch of all points."""
    found = errors(model.net, problem, points)
    for block in blocks:
        mine, theirs = found[block.name].detach().double(), block.errors.detach().double().flatten()
        off = float((mine - theirs).norm() / theirs.norm().clamp_min(1e-30))
        scale = 1e4 * torch.finfo(block.errors.dtype).eps
        size = float(theirs.abs().max())
        if off > scale and float((mine - theirs).abs().max()) > scale * max(size, 1.0):
            raise ValueError(
                f"the errors of {block.name} depend on which other points are in the batch (by {off:.1e}); pinntk needs them "
                "point by point. NTKWeighting works on the batch as it is"
            )
