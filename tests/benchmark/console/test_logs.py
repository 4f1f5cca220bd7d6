from __future__ import annotations

import io
import logging
import re
from collections.abc import Iterator

import pytest
from rich.console import Console

from benchmark.console.logs import is_quiet, set_up_logging
from benchmark.console.parser import build_parser
from benchmark.run import progress

LEVELS = ("error", "warning", "info", "debug")


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    loggers = [logging.getLogger(name) for name in ("benchmark", "sparse_attention")]
    before = [(logger.handlers, logger.level) for logger in loggers]
    yield
    for logger, (handlers, level) in zip(loggers, before, strict=True):
        logger.handlers = handlers
        logger.setLevel(level)


@pytest.mark.parametrize(("verbosity", "said"), zip(LEVELS, (1, 2, 3, 4), strict=True))
def test_levels(verbosity: str, said: int, caplog: pytest.LogCaptureFixture) -> None:
    set_up_logging(verbosity)
    for package in ("benchmark", "sparse_attention"):
        caplog.clear()
        for level in LEVELS:
            getattr(logging.getLogger(f"{package}.x"), level)("said")
        assert len(caplog.records) == said
    assert is_quiet(verbosity) == (said < 3)


def test_a_line_in_a_file_has_time_and_level_and_is_whole(capsys: pytest.CaptureFixture) -> None:
    set_up_logging("info")
    logging.getLogger("benchmark.x").warning("a [bold]word[/bold]%s", " long" * 100)
    (line,) = capsys.readouterr().err.splitlines()
    assert re.fullmatch(
        r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d WARNING a \[bold\]word\[/bold\]( long){100}", line
    )


def test_a_line_on_a_terminal_goes_with_the_bars(monkeypatch: pytest.MonkeyPatch) -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=60)
    monkeypatch.setattr(progress, "STDERR", console)
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    set_up_logging("info")
    logging.getLogger("benchmark.x").info("begun")
    assert "begun" in console.file.getvalue()  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("given", "meant"),
    [([], "info"), (["--quiet"], "warning"), (["--verbosity", "debug"], "debug")],
)
@pytest.mark.parametrize("command", [["ls"], ["best"], ["report", "results"]])
def test_every_command_has_it(command: list[str], given: list[str], meant: str) -> None:
    assert build_parser().parse_args([*command, *given]).verbosity == meant


def test_quiet_is_one_of_the_levels(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        build_parser().parse_args(["ls", "--quiet", "--verbosity", "debug"])
    with pytest.raises(SystemExit, match="2"):
        build_parser().parse_args(["ls", "--verbosity", "waring"])
    assert "Did you mean 'warning'" in capsys.readouterr().err


def test_nobody_who_reads_ends_no_work(monkeypatch: pytest.MonkeyPatch) -> None:
    class Gone(io.StringIO):
        def write(self, _: str) -> int:
            raise BrokenPipeError

    set_up_logging("info")
    monkeypatch.setattr("sys.stderr", Gone())
    logging.getLogger("benchmark.x").warning("said")
