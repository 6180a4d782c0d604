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
_LEAST = 1.0  # second that a slab gets where the time is over


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
    seconds: float | None,
    device: torch.device | str | None,
    progress: bool,
    say: Callable[[str], None],
    **settings: Any,
) -> Slabs:
    """Time slabs as a configuration says, `slabs` of them. Where one fails by its own examination, all begin anew, with more
    steps or more slabs; the largest, and the last for which there is time, go on to the end.

    seconds: that all of it may take, or None
    say: told what is tried
    """
    first = size = Size(config["slabs"], config["training"]["steps"])
    begun_as: dict[str, Any] = {}
    if resume and out is not None:
        begun_as = read_slabs(out)
        size = Size(len(begun_as["slabs"]["edges"]) - 1, begun_as["training"]["steps"])
    begun = perf_counter()
    overwrite = False
    while True:
        used = perf_counter() - begun
        left = None if seconds is None else max(seconds - used, _LEAST * size.slabs)
        final = (left is not None and left < used) or size.grown(True, first) is None
        limits = {"seconds": None if left is None else left / size.slabs}
        if resume and out is not None and len(begun_as["slabs"]["stop_reasons"]) == size.slabs:
            limits = {"seconds": begun_as["training"]["seconds"]}  # all are done, and stay as they are
        found = train_slabs_while(
            _always if final else _holds,
            problem,
            network_of(config, problem),
            TrainConfig.from_json(config, **{**settings, **limits, "steps": size.steps}),
            slabs=size.slabs,
            out=out,
            resume=resume,
            overwrite=overwrite,
            device=device,
            progress=progress,
        )
        x = examine(found.runs[-1])
        if final or (len(found.runs) == size.slabs and not failing(x)):
            return found
        failed, larger = slab_name(len(found.runs) - 1), size.grown(_falling(x), first)
        assert larger is not None  # or it would have been final
        say(f"  {failed} of {size.slabs} fails after {size.steps} steps: {larger.slabs} slabs, {larger.steps} steps each")
        size, resume, overwrite = larger, False, True


def _always(run: Run) -> bool:
    return True


def _holds(run: Run) -> bool:
    return not failing(examine(run))


def _falling(x: Examination) -> bool:
    return x.progress is not None and x.progress.late_fall < _FALLING
