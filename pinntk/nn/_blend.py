"""A function with given values on parts of a shape's boundary, and one that vanishes there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import reduce
from itertools import permutations
from operator import mul

import numpy as np
import torch
from torch import Tensor

from pinntk.geometry._levels import Cut, Level, LevelSet, levels
from pinntk.nn._prescribed import AGREE, MOST_LEVELS, Device, Prescribed, UnmetError, random_points

_PERMUTED = 5  # functions whose every order is tried, 120
_PROBES = 1024
_TOUCHING = 1e-9  # of the extent: a distance that is 0


class Group:
    """Places of the boundary where one prescription holds.

    source: the prescription
    levels: numbers of the levels that vanish there
    """

    def __init__(self, source: Prescribed, numbers: Sequence[int]):
        self.source, self.levels = source, tuple(numbers)


class Blend:
    r"""The factor of a field that is prescribed on parts of a shape's boundary, and weights of what is prescribed there.

    With a level d_j for every smooth piece j of the parts (`pinntk.geometry._levels`: 0 there, of slope 1, positive elsewhere)
    and h the largest distance from the parts in the domain,

        s_j = d_j / sqrt(d_j^2 + h^2),    F = c prod_j s_j,    c so that max F = 1.

    The pieces are grouped by the function that is prescribed; each of the functions may continue into the domain as it likes,
    and a piece can belong to any of them that has its values. The weight of a group is that of the inverse distance,

        w_g = prod_(k != g) F_k / sum_l prod_(k != l) F_k,    F_k the product of the s_j of group k

    (Rvachev, Sheiko, Shapiro & Tsukanov 2001, Comput. Aided Geom. Des. 18:195), 1 on its own pieces and 0 on the others. A
    product, and not the normalized R-function of the distances: that is of slope 1 everywhere, and so has second derivatives of
    1 / r in every corner.

    Raises UnmetError where derivatives that the problem takes would be infinite: where groups meet, and where a piece ends in
    the middle of a wall.
    """

    def __init__(self, parts: Sequence[Prescribed], device: Device):
        self._axes = parts[0].domain.shape_axes
        sets, owners = _all_levels(parts)
        self.levels: tuple[Level, ...] = tuple(one.level for one in sets)
        _check_ends(parts, sets)
        self.groups = _grouped(parts, sets, owners, device)
        places = random_points(parts[0].domain, _PROBES, device)
        with torch.no_grad():
            distances = torch.stack([level(self._columns(places)) for level in self.levels])
            self._height = float(distances.abs().amin(0).max())
            self._largest = 1.0
            self._largest = float(self.factor(places).max())

    @property
    def inward(self) -> tuple[float, ...] | None:
        """A corner of the boundary that points into the domain: most levels that are cut end there."""
        ends = Counter(end for one in self.levels if isinstance(one, Cut) for end in one.ends)
        return ends.most_common(1)[0][0] if ends else None

    def _columns(self, x: Tensor) -> list[Tensor]:
        return [x[:, axis] for axis in self._axes]

    def _risen(self, x: Tensor, numbers: Sequence[int]) -> Tensor:
        columns = self._columns(x)
        found = []
        for number in numbers:
            d = self.levels[number](columns)
            found.append(d * torch.rsqrt(d.square() + self._height**2))
        return reduce(mul, found)

    def factor(self, x: Tensor) -> Tensor:
        """F (n,) at (n, d) points."""
        return self._risen(x, range(len(self.levels))) * (1 / self._largest)

    def weights(self, x: Tensor) -> list[Tensor | float]:
        """One of each group, (n,) or 1."""
        if len(self.groups) == 1:
            return [1.0]
        risen = [self._risen(x, group.levels) for group in self.groups]
        others = [reduce(mul, risen[:number] + risen[number + 1 :]) for number in range(len(risen))]
        total = 1 / reduce(lambda a, b: a + b, others)
        return [other * total for other in others]


def _all_levels(parts: Sequence[Prescribed]) -> tuple[list[LevelSet], list[list[Prescribed]]]:
    """The levels of all parts, each once, and which parts have it."""
    sets: dict[Level, LevelSet] = {}
    owners: dict[Level, list[Prescribed]] = {}
    for part in parts:
        assert part.part is not None
        try:
            found = levels(part.part, MOST_LEVELS)
        except ValueError as error:
            raise UnmetError(str(error)) from error
        for one in found:
            known = sets.get(one.level)
            sets[one.level] = one if known is None else LevelSet(one.level, np.concatenate([known.places, one.places]))
            owners.setdefault(one.level, []).append(part)
    return list(sets.values()), list(owners.values())


def _vanishes(level: Level, places: np.ndarray, extent: float) -> np.ndarray:
    return level(list(torch.as_tensor(places).unbind(1))).abs().numpy() <= _TOUCHING * extent


def _check_ends(parts: Sequence[Prescribed], sets: Sequence[LevelSet]) -> None:
    """Raises UnmetError where a cut level ends, and fewer levels meet there than derivatives are taken."""
    shape, order = parts[0].domain.shape, max(part.order for part in parts)
    for one in sets:
        for end in one.level.ends if isinstance(one.level, Cut) else ():
            meeting = sum(bool(_vanishes(other.level, np.array([end]), shape.extent)[0]) for other in sets)
            if meeting < order:
                place = ", ".join(f"{name} = {c:.4g}" for name, c in zip(shape.coordinates, end, strict=True))
                raise UnmetError(
                    f"it ends at {place}, where the wall goes on, and derivatives of order {order} of a factor that is 0 on "
                    f"one side alone grow there as 1 / r^{order - meeting}"
                )


def _grouped(
    parts: Sequence[Prescribed], sets: Sequence[LevelSet], owners: Sequence[Sequence[Prescribed]], device: Device
) -> list[Group]:
    """The pieces by a function that has their values: few functions, and none that meet."""
    sources = _different(parts, device)
    fitting = [[_fits(source, one, owner[0], device) for source in sources] for one, owner in zip(sets, owners, strict=True)]
    extent, order = parts[0].domain.shape.extent, max(part.order for part in parts)
    fault = None
    for turn in permutations(range(len(sources))) if len(sources) <= _PERMUTED else [tuple(range(len(sources)))]:
        chosen = [next(number for number in turn if fits[number]) for fits in fitting]
        groups = [
            Group(sources[number], [i for i, own in enumerate(chosen) if own == number]) for number in sorted(set(chosen))
        ]
        meeting = _meeting(groups, sets, extent)
        if meeting is None or order < 2:
            return groups
        fault = fault or meeting
    assert fault is not None
    first, second, place = fault
    where = ", ".join(f"{name} = {c:.4g}" for name, c in zip(parts[0].domain.shape.coordinates, place, strict=True))
    raise UnmetError(
        f"{first.name!r} and {second.name!r} meet at {where} with values of different functions, and second derivatives of "
        "what lies between them grow there as 1 / r"
    )


def _different(parts: Sequence[Prescribed], device: Device) -> list[Prescribed]:
    """One prescription of each function."""
    x = random_points(parts[0].domain, _PROBES, device)
    found: list[Prescribed] = []
    with torch.no_grad():
        values: list[Tensor] = []
        for part in parts:
            own = part.value(x, {})
            size = max(float(own.abs().max()), *(float(other.abs().max()) for other in values), 0.0)
            if all(float((own - other).abs().max()) > AGREE * size for other in values):
                found.append(part)
                values.append(own)
    return found


def _fits(source: Prescribed, one: LevelSet, owner: Prescribed, device: Device) -> bool:
    """Whether a prescription has the values of another on what that prescribes of a level."""
    x = random_points(owner.domain, len(one.places), device)
    x[:, list(owner.domain.shape_axes)] = torch.as_tensor(one.places).to(x)
    with torch.no_grad():
        return float((source.value(x, {}) - owner.value(x, {})).abs().max()) <= AGREE * max(source.scale, owner.scale)


def _meeting(
    groups: Sequence[Group], sets: Sequence[LevelSet], extent: float
) -> tuple[Prescribed, Prescribed, np.ndarray] | None:
    """Two groups with a place in common, and the place."""
    for number, group in enumerate(groups):
        for other in groups[number + 1 :]:
            for one in group.levels:
                for two in other.levels:
                    both = _vanishes(sets[two].level, sets[one].places, extent)
                    if both.any():
                        return group.source, other.source, sets[one].places[both][0]
    return None
