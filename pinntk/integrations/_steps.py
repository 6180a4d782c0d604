"""Counting the steps of a training that tells nobody of them: a step is seen by the parameters that it has changed."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from types import FrameType
from weakref import WeakKeyDictionary

import torch
from torch import Tensor
from torch.optim import Optimizer

_SAMPLE = 16  # entries of two parameters, in which a change shows that left no other trace


class StepCounter:
    """Counts steps by calls, at least one in each step.

    A step is counted by the first call after a parameter has changed. So it does not matter how many optimizers make a step,
    how many batches a step accumulates, or that a gradient scaler leaves one out. Calls in one `optimizer.step(closure)` belong
    to one step, although the optimizer changes the parameters between them.
    """

    def __init__(self) -> None:
        self.count = 0
        self.sample: list[Tensor] | None = None  # entries of the parameters when a step was counted last
        self._versions: list[tuple[int, int]] | None = None
        self._closure: tuple[int, int] | None = None
        self._finished: WeakKeyDictionary[Optimizer, list[int]] = WeakKeyDictionary()

    def call(self, parameters: Sequence[Tensor]) -> None:
        closure = self._running_closure()
        if closure is not None and closure == self._closure:
            return
        self._closure = closure
        if self.sample is None or self._changed(parameters):
            self.count += self.sample is not None
            self._versions, self.sample = _versions(parameters), _sample(parameters)

    def restart(self, count: int, sample: list[Tensor] | None) -> None:
        """Goes on from what another one has counted."""
        self.count, self.sample, self._versions, self._closure = count, sample, None, None

    def _changed(self, parameters: Sequence[Tensor]) -> bool:
        """By what autograd counts; by value where it has counted nothing, which code that writes to `p.data` hides."""
        if self._versions is not None and _versions(parameters) != self._versions:
            return True
        sample = _sample(parameters)
        before = self.sample or []
        return len(before) != len(sample) or not all(
            old.shape == new.shape and torch.equal(old.to(new), new) for old, new in zip(before, sample, strict=True)
        )

    def _running_closure(self) -> tuple[int, int] | None:
        """The `optimizer.step(closure)` that this call comes from: the optimizer, and how many steps it has finished."""
        frame: FrameType | None = sys._getframe(2)
        while frame is not None:
            if frame.f_code.co_name == "step" and isinstance(optimizer := frame.f_locals.get("self"), Optimizer):
                return id(optimizer), self._steps_of(optimizer)[0]
            frame = frame.f_back
        return None

    def _steps_of(self, optimizer: Optimizer) -> list[int]:
        if optimizer not in self._finished:
            finished = self._finished[optimizer] = [0]

            def after_step(*_: object) -> None:
                finished[0] += 1

            optimizer.register_step_post_hook(after_step)
        return self._finished[optimizer]


def _versions(parameters: Sequence[Tensor]) -> list[tuple[int, int]]:
    return [(p._version, p.data_ptr()) for p in parameters]


def _sample(parameters: Sequence[Tensor]) -> list[Tensor]:
    ends = [parameters[0], parameters[-1]]
    return [p.detach().reshape(-1)[:_SAMPLE].clone() for p in ends]
