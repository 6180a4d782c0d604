"""Whether derivatives are derivatives: the Taylor engine against nested autograd, and autograd against finite differences."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product
from math import comb, prod

import torch
from torch import Tensor, nn

from pinntk._util.stand_in import call_with
from pinntk._util.warn import warn_user
from pinntk.geometry import Domain
from pinntk.geometry import _sampling as sampling
from pinntk.problem import ForeignCondition, Points, Problem
from pinntk.problem._arguments import ArgumentSpec
from pinntk.residuals._fallback import warn_fallback
from pinntk.residuals._fields import AutogradFields, Fields, TaylorFields
from pinntk.residuals._gradients import compare_gradients, compare_operator
from pinntk.residuals._points import groups
from pinntk.taylor import UnsupportedOperationError

Index = tuple[int, ...]

_PLACE, _SHARE = 2**0.5 - 1, 0.1  # the probe moves by that share towards that place of the domain, away from kinks
_TOWARDS = 8  # such places of a domain that is no box
_MOST_AXES = 50  # of a Laplacian that is compared: nested autograd takes that many backward passes
_AGREED = {torch.float64: 1e-8, torch.float32: 1e-2}  # relative difference of derivatives that rounding explains


def check_derivatives(network: nn.Module, problem: Problem, probe: Points) -> None:
    """Warns where the Taylor engine and nested autograd disagree, and uses autograd from then on; and where autograd's
    gradient is not the derivative of the network's values, or of an operator's error by the fields.

    Both are measured in float64 where the network can be evaluated in it, on points of the domain near those of the probe.
    """
    call = _in_float64(network, next(iter(probe.values()))[:, : problem.domain.dimension])
    inside = {id(rows): _inside(problem.domain, rows) for rows in probe.values()}
    if call is None:
        call = network
    else:
        inside = {key: rows.double() for key, rows in inside.items()}
    _compare_engines(network, call, problem, {name: inside[id(rows)] for name, rows in probe.items()})
    for name, rows in probe.items():
        if not isinstance(problem[name], ForeignCondition):
            compare_operator(problem, name, rows)
    x = next(iter(inside.values()))
    if x.dtype == torch.float64:
        try:
            compare_gradients(network, call, problem.domain, x[:, : problem.domain.dimension])
        except Exception:  # a network that knows no gradient of its inputs, or no parameters but its own
            return


def _in_float64(network: nn.Module, x: Tensor) -> Callable[[Tensor], Tensor] | None:
    """The network with its parameters in float64; itself if they are; None where it cannot be evaluated so."""
    if x.dtype == torch.float64:
        return network
    state = {
        name: t.detach().double() if t.is_floating_point() else t.clone()
        for name, t in (*network.named_parameters(), *network.named_buffers())
    }

    def call(x: Tensor) -> Tensor:
        return call_with(network, state, x)

    try:
        with torch.no_grad():
            return call if call(x.double()).dtype == torch.float64 else None
    except Exception:  # whatever a network does in a dtype that it was not written for
        return None


def _inside(domain: Domain, rows: Tensor) -> Tensor:
    """Rows moved towards a place of a box; of another domain, the first of a few by which they stay in it, or not at all."""
    low, high = (torch.as_tensor(end).to(rows) for end in (domain.low, domain.high))
    places = (low + _PLACE * (high - low))[None]
    if not domain.is_box:
        drawn = domain.sample(_TOWARDS, "sobol", sampling.generator(0, "probe"))
        places = torch.cat([places, torch.as_tensor(drawn).to(rows)])
    moved = rows.clone()
    left = torch.ones(len(rows), dtype=torch.bool, device=rows.device)
    for place in places:
        there = rows[:, : len(low)] + _SHARE * (place - rows[:, : len(low)])
        stays = left if domain.is_box else left & torch.as_tensor(domain.contains(there.double().cpu().numpy())).to(left.device)
        moved[stays, : len(low)] = there[stays]
        left = left & ~stays
    return moved


# The two engines.


@dataclass(frozen=True)
class _Derivative:
    """Something that a condition asks of the network, by both engines, (n,) each.

    indices: whose sum it is; unit: of it, in the domain's extents
    """

    name: str
    field: int
    indices: tuple[Index, ...]
    unit: float
    taylor: Tensor
    autograd: Tensor

    @property
    def apart(self) -> float:
        return float((self.taylor - self.autograd).abs().max())

    @property
    def largest(self) -> float:
        return float(torch.maximum(self.taylor.abs(), self.autograd.abs()).max())


def _compare_engines(network: nn.Module, call: Callable[[Tensor], Tensor], problem: Problem, probe: Points) -> None:
    for names in groups(problem, probe):
        if isinstance(problem[names[0]], ForeignCondition):  # whose code takes no jets
            continue
        rows = probe[names[0]][:, : problem.domain.dimension]
        try:
            with torch.no_grad():
                taylor = TaylorFields(call, problem, rows, problem.basis(names))
            with torch.enable_grad():
                autograd = AutogradFields(call, problem, rows)
                found = {name: list(_derivatives(problem, problem.arguments[name], taylor, autograd)) for name in names}
        except Exception:  # only one of them works, and is used
            continue
        for name, derivatives in found.items():
            if (off := _disagreement(derivatives)) and _warn(network, call, problem.domain, name, off, rows):
                return


def _derivatives(problem: Problem, specs: tuple[ArgumentSpec, ...], taylor: Fields, autograd: Fields) -> Iterator[_Derivative]:
    """All that a condition asks of the network, and the fields themselves."""
    d, space = problem.domain.dimension, problem.domain.space
    extent = [high - low for low, high in problem.domain.bounds]

    def along(field: int, name: str, index: Index) -> _Derivative:
        unit = prod(length**times for length, times in zip(extent, index, strict=True))
        both = (f.derivative(field, index).detach() for f in (taylor, autograd))
        return _Derivative(name, field, (index,), unit, *both)

    for spec in specs:
        if spec.field < 0:
            continue
        yield along(spec.field, problem.fields[spec.field], (0,) * d)
        if spec.kind == "laplacian" and len(space) > _MOST_AXES:
            continue
        if spec.kind == "laplacian":
            second = tuple(tuple(2 * int(i == axis) for i in range(d)) for axis in space)
            both = (f.laplacian(spec.field, space).detach() for f in (taylor, autograd))
            yield _Derivative(spec.argument, spec.field, second, min(extent[axis] for axis in space) ** 2, *both)
        elif spec.kind == "derivative":
            yield along(spec.field, spec.argument, spec.index)
        else:
            yield from (along(spec.field, spec.argument, tuple(int(i == k) for i in range(d))) for k in space)


def _disagreement(derivatives: list[_Derivative]) -> _Derivative | None:
    """The first that rounding does not explain, against the largest derivative of its field in units of the domain."""
    size: dict[int, float] = {}
    for found in derivatives:
        size[found.field] = max(size.get(found.field, 0.0), found.unit * found.largest)
    for found in derivatives:
        if found.apart > _AGREED.get(found.taylor.dtype, 0.1) * size[found.field] / found.unit:
            return found
    return None


def _warn(network: nn.Module, call: Callable, domain: Domain, condition: str, off: _Derivative, x: Tensor) -> bool:
    """Warns of a disagreement; whether nested autograd is used from now on."""
    said = (
        f"condition {condition!r}: {off.name} by the Taylor engine and by nested autograd differ by {off.apart:.2g}, of values "
        f"up to {off.largest:.2g}"
    )
    if x.dtype == torch.float64:
        expected = sum(_finite_difference(call, domain, x, off.field, index) for index in off.indices)
        if float((off.taylor - expected).abs().max()) < 0.1 * float((off.autograd - expected).abs().max()):
            warn_user(
                f"{said}; finite differences of the network's values confirm the Taylor engine, whose values are used: nested "
                "autograd, and with it a training of your own, is wrong for this network"
            )
            return False
    warn_fallback(network, UnsupportedOperationError(said, "on the same points"))
    return True


def _finite_difference(call: Callable, domain: Domain, x: Tensor, field: int, index: Index) -> Tensor:
    """d^index of one output by central differences, (n,): of about 1e-5 of its size."""
    step = torch.finfo(x.dtype).eps ** (1 / (sum(index) + 2))
    lengths = step * torch.as_tensor(domain.high - domain.low).to(x)
    total = torch.zeros_like(x[:, 0])
    with torch.no_grad():
        for places in product(*(range(times + 1) for times in index)):
            factor = prod((-1) ** j * comb(times, j) for j, times in zip(places, index, strict=True))
            moved = x.new_tensor([times / 2 - j for j, times in zip(places, index, strict=True)])
            total += factor * call(x + moved * lengths)[:, field]
    return total / prod(float(length) ** times for length, times in zip(lengths, index, strict=True))
