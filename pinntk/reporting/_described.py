"""A problem in a page of text: what `pinntk problems NAME` prints."""

from __future__ import annotations

from textwrap import fill
from typing import Any

from pinntk.geometry import Domain, Part, Region
from pinntk.problem import Integral, Problem
from pinntk.reporting import plot

_WIDTH = 80


def dimension(domain: Domain) -> str:
    """Coordinates of space, and the names of the others.

    >>> from pinntk.geometry import Box, Disk
    >>> dimension(Disk(x=0, y=0, radius=1) * Box(t=(0, 1)))
    '2D+t'
    """
    others = [name for axis, name in enumerate(domain.coordinates) if axis not in domain.space]
    return "+".join([*([f"{len(domain.space)}D"] if domain.space else []), *others])


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


def described(problem: Problem, docstring: str = "") -> str:
    """Equation, domain, conditions and known solution, at 80 columns.

    docstring: what its file says of it

    >>> import pinntk
    >>> print(described(pinntk.load("poisson1d")))
    poisson1d
    <BLANKLINE>
    domain        x from 0 to 1
    dimension     1D
    order         2 in x
    fields        u
    conditions    poisson, residual: u_xx, x; in the domain
                  ends, boundary: u, x; where x = 0 or x = 1
    parameters    k = 4
    solution      exact
    """
    lines = [
        ("domain", [in_words(problem.domain)]),
        ("dimension", [dimension(problem.domain)]),
        ("order", [_order(problem)]),
        ("fields", [", ".join(problem.fields)]),
        ("conditions", [_condition(problem, name) for name in problem.names]),
        ("boundary", [", ".join(plot.part_names(problem.domain))] if not problem.domain.is_box else []),
        ("parameters", [", ".join(f"{name} = {_value(value)}" for name, value in problem.parameters.items())]),
        ("unknown", [", ".join(f"{name}, from {float(value.detach()):g} on" for name, value in problem.coefficients.items())]),
        ("solution", [_solution(problem)]),
    ]
    text = [problem.name, ""]
    for paragraph in filter(None, docstring.split("\n\n")):
        text += [fill(" ".join(paragraph.split()), _WIDTH), ""]
    for what, entries in lines:
        for number, entry in enumerate(filter(None, entries)):
            first = f"{what if number == 0 else '':<14}"
            text.append(fill(entry, _WIDTH, initial_indent=first, subsequent_indent=" " * 14, break_on_hyphens=False))
    return "\n".join(text)


def _order(problem: Problem) -> str:
    """The highest derivatives that conditions ask for."""
    if problem.foreign:
        return ""  # that of other code is not known
    space, specs = problem.domain.space, [spec for own in problem.arguments.values() for spec in own]
    highest = {
        name: max((spec.order(axis, space) for spec in specs if spec.field >= 0), default=0)
        for axis, name in enumerate(problem.coordinates)
    }
    return ", ".join(f"{order} in {name}" for name, order in highest.items() if order) or "0"


def _condition(problem: Problem, name: str) -> str:
    condition, asked = problem[name], ", ".join(spec.argument for spec in problem.arguments[name])
    return f"{name}, {condition.kind}{f': {asked}' if asked else ''}; {_where(condition.region, problem.domain)}"


def _where(region: Region, domain: Domain) -> str:
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


def _value(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _solution(problem: Problem) -> str:
    if not problem.has_solution:
        return "not known"
    kind = "exact" if problem.exact is not None else "numbers, computed or published"
    floor = problem.solution_accuracy
    return kind if not floor else f"{kind}; its own relative L2 error is {floor:.0e}, and no network's is smaller"
