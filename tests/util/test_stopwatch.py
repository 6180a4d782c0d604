"""A clock that stands still while something is compiled."""

import threading

import pytest

from pinntk._util import stopwatch as module
from pinntk._util.progress import Progress
from pinntk._util.stopwatch import Stopwatch, own_stopwatch


@pytest.fixture
def now(monkeypatch):
    time = [100.0]
    monkeypatch.setattr(module, "perf_counter", lambda: time[0])
    return time


def test_it_stands_still_while_it_is_stopped(now):
    watch = Stopwatch()
    start = watch()
    now[0] += 3
    with watch.stopped():
        now[0] += 20
        assert watch() - start == 3
    now[0] += 1
    assert watch() - start == 4


def test_it_goes_on_after_an_exception(now):
    watch = Stopwatch()
    start = watch()
    with pytest.raises(ValueError, match="compile"), watch.stopped():
        now[0] += 20
        raise ValueError("compile")
    now[0] += 1
    assert watch() - start == 1


def test_every_thread_has_its_own_and_others_may_read_it(now):
    found = []
    thread = threading.Thread(target=lambda: found.append(own_stopwatch()))
    thread.start()
    thread.join()
    assert own_stopwatch() is own_stopwatch() is not found[0]
    with found[0].stopped():
        before = found[0](), own_stopwatch()()
        now[0] += 5
        assert (found[0]() - before[0], own_stopwatch()() - before[1]) == (0, 5)


def test_the_time_left_does_not_run_out_while_something_is_compiled(now):
    watch = Stopwatch()
    with Progress("burgers", 10**6, seconds=60, shown=False, now=watch) as bar:
        now[0] += 1
        bar.advance()
        with watch.stopped():
            now[0] += 50
            assert "0:59 left" in bar.text(79)
        now[0] += 30
        assert "0:29 left" in bar.text(79)
