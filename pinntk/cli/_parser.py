"""A parser of argv that says what is wrong in one line."""

from __future__ import annotations

import argparse
from difflib import get_close_matches
from typing import Any, NoReturn


class Parser(argparse.ArgumentParser):
    """argparse's, without the usage of forty lines that it puts before what is wrong, and with what may have been meant.

    >>> parser = Parser(prog="solve")
    >>> action = parser.add_argument("--steps", type=int)
    >>> parser.read(["--steps", "3"]).steps
    3
    """

    def __init__(self, *arguments: Any, **options: Any):
        super().__init__(*arguments, **options)
        self.register("type", int, _whole_number)
        self.register("type", float, _real_number)

    def read(self, argv: list[str] | None) -> argparse.Namespace:
        """What argv says. Exits with status 2 where that is not understood, and says why on standard error."""
        found, unknown = self.parse_known_args(argv)
        if unknown:
            command = getattr(found, "parser", self)
            command.error(command.not_understood(unknown))
        return found

    def not_understood(self, words: list[str]) -> str:
        name = words[0].partition("=")[0]
        if not name.startswith("-"):
            return f"{words[0]!r} is one word too many"
        close = get_close_matches(name, self._option_string_actions, 1, cutoff=0.75)
        return f"there is no option {name}" + (f"; did you mean {close[0]}?" if close else "")

    def error(self, message: str) -> NoReturn:
        end = "" if message.endswith("?") else ";"
        self.exit(2, f"{self.prog}: error: {message}{end} see {self.prog} --help\n")


def _whole_number(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number") from None


def _real_number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number") from None
