"""`joint_factors`: the Jacobians of several error vectors on different rows of one batch, in one backward pass."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor

from pinntk.ntk._factored import Factors, Origin
from pinntk.ntk.graph._read import FEW, leaf_parameters, read, read_by
from pinntk.ntk.graph._reverse import size_of
from pinntk.ntk.graph._walk import UnstructuredError


class Errors(NamedTuple):
    """An error vector of a batch of points.

    errors: (n,) with their graph, or without one where nothing trained reaches them
    rows: (m,) which error each row of the batch of m belongs to, -1 for none; None where that is not known
    """

    name: str
    errors: Tensor
    rows: Tensor | None


def joint_factors(columns: Sequence[Errors], parameters: Mapping[str, Tensor], certify: bool = True) -> list[Factors]:
    """J of every error vector, in order.

    Vectors whose rows of the batch are disjoint, such as those of boundary conditions and a residual, are one longer
    vector, and are read from the graph in one pass; a row that several of them use, such as the point of a system of
    equations, has one pass for each. What cannot be read so is read by itself, as by `graph_factors`.

    certify: False where such vectors, of the same code and the same numbers of points, have passed their certificates
    """
    theta = leaf_parameters(parameters)
    found: dict[int, Factors] = {}
    with torch.enable_grad():
        for group in _groups(columns):
            parts = [columns[i] for i in group]
            try:
                joint = _read_joint(parts, theta, certify)
            except UnstructuredError:
                found |= {i: _read_alone(columns[i], theta) for i in group}
                continue
            start = 0
            for i, part in zip(group, parts, strict=True):
                found[i] = replace(joint.of_points(slice(start, start + len(part.errors))), name=part.name)
                start += len(part.errors)
    return [found[i] for i in range(len(columns))]


def _groups(columns: Sequence[Errors]) -> list[list[int]]:
    """Positions of what can be read together: each in the first group that uses none of its rows."""
    groups: list[list[int]] = []
    used: list[Tensor | None] = []  # None: nothing may join
    for position, column in enumerate(columns):
        mine = None if column.rows is None or not column.errors.requires_grad else column.rows >= 0
        for number, theirs in enumerate(used):
            if mine is not None and theirs is not None and len(theirs) == len(mine) and not bool((theirs & mine).any()):
                groups[number].append(position)
                used[number] = theirs | mine
                break
        else:
            groups.append([position])
            used.append(mine)
    return groups


def _read_joint(parts: Sequence[Errors], parameters: Mapping[str, Tensor], certify: bool) -> Factors:
    """Raises UnstructuredError where they cannot be read together."""
    if any(part.rows is None or not part.errors.requires_grad for part in parts):
        raise UnstructuredError("rows of the batch are not known")
    e = torch.cat([part.errors for part in parts]) if len(parts) > 1 else parts[0].errors
    owners, start = torch.full_like(parts[0].rows, -1), 0  # type: ignore[arg-type]
    for part in parts:
        assert part.rows is not None
        owners = torch.where(part.rows >= 0, part.rows + start, owners)
        start += len(part.errors)
    pieces = [len(part.errors) for part in parts]
    name = " + ".join(part.name for part in parts)
    return read_by(owners, e, parameters, name=name, pieces=pieces, certify=certify)


def _read_alone(part: Errors, parameters: Mapping[str, Tensor]) -> Factors:
    e = part.errors
    if not e.requires_grad:
        sizes = {key: size_of(p) for key, p in parameters.items()}
        return Factors(part.name, len(e), sizes, {}, {}, e.device, Origin("graph", 0.0, 0.0, "nothing trained reaches it"))
    if part.rows is not None and len(e) > FEW:
        try:
            return read_by(part.rows, e, parameters, name=part.name)
        except UnstructuredError:
            pass
    return read(e, parameters, name=part.name)
