"""Conditions on complex-valued unknowns: a complex error as two real ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from inspect import Parameter, Signature
from typing import Any

import torch
from torch import Tensor

from pinntk.problem._arguments import required, with_field
from pinntk.problem._conditions import Condition
from pinntk.problem._integral import Integral

PARTS = ("real", "imag")


def complex_parts(
    kind: Callable[[Callable], Condition], /, **unknowns: tuple[str, str]
) -> Callable[[Callable], tuple[Condition, Condition]]:
    """A condition on complex unknowns, each of which is two fields: the real and the imaginary part of its error.

    The operator takes complex tensors (n,) under the unknown's name, derivatives among them (`h_t`, `lap_h`), and returns a
    complex error (n,). Everything else that it takes is real, as always. It is called once for each part, and torch does not
    compile complex arithmetic: where a step's time matters, two real conditions cost less.

    kind: the kind of condition and where it holds, such as residual(domain)
    unknowns: {name: (field of its real part, field of its imaginary part)}

    >>> from pinntk import Box, Problem, complex_parts, residual
    >>> domain = Box(t=(0, 1), x=(-5, 5))
    >>> @complex_parts(residual(domain), h=("u", "v"))
    ... def schrodinger(h, h_t, h_xx):
    ...     return 1j * h_t + h_xx / 2 + abs(h) ** 2 * h
    >>> Problem(domain, schrodinger, fields=("u", "v")).names
    ('schrodinger_real', 'schrodinger_imag')

    Raises ValueError for unknowns that are not two fields, TypeError for an integral, whose value is one real number. Where
    errors are computed, an operator whose error is not complex is refused.
    """
    if not unknowns:
        raise ValueError('complex_parts(...): name the unknown and its two fields, such as complex_parts(..., h=("u", "v"))')
    for name, fields in unknowns.items():
        if isinstance(fields, str) or len(fields) != 2 or not all(isinstance(field, str) for field in fields):
            raise ValueError(f'{name}={fields!r}: the fields of its real and of its imaginary part, such as {name}=("u", "v")')

    def decorate(operator: Callable) -> tuple[Condition, Condition]:
        whole = kind(operator)
        if not isinstance(whole, Condition) or isinstance(whole.region, Integral):
            what = "an integral equals one real number" if isinstance(whole, Condition) else "needs a condition"
            raise TypeError(f"complex_parts: {what}; give a kind such as residual(domain)")
        real, imag = (ComplexPart(whole, part, unknowns) for part in PARTS)
        return replace(whole, name=real.__name__, operator=real), replace(whole, name=imag.__name__, operator=imag)

    return decorate


class ComplexPart:
    """An operator that returns one part of a complex operator's error. Its signature is what a condition reads."""

    def __init__(self, whole: Condition, part: str, unknowns: Mapping[str, Sequence[str]]):
        self.__name__, self.part, self.whole = f"{whole.name}_{part}", part, whole
        self.asked: dict[str, tuple[str, ...]] = {}  # argument of the complex operator -> those that it is made of
        for argument in required(whole.operator):
            self.asked[argument] = (argument,)
            for name, fields in unknowns.items():
                of_fields = [with_field(argument, name, field, whole.region.coordinates) for field in fields]
                if None not in of_fields:
                    self.asked[argument] = tuple(map(str, of_fields))
        names = dict.fromkeys(name for made_of in self.asked.values() for name in made_of)
        self.__signature__ = Signature([Parameter(name, Parameter.KEYWORD_ONLY) for name in names])
        if hasattr(whole.operator, "__code__"):
            self.__code__ = whole.operator.__code__  # by which an error in it is placed

    def __call__(self, **values: Tensor) -> Tensor:
        given = {
            argument: torch.complex(*(values[name] for name in made_of)) if len(made_of) == 2 else values[made_of[0]]
            for argument, made_of in self.asked.items()
        }
        error: Any = self.whole.operator(**given)
        if not isinstance(error, Tensor) or not error.is_complex():
            what = f"a tensor of {error.dtype}" if isinstance(error, Tensor) else type(error).__name__
            raise TypeError(f"it returned {what}, and complex_parts needs a complex tensor; state a real error by itself")
        return getattr(error, self.part)
