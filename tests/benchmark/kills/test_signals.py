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
