"""The folder of a comparison: grid.json, and cells/NAME with a run folder and row.json, which a finished cell has."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pinntk._util.files import replacing
from pinntk.comparison._cell import Cell
from pinntk.comparison._summary import Row, Summary
from pinntk.run._folder import BusyFolderError, lock_folder
from pinntk.run._trust import remember_trained

GRID, CELLS, ROW = "grid.json", "cells", "row.json"
_FORMAT = 1


class Grid:
    """The trainings of a comparison, in a folder.

    title: of what they are, for readers
    refused: {combination: why it cannot be}, of those that are left out

    >>> import pinntk, tempfile
    >>> problem = pinntk.load("poisson1d")
    >>> network, config = pinntk.nn.MLP(problem, width=4, depth=1), pinntk.TrainConfig(steps=3)
    >>> cell = Cell.of({"problem": "poisson1d", "weighting": "fixed"}, problem, network, config, timed=False)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     grid = Grid.create(folder, [cell], "poisson1d, 3 steps")
    ...     grid.finish(cell, cell.run(grid.folder_of(cell)))
    ...     len(grid.summary().rows), len(grid.missing())
    (1, 0)
    """

    def __init__(self, folder: str | os.PathLike, cells: Sequence[Cell], title: str, refused: Mapping[str, str] | None = None):
        self.folder, self.cells, self.title, self.refused = Path(folder), list(cells), title, dict(refused or {})
        names = [cell.name for cell in self.cells]
        if len(set(names)) < len(names):
            raise ValueError(
                f"two cells are named {next(name for name in names if names.count(name) > 1)!r}; give them other labels"
            )

    @classmethod
    def create(
        cls, folder: str | os.PathLike, cells: Sequence[Cell], title: str, refused: Mapping[str, str] | None = None
    ) -> Grid:
        """A new grid, or a larger one in the place of one that the folder holds, whose finished cells it keeps. New ones come
        last, so that the shares of an array job stay what they were.

        Raises ValueError where the folder holds other cells, or one of the same name with other settings.
        """
        grid = cls(folder, cells, title, refused)
        if (grid.folder / GRID).exists():
            before, names = {cell.name: cell for cell in cls.load(folder).cells}, {cell.name for cell in cells}
            if lost := [name for name in before if name not in names]:
                raise ValueError(
                    f"{folder} holds another comparison, with {lost[0]}: ask for that too, give another -o, or --overwrite"
                )
            places = {name: place for place, name in enumerate(before)}
            grid.cells.sort(key=lambda cell: places.get(cell.name, len(places)))
            for cell in grid.cells:
                if cell.name in before and _settings(before[cell.name]) != _settings(cell):
                    raise ValueError(
                        f"{folder} holds {cell.name} with other settings; give the same, another -o, or --overwrite"
                    )
        with replacing(grid.folder / GRID) as temporary:
            described = [cell.as_json() for cell in grid.cells]
            content = {"format": _FORMAT, "title": title, "refused": grid.refused, "cells": described}
            temporary.write_text(json.dumps(content, indent=1) + "\n")
        for source in {cell.config["problem"]["source"] for cell in grid.cells}:
            remember_trained(source)  # which the processes that run the cells have not seen run
        return grid

    @staticmethod
    def remove(folder: str | os.PathLike) -> None:
        """Removes a comparison's grid and cells, and nothing else. Raises BusyFolderError, and removes nothing, while another
        process trains one of them.
        """
        for cell in (Path(folder) / CELLS).glob("*"):
            with lock_folder(cell):
                pass
        shutil.rmtree(Path(folder) / CELLS, ignore_errors=True)
        (Path(folder) / GRID).unlink(missing_ok=True)

    @classmethod
    def load(cls, folder: str | os.PathLike) -> Grid:
        """Raises FileNotFoundError for a folder without one, ValueError for one that is damaged or of another version."""
        path = Path(folder) / GRID
        try:
            found = json.loads(path.read_text())
            if found["format"] != _FORMAT:
                raise ValueError(f"format {found['format']}, and this pinntk reads {_FORMAT}")
            return cls(folder, [Cell.from_json(cell) for cell in found["cells"]], found["title"], found["refused"])
        except FileNotFoundError:
            raise FileNotFoundError(
                f"{folder} holds no comparison ({GRID} is missing); give the folder of `pinntk compare`"
            ) from None
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise ValueError(f"{path} cannot be read ({error}); begin anew with --overwrite") from error

    def folder_of(self, cell: Cell) -> Path:
        return self.folder / CELLS / cell.name

    def row(self, cell: Cell) -> Row | None:
        """Of a finished cell; None of one that is not, or whose row is damaged."""
        try:
            return Row(**json.loads((self.folder_of(cell) / ROW).read_text()))
        except (FileNotFoundError, ValueError, TypeError):
            return None

    def missing(self) -> list[Cell]:
        return [cell for cell in self.cells if self.row(cell) is None]

    def finish(self, cell: Cell, row: Row) -> None:
        with replacing(self.folder_of(cell) / ROW) as temporary:
            temporary.write_text(json.dumps(asdict(row), allow_nan=False) + "\n")

    @contextmanager
    def claim(self, cell: Cell) -> Iterator[bool]:
        """Whether the cell is this process's own in here: not finished, and no other process's."""
        with ExitStack() as held:
            try:
                held.enter_context(lock_folder(self.folder_of(cell)))
            except BusyFolderError:
                own = False
            else:
                own = self.row(cell) is None
            yield own

    def summary(self) -> Summary:
        rows = {cell.name: self.row(cell) for cell in self.cells}
        found = tuple(row for row in rows.values() if row is not None)
        return Summary(self.title, found, tuple(cell.labels for cell in self.cells), len(rows) - len(found), self.refused)


def _settings(cell: Cell) -> dict[str, Any]:
    """What makes its result: versions may differ."""
    return {**cell.as_json(), "config": {key: value for key, value in cell.config.items() if key != "versions"}}
