"""What programs do around their work."""

from __future__ import annotations

import errno
import io
import re
import sys

import pytest
from pydantic import BaseModel

from sparse_attention.errors import UserError
from sparse_attention.program import Parser, number_between, run_program


def parser() -> Parser:
    made = Parser(prog="prog")
    commands = made.add_subparsers(dest="command", required=True, metavar="COMMAND")
    run = commands.add_parser("run")
    run.add_argument("--samples", "--count", type=number_between(1, 100))
    run.add_argument("--share", type=number_between(0.0, 1.0))
    run.add_argument("--file", action="append")
    run.add_argument("--quiet", action="store_true")
    run.add_argument("--kind", choices=("small", "large"))
    run.add_argument("--ids", nargs="*", type=int)
    return made


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "the following arguments are required: COMMAND"),
        (["rum"], "unknown COMMAND 'rum'. Did you mean 'run'? Valid: run."),
        (["run", "--sample", "3"], "unknown argument '--sample'. Did you mean '--samples'?"),
        (["run", "--samples", "--"], "'--' is no value"),
        (["run", "--samples", "0"], "--samples/--count: must be a whole number from 1 to 100"),
        (["run", "--samples", "9" * 5000], "must be a whole number from 1 to 100, got '999"),
        (["run", "--samples", "x\nerror: y"], r"got 'x\nerror: y'"),
        (["run", "--share", "nan"], "must be a number from 0.0 to 1.0, got 'nan'"),
        (["run", "--share", "1e999"], "must be a number from 0.0 to 1.0"),
        (["run", "--samples", "1", "--samples=2"], "--samples is given twice"),
        (["run", "--samples", "1", "--count", "2"], "--samples and --count is given twice"),
        (["run", "--quiet", "--quiet"], "--quiet is given twice"),
        (["run", "--ids", "1", "--ids", "2"], "--ids is given twice"),
        (["run", "--kind", "smal"], "unknown --kind 'smal'. Did you mean 'small'?"),
        (["run", "--file", "a\0"], "is not text in UTF-8 without NUL"),
        (["run", "--file", "\udce9"], "is not text in UTF-8 without NUL"),
        (["run", "more"], "unknown argument 'more'"),
    ],
)
def test_bad_arguments_are_one_line(arguments, message, capsys):
    with pytest.raises(SystemExit) as ended:
        parser().parse_args(arguments)
    assert ended.value.code == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert len(error) < 400


def test_what_may_be_repeated(capsys):
    found = parser().parse_args(["run", "--file", "a", "--file", "b", "--ids", "-1", "--quiet"])
    assert found.file == ["a", "b"]
    assert found.ids == [-1]
    assert parser().parse_args(["run", "--quiet"]).quiet  # nothing is remembered


class Settings(BaseModel):
    size: int


@pytest.mark.parametrize(
    ("raised", "code", "message"),
    [
        (UserError("bad\nname \x1b[31m"), 2, r"prog: error: bad name \x1b[31m"),
        (KeyboardInterrupt(), 130, "prog: interrupted"),
        (OSError(errno.ENOSPC, "No space left on device", "/a/b"), 1, "No space.*/a/b.*make room"),
        (MemoryError(), 1, "not enough memory"),
    ],
)
def test_how_programs_end(raised, code, message, capsys):
    def work() -> int:
        raise raised

    assert run_program("prog", work) == code
    error = capsys.readouterr().err
    assert message in error or re.search(message, error)
    assert error.count("\n") == 1


def test_invalid_settings_are_bad_input(capsys):
    assert run_program("prog", lambda: Settings(size="x")) == 2
    assert "size = 'x'" in capsys.readouterr().err


def test_what_nobody_foresaw_goes_to_a_log(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    def work() -> int:
        raise KeyError("half\ud800\nway")

    assert run_program("prog", work) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "unexpected KeyError" in error
    assert "Please report" in error
    assert "Traceback" not in error
    (log,) = tmp_path.iterdir()
    assert str(log) in error
    assert 'raise KeyError("half' in log.read_text()


def test_without_room_for_a_log_the_place_is_named(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "none"))
    assert run_program("prog", lambda: [][0]) == 1
    assert re.search(r"no log could be written .*: <lambda>:\d+", capsys.readouterr().err)


def test_success_is_the_programs_own_code():
    assert run_program("prog", lambda: 3) == 3


def test_a_terminal_that_lacks_characters_gets_escapes(monkeypatch):
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding="ascii"))

    def work() -> int:
        print("é \ud800", flush=True)
        return 0

    assert run_program("program", work) == 0
    assert written.getvalue() == b"\\xe9 \\ud800\n"
