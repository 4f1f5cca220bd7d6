"""A child process that dies at a chosen one of its file operations."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

_CHANGES = {"os.mkdir", "os.rename", "os.remove", "os.truncate"}


class Dying:
    """Counts what changes files below a folder, and kills its process before operation ``last``.

    Also after a write and before it is synchronised: then, half of it is lost.
    """

    def __init__(self, folder: Path, last: int | None) -> None:
        self.folder, self.last, self.count = str(folder), last, 0
        self._fsync = os.fsync

    def watch(self) -> None:
        sys.addaudithook(self._audit)
        os.fsync = self._synchronise

    def _audit(self, event: str, arguments: tuple[object, ...]) -> None:
        written = event == "open" and isinstance(arguments[2], int) and arguments[2] & os.O_CREAT
        if (written or event in _CHANGES) and str(arguments[0]).startswith(self.folder):
            self._step()

    def _synchronise(self, descriptor: int) -> None:
        if self._step(die=False):
            size = os.fstat(descriptor).st_size
            os.ftruncate(descriptor, size - min(size, 7))
            os.kill(os.getpid(), signal.SIGKILL)
        self._fsync(descriptor)

    def _step(self, die: bool = True) -> bool:
        self.count += 1
        if self.count != self.last:
            return False
        if die:
            os.kill(os.getpid(), signal.SIGKILL)
        return True


def operations(work: Callable[[], object], folder: Path, last: int | None = None) -> int | None:
    """Work in a child; how many file operations it had, None if it died of the ``last`` one."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        code = 1
        try:
            os.close(reading)
            dying = Dying(folder, last)
            dying.watch()
            work()
            os.write(writing, str(dying.count).encode())
            code = 0
        finally:
            os._exit(code)
    os.close(writing)
    with os.fdopen(reading) as answer:
        text = answer.read()
    status = _wait(child)
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL, f"ended by signal {os.WTERMSIG(status)}"
        return None
    assert status == 0, "the work failed"
    return int(text)


def _wait(child: int) -> int:
    end = time.monotonic() + 120
    while time.monotonic() < end:
        found, status = os.waitpid(child, os.WNOHANG)
        if found:
            return status
        time.sleep(0.002)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    raise AssertionError("a run without an end")
