"""A parser of argv that says what is wrong in one line."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Collection, Iterable, Sequence
from typing import Any, NoReturn

from pinntk._util.likeness import nearest
from pinntk.solvers._chain import read_settings
from pinntk.training._given import ALIASES

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_REQUIRED = "the following arguments are required: "  # as argparse begins
_OPTIONS = {f"--{name.replace('_', '-')}": f"--{option}" for name, option in ALIASES.items()}  # of other packages


class Parser(argparse.ArgumentParser):
    """argparse's, without the usage of forty lines that it puts before what is wrong, and with what may have been meant.

    Numbers may be written as in 1e4, and times (type "duration", in seconds) as in 90, 3m or 1h30m.

    >>> parser = Parser(prog="solve")
    >>> _ = parser.add_argument("--steps", type=int), parser.add_argument("--seconds", type="duration")
    >>> parser.read(["--steps", "1e4", "--seconds", "1.5m"])
    Namespace(steps=10000, seconds=90.0)
    """

    def __init__(self, *arguments: Any, **options: Any):
        super().__init__(*arguments, **options)
        self.register("type", int, whole_number)
        self.register("type", float, real_number)
        self.register("type", "duration", _duration)
        self.register("action", "merged", Merged)
        self._words: Sequence[str] = ()

    def read(self, argv: list[str] | None) -> argparse.Namespace:
        """What argv says. Exits with status 2 where that is not understood, and says why on standard error."""
        found, unknown = self.parse_known_args(argv)
        if unknown:
            command = getattr(found, "parser", self)
            command.error(command.not_understood(unknown))
        return found

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        self._words = sys.argv[1:] if args is None else args
        return super().parse_known_args(args, namespace)

    def not_understood(self, words: list[str]) -> str:
        name = words[0].partition("=")[0]
        if not name.startswith("-"):
            return f"{words[0]!r} is one word too many"
        known = [option for option in self._option_string_actions if option.startswith("--")]
        close = nearest(name, [*known, *_OPTIONS], 0.7)
        close = None if close is None else _OPTIONS.get(close, close)
        return f"there is no option {name}" + (f"; did you mean {close}?" if close else "")

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        """argparse's refusal of what is none of the choices, with the nearest of them."""
        if action.choices is None or value in action.choices:
            return
        if isinstance(action, argparse._SubParsersAction):
            self.error(f"there is no command {value!r}; {_known(value, action.choices, 'Commands are')}")
        raise argparse.ArgumentError(action, f"{value!r} is unknown; {_known(value, action.choices)}")

    def _missing(self, names: str) -> str:
        """What is said where a word is missing: also that an option is misspelt, which argparse would say only after."""
        options = [word.partition("=")[0] for word in self._words if word.startswith("--") and word != "--"]
        known = self._option_string_actions
        misspelt = [option for option in options if not any(name.startswith(option) for name in known)]
        return self.not_understood(misspelt) if misspelt else f"{names} is missing, as in {self.prog} {names}"

    def error(self, message: str) -> NoReturn:
        if message.startswith(_REQUIRED):
            message = self._missing(message.removeprefix(_REQUIRED).replace(", ", " ").upper())
        end = "" if message.endswith("?") else ";"
        self.exit(2, f"{self.prog}: error: {message}{end} see {self.prog} --help\n")


class Joined(argparse.Action):
    """Of an option that takes NAME=VALUE,...: given more than once, it says all of it."""

    def __call__(self, parser: Any, namespace: Any, values: str | Sequence[Any] | None, option: str | None = None) -> None:
        before = getattr(namespace, self.dest)
        setattr(namespace, self.dest, f"{before},{values}" if before else values)


class Merged(argparse.Action):
    """Of an option that takes an optimizer's settings, NAME=VALUE,...: given more than once, it has all of them."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option: str | None = None) -> None:
        try:
            given = read_settings(values)
        except ValueError as error:
            raise argparse.ArgumentError(self, f"{error}; write it as in weight_decay=0,betas=(0.9,0.99)") from None
        setattr(namespace, self.dest, {**(getattr(namespace, self.dest) or {}), **given})


class Several(argparse.Action):
    """Of an option that takes one or more of some words, A,B; a word with a colon in it, a chain of optimizers, is one with its
    commas. Given more than once, it has all of them.
    """

    def __init__(self, *arguments: Any, known: Collection[str] | None, **options: Any):
        super().__init__(*arguments, **options)
        self.known = known

    def __call__(self, parser: Any, namespace: Any, values: Any, option: str | None = None) -> None:
        words = [values] if ":" in values else [word.strip() for word in values.split(",") if word.strip()]
        found = list(getattr(namespace, self.dest) or ())
        for word in words:
            if self.known is not None and word not in self.known:
                raise argparse.ArgumentError(self, f"{word!r} is unknown; {_known(word, self.known)}")
            if word in found:
                raise argparse.ArgumentError(self, f"{word!r} is given twice")
            found.append(word)
        if not words:
            raise argparse.ArgumentError(self, f"{values!r} names nothing")
        setattr(namespace, self.dest, found)


class Named(argparse.Action):
    """Of an option that takes NAME or NAME=TEXT, and may be repeated: {NAME: TEXT}."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option: str | None = None) -> None:
        name, _, text = values.partition("=")
        found = dict(getattr(namespace, self.dest) or {})
        if not name.strip() or name.strip().startswith("-"):
            raise argparse.ArgumentError(self, f'{values!r}: a name first, as in late="--lr 1e-4"')
        if name.strip() in found:
            raise argparse.ArgumentError(self, f"{name.strip()!r} is given twice")
        setattr(namespace, self.dest, {**found, name.strip(): text})


def _known(value: Any, choices: Iterable[Any], said: str = "Known:") -> str:
    """What may have been meant, and what there is."""
    words = [str(choice) for choice in choices]
    close = nearest(str(value), words)
    return f"{f'did you mean {close}? ' if close else ''}{said} {', '.join(words)}"


class Combinations(tuple[str, ...]):
    """Choices that go together, with "+" between them."""

    def __contains__(self, value: object) -> bool:
        return isinstance(value, str) and all(super(Combinations, self).__contains__(part) for part in value.split("+"))


def whole_number(text: str) -> int:
    """Also of 1e4. Raises ArgumentTypeError, which names it, for what is none."""
    try:
        return int(text)
    except ValueError:
        pass
    try:
        if (value := float(text)).is_integer():
            return int(value)
    except ValueError:
        pass
    raise argparse.ArgumentTypeError(f"{text!r} is not a whole number")


def real_number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number") from None


def _duration(text: str) -> float:
    """Seconds, of "90", "90s", "3m", "1.5h" or "1h30m"."""
    try:
        return float(text)
    except ValueError:
        pass
    parts = re.findall(r"([\d.]+(?:e[+-]?\d+)?)([smhd])", text)
    try:
        if parts and "".join(map("".join, parts)) == text:
            return sum(float(number) * _UNITS[unit] for number, unit in parts)
    except ValueError:
        pass
    raise argparse.ArgumentTypeError(f"{text!r} is not a time: seconds, or as in 90s, 3m, 1.5h or 1h30m")
