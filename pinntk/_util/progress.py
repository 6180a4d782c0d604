"""How far work is, on standard error: at a terminal in one line that is drawn anew, elsewhere in a line every few seconds."""

from __future__ import annotations

import builtins
import shutil
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from time import perf_counter
from typing import ClassVar, TypeVar

from pinntk._util import distributed

_REDRAWN = 0.2  # seconds between drawings at a terminal
_FIRST, _SHARE, _MOST = 5.0, 0.05, 30.0  # elsewhere: seconds to the first line; then this share of the time, at most so many
_BAR, _LABEL, _WIDTH = 8, 24, 80

Item = TypeVar("Item")

_shown: ContextVar[bool | None] = ContextVar("shown", default=None)


@contextmanager
def showing(shown: bool) -> Iterator[None]:
    """Whether what begins in here, and is not told otherwise, says how far it is."""
    token = _shown.set(shown)
    try:
        yield
    finally:
        _shown.reset(token)


def say(text: str) -> None:
    """Lines on standard error, above the one that is drawn anew."""
    current = Progress.current
    if current is None:
        _write(f"{text}\n")
    else:
        current.say(text)


class Progress:
    """Says how far a piece of work is while it is entered. Of pieces inside of one another the outermost does.

    label: what is done
    total: of how many steps; None where that is not known, and then the time that it has taken is said
    done: steps that were done before
    seconds: that it may take at most, of which `spent` are over
    shown: whether it says anything; None is as in `showing`, else in IPython and notebooks only
    kept: whether the line stays at its end
    now: the clock by which it takes time

    >>> with Progress("counting", 3, shown=False) as progress:
    ...     for number in range(3):
    ...         progress.tell([f"at {number}"])
    ...         progress.advance()
    >>> progress.text(60)
    'counting [########] 3/3, at 2'
    """

    current: ClassVar[Progress | None] = None  # the outermost that is entered

    def __init__(
        self,
        label: str,
        total: int | None = None,
        *,
        done: int = 0,
        seconds: float | None = None,
        spent: float = 0.0,
        shown: bool | None = None,
        kept: bool = False,
        now: Callable[[], float] = perf_counter,
    ):
        if shown is None:
            chosen = _shown.get()
            shown = getattr(builtins, "__IPYTHON__", False) if chosen is None else chosen
        self.shown = bool(shown) and distributed.rank() == 0
        self._label = label if len(label) <= _LABEL else label[: _LABEL - 2] + ".."
        self._total, self._done, self._before, self._kept = total, done, done, kept
        self._limit = None if seconds is None else seconds - spent
        self._parts: Sequence[str] = ()
        self._now = now
        self._begun = self._advanced = now()
        self._ended, self._lock = threading.Event(), threading.Lock()
        self._thread: threading.Thread | None = None
        self._drawn = 0  # letters of the line at the terminal; elsewhere lines written

    def __enter__(self) -> Progress:
        if Progress.current is not None:
            self.shown = False
            return self
        Progress.current = self
        self._begun = self._advanced = self._now()
        if self.shown:
            self._terminal = sys.stderr.isatty()
            self._thread = threading.Thread(target=self._watch, daemon=True)
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        if Progress.current is not self:
            return
        if self._thread is not None:
            self._ended.set()
            self._thread.join()
            with self._lock:
                self._end()
        Progress.current = None

    def advance(self, steps: int = 1) -> None:
        self._done += steps
        self._advanced = self._now()

    def tell(self, parts: Sequence[str]) -> None:
        """What to say beside, most important first: what has no room is left out."""
        self._parts = parts

    @contextmanager
    def telling(self, part: str) -> Iterator[None]:
        """Inside, this is said first."""
        before, self._parts = self._parts, (part, *self._parts)
        try:
            yield
        finally:
            self._parts = before

    def say(self, text: str) -> None:
        with self._lock:
            if self._thread is not None and self._terminal:
                self._erase()
            _write(f"{text}\n")

    def text(self, width: int, bar: bool = True) -> str:
        """The line, of at most so many letters, with as many of the parts as have room."""
        passed = self._now() - self._begun
        if self._total is None:
            line = f"{self._label}, {clock(passed)}"
        else:
            full = int(_BAR * self._share(passed))
            line = f"{self._label} [{'#' * full}{'-' * (_BAR - full)}]" if bar else self._label
            line += f" {self._done}/{self._total}"
            if (left := self._left(passed)) is not None:
                line += f", {clock(left)} left"
        for part in self._parts:
            if len(line) + 2 + len(part) > width:
                break
            line += f", {part}"
        return line[:width]

    def _share(self, passed: float) -> float:
        """Of the steps, or of the time that there is, whichever ends it sooner."""
        steps = self._done / self._total if self._total else 1.0
        return min(max(steps, 0.0 if self._limit is None else passed / max(self._limit, 1e-9)), 1.0)

    def _left(self, passed: float) -> float | None:
        """Seconds, by the steps so far, or until the limit."""
        steps = self._done - self._before
        if self._total is None or self._done >= self._total or not steps:
            return None
        pace = (self._advanced - self._begun) / steps
        since = self._begun + passed - self._advanced
        left = pace * (self._total - self._done) - min(since, pace)  # a long step is counted down, not up
        return left if self._limit is None else max(min(left, self._limit - passed), 0.0)

    def _watch(self) -> None:
        """In a thread: what works need not look at the clock."""
        pause = _REDRAWN if self._terminal else _FIRST
        while not self._ended.wait(pause):
            with self._lock:
                self._draw()
            if not self._terminal:
                pause = min(max(_FIRST, _SHARE * (self._now() - self._begun)), _MOST)

    def _draw(self) -> None:
        if not self._terminal:
            _write(f"{self.text(_WIDTH, bar=False)}\n")
            self._drawn += 1
            return
        line = self.text(shutil.get_terminal_size((_WIDTH, 24)).columns - 1)
        _write(f"\r{line.ljust(self._drawn)}")
        self._drawn = len(line)

    def _erase(self) -> None:
        _write(f"\r{' ' * self._drawn}\r")
        self._drawn = 0

    def _end(self) -> None:
        if not self._terminal:
            if self._kept and self._drawn:  # how it ended, where there were lines before
                self._draw()
        elif self._kept:
            self._draw()
            _write("\n")
        else:
            self._erase()


def _write(text: str) -> None:
    sys.stderr.write(text)
    sys.stderr.flush()


def over(items: Sequence[Item], label: str) -> Iterator[Item]:
    """One after the other, saying how far it is."""
    with Progress(label, len(items), shown=True) as progress:
        for item in items:
            yield item
            progress.advance()


def short(value: float) -> str:
    """Two digits: 1.2e-3."""
    digits, e, power = f"{value:.1e}".partition("e")
    return f"{digits}e{int(power)}" if e else digits


def clock(seconds: float) -> str:
    """Minutes and seconds, 3:07, with hours where there are any."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
