"""Append-only files of one JSON object a line, of which a process may die while it writes.

Every line is sealed (``benchmark.results.seal``), so that each can be trusted, or not, by itself.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol, Self, TypeVar

from benchmark.files import move_aside, name_aside, write_atomic, write_if_changed
from benchmark.results.seal import sealed_line, unsealed_line
from sparse_attention.errors import UserError
from sparse_attention.reading import DATA_FILE, read_bytes

logger = logging.getLogger(__name__)


class Line(Protocol):
    """A line: it belongs to the sample ``id``."""

    @property
    def id(self) -> str: ...  # noqa: D102

    def to_json(self) -> dict[str, object]: ...  # noqa: D102

    @classmethod
    def from_json(cls, document: object) -> Self: ...  # noqa: D102


RecordType = TypeVar("RecordType", bound=Line)


def append_records(path: Path, records: Sequence[Line], scope: str) -> None:
    """Append all records by one write, and hand them to the operating system."""
    with path.open("ab") as file:
        file.write(_lines(records, scope))
        file.flush()
        os.fsync(file.fileno())


def write_records(path: Path, records: Sequence[Line], scope: str) -> None:
    """Replace the file by these records, atomically; a file that has them already stays."""
    write_if_changed(path, _lines(records, scope))


def _lines(records: Sequence[Line], scope: str) -> bytes:
    return b"".join(sealed_line(record.to_json(), scope) for record in records)


def read_records(
    path: Path,
    parse: Callable[[object], RecordType],
    scope: str,
    known_ids: frozenset[str] | None = None,
    *,
    repeats: bool = False,
) -> dict[str, RecordType]:
    """Records by sample; empty if the file is absent.

    A last line without its line end was torn by the death of the process and is cut off.  Any
    other line that is damaged (not JSON, another checksum, other fields, a sample that is not in
    ``known_ids`` where it is given, or is there twice unless ``repeats``, when the later one
    counts) is not believed: the file is kept under another name, with a warning, and goes on
    without that line.
    """
    if not path.exists():
        return {}
    try:
        content = read_bytes(path, "records", DATA_FILE)
    except UserError as error:
        target = move_aside(path)
        logger.warning("%s; it is now %s, what it held is computed again", error, target.name)
        return {}
    whole = content[: content.rfind(b"\n") + 1]
    lines = whole.splitlines(keepends=True)
    records: dict[str, tuple[bytes, RecordType]] = {}
    damage: list[str] = []
    seen: set[str] = set()
    for number, line in enumerate(lines, start=1):
        try:
            record = parse(unsealed_line(line, scope))
            if known_ids is not None and record.id not in known_ids:
                raise ValueError(f"sample {record.id[:80]!r} is not of this data")
            if record.id in seen and not repeats:
                records.pop(record.id, None)
                raise ValueError(f"sample {record.id[:80]!r} for the second time")
        except ValueError as error:
            damage.append(f"line {number}: {str(error)[:200]}")
        else:
            seen.add(record.id)
            records[record.id] = line, record
    trusted = b"".join(line for line, _ in records.values())
    if damage:
        aside = name_aside(path)
        write_atomic(aside, content)
        write_atomic(path, trusted)
        logger.warning(
            "%s: %d of %d lines are damaged (%s); what they held is computed again, the file as it "
            "was is kept as %s",
            *(path, len(damage), len(lines), damage[0], aside.name),
        )
    elif len(whole) < len(content):
        logger.warning("%s: cut off a torn last line of %d bytes", path, len(content) - len(whole))
        write_atomic(path, whole)
    return {name: record for name, (_, record) in records.items()}


def sound_records(
    path: Path, parse: Callable[[object], RecordType], scope: str
) -> tuple[dict[str, RecordType], int]:
    """The records that can be trusted, of a file that is only looked at, and how many lines cannot.

    Nothing if it is absent; a last line that is still being written counts as neither.  Raises
    ``UserError`` if it cannot be read.
    """
    records: dict[str, RecordType] = {}
    damaged = 0
    if not path.exists():
        return records, damaged
    for line in read_bytes(path, "records", DATA_FILE).splitlines(keepends=True):
        try:
            record = parse(unsealed_line(line, scope))
        except ValueError:
            damaged += line.endswith(b"\n")
        else:
            records[record.id] = record
    return records, damaged
