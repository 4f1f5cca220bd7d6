"""How a program ends before its work does: a signal, a Ray that has gone, a disk that is full."""

from __future__ import annotations

import errno
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, NoReturn

from benchmark.run.errors import RunStopped

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_DISK = {
    *(errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO),
    *(errno.EROFS, errno.EACCES, errno.EPERM, errno.ESTALE, errno.EMFILE, errno.ENFILE),
}
"""Where files cannot be written, or not be read any more."""
FAILED = 1


@contextmanager
def leaving_at_once(program: str) -> Iterator[None]:
    """Within the block signals end the process where it is: while nothing is begun.

    Not by an exception, which modules that are being imported take for a defect of theirs.
    """

    def leave(number: int, _: FrameType | None) -> NoReturn:
        os.write(2, f"{program}: {_words(number)}; nothing was begun.\n".encode())
        os._exit(128 + number)

    with _handler(leave):
        yield


def run_to_its_end(program: str, work: Callable[[], int]) -> int:
    """The exit code of ``work``; one line and a code of its own where something ends it early."""
    came: list[int] = []
    try:
        with _signals_raise(came):
            return work()
    except (Exception, KeyboardInterrupt) as error:
        if isinstance(error, KeyboardInterrupt) and not came:
            came.append(signal.SIGINT)
        code, message = FAILED, _known_cause(error)
        if came:  # then whatever was raised is what came of it
            code = 128 + came[0]
            message = f"{_words(came[0])}; what was answered is kept, run again to go on."
        if message is None:
            raise
    print(f"{program}: {message}", file=sys.stderr)
    return code


def _known_cause(error: BaseException) -> str | None:
    if isinstance(error, OSError) and error.errno in _DISK:
        place = "" if error.filename is None else f"{error.filename}: "
        return f"error: {place}{error.strerror}; what was written before is kept."
    return f"error: {error}" if isinstance(error, RunStopped) else None


@contextmanager
def _signals_raise(came: list[int]) -> Iterator[None]:
    """Within the block, the first signal is noted and raised; the next one does not wait.

    Noted, because Ray raises an interrupt of its own in place of what is raised within its calls.
    """

    def end(number: int, _: FrameType | None) -> NoReturn:
        if came:
            os._exit(128 + number)
        came.append(number)
        raise KeyboardInterrupt

    with _handler(end):
        yield


@contextmanager
def _handler(handle: Callable[[int, FrameType | None], Any]) -> Iterator[None]:
    """Handle signals, except those that are ignored, as ``nohup`` has it."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may
        return
    earlier = {number: signal.getsignal(number) for number in _SIGNALS}
    wanted = [number for number in _SIGNALS if earlier[number] is not signal.SIG_IGN]
    try:
        for number in wanted:
            signal.signal(number, handle)
        yield
    finally:
        for number in wanted:
            signal.signal(number, earlier[number])


def _words(number: int) -> str:
    return "interrupted" if number == signal.SIGINT else f"ended by {signal.Signals(number).name}"
