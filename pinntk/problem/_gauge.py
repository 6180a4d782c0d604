"""Fields that are free by a constant that no condition sees, such as a pressure: found by calling the operators."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from pinntk.geometry import Domain, Faces, PeriodicPair
from pinntk.geometry import _sampling as sampling
from pinntk.problem._arguments import ArgumentSpec
from pinntk.problem._conditions import Condition
from pinntk.problem._integral import Integral
from pinntk.problem._measurements import Measurements

_POINTS = 256  # of a condition; of measurements all rows
_DRAWS = 3  # of random values and derivatives: of both signs, positive, and positive and large
_LARGE = 1e3
_CANCELS, _EQUAL = 1e-12, 1e-9  # relative: slopes at both ends of a periodic pair, and two numbers, that differ by rounding
_A_TIME = 4  # points at the same time from which their mean is taken; else a polynomial in time is
_DEGREE = 10  # of that polynomial, at most, and one for 20 points


@dataclass(frozen=True)
class Gauge:
    """What may be added to a field, and no condition sees it.

    time: the axis of the coordinate of which it may be any function; None for a constant
    known_at: times at which a condition sees it after all, such as a start
    """

    time: int | None = None
    known_at: tuple[float, ...] = ()


def gauges(
    domain: Domain,
    conditions: Sequence[Condition],
    arguments: Mapping[str, Sequence[ArgumentSpec]],
    fields: Sequence[str],
) -> dict[str, Gauge]:
    """{field: Gauge} of the fields that are free; empty where all fields are, which is a missing condition.

    An operator sees a constant in p if its error, at random values and derivatives of all that it takes, changes with p. One
    that cannot be called with those counts as seeing it.
    """
    if len(fields) < 2:
        return {}
    found: dict[str, Gauge | None] = {}  # None for what no condition reads
    for number, name in enumerate(fields):
        if not any(spec.field == number for specs in arguments.values() for spec in specs):
            found[name] = None
            continue
        calls = [_Call(domain, condition, arguments[condition.name], number) for condition in conditions]
        gauge = _of_field(domain, calls)
        if gauge is not None:
            found[name] = gauge
    if len(found) == len(fields):
        return {}
    return {name: gauge for name, gauge in found.items() if gauge is not None}


def without(gauge: Gauge, values: Tensor, points: Tensor) -> Tensor:
    """A field's values (m,) without their mean over the points (m, d), or over those of each time; not finite ones as they are.

    Where every point has a time of its own it is not the mean, but a polynomial in time that is taken off.
    """
    if not bool(values.isfinite().all()):
        return values
    if gauge.time is None:
        return values - values.mean()
    different, place = points[:, gauge.time].to(values).unique(return_inverse=True)
    if len(values) >= _A_TIME * len(different):
        counts = torch.bincount(place)
        means = values.new_zeros(len(different)).index_add(0, place, values) / counts
        for known in gauge.known_at:
            means = torch.where(different == known, 0, means)
        return values - means[place]
    low, high = different[0], different[-1]
    t = (2 * (points[:, gauge.time].to(values) - low) / (high - low) - 1).arccos()
    columns = torch.stack([(k * t).cos() for k in range(1 + min(_DEGREE, len(values) // 20))], 1)  # Chebyshev polynomials
    Q, _ = torch.linalg.qr(columns)
    return values - Q @ (Q.T @ values)


def up_to(found: Mapping[str, Gauge], coordinates: Sequence[str]) -> str:
    """Text such as " up to a constant of p", to stand behind a number; "" where no field is free."""
    said = [
        f"a constant of {name}" if gauge.time is None else f"a function of {coordinates[gauge.time]} in {name}"
        for name, gauge in found.items()
    ]
    return f" up to {' and '.join(said)}" if said else ""


def _of_field(domain: Domain, calls: Sequence[_Call]) -> Gauge | None:
    moments = [axis for axis in range(domain.dimension) if axis not in domain.space]
    if moments and domain.space:  # time is one axis
        seeing = [call for call in calls if call.sees(any_time=True)]
        times = [call.times(moments[0]) for call in seeing]
        if all(times):
            return Gauge(moments[0], tuple(sorted(set().union(*times))))
    return None if any(call.sees(any_time=False) for call in calls) else Gauge()


class _Call:
    """An operator, called to see whether its error changes with what is added to one field."""

    def __init__(self, domain: Domain, condition: Condition, specs: Sequence[ArgumentSpec], field: int):
        self.domain, self.condition, self.specs = domain, condition, specs
        self._moments = [axis for axis in range(domain.dimension) if axis not in domain.space]
        space = domain.space if domain.space else tuple(self._moments)
        # The field itself, and its derivatives in time alone.
        flat = [s for s in specs if s.field == field and s.kind == "derivative" and not any(s.index[axis] for axis in space)]
        self._changing = {s.argument for s in flat}
        self._values = {s.argument for s in flat if not any(s.index)}

    def times(self, axis: int) -> set[float]:
        """The times that the condition's region is at; empty if it is on an interval."""
        region = self.condition.region
        if isinstance(region, Integral):
            if axis in region.kept:
                return set(region.rows[:, axis].tolist())
            region = region.over
        pieces = [dict(piece) for piece in region.pieces] if isinstance(region, Faces) else []
        return {piece[axis] for piece in pieces} if pieces and all(axis in piece for piece in pieces) else set()

    def sees(self, any_time: bool) -> bool:
        """Whether it sees a constant, or a function of time."""
        moved = self._changing if any_time else self._values
        if not moved or (any_time and self._integrates_time):
            return False
        blind = False
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            for draw in range(_DRAWS):
                try:
                    seen = self._sees(moved, draw)
                except Exception:
                    continue  # the operator's own, at values that it does not take
                if seen:
                    return True
                blind = blind or seen is False
        return not blind

    @property
    def _integrates_time(self) -> bool:
        """Then it sees one number of a function of time."""
        return isinstance(self.condition.region, Integral) and not self.times(self._moments[0])

    def _sees(self, moved: Collection[str], draw: int) -> bool | None:
        """None where its errors are not finite."""
        region = self.condition.region
        rng = sampling.generator(draw, "gauge", self.condition.name)
        rows = region.rows if isinstance(region, (Measurements, Integral)) else region.sample(_POINTS, "sobol", rng)
        points = torch.as_tensor(rows, dtype=torch.float64)
        if isinstance(region, Integral):
            points = torch.cat(region.spread(points), 1)
        places = [points] if not isinstance(region, PeriodicPair) else [points, region.opposite(points)]
        arguments = [self._arguments(place, draw, rng) for place in places]
        factors = {name: float(rng.standard_normal()) + 2.0 for name in sorted(moved)}
        shifts = [points.new_zeros(len(points)).requires_grad_() for _ in places]
        with torch.enable_grad():
            parts = [self._error(given, factors, shift) for given, shift in zip(arguments, shifts, strict=True)]
            total = torch.stack([part.sum() for part in parts])
            total = total[0] if len(parts) == 1 else total[0] - total[1]
            slopes = torch.autograd.grad(total, shifts, allow_unused=True) if total.requires_grad else [None] * len(shifts)
        felt = [torch.zeros_like(points[:, 0]) if slope is None else slope for slope in slopes]
        with torch.no_grad():
            after = [self._error(given, factors, shift + 1) for given, shift in zip(arguments, shifts, strict=True)]
            change = torch.stack([a - p for a, p in zip(after, parts, strict=True)])
            change = change[0] if len(parts) == 1 else change[0] - change[1]
            size = torch.stack([part.abs() for part in parts]).sum(0)
        slope, sizes = (s.sum(0).view(len(rows), -1).sum(1) for s in (torch.stack(felt), torch.stack(felt).abs()))
        finite = slope.isfinite() & change.isfinite()
        if not bool(finite.any()):
            return None
        alone = len(parts) == 1 and slopes[0] is None
        same = change.abs() <= (0.0 if alone else _EQUAL) * size
        return bool((finite & ((slope.abs() > _CANCELS * sizes) | ~same)).any())

    def _arguments(self, points: Tensor, draw: int, rng: np.random.Generator) -> dict[str, Tensor]:
        """Coordinates and columns as they are, all else random."""
        n, d = len(points), self.domain.dimension
        given = {}
        for spec in self.specs:
            if spec.kind == "coordinate":
                given[spec.argument] = points[:, spec.axis]
            elif spec.kind == "points":
                given[spec.argument] = points[:, :d]
            elif spec.kind == "column":
                given[spec.argument] = points[:, d + spec.axis]
            elif spec.kind == "component" and isinstance(self.condition.region, Integral):  # whose integral may vanish
                given[spec.argument] = self.condition.region.normals(points[:, :d])[:, spec.axis]
            elif spec.kind == "coefficient":
                given[spec.argument] = points.new_full((n,), 0.5 + rng.random())
            else:
                shape = (n, len(self.domain.space)) if spec.kind == "gradient" else (n,)
                numbers = torch.as_tensor(rng.standard_normal(shape))
                given[spec.argument] = numbers if draw == 0 else (0.1 + numbers.abs()) * (1.0 if draw == 1 else _LARGE)
        return given

    def _error(self, given: Mapping[str, Tensor], factors: Mapping[str, float], shift: Tensor) -> Tensor:
        moved = {name: value + factors[name] * shift if name in factors else value.clone() for name, value in given.items()}
        error = self.condition.operator(**moved)
        if not isinstance(error, Tensor) or error.shape != shift.shape:
            raise ValueError("no error for each point")
        region = self.condition.region
        return region.total(error, torch.as_tensor(region.rows)) if isinstance(region, Integral) else error
