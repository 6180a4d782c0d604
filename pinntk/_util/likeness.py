"""Which of the known words was probably meant."""

from __future__ import annotations

from collections.abc import Iterable

_INSIDE = 0.6  # how alike a word of at least four letters is to one that holds it, as cavity is to lid_driven_cavity


def nearest(word: str, known: Iterable[str], least: float = 0.6) -> str | None:
    """The word of `known` that `word` is most like, whatever case and - or _ it has; None where none is alike enough.

    least: likeness, from 0 to 1, that is asked for: 1 less the letters that are added, left out, changed (both) or swapped
        with the one beside them, over the letters of both words

    >>> nearest("adma", ["adamax", "adam"]), nearest("K", ["k"]), nearest("walls", ["ends"])
    ('adam', 'k', None)
    """
    likeness = {name: _likeness(_plain(word), _plain(name)) for name in known}
    best = max(likeness, key=likeness.__getitem__, default=None)
    return None if best is None or likeness[best] < least else best


def did_you_mean(word: str, known: Iterable[str], least: float = 0.6) -> str:
    """To stand behind what is wrong: a semicolon and the question, or nothing where no word is alike enough."""
    found = nearest(word, known, least)
    return "" if found is None else f"; did you mean {found!r}?"


def _plain(word: str) -> str:
    return word.casefold().replace("-", "_").strip("_")


def _likeness(one: str, other: str) -> float:
    inside = _INSIDE if len(one) > 3 and one in other else 0.0
    return max(1 - _distance(one, other) / max(len(one) + len(other), 1), inside)


def _distance(one: str, other: str) -> int:
    """The optimal string alignment distance, where a changed letter counts two."""
    before: list[int] = []
    row = list(range(len(other) + 1))
    for i, a in enumerate(one, 1):
        before, above, row = row, before, [i]
        for j, b in enumerate(other, 1):
            least = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + 2 * (a != b))
            if i > 1 and j > 1 and a == other[j - 2] and one[i - 2] == b:
                least = min(least, above[j - 2] + 1)
            row.append(least)
    return row[-1]
