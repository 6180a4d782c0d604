"""How numbers and names stand in sentences that users read."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite

from pinntk._util.numbers import number
from pinntk.problem import Problem


def setting(value: float) -> str:
    """`number` of a setting, which has no more digits than it was given: 0.005, 2, 1e-4."""
    digits, mark, exponent = number(value).partition("e")
    return (digits.rstrip("0").rstrip(".") if "." in digits else digits) + mark + exponent


def percent(value: float) -> str:
    """A part of a whole in percent, of small parts two digits: 97%, 4.2%, 0.035%.

    >>> percent(0.9712), percent(0.0415), percent(0.00035), percent(0.0)
    ('97%', '4.2%', '0.035%', '0%')
    """
    if not isfinite(value):
        return number(value)
    hundredths = 100 * value
    return f"{hundredths:.0f}%" if abs(hundredths) >= 9.95 else f"{setting(float(f'{hundredths:.1e}'))}%"


def phrase(problem: Problem, name: str) -> str:
    """What a sentence calls a condition: "the residual of burgers", "the condition walls"."""
    return f"the {'residual of' if problem[name].kind == 'residual' else 'condition'} {name}"


def joined(names: Sequence[str], word: str = "and") -> str:
    """Names as a sentence has them: "a, b and c"."""
    *first, last = names
    return f"{', '.join(first)} {word} {last}" if first else last


def capital(sentence: str) -> str:
    """With a capital letter at its start, all else as it is."""
    return sentence[:1].upper() + sentence[1:]
