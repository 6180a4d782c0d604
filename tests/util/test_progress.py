"""How far work is, at a terminal and elsewhere."""

import io
import time
from contextlib import redirect_stderr

import pytest

from pinntk._util import progress
from pinntk._util.progress import Progress, say, short, showing


class Terminal(io.StringIO):
    def isatty(self):
        return True

    def screen(self):
        """What is seen: a line after a carriage return is written over what stands there."""
        lines = []
        for line in self.getvalue().split("\n"):
            seen = ""
            for part in line.split("\r"):
                seen = part + seen[len(part) :]
            lines.append(seen.rstrip())
        return lines


@pytest.fixture
def terminal(monkeypatch):
    found = Terminal()
    monkeypatch.setattr(progress, "_REDRAWN", 0.005)
    monkeypatch.setenv("COLUMNS", "80")
    return found


@pytest.fixture
def log(monkeypatch):
    found = io.StringIO()
    monkeypatch.setattr(progress, "_FIRST", 0.02)
    return found


def work(file, bar, steps, parts=()):
    with redirect_stderr(file), bar:
        for _ in range(steps):
            bar.tell(parts)
            bar.advance()
            time.sleep(0.02)


PARTS = ["loss 1.2e-3", "relative error 4.5e-2", "transport 1.1e-3", "a_condition_of_a_long_name 3.0e-5", "walls 1.0e-7"]


def test_one_line_at_a_terminal_of_what_has_room(terminal):
    work(terminal, Progress("convection", 4, shown=True, kept=True), 4, PARTS)
    assert terminal.screen() == ["convection [########] 4/4, loss 1.2e-3, relative error 4.5e-2, transport 1.1e-3", ""]
    drawn = terminal.getvalue().split("\r")
    assert max(map(len, drawn)) <= 80 and any("[##" in line and "/4, 0:00 left, loss" in line for line in drawn)
    work(terminal, Progress("drawing", shown=True), 2)
    assert terminal.screen()[1:] == [""]  # what is not kept is erased


def test_what_is_said_stands_above_the_line(terminal):
    with redirect_stderr(terminal), Progress("training", 2, shown=True, kept=True) as bar:
        bar.advance()
        time.sleep(0.03)
        say("pinntk: warning: a point")
        bar.advance()
    assert terminal.screen() == ["pinntk: warning: a point", "training [########] 2/2", ""]


def test_a_line_every_few_seconds_elsewhere(log):
    work(log, Progress("convection", 4, shown=True, kept=True), 4, PARTS)
    lines = log.getvalue().splitlines()
    assert 2 <= len(lines) <= 6 and not any("\r" in line or "[" in line for line in lines)
    assert lines[-1].startswith("convection 4/4, loss 1.2e-3") and max(map(len, lines)) <= 80
    log.truncate(0)
    work(log, Progress("short", 1, shown=True, kept=True), 0)
    assert log.getvalue().strip("\0") == ""


def test_only_the_outermost_says_anything_and_only_where_it_is_asked_to(log):
    with Progress("outer", shown=False):
        work(log, Progress("inner", 2, shown=True), 2)
    work(log, Progress("silent", 2), 2)
    with showing(True), showing(False):
        work(log, Progress("silent", 2), 2)
    assert log.getvalue() == "" and Progress.current is None
    with pytest.raises(KeyError), redirect_stderr(log), showing(True), Progress("broken", 1):
        time.sleep(0.05)
        raise KeyError
    assert log.getvalue().startswith("broken 0/1") and Progress.current is None


def test_the_time_left_is_no_longer_than_the_limit():
    def left(**options):
        bar = Progress("x", 1000, **options)
        bar._begun = time.perf_counter() - 10.0
        bar.advance(10)
        return bar.text(80, bar=False).partition("1000, ")[2]

    assert left() == "16:30 left"
    assert left(done=5) == "16:25 left"  # 10 steps took 10 seconds
    assert left(seconds=100.0, spent=30.0) == "1:00 left"
    assert left(seconds=5.0) == "0:00 left"
    bar = Progress("x", 1000, seconds=40.0)
    bar._begun = time.perf_counter() - 10.0
    assert bar.text(30) == "x [##------] 0/1000"  # a quarter of the time


def test_two_digits():
    assert [short(x) for x in (1.234e-3, 0.0, 5e10, float("inf"), float("nan"))] == ["1.2e-3", "0.0e0", "5.0e10", "inf", "nan"]


def test_the_time_left_of_long_steps_is_counted_down():
    bar = Progress("x", 3)
    bar._begun = time.perf_counter() - 100.0
    bar.advance()
    bar._begun, bar._advanced = bar._begun - 60.0, bar._advanced - 60.0  # a minute into the second step
    assert bar.text(30, bar=False) == "x 1/3, 2:20 left"
    bar._begun, bar._advanced = bar._begun - 60.0, bar._advanced - 60.0  # which takes longer than the first
    assert bar.text(30, bar=False) == "x 1/3, 1:40 left"
