"""``sparse-bench`` on the small benchmark, as a process that is to be ended."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


def arguments(model: Path, folder: Path, contexts: int = 4) -> list[str]:
    words = ["run", "--quiet", "--models", str(model), "--benchmarks", "toy", "--gpu-ids"]
    words += ["--subsets", "first", "second", "--option", f"toy.contexts={contexts}"]
    words += ["--num-workers", "1"]
    return [*words, "--configs", "dense", "sink_local", "--results-dir", str(folder)]


def start(*words: str, **environment: str) -> subprocess.Popen[str]:
    path = {"PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.Popen(
        [sys.executable, *words],
        env={**os.environ, **path, **environment},
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        # What runs the tests in the background may have it ignored, and children inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


@contextmanager
def forked(work: Callable[[], int], shown: Path) -> Iterator[int]:
    """A copy of this process that ends with what ``work`` returns; its standard error is a file.

    Unlike ``start`` it need not import anything.
    """
    child = os.fork()
    if not child:
        code = 1
        try:
            signal.signal(signal.SIGINT, signal.default_int_handler)
            os.dup2(os.open(shown, os.O_WRONLY | os.O_CREAT), 2)
            sys.stderr = os.fdopen(2, "w", buffering=1)
            code = work()
        finally:
            os._exit(code)
    try:
        yield child
    finally:
        with suppress(ProcessLookupError, ChildProcessError):
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)


def lines(folder: Path) -> int:
    return sum(path.read_bytes().count(b"\n") for path in folder.rglob("predictions.jsonl"))
