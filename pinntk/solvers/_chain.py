"""Chains of optimizers, one after the other on the same network: "adam:2000, lbfgs:500, gauss-newton:50"."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from pinntk._util.frozen import FrozenDict, same_values

_FORM = "write NAME:STEPS, as in 'adam:2000, lbfgs:500', and settings behind it, as in 'adam:2000:lr=0.001'"
_WORDS = {"true": True, "false": False, "none": None}


@dataclass(frozen=True, eq=False)
class Part:
    """An optimizer for so many steps.

    optimizer: a name in small letters, or a factory
    settings: those of its own; what is none of `TrainConfig`'s belongs to the optimizer
    """

    optimizer: str | Callable
    steps: int
    settings: Mapping[str, Any] = field(default_factory=FrozenDict)

    def __post_init__(self) -> None:
        if not isinstance(self.steps, int) or isinstance(self.steps, bool) or self.steps < 1:
            raise ValueError(f"optimizer: part {self} has {self.steps!r} steps; give it a whole number of at least 1")

    def __str__(self) -> str:
        name = self.optimizer if isinstance(self.optimizer, str) else getattr(self.optimizer, "__qualname__", "a factory")
        own = (f":{key}={_written(value)}" for key, value in self.settings.items())
        return f"{name}:{self.steps}{''.join(own)}"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Part) and self.steps == other.steps and self.alike(other)

    __hash__ = None  # type: ignore[assignment]

    def alike(self, other: Part) -> bool:
        """Whether only the steps may differ."""
        return self.optimizer == other.optimizer and same_values(self.settings, other.settings)


@dataclass(frozen=True)
class Chain:
    """Parts, one after the other. Its text is what `read_chain` reads."""

    parts: tuple[Part, ...]

    @property
    def steps(self) -> int:
        return sum(part.steps for part in self.parts)

    def __str__(self) -> str:
        return ", ".join(map(str, self.parts))

    def with_steps(self, steps: int) -> Chain:
        """With another number of steps, of which the last part takes more or fewer. Raises ValueError for too few."""
        *first, last = self.parts
        rest = steps - sum(part.steps for part in first)
        if rest < 1:
            raise ValueError(f"steps={steps!r}: the parts before the last of {str(self)!r} take {steps - rest} already")
        return Chain((*first, replace(last, steps=rest)))

    def goes_on_as(self, other: Chain) -> bool:
        """Whether a training by this one can become one by the other: with more parts, or other steps of the last one."""
        before, last = self.parts[:-1], self.parts[-1]
        n = len(before)
        return len(other.parts) > n and other.parts[:n] == before and last.alike(other.parts[n])


def read_chain(given: Any) -> Chain | None:
    """From a text with a colon, or from a sequence of parts: texts, pairs (optimizer, steps), or mappings with "optimizer",
    "steps" and settings. None for anything else, which is a single optimizer.

    Raises ValueError for a part without steps, or that cannot be read.

    >>> str(read_chain([("Adam", 2000), {"optimizer": "lbfgs", "steps": 500, "history_size": 20}]))
    'adam:2000, lbfgs:500:history_size=20'
    >>> read_chain("adam:10:betas=(0.9, 0.99), lbfgs:5").steps
    15
    """
    if isinstance(given, Chain):
        return given
    if isinstance(given, str) and (":" in given or "," in given):
        parts = tuple(_of_text(text) for text in _split(given, ","))
    elif isinstance(given, Sequence) and not isinstance(given, str):
        parts = tuple(map(_read_part, given))
    else:
        return None
    if not parts:
        raise ValueError(f"optimizer={given!r}: no part; {_FORM}")
    return Chain(parts)


def names_of(optimizer: object) -> tuple[str, ...]:
    """Names in small letters of what a config.json says of an optimizer, each part's of a chain.

    >>> names_of("adam:10, lbfgs:5"), names_of("Adam")
    (('adam', 'lbfgs'), ('adam',))
    """
    chain = chain_of(optimizer)
    return (str(optimizer).lower(),) if chain is None else tuple(str(part.optimizer).lower() for part in chain.parts)


def chain_of(optimizer: object) -> Chain | None:
    """The chain that a config.json says; None for a single optimizer, by whatever name somebody else's loop gave it."""
    try:
        return read_chain(optimizer)
    except ValueError:
        return None


def _read_part(given: Any) -> Part:
    if isinstance(given, Part):
        return given
    if isinstance(given, str):
        return _of_text(given)
    if isinstance(given, Mapping) and {"optimizer", "steps"} <= set(given):
        own = {name: value for name, value in given.items() if name not in ("optimizer", "steps", "optimizer_options")}
        return _part(given["optimizer"], given["steps"], own | dict(given.get("optimizer_options") or {}))
    if isinstance(given, Sequence) and len(given) == 2:
        return _part(given[0], given[1], {})
    raise ValueError(
        f"optimizer: part {given!r}; give a text, a pair ('adam', 2000), or {{'optimizer': 'adam', 'steps': 2000, 'lr': 0.001}}"
    )


def read_settings(text: str) -> dict[str, Any]:
    """Settings of an optimizer. Raises ValueError for what is no NAME=VALUE.

    >>> read_settings("weight_decay=0, betas=(0.9, 0.99), amsgrad=true")
    {'weight_decay': 0, 'betas': (0.9, 0.99), 'amsgrad': True}
    """
    return _settings_of(_split(text, ","))


def _settings_of(entries: Iterable[str]) -> dict[str, Any]:
    settings = {}
    for entry in entries:
        name, equals, value = entry.partition("=")
        if not equals or not name.strip():
            raise ValueError(f"{entry!r} is no NAME=VALUE")
        settings[name.strip()] = _value(value.strip())
    return settings


def _of_text(text: str) -> Part:
    name, *rest = _split(text, ":")
    if not name or not rest:
        raise ValueError(f"optimizer: part {text.strip()!r} has no steps; {_FORM}")
    try:
        steps: Any = float(rest[0])
    except ValueError:
        raise ValueError(f"optimizer: part {text.strip()!r} has {rest[0]!r} for its steps; {_FORM}") from None
    try:
        settings = _settings_of(rest[1:])
    except ValueError as error:
        raise ValueError(f"optimizer: part {text.strip()!r}: {error}; {_FORM}") from None
    return _part(name, int(steps) if steps.is_integer() else steps, settings)


def _part(optimizer: Any, steps: Any, settings: Mapping[str, Any]) -> Part:
    return Part(optimizer.lower() if isinstance(optimizer, str) else optimizer, steps, FrozenDict(settings))


def _split(text: str, mark: str) -> list[str]:
    """At marks that are not within brackets or quotes."""
    return [part.strip() for part in _pieces(text, mark)]


def _pieces(text: str, mark: str) -> Iterator[str]:
    depth = start = 0
    quote = ""
    for place, letter in enumerate(text):
        if quote or letter in "'\"":
            quote = letter if not quote else "" if letter == quote else quote
            continue
        depth += (letter in "([{") - (letter in ")]}")
        if letter == mark and not depth:
            yield text[start:place]
            start = place + 1
    yield text[start:]


def _value(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return _WORDS.get(text.lower(), text)


def _written(value: Any) -> str:
    plain = isinstance(value, str) and value.replace("_", "").replace("-", "").isalnum() and _value(value) == value
    return value if plain else repr(value)
