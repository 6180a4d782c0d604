"""Which conditions of a problem a network can meet by construction, and what makes it meet them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import inf
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pinntk._util.likeness import nearest
from pinntk._util.warn import warn_user
from pinntk.nn._blend import Blend
from pinntk.nn._compatibility import check_agreement, largest_error
from pinntk.nn._prescribed import (
    MOST_TERMS,
    Device,
    Prescribed,
    UnmetError,
    check_terms,
    prescriptions,
    random_points,
)
from pinntk.nn._repetition import repetition
from pinntk.nn._transfinite import Transfinite, most_terms
from pinntk.problem import Condition, PeriodicPair, Problem
from pinntk.problem import _registry as registry
from pinntk.problem._slabs import Start, restricted

AUTO = "auto"
_AUTO_TERMS = 80  # evaluations of operators in a pass, where they were not asked for by name
_FOREIGN = "it is foreign: its code computes errors, and says nothing of what it prescribes"
_OF_A_SLAB = "it begins a time slab with what the network before leaves, which no formula continues into the slab"
_MET = 1e-9  # of the field's size: errors of conditions that are met


@dataclass(frozen=True, eq=False)
class HardConditions:
    """What a network meets by construction: u = offset + factor N, N with inputs that repeat.

    met: names of conditions whose error is 0 whatever N is, in the problem's order
    left: {name: why not} of the others
    repeated: {coordinate: continuous derivatives} that the network's inputs must repeat in; None for all of them
    fields: of each field; None where nothing is prescribed
    problem: whose conditions they are
    given: what `hard_conditions` was told of the network, its `repeated` and `own_inputs`
    """

    met: tuple[str, ...]
    left: Mapping[str, str]
    repeated: Mapping[str, int | None]
    fields: tuple[Transfinite | None, ...]
    problem: Problem
    given: Mapping[str, Any] = field(default_factory=dict)

    def offset(self, points: Tensor) -> Tensor | float:
        """(n, fields) at (n, d) points, or 0."""
        return self._columns([0.0 if field is None else field.offset(points) for field in self.fields], points)

    def factor(self, points: Tensor) -> Tensor | float:
        """(n, fields) at (n, d) points, (n, 1) where it is the same for all fields, or 1."""
        first = self.fields[0]
        if first is not None and all(field is not None and field.zeros == first.zeros for field in self.fields):
            return self._columns([first.factor(points)], points)
        return self._columns([1.0 if field is None else field.factor(points) for field in self.fields], points)

    def __call__(self, points: Tensor, values: Tensor) -> Tensor:
        """u from N, both (n, fields)."""
        offset, factor = self.offset(points), self.factor(points)
        if not isinstance(factor, float) or factor != 1:
            values = factor * values
        return values if isinstance(offset, float) and offset == 0 else offset + values

    @property
    def has_values(self) -> bool:
        """Whether u is anything but N."""
        return any(field is not None for field in self.fields)

    def prescribed(self, problem: Problem) -> list[str]:
        """The fields that the offset gives values."""
        return [name for name, field in zip(problem.fields, self.fields, strict=True) if field is not None]

    def __deepcopy__(self, memo: object) -> HardConditions:
        return self  # it does not change, and holds operators of the user's

    def __reduce__(self) -> tuple[Callable[..., HardConditions], tuple]:
        """By the file of the problem: operators cannot be pickled. Raises TypeError for a problem without one."""
        problem = self.problem
        if not problem.source:
            raise TypeError(
                "a network with hard conditions cannot be pickled where its problem was built in Python, whose operators it "
                f"holds: save network.state_dict(), and load it into a network that is made again with hard={self.met}"
            )
        slab = (problem.slab["number"], problem.slab["edges"]) if problem.slab else None
        return _again, (problem.source, dict(problem.parameters), slab, self.met, self.left, self.given, self._sample())

    def _sample(self) -> list[Any]:
        """Some values, by which to see whether a problem's file has changed."""
        x = random_points(self.problem.domain, 4, None)
        with torch.no_grad():
            return [v.tolist() if isinstance(v, Tensor) else v for v in (self.offset(x), self.factor(x))]

    def _columns(self, columns: Sequence[Tensor | float], x: Tensor) -> Tensor | float:
        """One number where all are the same one; else (n, columns) in the points' dtype."""
        numbers = [column for column in columns if isinstance(column, float)]
        if len(numbers) == len(columns) and len(set(numbers)) == 1:
            return numbers[0]
        filled = [torch.full_like(x[:, 0], c) if isinstance(c, float) else c.to(x.dtype) for c in columns]
        return torch.stack(filled, 1)


def _again(
    source: str,
    parameters: Mapping[str, Any],
    slab: tuple[int, Sequence[float]] | None,
    met: tuple[str, ...],
    left: Mapping[str, str],
    given: Mapping[str, Any],
    sample: Sequence[Any],
) -> HardConditions:
    """What was pickled, derived again from the problem's file."""
    problem = registry.load(source, **parameters)
    problem = problem if slab is None else restricted(problem, *slab)
    found = replace(hard_conditions(problem, met, **given), left=left)
    pairs = zip(found._sample(), sample, strict=True)
    if not all(np.shape(a) == np.shape(b) and np.allclose(a, b, rtol=1e-9, atol=1e-12) for a, b in pairs):
        raise ValueError(f"{source}: its conditions {met} are not those that the pickled network was made for; put them back")
    return found


def parse_hard(hard: Any, problem: Problem | None) -> str | tuple[str, ...] | None:
    """None, "auto", or names of conditions. Raises ValueError for anything else."""
    if hard is None:
        return None
    if problem is None:
        raise ValueError(f"hard={hard!r} needs a problem, whose conditions are to be met")
    names = (hard,) if isinstance(hard, str) else hard
    if not isinstance(names, Collection) or not all(isinstance(name, str) for name in names):
        raise ValueError(f"hard={hard!r}: None, 'auto', or names of conditions, as in {problem.names[-1:]}")
    if hard == AUTO and AUTO not in problem.names:
        return AUTO
    for name in names:
        if name not in problem.names:
            raise ValueError(f"hard={hard!r}: {_unknown(name, problem)}")
    return tuple(names)


def _unknown(name: str, problem: Problem) -> str:
    """What is wrong with a name that no condition has, and what to write."""
    if name == AUTO:
        return "'auto' stands alone, for all that can be met; leave it out, or the names"
    if of_kind := [c.name for c in problem.conditions if c.kind == name]:
        return f"a kind of conditions; name them, as in {of_kind[0]!r}, or 'auto' for all that can be met"
    can = [c.name for c in problem.conditions if c.kind != "residual"]
    close = nearest(name, can)
    instead = f"did you mean {close!r}?" if close else f"it has {', '.join(map(repr, can)) or 'none to be met'}, or 'auto'"
    return f"{problem.name} has no condition {name!r}; {instead}"


def hard_conditions(
    problem: Problem,
    asked: str | Sequence[str],
    *,
    repeated: Collection[str] = (),
    own_inputs: bool = True,
    device: Device = None,
) -> HardConditions:
    """What of a problem's conditions is met by construction, and how; a problem is never evaluated on a network for this.

    asked: "auto", or names of conditions, each of which has to be met
    repeated: coordinates in which the network repeats as it is, with all derivatives
    own_inputs: whether inputs of the network can be chosen, so that it repeats in others
    device: where operators are tried, in float64

    Raises ValueError, naming condition and reason, for one that is asked for by name and cannot be met. Under "auto" it is
    left, with a warning where that is because conditions contradict each other.
    """
    device = None if device is not None and torch.device(device).type == "mps" else device  # which has no float64
    left_out: dict[str, str] = {}
    while True:
        search = _Search(problem, asked, left_out, repeated, own_inputs, device)
        if (fault := search.fault()) is None:
            break
        left_out |= fault
        if asked != AUTO:
            break
    missing = [name for name in problem.names if name not in search.met or name in left_out]
    left = {name: left_out.get(name) or search.left.get(name, "it was not asked for") for name in missing}
    if asked != AUTO and (refused := [name for name in asked if name in left]):
        raise ValueError(
            f"hard={asked!r}: condition {refused[0]!r} cannot be met by construction: {left[refused[0]]}; leave it out, or "
            "hard='auto' for what can"
        )
    for name in search.conflicts if asked == AUTO else ():
        warn_user(f"condition {name!r} is left to training, and not met by construction: {left[name]}")
    met = tuple(name for name in problem.names if name not in left)
    levels = {name: None if level == inf else int(level) for name, level in search.levels.items()}
    given = {"repeated": tuple(repeated), "own_inputs": own_inputs}
    return HardConditions(met, left, levels, search.fields, problem, given)


class _Search:
    """Condition by condition, what can be met beside what was met before.

    met, left: names; conflicts: those of `left` that contradict one that is met; levels: {coordinate: continuous derivatives}
        of the network's inputs; fields: as in `HardConditions`
    """

    def __init__(
        self,
        problem: Problem,
        asked: str | Sequence[str],
        left_out: Mapping[str, str],
        repeated: Collection[str],
        own_inputs: bool,
        device: Device,
    ):
        self._problem, self._asked, self._device = problem, asked, device
        self._written = [condition for condition in problem.conditions if isinstance(condition, Condition)]
        self._repeated, self._own_inputs = repeated, own_inputs
        self.left = {**dict.fromkeys(problem.foreign, _FOREIGN), **left_out}
        self.met: list[str] = []
        self.conflicts = list(left_out)
        self.levels: dict[str, float] = {}
        self._broken: dict[str, str] = {}
        self._parts = self._prescriptions()
        self._accepted: list[Prescribed] = []
        for axis in sorted({c.region.axis for c in self._written if isinstance(c.region, PeriodicPair)}):
            self._repeat(axis)
        for slopes in (False, True):
            for name, parts in self._parts.items():
                if parts[0].slope is slopes and self._is_wanted(name):
                    self._accept(name, parts)
        by_field = [[part for part in self._accepted if part.field == field] for field in range(len(problem.fields))]
        self.fields = tuple(Transfinite(parts, problem.domain, device) if parts else None for parts in by_field)

    def _is_wanted(self, name: str) -> bool:
        return name not in self.left and (self._asked == AUTO or name in self._asked)

    def _refuse(self, name: str, error: UnmetError) -> None:
        self.left[name] = str(error)
        if error.conflict:
            self.conflicts.append(name)

    def _prescriptions(self) -> dict[str, list[Prescribed]]:
        found = {}
        problem = self._problem

        def orders(field: int, axis: int) -> int:
            taken = [spec for specs in problem.arguments.values() for spec in specs if spec.field == field]
            return max((spec.order(axis, problem.domain.space) for spec in taken), default=0)

        for condition in self._written:
            if isinstance(condition.region, PeriodicPair):
                continue
            specs = problem.arguments[condition.name]
            if isinstance(condition.operator, Start):  # left to training; as it is written, it says how smooth fields are
                self.left.setdefault(condition.name, _OF_A_SLAB)
                condition = replace(condition, operator=condition.operator.as_written())
            try:
                found[condition.name] = prescriptions(condition, specs, problem.domain, orders, self._device)
            except UnmetError as error:
                self.left.setdefault(condition.name, str(error))
        return found

    # Periodic conditions.

    def _repeat(self, axis: int) -> None:
        coordinate = self._problem.coordinates[axis]
        given = coordinate in self._repeated
        pairs = [c.name for c in self._written if isinstance(c.region, PeriodicPair) and c.region.axis == axis]
        if not given and not any(map(self._is_wanted, pairs)):
            return
        every = [part for parts in self._parts.values() for part in parts]
        try:
            if not given and not self._own_inputs:
                raise UnmetError(
                    f"the network's own inputs would have to repeat in {coordinate}: MLP(problem, hard=...), or "
                    f"MLP(problem, periodic={coordinate!r}) as the network"
                )
            if not given and (blocking := [p.name for p in every if p.axis == axis and self._is_wanted(p.name)]):
                raise UnmetError(f"{blocking[0]!r} prescribes values where {coordinate} ends")
            found = repetition(self._problem, axis, self._is_wanted, every, given=given, device=self._device)
        except UnmetError as error:
            for name in filter(self._is_wanted, pairs):
                self._refuse(name, error)
            return
        self.met += found.met
        self._broken |= found.broken
        if not given:
            self.levels[coordinate] = found.level

    # Values and slopes.

    def _accept(self, name: str, parts: Sequence[Prescribed]) -> None:
        try:
            trial = self._with(name, parts)
        except UnmetError as error:
            self._refuse(name, error)
            return
        self._accepted = trial
        self.met.append(name)

    def _with(self, name: str, parts: Sequence[Prescribed]) -> list[Prescribed]:
        """What is accepted, and these parts of a condition. Raises `UnmetError` where they do not go together."""
        if name in self._broken:
            raise UnmetError(self._broken[name], conflict=True)
        trial = list(self._accepted)
        for part in parts:
            coordinate = self._problem.coordinates[part.axis]
            if part.part is None and (coordinate in self.levels or coordinate in self._repeated):
                raise UnmetError(
                    f"the network repeats in {coordinate}, and with a factor that is 0 at one of its ends would not"
                )
            others = [other for other in trial if other.field == part.field]
            for other in others:
                check_agreement(self._problem, other, part, self._device)
            same = [] if part.part is not None else [o for o in others if (o.axis, o.end) == (part.axis, part.end)]
            if part.slope and not any(not other.slope for other in same):
                raise UnmetError("it prescribes a slope where no value is met, and both go together only")
            if part.slope and any(other.slope and other.axis != part.axis for other in others):
                raise UnmetError("slopes are met across the faces of one coordinate only")
            if not any(other.slope is part.slope for other in same):
                trial.append(part)
        of_field = [part for part in trial if part.field == parts[0].field]
        on_shape = [part for part in of_field if part.part is not None]
        if on_shape:
            corner = Blend(on_shape, self._device).inward
            if corner is not None and self._asked == AUTO:
                raise UnmetError(
                    f"its distance is cut off at a corner that points into the domain, ({corner[0]:.4g}, {corner[1]:.4g}), "
                    f"where solutions are not smooth and training does better; hard=({name!r}, ...) takes it nevertheless"
                )
        count = most_terms(of_field, self._device)
        if self._asked == AUTO and count <= MOST_TERMS:
            check_terms(count, _AUTO_TERMS, f"; it would be done for hard=({name!r}, ...)")
        check_terms(count, MOST_TERMS)
        return trial

    def fault(self) -> dict[str, str] | None:
        """The first condition that is not met as it should be, on random points and for a function N of no structure; None if
        there is none.
        """
        conditions = HardConditions((), {}, {}, self.fields, self._problem)
        for name, parts in self._parts.items():
            for part in parts if name in self.met else ():
                error = largest_error(conditions, len(self.fields), part, self._device)
                if not error <= _MET:
                    return {name: f"built in, its error would still be {error:.1g} of what the field's size makes it"}
        return None
