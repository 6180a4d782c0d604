"""Trainings of several seeds side by side: their gradients in one vectorized pass (torch.func.vmap), all else each its own."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import torch
from torch import Tensor
from torch.func import vmap

from pinntk._util.interrupt import Interrupted
from pinntk._util.progress import Progress
from pinntk._util.threads import threads_for
from pinntk.diagnostics._progress import SEARCHING
from pinntk.problem import Points
from pinntk.run._slabs import run_name
from pinntk.training._batch import Batch
from pinntk.training._compiled import UnsuitableError, check_equal, distinct, gathered
from pinntk.training._config import TrainConfig
from pinntk.training._loop import Training
from pinntk.training._losses import in_one_pass
from pinntk.training._step import Step
from pinntk.training._updates import GradientUpdate

Found = TypeVar("Found")


def may_go_together(config: TrainConfig) -> bool:
    """Whether each step asks for one gradient, and all members take as many steps."""
    single = not any(part.compile or part.optimizer_name in SEARCHING for part in config.parts)
    single = single and config.combiner is None
    return single and config.seconds is None and config.monitor is None and config.early_stopping is None


class Together:
    """The losses and gradients of steps of one form, of networks that differ in parameters and buffers only.

    Made where their checkpoints have been read: buffers are taken as they are then, parameters as they are in every step.
    Every call computes all of them, each in its place, also of those that take no step: what one gets does not depend on how
    far the others are, and a resumed training is the whole one to the last bit.
    """

    def __init__(self, steps: Sequence[Step]):
        self._steps = list(steps)
        tensors = [dict((*step.model.named_parameters(), *step.model.named_buffers())) for step in steps]
        self._fixed = {
            name: torch.stack([own[name].detach() for own in tensors])
            for name, first in tensors[0].items()
            if name not in steps[0].parameters and not all(torch.equal(own[name], first) for own in tensors)
        }

    def pays(self, batches: Sequence[Batch]) -> bool:
        """Whether the points are so few that a step alone does not fill the processor."""
        first, n = self._steps[0], len(self._steps)
        return all(in_one_pass(first.model["network"], first.problem, batch, n) for batch in batches)

    def reason_against(self, batches: Sequence[Batch]) -> str:
        """Why it would not be right; "" where it is, compared with each step on its own batch."""
        try:
            found = self._compute(batches)
            for step, batch, (losses, gradients) in zip(self._steps, batches, found, strict=True):
                expected = step(batch)
                own = [torch.zeros_like(p) if p.grad is None else p.grad for p in step.parameters.values()]
                check_equal("losses", list(expected.values()), list(losses.values()), batch.like.dtype)
                check_equal("gradient", own, gradients, batch.like.dtype)
        except UnsuitableError as error:
            return str(error)
        except Exception as error:  # whatever torch raises for what it cannot vectorize
            return f"torch.func.vmap failed with {type(error).__name__}: {(str(error).splitlines() or [''])[0]}"
        finally:
            for step in self._steps:
                for p in step.parameters.values():
                    p.grad = None
        return ""

    def prepare(self, batches: Mapping[int, Batch], active: Mapping[int, Step]) -> None:
        """Computes what the active steps hand out when they are next called.

        batches, active: by places; places without a batch take the first of these
        """
        filler = next(iter(batches.values()))
        found = self._compute([batches.get(place, filler) for place in range(len(self._steps))])
        for place, step in active.items():
            step.prepared = found[place]

    def _compute(self, batches: Sequence[Batch]) -> list[tuple[dict[str, Tensor], list[Tensor]]]:
        """Losses and gradients of every step."""
        names, counts, places = list(batches[0].points), batches[0].counts, distinct(batches[0].points)[1]
        if any((list(b.points), b.counts, distinct(b.points)[1]) != (names, counts, places) for b in batches):
            raise UnsuitableError("their points are not of one form")
        own = [list(step.parameters.values()) for step in self._steps]
        stacked = [torch.stack([p.detach() for p in ps]).requires_grad_() for ps in zip(*own, strict=True)]  # (members, ...)
        tensors = [torch.stack(rows) for rows in zip(*(distinct(b.points)[0] for b in batches), strict=True)]
        g = {name: torch.stack([(b.point_weights or {})[name] for b in batches]) for name in batches[0].point_weights or {}}

        def losses(
            parameters: list[Tensor], fixed: dict[str, Tensor], tensors: list[Tensor], point_weights: Points
        ) -> dict[str, Tensor]:
            new = dict(zip(self._steps[0].parameters, parameters, strict=True)) | fixed
            return self._steps[0].losses.at(new, gathered(names, tensors, places), counts, point_weights)

        found = vmap(losses)(stacked, self._fixed, tensors, g)
        total = sum(
            (batch.weights[name] * loss[i] for name, loss in found.items() for i, batch in enumerate(batches)),
            torch.zeros((), dtype=stacked[0].dtype.to_real(), device=stacked[0].device),
        )
        gradients = torch.autograd.grad(total, stacked, allow_unused=True, materialize_grads=True)
        return [
            ({name: loss[i].detach() for name, loss in found.items()}, [slope[i] for slope in gradients])
            for i in range(len(batches))
        ]


def lockstep(trainings: Mapping[int, Training], together: Together, interrupted: threading.Event, progress: bool) -> None:
    """Their loops, step by step, by their places in `together`. Those behind, after a kill between two checkpoints, catch up.

    Raises Interrupted on Ctrl-C, after all have taken the step and saved.
    """
    first = next(iter(trainings.values()))
    steps = first.config.steps
    _each(Training.begin, trainings)
    waiting = dict(trainings)
    done = min(training.step for training in waiting.values())
    with Progress(f"{first.problem.name}, {len(trainings)} seeds", steps, done=done, shown=progress, kept=True) as bar:
        while waiting := _still_going(waiting):
            now = min(training.step for training in waiting.values())
            active = {place: training for place, training in waiting.items() if training.step == now}
            with threads_for(first.work):
                _each(Training.prepare, active)
                batches = {place: training.batch for place, training in active.items()}
                together.prepare(batches, {place: gradient_of(training) for place, training in active.items()})
                logged = _each(Training.take_step, active)
            for place, training in active.items():
                training.follow(logged[place])
            bar.tell(first.log.summary())
            bar.advance()
            if interrupted.is_set():
                _each(Training.save, waiting)
                raise Interrupted(f"stopped after step {now + 1} of {steps}")
            _each(Training.save_when_due, active)


def gradient_of(training: Training) -> Step:
    """What computes the gradient of its next step."""
    assert isinstance(training.update, GradientUpdate)
    return training.update.gradient


def _still_going(trainings: Mapping[int, Training]) -> dict[int, Training]:
    """Those that take another step; the others are finished."""
    goes_on = _each(Training.goes_on, trainings)
    _each(Training.finish, {place: training for place, training in trainings.items() if not goes_on[place]})
    return {place: training for place, training in trainings.items() if goes_on[place]}


def _each(work: Callable[[Training], Found], trainings: Mapping[int, Training]) -> dict[int, Found]:
    """What each of them makes of it. Where a number stops being finite, the error says in which."""
    found = {}
    for place, training in trainings.items():
        with training.saying_where(run_name("ensemble", place)):
            found[place] = work(training)
    return found
