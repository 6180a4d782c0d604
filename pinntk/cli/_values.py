"""Points from files, and fields at points into files: .csv, .npz, .vtk."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from pinntk._util.files import replacing
from pinntk._util.likeness import did_you_mean

SUFFIXES = (".csv", ".npz", ".vtk")
_MOST_AXES = 3  # of what VTK calls space


class Values(NamedTuple):
    """Fields at points.

    points: {coordinate: (n,)}; fields: {field: (n,)}, NaN outside of the domain; the last coordinate runs fastest on a grid
    axes: {coordinate: its values}, of a grid; empty for points in any places
    """

    points: Mapping[str, np.ndarray]
    fields: Mapping[str, np.ndarray]
    axes: Mapping[str, np.ndarray]


def read_points(path: Path, coordinates: Sequence[str]) -> np.ndarray:
    """Points (n, d) of a .npy, .npz or text file. Text has commas, semicolons or blanks between numbers, and may have the names
    of columns in its first line; then these are looked up, and others left out.

    Raises ValueError for coordinates that are missing, other shapes, and what is no finite number.
    """
    if not path.is_file():
        raise FileNotFoundError(f"--points {path}: no such file")
    if path.suffix == ".npy":
        rows = np.load(path, allow_pickle=False)
    elif path.suffix == ".npz":
        with np.load(path, allow_pickle=False) as arrays:
            _require(path, coordinates, arrays.files)
            columns = [np.ravel(arrays[name]) for name in coordinates]
        if len({len(column) for column in columns}) > 1:
            lengths = ", ".join(f"{name}: {len(column)}" for name, column in zip(coordinates, columns, strict=True))
            raise ValueError(f"{path} has columns of different lengths ({lengths}); expected one number of each for a point")
        rows = np.stack(columns, 1)
    else:
        rows = _read_text(path, coordinates)
    if rows.ndim != 2 or rows.shape[1] != len(coordinates) or not len(rows):
        expected = f"(n, {len(coordinates)}), with columns {', '.join(coordinates)}"
        raise ValueError(f"{path} has points of shape {rows.shape}; expected {expected}")
    rows = rows.astype(np.float64)
    if (bad := np.flatnonzero(~np.isfinite(rows).all(1))).size:
        raise ValueError(f"{path}: point {bad[0]} is {rows[bad[0]].tolist()}; expected finite numbers")
    return rows


def _read_text(path: Path, coordinates: Sequence[str]) -> np.ndarray:
    lines = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    cells = [re.split(r"\s*[,;]\s*|\s+", line.lstrip("# ")) for line in lines]
    names = [] if not cells or _are_numbers(cells[0]) else [name.strip("'\"") for name in cells.pop(0)]
    if names:
        _require(path, coordinates, names)
    columns = [names.index(name) for name in coordinates] if names else None
    try:
        rows = np.array([[float(cell) for cell in (row if columns is None else [row[at] for at in columns])] for row in cells])
    except (ValueError, IndexError):
        raise ValueError(f"{path}: expected as many numbers in every line, with commas or blanks between them") from None
    return rows


def _are_numbers(cells: Sequence[str]) -> bool:
    try:
        return bool([float(cell) for cell in cells])
    except ValueError:
        return False


def _require(path: Path, coordinates: Sequence[str], known: Sequence[str]) -> None:
    for name in coordinates:
        if name not in known:
            raise ValueError(f"{path} has no column {name!r}; it has {', '.join(known)}{did_you_mean(name, known)}")


def check_suffix(path: Path, axes: int) -> None:
    """Raises ValueError for a kind of file that there is not, or that does not hold so many coordinates."""
    if path.suffix not in SUFFIXES:
        raise ValueError(f"{path}: the name of the file ends in {', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]}")
    if path.suffix == ".vtk" and axes > _MOST_AXES:
        raise ValueError(f"{path}: VTK holds {_MOST_AXES} coordinates, and there are {axes}; use .csv or .npz")


def write_values(path: Path, values: Values) -> None:
    """Whole or not at all: a table; arrays by name, on a grid with an axis for each coordinate; or legacy VTK, for ParaView."""
    with replacing(path) as temporary:
        if path.suffix == ".csv":
            columns = {**values.points, **values.fields}
            table = np.stack(list(columns.values()), 1)[~np.isnan(np.stack(list(values.fields.values()), 1)).all(1)]
            lines = [",".join(columns), *(",".join(map(repr, row)) for row in table.tolist())]
            temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")
        elif path.suffix == ".npz":
            shape = tuple(map(len, values.axes.values())) or (-1,)
            fields = {name: field.reshape(shape) for name, field in values.fields.items()}
            arrays: dict[str, Any] = {**(values.axes or values.points), **fields}
            with temporary.open("wb") as file:  # to which savez adds no suffix
                np.savez_compressed(file, **arrays)
        else:
            temporary.write_text("\n".join(_vtk(values)) + "\n", encoding="ascii", errors="replace")


def _vtk(values: Values) -> list[str]:
    """A legacy file in ASCII: a rectilinear grid, or points. Time, where there is one, is the last of VTK's coordinates."""
    names = sorted(values.points, key=lambda name: name == "t")
    title = ", ".join(f"{axis} = {name}" for axis, name in zip("xyz", names, strict=False))
    lines = ["# vtk DataFile Version 3.0", f"pinntk: {title}"[:255], "ASCII"]
    n = len(next(iter(values.points.values())))
    fields = dict(values.fields)
    if values.axes:
        axes = [values.axes.get(name, np.zeros(1)) for name in (*names, *("",) * (_MOST_AXES - len(names)))]
        lines += ["DATASET RECTILINEAR_GRID", f"DIMENSIONS {' '.join(str(len(axis)) for axis in axes)}"]
        for letter, axis in zip("XYZ", axes, strict=True):
            lines += [f"{letter}_COORDINATES {len(axis)} double", " ".join(map(repr, axis.tolist()))]
        order = [list(values.axes).index(name) for name in names]
        shape = [len(axis) for axis in values.axes.values()]
        fields = {  # VTK's first coordinate runs fastest
            name: field.reshape(shape).transpose(order).ravel(order="F") for name, field in fields.items()
        }
    else:
        rows = np.zeros((n, _MOST_AXES))
        rows[:, : len(names)] = np.stack([values.points[name] for name in names], 1)
        lines += ["DATASET POLYDATA", f"POINTS {n} double", *(" ".join(map(repr, row)) for row in rows.tolist())]
        lines += [f"VERTICES {n} {2 * n}", *(f"1 {number}" for number in range(n))]
    lines += [f"POINT_DATA {n}"]
    for name, field in fields.items():
        lines += [f"SCALARS {name} double 1", "LOOKUP_TABLE default", *map(repr, field.tolist())]
    return lines
