"""The values of fields as conditions, so that what works on errors works on fields: kernels, posteriors."""

from __future__ import annotations

from pinntk.problem._conditions import Condition, ValueOf, residual
from pinntk.problem._problem import Problem


def field_problem(problem: Problem) -> Problem:
    """The problem whose conditions are the fields' values anywhere in the domain, one for each field, in the fields' order."""
    return Problem(problem.domain, _field_conditions(problem), problem.fields)


def with_field_values(problem: Problem) -> Problem:
    """The problem's own conditions, and after them those of `field_problem`."""
    conditions = [*problem.conditions, *_field_conditions(problem)]
    return Problem(problem.domain, conditions, problem.fields, coefficients=problem.coefficients)


def _field_conditions(problem: Problem) -> list[Condition]:
    return [residual(problem.domain)(ValueOf(field, f"value of {field}")) for field in problem.fields]
