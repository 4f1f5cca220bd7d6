"""Paths and files that users name: one check for every path, and bounded reading.

What is read here is small enough to be held in memory and plain enough to be looked at by recursive
code; whatever is not is refused with a message that names the place.
"""

from __future__ import annotations

import json
import os
import re
import stat
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from math import isfinite
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from sparse_attention.errors import UserError

MIB = 1 << 20
SMALL_FILE = 64 * MIB
"""Bound for configurations, wordings and tables of limits, which take kilobytes; the file of a
search with all its trials takes some megabytes."""
DATA_FILE = 2048 * MIB
"""Bound for data that is read as a whole; the largest published file, LongBench-v2's, has 465
MiB."""
MAX_DEPTH = 64
"""Levels of a JSON value; no format that is read here has more than ten."""
MAX_INTEGER = 2**63 - 1
"""What tensors and tables can hold."""

_SURROGATE = re.compile("[\ud800-\udfff]")
_SYSTEM = ("/proc", "/sys", "/dev")
_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a pipe",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
}
_SHOWN = 160

Schema = TypeVar("Schema")


def user_path(value: str | Path, what: str) -> Path:
    """The path that a user wrote, with ``~`` expanded; ``what`` it is for, in messages.

    Raises:
        UserError: if no file can have that name, or it is one of the system's own (``/proc``).
    """
    text = str(value)
    try:
        encoded = os.fsencode(text)
    except UnicodeEncodeError:
        encoded = None
    if not text.strip() or encoded is None or b"\0" in encoded or _SURROGATE.search(text):
        raise UserError(f"{what}: {shown(text)} is no path; name one in UTF-8 text without NUL.")
    if len(encoded) > 4000 or any(len(part) > 255 for part in encoded.split(b"/")):
        raise UserError(
            f"{what}: {shown(text)} is too long for a path; a name may have 255 bytes, a path 4000."
        )
    try:
        path = Path(text).expanduser()
        whole = os.path.realpath(path)
        path.exists()  # asks the system, which may refuse for reasons of its own
    except (RuntimeError, OSError) as error:
        raise UserError(f"{what}: {shown(text)} cannot be found: {error}.") from error
    inside_system = any(whole == root or whole.startswith(f"{root}/") for root in _SYSTEM)
    if inside_system and not whole.startswith("/dev/shm/"):
        raise UserError(f"{what}: {shown(text)} belongs to the system; name one of your own.")
    return path


def user_folder(value: str | Path, what: str) -> Path:
    """The path of a folder that may be absent; ``UserError`` if something else is in its place."""
    path = user_path(value, what)
    for part in (path, *path.parents):
        try:
            is_folder = stat.S_ISDIR(part.stat().st_mode)
        except FileNotFoundError:
            continue
        except OSError as error:
            raise UserError(f"{what}: {path} cannot be used: {error.strerror}.") from error
        if not is_folder:
            raise UserError(f"{what}: {part} is not a folder; name a folder, or a new one.")
        break
    return path


def user_file(value: str | Path, what: str) -> Path:
    """The path of a file that is there; ``UserError`` for folders, pipes and devices."""
    path = user_path(value, what)
    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise UserError(f"{what}: cannot read {path}: {error.strerror}.") from error
    if not stat.S_ISREG(mode):
        kind = _KINDS.get(stat.S_IFMT(mode), "something else")
        raise UserError(f"{what}: cannot read {path}: it is {kind}, not a file.")
    return path


def read_bytes(value: str | Path, what: str, largest: int = SMALL_FILE) -> bytes:
    """The content of a file of at most ``largest`` bytes; ``UserError`` if it cannot be had."""
    path = user_file(value, what)
    try:
        with path.open("rb") as file:
            # Not "at most so much", for which room would be made whatever the file has.
            size = os.fstat(file.fileno()).st_size
            content = file.read(size) if size <= largest else b""
    except OSError as error:
        raise UserError(f"{what}: cannot read {path}: {error.strerror}.") from error
    if size > largest:
        raise UserError(f"{what}: {path} is larger than the {largest / MIB:g} MiB that are read.")
    return content


def decoded(content: bytes, path: str | Path, what: str) -> str:
    """A file's content as text, without a byte order mark; ``UserError`` if it is not UTF-8."""
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(
            f"{what}: {path} is not UTF-8 text ({error.reason} at byte {error.start})."
        ) from error


def read_text(value: str | Path, what: str, largest: int = SMALL_FILE) -> str:
    """The text of a UTF-8 file; ``UserError`` if it cannot be had."""
    return decoded(read_bytes(value, what, largest), value, what)


def read_json(value: str | Path, what: str, largest: int = SMALL_FILE) -> Any:
    """The value in a JSON file, checked as by ``parse_json``."""
    return parse_json(read_text(value, what, largest), f"{what}: {value}")


def parse_json(text: str, where: str, *, any_text: bool = False) -> Any:
    """The value that a JSON text is; ``where`` names it in messages.

    ``any_text`` allows texts that no tokenizer reads, which a model may have written.

    Raises:
        UserError: if it is none, has a key twice in one object, or what ``check_json`` refuses.
    """
    try:
        value = _DECODER.decode(text)
    except UserError as error:
        raise UserError(f"{where}: {error}") from None
    except RecursionError:
        raise UserError(f"{where}: {_too_deep()}") from None
    except ValueError as error:
        raise UserError(f"{where}: not JSON ({error}).") from error
    check_json(value, where, any_text=any_text)
    return value


def check_json(value: Any, where: str, *, any_text: bool = False) -> None:
    """Check a value that JSON can have for what the code that gets it cannot hold.

    Raises:
        UserError: naming the place of a number that is not finite or has over 64 bits, of a text
            with half a character, or that the value is nested too deeply.
    """
    if _is_plain(value, any_text):
        return
    for item, place in _values(value, where):
        problem = None if any_text and isinstance(item, str) else _problem(item)
        if problem:
            raise UserError(f"{where}: {place or 'the value'} {problem}")


def validated(schema: TypeAdapter[Schema], value: Any, where: str, hint: str = "") -> Schema:
    """``value`` as ``schema`` says it must be; ``hint`` says what is expected."""
    try:
        return schema.validate_python(value)
    except ValidationError as error:
        first = error.errors()[0]
        place = "".join(
            f"[{part}]" if isinstance(part, int) else f".{part}" for part in first["loc"]
        )
        message = first["msg"].removeprefix("Value error, ")
        found = "" if first["type"] == "missing" else f" is {shown(first['input'])}"
        raise UserError(
            f"{where}: {place.lstrip('.') or 'it'}{found}: {message}.{hint and ' '}{hint}"
        ) from None


def repeated(keys: Iterable[object]) -> list[str]:
    """What is there more than once, as text."""
    return sorted(str(key) for key, number in Counter(keys).items() if number > 1)


def shown(value: object) -> str:
    """A value as it stands in a message: short, and without anything that a terminal obeys."""
    text = ascii(value) if isinstance(value, str) and not value.isprintable() else repr(value)
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 3]}..."


def _too_deep() -> str:
    return f"not JSON that can be read: it is nested too deeply, over {MAX_DEPTH} levels."


def _without_repetition(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = repeated(key for key, _ in pairs)
        raise UserError(f"has keys twice in one object: {shown(twice)}; each may be there once.")
    return found


_DECODER = json.JSONDecoder(object_pairs_hook=_without_repetition)


def _is_plain(root: Any, any_text: bool) -> bool:
    """Whether ``_values`` has no problem, found without the names of places: files of records have
    millions of values.
    """
    level, depth = [root], 0
    while level and depth < MAX_DEPTH:
        inner: list[Any] = []
        for value in level:
            kind = type(value)
            if value is None or kind is bool or (any_text and kind is str):
                continue
            if kind is dict:
                inner += value.values()
                if not any_text:
                    inner += value
            elif kind is list:
                # Of long lists, most are of numbers; a sum that is finite has only finite parts.
                if set(map(type, value)) != {float} or not isfinite(sum(value)):
                    inner += value
            elif not isfinite(value) if kind is float else _problem(value):
                return False
        level, depth = inner, depth + 1
    return not level


def _values(root: Any, where: str) -> Iterator[tuple[Any, str]]:
    """All plain values and keys with their places, without recursion."""
    stack: list[tuple[Any, str, int]] = [(root, "", 0)]
    while stack:
        value, place, depth = stack.pop()
        if depth == MAX_DEPTH and isinstance(value, dict | list):
            raise UserError(f"{where}: {_too_deep()}")
        if isinstance(value, dict):
            yield from ((key, f"the key {shown(key)}") for key in value)
            stack += [
                (inner, f"{place}.{key}" if place else str(key), depth + 1)
                for key, inner in value.items()
            ]
        elif isinstance(value, list):
            stack += [(inner, f"{place}[{n}]", depth + 1) for n, inner in enumerate(value)]
        else:
            yield value, place


def _problem(value: Any) -> str | None:
    if isinstance(value, str):
        if _SURROGATE.search(value):
            return "holds half a character (a lone surrogate), which no tokenizer reads."
    elif isinstance(value, float):
        if not isfinite(value):
            return f"is {value}, which is not a number of JSON."
    elif isinstance(value, int) and abs(value) > MAX_INTEGER:
        return "is an integer of more than 64 bits."
    return None
