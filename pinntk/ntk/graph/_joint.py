"""`joint_factors`: the Jacobians of several error vectors on different rows of one batch, in one backward pass."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor

from pinntk.ntk._factored import Factors, Origin
from pinntk.ntk.graph._read import FEW, leaf_parameters, read, read_by
from pinntk.ntk.graph._reverse import reverse_rows, size_of
from pinntk.ntk.graph._walk import Graph, UnstructuredError


class ErrorVector(NamedTuple):
    """An error vector of a batch of points.

    errors: (n,) with their graph, or without one where nothing trained reaches them
    owners: (m,) which error each row of the batch of m belongs to, -1 for none; None where that is not known
    """

    name: str
    errors: Tensor
    owners: Tensor | None


def joint_factors(columns: Sequence[ErrorVector], parameters: Mapping[str, Tensor], certify: bool = True) -> list[Factors]:
    """J of every error vector, in order.

    Vectors whose rows of the batch are disjoint, such as those of boundary conditions and a residual, are one longer
    vector, and are read from the graph in one pass; a row that several of them use, such as the point of a system of
    equations, has one pass for each. What cannot be read so is read by itself, as by `graph_factors`.

    certify: False where such vectors, of the same code and the same numbers of points, have passed their certificates
    """
    theta = leaf_parameters(parameters)
    found: dict[int, Factors] = {}
    with torch.enable_grad():
        graphs = [column.errors for column in columns if column.errors.requires_grad]
        whole = Graph(torch.cat(graphs), theta) if graphs else None
        for group in _groups(columns):
            parts = [columns[i] for i in group]
            try:
                joint = _read_joint(parts, theta, certify, whole)
            except UnstructuredError:
                found |= {i: _read_alone(columns[i], theta, certify) for i in group}
                continue
            start = 0
            for i, part in zip(group, parts, strict=True):
                found[i] = replace(joint.of_points(slice(start, start + len(part.errors))), name=part.name)
                start += len(part.errors)
    return [found[i] for i in range(len(columns))]


def _groups(columns: Sequence[ErrorVector]) -> list[list[int]]:
    """Positions of what can be read together, by their rows: each in the first group that uses none of its rows.

    A single error stays alone: its row cannot be told from one of parameters.
    """
    groups: list[list[int]] = []
    used: list[Tensor | None] = []  # None: nothing may join
    for position, column in enumerate(columns):
        mine = None
        if column.owners is not None and column.errors.requires_grad and len(column.errors) > 1:
            mine = column.owners >= 0
        for number, theirs in enumerate(used):
            if mine is not None and theirs is not None and len(theirs) == len(mine) and not bool((theirs & mine).any()):
                groups[number].append(position)
                used[number] = theirs | mine
                break
        else:
            groups.append([position])
            used.append(mine)
    return [sorted(group, key=lambda i: _first(columns[i])) for group in groups]


def _first(column: ErrorVector) -> int:
    """The first of its rows: vectors in the order of their rows are the quickest to take apart."""
    return 0 if column.owners is None or column.owners.max() < 0 else int((column.owners >= 0).nonzero()[0])


def _read_joint(parts: Sequence[ErrorVector], parameters: Mapping[str, Tensor], certify: bool, whole: Graph | None) -> Factors:
    """Raises UnstructuredError where they cannot be read together."""
    known = [part.owners for part in parts if part.owners is not None and part.errors.requires_grad]
    if len(known) < len(parts):
        raise UnstructuredError("rows of the batch are not known")
    e = torch.cat([part.errors for part in parts]) if len(parts) > 1 else parts[0].errors
    owners, start = torch.full_like(known[0], -1), 0
    for part, own in zip(parts, known, strict=True):
        owners = torch.where(own >= 0, own + start, owners)
        start += len(part.errors)
    pieces = [len(part.errors) for part in parts]
    name = " + ".join(part.name for part in parts)
    return read_by(owners, e, parameters, name=name, pieces=pieces, certify=certify, whole=whole)


def _read_alone(part: ErrorVector, parameters: Mapping[str, Tensor], certify: bool) -> Factors:
    e = part.errors
    sizes = {key: size_of(p) for key, p in parameters.items()}
    if e.requires_grad and len(e) <= FEW and not certify:
        rows = {key: part.to(e.device) for key, part in reverse_rows(e, parameters).items()}
        return Factors(part.name, len(e), sizes, {}, rows, e.device, Origin("rows", None, 0.0))
    if not e.requires_grad:
        return Factors(part.name, len(e), sizes, {}, {}, e.device, Origin("graph", 0.0, 0.0, "nothing trained reaches it"))
    if part.owners is not None and len(e) > FEW:
        try:
            return read_by(part.owners, e, parameters, name=part.name)
        except UnstructuredError:
            pass
    return read(e, parameters, name=part.name)
