"""A problem as people read it: in a line, and as a notebook shows it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from markupsafe import Markup, escape
from torch import nn

from pinntk._util.html import facts, folded, page, table
from pinntk._util.numbers import number
from pinntk.geometry import Domain, Part, Region
from pinntk.problem._arguments import ArgumentSpec
from pinntk.problem._equation import equation
from pinntk.problem._foreign import AnyCondition, ForeignCondition
from pinntk.problem._integral import Integral
from pinntk.problem._parameters import parameters_text

_TOKEN = re.compile(r" \*\* (\w+)| ([*/]) |(\b[A-Za-z_]\w*)|(.)")
_SHORT = 160  # letters of an equation in a table


def in_words(domain: Domain) -> str:
    """A box by its intervals; a shape by what it is made of, and the intervals of time and parameters.

    >>> from pinntk.geometry import Box, Disk
    >>> in_words(Disk(x=0, y=0, radius=1) * Box(t=(0, 1)))
    'the disk of radius 1 around (0, 0), t from 0 to 1'
    """
    shape = None if domain.is_box else domain.shape
    intervals = [
        f"{name} from {low:.4g} to {high:.4g}"
        for name, (low, high) in zip(domain.coordinates, domain.bounds, strict=True)
        if shape is None or name not in shape.coordinates
    ]
    what = [] if shape is None else [shape.describe()]
    if what and what[0].startswith("(") and what[0].endswith(")"):
        what = [what[0][1:-1]]
    return ", ".join(what + intervals)


def where(region: Region, domain: Domain) -> str:
    """Where a condition of a problem on `domain` holds: "in the domain", "on inlet", "where x = 0 or x = 1"."""
    if region is domain:
        return "in the domain"
    if isinstance(region, Part):
        less = f" without {' and '.join(region.without)}" if region.without else ""
        return f"on {' and '.join(region.names) or 'the boundary'}{less}"
    if isinstance(region, Integral):
        return region.describe()
    if isinstance(region, Domain):
        return f"in {region.describe()}"
    return f"{'at' if region.given is not None else 'where'} {region.describe()}"


class Known(Protocol):
    """What a problem says of its known solution."""

    @property
    def exact(self) -> Any: ...

    @property
    def reference(self) -> Any: ...

    @property
    def solution_accuracy(self) -> float: ...


def known_solution_in_words(problem: Known) -> str:
    if problem.exact is None and problem.reference is None:
        return "not known"
    kind, floor = "numbers, computed or published" if problem.exact is None else "exact", problem.solution_accuracy
    return f"{kind}; its own relative L2 error is {floor:.0e}, and no network's is smaller" if floor else kind


def in_a_line(name: str, settings: str, domain: Domain, fields: Sequence[str], conditions: Sequence[AnyCondition]) -> str:
    """For `repr`."""
    what = f"{name}, {settings}" if settings else name
    kinds = ", ".join(f"{condition.name} ({condition.kind})" for condition in conditions)
    return f"Problem({what}: {', '.join(fields)} of ({', '.join(domain.coordinates)}), {in_words(domain)}; {kinds})"


def as_html(
    name: str,
    domain: Domain,
    conditions: Sequence[AnyCondition],
    arguments: Mapping[str, Sequence[ArgumentSpec]],
    parameters: Mapping[str, Any],
    coefficients: nn.ParameterDict,
    more: Mapping[str, str],
) -> str:
    """Equation and conditions in a table, and the rest, with `more`, in a few lines."""
    rows = [[one.name, one.kind, _shown(one, arguments[one.name], parameters), where(one.region, domain)] for one in conditions]
    unknown = [f"{key}, now {number(float(value.detach()))}" for key, value in coefficients.items()]
    lines = [
        ("domain", in_words(domain)),
        ("parameters", parameters_text(parameters)),
        ("unknown", "; ".join(unknown)),
        *more.items(),
    ]
    return page(name, table(["condition", "kind", "equation", "where"], rows), facts(lines))


def _shown(condition: AnyCondition, specs: Sequence[ArgumentSpec], parameters: Mapping[str, Any]) -> Markup:
    if isinstance(condition, ForeignCondition):
        return Markup("<span class='faint'>{}</span>").format("computed by other code")
    if text := equation(condition, parameters):
        if len(text) <= _SHORT:
            return formula(text, specs)
        first, _, rest = text.partition(", ")
        return folded(formula(first, specs), formula(rest, specs))
    return Markup("<span class='faint'>of </span>") + Markup(", ").join(formula(spec.argument, specs) for spec in specs)


def formula(text: str, specs: Sequence[ArgumentSpec]) -> Markup:
    """Python as formulas look: derivatives by subscripts, powers above.

    >>> formula("u_xx + k ** 2 * u = pi", [ArgumentSpec("u_xx", "derivative", 0, (2,))])
    Markup('u<sub>xx</sub> + k<sup>2</sup> · u = π')
    """
    kinds = {spec.argument: spec.kind for spec in specs}

    def token(match: re.Match[str]) -> Markup:
        power, sign, name, other = match.groups()
        if power:
            return Markup("<sup>{}</sup>").format(power)
        if sign:
            return Markup(" · ") if sign == "*" else Markup(" / ")
        kind, (head, _, tail) = kinds.get(name or ""), (name or "").partition("_")
        if kind in ("laplacian", "gradient"):
            return Markup("{}{}").format("Δ" if kind == "laplacian" else "∇", tail)
        if kind in ("derivative", "normal", "component") and tail:
            head, _, tail = name.rpartition("_")
            return Markup("{}<sub>{}</sub>").format(head, tail)
        return escape({"pi": "π"}.get(name, name) if name else other)

    return Markup("").join(token(match) for match in _TOKEN.finditer(text))
