"""Conditions of which the ill problems, and their healthy likes, are made."""

from __future__ import annotations

from collections.abc import Callable
from inspect import Parameter, Signature
from math import pi

from torch import sin

from pinntk import Problem, boundary, initial, periodic, residual

Made = dict[str, Callable[[bool], Problem]]  # by name: a problem with the fault, or its healthy like


def register(table: Made) -> Callable:
    """Registers a function of `ill`: whether the fault is there."""

    def add(make: Callable[[bool], Problem]) -> Callable[[bool], Problem]:
        table[make.__name__] = make
        return make

    return add


def value(region, number=0.0, field="u", name=None):
    def condition(**fields):
        return fields[field] - number

    return _named(boundary(region), condition, name or f"{field}_{region.describe()}", field)


def slope(region, argument, number=0.0, name=None):
    def condition(**fields):
        return fields[argument] - number

    return _named(boundary(region), condition, name or f"{argument}_{region.describe()}", argument)


def _named(decorate, operator, name, argument):
    operator.__name__ = "".join(c if c.isalnum() else "_" for c in name)
    operator.__signature__ = Signature([Parameter(argument, Parameter.KEYWORD_ONLY)])
    return decorate(operator)


def heating(box, conductivity):
    @residual(box)
    def heat(u_t, u_xx):
        return u_t - conductivity * u_xx

    return heat


def sine_start(box):
    @initial(box.at(t=0))
    def start(u, x):
        return u - sin(pi * x)

    return start


def repeats(box):
    """u and its slope, over the ends of x."""

    @periodic(box.ends("x"))
    def wrap(u):
        return u

    @periodic(box.ends("x"))
    def wrap_slope(u_x):
        return u_x

    return wrap, wrap_slope
