"""A problem in a page of text: what `pinntk problems NAME` prints."""

from __future__ import annotations

from textwrap import fill
from typing import Any

from pinntk.geometry import Domain
from pinntk.problem import Problem
from pinntk.problem._page import in_words, known_solution_in_words, where
from pinntk.problem._units import units_text
from pinntk.reporting import plot

_WIDTH = 80


def dimension(domain: Domain) -> str:
    """Coordinates of space, and the names of the others; how many they are where they are more than two.

    >>> from pinntk.geometry import Box, Disk
    >>> dimension(Disk(x=0, y=0, radius=1) * Box(t=(0, 1)))
    '2D+t'
    >>> dimension(Box(x=(0, 1)) * Box.of_parameters(a=(0, 1), b=(0, 1), c=(0, 1)))
    '1D+3'
    """
    others = [name for axis, name in enumerate(domain.coordinates) if axis not in domain.space]
    others = others if len(others) < 3 else [str(len(others))]
    return "+".join([*([f"{len(domain.space)}D"] if domain.space else []), *others])


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
        ("units", [units_text(problem.units)]),
        ("conditions", [_condition(problem, name) for name in problem.names]),
        ("boundary", [", ".join(plot.part_names(problem.domain))] if not problem.domain.is_box else []),
        ("parameters", [", ".join(f"{name} = {_value(value)}" for name, value in problem.parameters.items())]),
        ("unknown", [", ".join(f"{name}, from {float(value.detach()):g} on" for name, value in problem.coefficients.items())]),
        ("solution", [known_solution_in_words(problem)]),
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
    return f"{name}, {condition.kind}{f': {asked}' if asked else ''}; {where(condition.region, problem.domain)}"


def _value(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)
