"""Signals and full disks: one line, the exit code, and nothing that was answered is lost."""

from __future__ import annotations

import errno
import os
import signal
import time
from pathlib import Path

import pytest
from commands import arguments, forked, lines, start
from folders import contents
from local_pool import LocalPool

from benchmark.console.ending import run_to_its_end
from benchmark.console.main import main


@pytest.fixture(scope="module")
def undisturbed(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    """What a run leaves that nothing disturbs."""
    folder = tmp_path_factory.mktemp("undisturbed") / "results"
    assert main(arguments(tiny_model, folder), LocalPool) == 0
    return contents(folder)


@pytest.mark.parametrize(("number", "word"), [(15, "ended by SIGTERM"), (2, "interrupted")])
def test_a_signal_ends_a_run(
    tiny_model: Path,
    tmp_path: Path,
    undisturbed: dict[str, object],
    monkeypatch: pytest.MonkeyPatch,
    number: int,
    word: str,
) -> None:
    folder = tmp_path / "results"
    words = arguments(tiny_model, folder)
    monkeypatch.setenv("TOY_PAUSE", "0.2")
    with forked(lambda: main(words, LocalPool), tmp_path / "shown") as child:
        while not lines(folder):
            time.sleep(0.02)
        os.kill(child, number)
        _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 128 + number
    shown = (tmp_path / "shown").read_text()
    assert f"sparse-bench: {word}; what was answered is kept" in shown
    assert "Traceback" not in shown
    assert 0 < lines(folder) < 32
    monkeypatch.delenv("TOY_PAUSE")
    assert main(words, LocalPool) == 0
    assert contents(folder) == undisturbed


@pytest.mark.parametrize("follows", [KeyboardInterrupt, RuntimeError, OSError])
def test_a_signal_within_a_call_that_raises_another_error(
    capsys: pytest.CaptureFixture[str], follows: type[BaseException]
) -> None:
    """As Ray does with what is raised while it waits."""

    def work() -> int:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(10)
        except KeyboardInterrupt:
            raise follows from None
        return 0

    assert run_to_its_end("program", work) == 143
    assert capsys.readouterr().err.startswith("program: ended by SIGTERM; ")


def test_an_interrupt_while_modules_are_imported() -> None:
    code = (
        "import os, signal, sys, threading; "
        "threading.Timer(0.7, os.kill, (os.getpid(), signal.SIGINT)).start(); "
        "from benchmark.console.main import main; sys.exit(main(['report', 'absent']))"
    )
    process = start("-c", code)
    _, shown = process.communicate(timeout=100)
    assert process.returncode == 130
    assert shown == "sparse-bench: interrupted; nothing was begun.\n"


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS])
def test_a_full_disk(
    tiny_model: Path,
    tmp_path: Path,
    undisturbed: dict[str, object],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    number: int,
) -> None:
    """Half a line is written; the run ends with one line, and goes on when there is room."""
    folder = tmp_path / "results"
    written: list[int] = []
    synchronise = os.fsync

    def full(descriptor: int) -> None:
        written.append(descriptor)
        if len(written) == 14:
            os.ftruncate(descriptor, os.fstat(descriptor).st_size - 7)
            raise OSError(number, os.strerror(number))
        synchronise(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        assert main(arguments(tiny_model, folder), LocalPool) == 1
    shown = capsys.readouterr().err
    assert f"sparse-bench: error: {os.strerror(number)}" in shown
    assert "Traceback" not in shown
    assert main(arguments(tiny_model, folder), LocalPool) == 0
    assert contents(folder) == undisturbed
