"""Append-only files of one JSON object a line, of which a process may die while it writes."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol, Self, TypeVar

from benchmark.files import json_line, move_aside, write_atomic, write_if_changed

logger = logging.getLogger(__name__)


class Line(Protocol):
    """A line: it belongs to the sample ``id``."""

    @property
    def id(self) -> str: ...  # noqa: D102

    def to_json(self) -> dict[str, object]: ...  # noqa: D102

    @classmethod
    def from_json(cls, document: object) -> Self: ...  # noqa: D102


RecordType = TypeVar("RecordType", bound=Line)


class Damaged(ValueError):
    """A file holds something that was not written here."""


def append_records(path: Path, records: Sequence[Line]) -> None:
    """Append all records by one write, and hand them to the operating system."""
    with path.open("ab") as file:
        file.write(b"".join(json_line(record.to_json()) for record in records))
        file.flush()
        os.fsync(file.fileno())


def write_records(path: Path, records: Sequence[Line]) -> None:
    """Replace the file by these records, atomically; a file that has them already stays."""
    write_if_changed(path, b"".join(json_line(record.to_json()) for record in records))


def read_records(
    path: Path,
    parse: Callable[[object], RecordType],
    known_ids: frozenset[str] | None,
    *,
    repeats: bool = False,
) -> dict[str, RecordType]:
    """Records by sample; empty if the file is absent.

    A last line without its line end was torn by the death of the process and is cut off.  Any
    other damage (not JSON, other fields, samples that are not in ``known_ids`` where it is given, a
    sample twice unless ``repeats``, when the later one counts) makes the whole file untrusted: it
    is moved aside, with a warning, and counts as absent.
    """
    if not path.exists():
        return {}
    try:
        content = path.read_bytes()
    except OSError as error:
        _set_aside(path, error)
        return {}
    whole = content[: content.rfind(b"\n") + 1]
    try:
        records = _parse(whole, parse, known_ids, repeats)
    except Damaged as error:
        _set_aside(path, error)
        return {}
    if len(whole) < len(content):
        logger.warning("%s: cut off a torn last line of %d bytes", path, len(content) - len(whole))
        write_atomic(path, whole)
    return records


def _set_aside(path: Path, cause: Exception) -> None:
    target = move_aside(path)
    logger.warning(
        "%s is damaged (%s); moved to %s, its samples are computed again",
        *(path, cause, target.name),
    )


def _parse(
    content: bytes,
    parse: Callable[[object], RecordType],
    known_ids: frozenset[str] | None,
    repeats: bool,
) -> dict[str, RecordType]:
    records: dict[str, RecordType] = {}
    for number, line in enumerate(content.splitlines(), start=1):
        try:
            record = parse(json.loads(line))
        except (ValueError, RecursionError) as error:
            raise Damaged(f"line {number}: {str(error)[:200]}") from error
        if known_ids is not None and record.id not in known_ids:
            raise Damaged(f"line {number}: sample {record.id[:80]!r} is not of this data")
        if record.id in records and not repeats:
            raise Damaged(f"line {number}: sample {record.id[:80]!r} for the second time")
        records[record.id] = record
    return records
