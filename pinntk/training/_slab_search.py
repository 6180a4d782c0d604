"""Time slabs of a rescue: as many of them, and as many steps in each, as it takes until none fails."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple

import torch

from pinntk.diagnostics import Examination, examine
from pinntk.diagnostics._judgment import failing
from pinntk.problem import Problem
from pinntk.problem._slabs import slab_name
from pinntk.run import Run
from pinntk.run._slabs import read_slabs
from pinntk.training._config import TrainConfig
from pinntk.training._slabs import Slabs, train_slabs_while
from pinntk.training._train import network_of

_FALLING = 0.5  # last loss over that at half of the steps, below which more steps help
_LEAST = 1.0  # second that a slab gets, however little time is left


class Size(NamedTuple):
    """How large a training in slabs is."""

    slabs: int
    steps: int  # in each

    def grown(self, falling: bool, first: Size) -> Size | None:
        """Twice the steps where the loss was still falling, else twice the slabs; four times either, eight times both together
        at most. None where that is reached.
        """
        sizes = (self._replace(steps=2 * self.steps), self._replace(slabs=2 * self.slabs))
        for size in sizes if falling else sizes[::-1]:
            single = size.slabs <= 4 * first.slabs and size.steps <= 4 * first.steps
            if single and size.slabs * size.steps <= 8 * first.slabs * first.steps:
                return size
        return None


def slabs_that_hold(
    config: Mapping[str, Any],
    problem: Problem,
    *,
    out: Path | None,
    resume: bool,
    seconds: float,
    device: torch.device | str | None,
    progress: bool,
    say: Callable[[str], None],
    **settings: Any,
) -> Slabs:
    """Time slabs as a configuration says, `slabs.edges` of them. Where one fails by its own examination, all begin anew, with
    more steps or more slabs; the largest go on to the end. Some are missing where the time is over.

    seconds: that all of it may take
    say: told what is tried

    Raises ValueError for slabs that are not a whole number, and as `train_slabs` does.
    """
    first = size = Size(_count(config), config["training"]["steps"])
    overwrite = False
    if resume and out is not None:
        begun_as = read_slabs(out)
        size = Size(len(begun_as["slabs"]["edges"]) - 1, begun_as["training"]["steps"])
        if len(begun_as["slabs"]["stop_reasons"]) == size.slabs:  # all are done, and stay as they are
            settings["seconds"] = begun_as["training"]["seconds"]
    end = perf_counter() + seconds
    while True:
        final = size.grown(True, first) is None
        judged = _Judged(final, end)
        found = train_slabs_while(
            judged,
            problem,
            network_of(config, problem),
            TrainConfig.from_json(config, **{"seconds": max(end - perf_counter(), _LEAST), **settings, "steps": size.steps}),
            slabs=size.slabs,
            out=out,
            resume=resume,
            overwrite=overwrite,
            device=device,
            progress=progress,
        )
        if judged.well or judged.over:
            return found
        larger = size.grown(_falling(judged.last), first)
        assert larger is not None  # or it would have been final
        failed = f"{slab_name(len(found.runs) - 1)} of {size.slabs} fails after {found.runs[-1].step} steps"
        say(f"  {failed}: {larger.slabs} slabs, {larger.steps} steps each")
        size, resume, overwrite = larger, False, True


class _Judged:
    """Whether the next slab is to be trained, asked after each; and how the last one was."""

    def __init__(self, final: bool, end: float):
        self._final, self._end = final, end
        self.well, self.over = True, False

    def __call__(self, run: Run) -> bool:
        self.last = examine(run)
        self.well = self._final or not failing(self.last)
        self.over = perf_counter() >= self._end
        return self.well and not self.over


def _count(config: Mapping[str, Any]) -> int:
    count = config["slabs"]["edges"]
    if not isinstance(count, int) or isinstance(count, bool) or count < 1:
        raise ValueError(f"slabs.edges={count!r}: a rescue takes a whole number of time slabs, of equal length")
    return count


def _falling(x: Examination) -> bool:
    return x.progress is not None and x.progress.late_fall < _FALLING
