"""Processes that share the cells of a grid: each claims one after the other, so that several machines may, too."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Sequence
from multiprocessing.process import BaseProcess
from pathlib import Path
from time import sleep

import torch

from pinntk.comparison._cell import Cell
from pinntk.comparison._grid import Grid
from pinntk.comparison._summary import Row
from pinntk.run import Run
from pinntk.training import Interrupted

_LOOK = 0.5  # seconds between looks for new rows
_COMPILING = "TORCHINDUCTOR_COMPILE_THREADS"  # which torch reads with its compiler, at the first graph


def run_grid(
    grid: Grid,
    *,
    jobs: int = 1,
    threads: int = 1,
    devices: Sequence[str] = ("cpu",),
    trust: bool = False,
    cells: Sequence[Cell] | None = None,
    wait: bool = False,
    on_row: Callable[[Row], None] = lambda row: None,
) -> None:
    """Runs the cells that have no row, `jobs` at a time, each in a process of its own.

    threads: of each process
    devices: of the processes, in turn
    trust: run the problem files that the grid names, although they come from elsewhere
    cells: only these
    wait: until others have ended the rest
    on_row: called with each row as it comes, also where another machine ran the cell

    Returns when no cell is left that nobody runs, or with `wait` none at all. Raises RuntimeError where a process was killed;
    KeyboardInterrupt on Ctrl-C, when every process has saved where it is.
    """
    if jobs < 1:
        raise ValueError(f"jobs={jobs}: at least 1")
    waiting = {cell.name: cell for cell in grid.cells if grid.row(cell) is None}
    chosen = [cell.name for cell in (grid.cells if cells is None else cells) if cell.name in waiting]
    jobs = min(jobs, len(chosen))
    spawn = multiprocessing.get_context("spawn")
    workers = [
        spawn.Process(target=_in_process, args=(grid.folder, chosen, threads, devices[k % len(devices)], trust), daemon=True)
        for k in range(jobs)
    ]
    try:
        for worker in workers:
            worker.start()
        while any(worker.is_alive() for worker in workers) or (wait and waiting and not _killed(workers)):
            _tell(grid, waiting, on_row)
            sleep(_LOOK)
    except KeyboardInterrupt:
        for worker in workers:  # at a terminal they were told, too; a second word ends the step that they are in
            worker.join()
        raise
    _tell(grid, waiting, on_row)
    if killed := _killed(workers):
        raise RuntimeError(
            f"a process ended with status {killed[0]} (killed, perhaps for lack of memory, or unable to write); what it said "
            f"is above. The same command goes on; fewer at a time need less memory: --jobs {max(1, jobs // 2)}"
        )


def _killed(workers: Sequence[BaseProcess]) -> list[int]:
    """Statuses of those that did not end by themselves."""
    return [worker.exitcode for worker in workers if worker.exitcode]


def _tell(grid: Grid, waiting: dict[str, Cell], on_row: Callable[[Row], None]) -> None:
    for name, cell in list(waiting.items()):
        if (row := grid.row(cell)) is not None:
            del waiting[name]
            on_row(row)


def _in_process(folder: Path, names: Sequence[str], threads: int, device: str, trust: bool) -> None:
    signal.signal(signal.SIGTERM, lambda *_: os.kill(os.getpid(), signal.SIGINT))
    torch.set_num_threads(threads)
    os.environ.setdefault(_COMPILING, str(threads))  # else all cores compile, beside trainings whose time counts
    try:
        work(Grid.load(folder), names, device, trust)
    except (Interrupted, KeyboardInterrupt):
        sys.exit(0)


def work(grid: Grid, names: Sequence[str], device: str, trust: bool) -> None:
    """Runs all of these cells that can be claimed, in this process."""
    cells = {cell.name: cell for cell in grid.cells}
    for name in names:
        with grid.claim(cells[name]) as own:
            if own:
                folder = grid.folder_of(cells[name])
                grid.finish(cells[name], cells[name].run(folder, device=device, trust=trust, on_log=_while_wanted))


def _while_wanted(run: Run) -> None:
    """Stops where the process that began this one is gone."""
    parent = multiprocessing.parent_process()
    if parent is not None and not parent.is_alive():
        raise KeyboardInterrupt
