"""Paths and files that users name."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from sparse_attention.errors import UserError
from sparse_attention.reading import (
    MAX_DEPTH,
    MAX_INTEGER,
    parse_json,
    read_bytes,
    read_json,
    read_text,
    user_file,
    user_folder,
    user_path,
)


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("", "is no path"),
        (" ", "is no path"),
        ("a\0b", "is no path"),
        ("a\ud800", "is no path"),
        ("caf\udce9", "is no path"),
        ("x" * 256, "too long"),
        ("é" * 128, "too long"),
        ("/".join(["x" * 200] * 30), "too long"),
        ("~nosuchuser/x", "cannot be found"),
        ("/proc/x", "belongs to the system"),
        ("/proc/self/mem", "belongs to the system"),
        ("/sys", "belongs to the system"),
        ("/dev/null", "belongs to the system"),
        ("/tmp/../dev/zero", "belongs to the system"),
        ("/dev/stdin", "belongs to the system"),
    ],
)
@pytest.mark.parametrize("check", [user_path, user_folder, user_file, read_bytes])
def test_paths_that_no_file_can_have(check, path, message):
    with pytest.raises(UserError, match=f"^the data: .*{message}") as error:
        check(path, "the data")
    assert str(error.value).isprintable()
    assert len(str(error.value)) < 300


def test_paths_that_are_fine(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert user_path("~/x", "x") == tmp_path / "x"
    assert user_folder("a/b", "x") == Path("a/b")
    assert user_folder(tmp_path / ("x" * 255) / "é", "x").name == "é"
    (tmp_path / "file").write_bytes(b"\xef\xbb\xbf\xc3\xa9")
    (tmp_path / "link").symlink_to("file")
    assert read_text("~/link", "x") == "é"


def test_what_is_no_file_is_not_opened(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path, message in (
        (tmp_path, "a folder"),
        (tmp_path / "pipe", "a pipe"),
        (tmp_path / "none", "No such file"),
    ):
        with pytest.raises(UserError, match=f"cannot read .*{message}"):
            read_bytes(path, "the data")


def test_what_is_no_folder(tmp_path):
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path / "file" / "x" / "y"):
        with pytest.raises(UserError, match=r"file is not a folder|Not a directory"):
            user_folder(path, "results")


def test_large_files_are_not_read_to_the_end(tmp_path):
    path = tmp_path / "large"
    with path.open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(UserError, match="larger than the 1 MiB that are read"):
        read_bytes(path, "the data", 1 << 20)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not JSON"),
        ("{", "not JSON"),
        ("[" * 10**6, "nested too deeply"),
        ("[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1), "nested too deeply"),
        ('{"a":' * 500 + "1" + "}" * 500, "nested too deeply"),
        ("9" * 5000, "not JSON .*digits"),
        (f'{{"a": [1, {MAX_INTEGER + 1}]}}', r"a\[1\] is an integer of more than 64 bits"),
        ('{"a": {"b": ["\\ud800"]}}', r"a\.b\[0\] holds half a character"),
        ('{"\\udfff": 1}', r"the key '\\udfff' holds half a character"),
        ('{"a": NaN}', "a is nan"),
        ("-Infinity", "the value is -inf"),
        ("1e999", "the value is inf"),
        ('{"a": 1, "a": 2}', r"keys twice .*\['a'\]"),
        (json.dumps({str(n): n for n in range(30_000)})[:-1] + ', "1": 1}', "keys twice"),
    ],
)
def test_json_that_nothing_can_hold(text, message, tmp_path):
    with pytest.raises(UserError, match=f"^here: {message}|^here: .*{message}"):
        parse_json(text, "here")
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(UserError, match=rf"data: .*x\.json: .*{message}"):
        read_json(tmp_path / "x.json", "data")


def test_json_that_is_fine():
    deep = "[" * MAX_DEPTH + "]" * MAX_DEPTH
    assert parse_json(deep, "here")
    assert parse_json('["\\ud83d\\ude00", 1e308, -9223372036854775807]', "here") == [
        "😀",
        1e308,
        -MAX_INTEGER,
    ]
