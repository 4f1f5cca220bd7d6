from __future__ import annotations

import io
import logging
import re

import pytest
from rich.console import Console

from benchmark.run import progress
from benchmark.run.progress import Lines, MatrixProgress, duration


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    found = Clock()
    monkeypatch.setattr(progress, "monotonic", found)
    monkeypatch.setattr(progress.logger, "isEnabledFor", lambda _: False)
    return found


def work(clock: Clock, quiet: bool = False) -> None:
    """40 samples of 3 s, after a minute in which the model is loaded."""
    with MatrixProgress(quiet) as found:
        job = found.start("m ruler/vt", 40)
        clock.now += 60
        for _ in range(40):
            clock.now += 3
            job.advance(1)
        job.finish()


def shown_on(console: Console, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "STDERR", console)


def test_a_line_now_and_then(clock: Clock, monkeypatch, capsys) -> None:
    shown_on(Console(file=io.StringIO(), force_terminal=False), monkeypatch)
    work(clock)
    lines = capsys.readouterr().err.splitlines()
    assert all(re.match(r"\d\d:\d\d:\d\d m ruler/vt: ", line) for line in lines)
    first, *between, last = [line.partition(": ")[2] for line in lines]
    assert first == "40 samples"
    assert between[0] == "1 of 40 samples"
    # Then every fourth sample: the first of which more than 10 s have passed.
    assert between[1] == f"5 of 40 samples, 0.33 samples/s, about {duration(105)} left"
    assert len(between) == 10
    assert last == f"done after {duration(180)}"


def test_lines_become_rarer(clock: Clock, capsys) -> None:
    lines = Lines(wanted=True)
    for _ in range(24 * 3600):
        clock.now += 1
        lines.say_if_due(lambda: "on")
    assert 80 < len(capsys.readouterr().err.splitlines()) < 160


def test_a_notebook_gets_lines(clock: Clock, monkeypatch, capsys) -> None:
    shown_on(Console(file=io.StringIO(), force_jupyter=True), monkeypatch)
    work(clock)
    assert "5 of 40 samples" in capsys.readouterr().err


def test_a_terminal_gets_a_bar(clock: Clock, monkeypatch, capsys) -> None:
    console = Console(file=io.StringIO(), force_terminal=True, force_jupyter=False, width=120)
    shown_on(console, monkeypatch)
    work(clock)
    assert "40/40" in console.file.getvalue()  # type: ignore[attr-defined]
    assert not capsys.readouterr().err


@pytest.mark.parametrize("terminal", [True, False])
def test_quiet(clock: Clock, monkeypatch, capsys, terminal: bool) -> None:
    console = Console(file=io.StringIO(), force_terminal=terminal)
    shown_on(console, monkeypatch)
    work(clock, quiet=True)
    assert not console.file.getvalue()  # type: ignore[attr-defined]
    assert not capsys.readouterr().err


def test_where_the_log_is_shown_lines_go_there(caplog, capsys, monkeypatch) -> None:
    monkeypatch.setattr(logging.getLogger("benchmark"), "handlers", [])
    caplog.set_level(logging.INFO, "benchmark")
    Lines(wanted=True).say("40 samples\x1b")
    assert [record.message for record in caplog.records] == ["40 samples\\x1b"]
    assert "40 samples" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0 s"), (99, "99 s"), (720, "12 min"), (12600, "3.5 h")]
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


class _Gone(io.StringIO):
    def write(self, _: str) -> int:
        raise BrokenPipeError


def test_nobody_who_reads_ends_no_work(clock: Clock, monkeypatch) -> None:
    monkeypatch.setattr("sys.stderr", _Gone())
    Lines(wanted=True).say("40 samples")
