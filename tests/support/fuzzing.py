"""Hostile values, and the check that a program ends well whatever it is given."""

from __future__ import annotations

import contextlib
import copy
import io
import json
import resource
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from sparse_attention.errors import UserError

MODEL = ["--models", "embedded"]
RULER = ["--benchmarks", "ruler", "--option", "ruler.length=256", "--option", "ruler.samples=1"]

SECONDS = 20
MEMORY = 2 << 30

TEXTS = [
    "", " ", "--", "-", "-1", "0", "1", "nan", "inf", "1e999", "9" * 20, "9" * 5000, "x" * 300,
    "\0", "a\0b", "\udce9", "\ud800", "é", "☃", "\n", "a\nb", "\x1b[31m", "a\rb", "../..", "/",
    ".", "~",
    "~nouser/x", "/dev/null", "/dev/zero", "/dev/full", "/dev/stdin", "/proc/x", "/proc/self/mem",
    "/nowhere/x", "[]", "{}", "null", "true", '"x"', "[" * 5000, '{"a": 1, "a": 2}', "1.5", "[1, 2",
    "ruler", "dense", "embedded", "ruler.length=64", "ruler.source=/dev/null", "a=b", "=", "a.b=",
    "ruler.haystack=/dev/zero", "ruler.length=" + "9" * 25, "lsh_k=[]", "quest.page_size=[8]",
    'sink_size={"low": 1e308, "high": -1}', "%s%n", "$HOME", "*", "2024-13-45",
]  # fmt: skip
VALUES: list[Any] = [
    None, True, False, 0, 1, -1, 2**31, 2**63, 10**25, 0.5, -0.0, 1e308, float("nan"),
    float("inf"), [], {}, [[]], {"": 1}, [None], ["x", 1], "", " ", "\ud800", "x", "x" * 100_000,
    "\0", "é☃😀",
    {"methods": []}, ["A"], "A", "{context}", "{x}", "{", "{0.__class__}", "{a!r:>{b}}", "%s",
]  # fmt: skip


class Hang(BaseException):
    """The time is over."""


def must_end_well(call: Callable[[], int]) -> str:
    """Run a program in this process; what it wrote on standard error.

    Its exit code must be 0, 1 or 2; if it is not 0, the last line says why, and it is not that
    nobody foresaw it.  It must not take long, nor much memory.  Seconds are of a processor, since
    others may use the machine as well; of waiting there may be six times as many.
    """
    out, error = io.StringIO(), io.StringIO()
    limit, hard = resource.getrlimit(resource.RLIMIT_AS)
    handlers = {number: signal.signal(number, _stop) for number in (signal.SIGPROF, signal.SIGALRM)}
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    signal.alarm(6 * SECONDS)
    resource.setrlimit(resource.RLIMIT_AS, (_address_space() + MEMORY, hard))
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(error):
            try:
                code = call()
            except SystemExit as ended:
                code = ended.code if isinstance(ended.code, int) else 0
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (limit, hard))
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.alarm(0)
        for number, handler in handlers.items():
            signal.signal(number, handler)
    said = error.getvalue()
    assert code in (0, 1, 2), (code, said)
    assert "Traceback" not in said, said
    if code:
        last = said.splitlines()[-1] if said else ""
        partly = code == 1 and ("no cached result" in said or said.startswith("left out: "))
        assert ": error: " in last or partly, said
        assert "Please report" not in last, said
        assert "not enough memory" not in last, said
        assert len(last) < 5000, last
    return said


def _stop(*_: object) -> None:
    raise Hang


def _address_space() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[0]) * resource.getpagesize()


def _places(value: Any, place: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    items: list[tuple[Any, Any]] = []
    if isinstance(value, dict):
        items = list(value.items())
    elif isinstance(value, list):
        items = list(enumerate(value[:5]))
    return [place, *(inner for key, one in items for inner in _places(one, (*place, key)))]


@st.composite
def changed(draw: st.DrawFn, document: Any) -> Any:
    """A JSON document with one or two of its parts replaced, removed or named anew."""
    document = copy.deepcopy(document)
    for _ in range(draw(st.integers(1, 2))):
        *above, last = ("top", *draw(st.sampled_from(_places(document))))
        document = {"top": document}
        parent = document
        for key in above:
            parent = parent[key]
        match draw(st.sampled_from(["value", "value", "value", "remove", "name", "twice"])):
            case "remove" if above:
                del parent[last]
            case "name" if isinstance(parent, dict) and above:
                parent[draw(st.sampled_from(TEXTS))] = parent.pop(last)
            case "twice" if isinstance(parent[last], list):
                parent[last] = [*parent[last], *copy.deepcopy(parent[last])]
            case _:
                parent[last] = copy.deepcopy(draw(st.sampled_from(VALUES)))
        document = document["top"]
    return document


@st.composite
def damaged(draw: st.DrawFn, content: bytes) -> bytes:
    """The content of a file, cut, overwritten or replaced."""
    place = draw(st.integers(0, max(0, len(content) - 1)))
    odd = [b"", b"\0", b"\xff\xfe", b"[" * 10**5, b"{", b"\xf0", b"9" * 5000, b"\n", b'"\\ud800"']
    piece = draw(st.sampled_from(odd) | st.binary(max_size=20))
    match draw(st.sampled_from(["cut", "overwrite", "insert", "replace"])):
        case "cut":
            return content[:place]
        case "overwrite":
            return content[:place] + piece + content[place + len(piece) :]
        case "insert":
            return content[:place] + piece + content[place:]
        case _:
            return piece


def no_workers(*_: object) -> object:
    """In place of a pool, or of Ray: what comes before it is what is tried."""
    raise UserError("this is as far as it goes here")


def write(path: Path, content: object) -> None:
    """Write JSON, with halves of characters as they are."""
    try:
        path.write_text(json.dumps(content))
    except UnicodeEncodeError:
        path.write_bytes(json.dumps(content).encode("utf-8", "surrogatepass"))
