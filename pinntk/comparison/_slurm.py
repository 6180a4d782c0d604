"""A grid as an array job of Slurm."""

from __future__ import annotations

import os
import shlex
import sys
from math import ceil
from pathlib import Path

from pinntk._util.files import replacing
from pinntk.comparison._grid import Grid

_MOST = 1000  # tasks of an array: Slurm's own limit is 1001 unless an administrator raised it
_ROOM, _START = 1.5, 600.0  # a task may take longer than its seconds by this factor, and so many seconds to start


def write_array_job(grid: Grid, path: str | os.PathLike, *, cores: int = 1, device: str = "cpu", trust: bool = False) -> Path:
    """Writes a script for `sbatch`, whole or not at all: a task for each cell, or of more than 1,000 cells for several.

    cores, device: of each task

    The folder of the grid has to be one that all machines see. Where its cells have no limit of time, the script sets none.
    """
    tasks = min(len(grid.cells), _MOST)
    lines = [
        "#!/bin/bash",
        "#SBATCH --job-name=pinntk-compare",
        f"#SBATCH --array=0-{tasks - 1}",
        f"#SBATCH --cpus-per-task={cores}",
        f"#SBATCH --output={shlex.quote(str(grid.folder.resolve() / 'slurm-%a.out'))}",
    ]
    seconds = [cell.config["training"].get("seconds") for cell in grid.cells]
    if all(seconds):
        each = ceil(len(grid.cells) / tasks)
        lines.append(f"#SBATCH --time={ceil((each * _ROOM * max(seconds) + _START) / 60)}")
    words = [sys.executable, "-m", "pinntk", "compare", "--resume", str(grid.folder.resolve()), "--jobs", "1", "--quiet"]
    words += ["--device", device]
    command = " ".join(map(shlex.quote, [*words, *(["--trust"] if trust else [])]))
    lines += ["", f"export OMP_NUM_THREADS={cores}", f'{command} --share "$SLURM_ARRAY_TASK_ID/{tasks}"']
    with replacing(Path(path)) as temporary:
        temporary.write_text("\n".join(lines) + "\n")
    return Path(path)
