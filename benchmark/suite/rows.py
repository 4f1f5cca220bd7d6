"""Rows of data files, whose fields are read with a check, and samples as such rows."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from benchmark.suite.base import Sample
from sparse_attention.errors import UserError, unknown_name
from sparse_attention.reading import parse_json, shown

Kind = Literal["text", "texts", "integer", "json"]
"""What a column holds: a string, a list of strings, an integer, or any JSON value as its text."""

_COLUMNS: Mapping[str, Kind] = {
    "context": "text",
    "question": "text",
    "answer_prefix": "text",
    "answer": "texts",
    "max_new_tokens": "integer",
    "task": "text",
}


MAX_NEW_TOKENS = 2**20
"""Bound of the new tokens of an answer; the longest that a benchmark asks for has 30,000."""


class Row:
    """One row of a file; a field that is absent or of another type is a ``UserError`` naming it."""

    def __init__(self, values: Mapping[str, Any], file: str, number: int) -> None:
        """``number`` counts from 1, as editors count lines."""
        self.values = values
        self._file = file
        self._number = number

    def with_values(self, **changes: Any) -> Row:
        """The row with some fields changed; errors go on naming its place in the file."""
        return Row({**self.values, **changes}, self._file, self._number)

    def text(self, name: str) -> str:
        """A string."""
        value = self._value(name)
        if not isinstance(value, str):
            raise self.error(name, f"is {_typed(value)}, not a text")
        return value

    def texts(self, name: str) -> list[str]:
        """A list of strings; a single string counts as a list of one."""
        value = self._value(name)
        found = [value] if isinstance(value, str) else value
        if not isinstance(found, list | tuple | np.ndarray):
            raise self.error(name, f"is {_typed(value)}, not a list of texts")
        for item in found:
            if not isinstance(item, str):
                raise self.error(name, f"holds {_typed(item)}, which is not a text")
        return list(found)

    def integer(self, name: str) -> int:
        """An integer."""
        value = self._value(name)
        if isinstance(value, bool) or not isinstance(value, int | np.integer):
            raise self.error(name, f"is {_typed(value)}, not an integer")
        return int(value)

    def json(self, name: str) -> Any:
        """A JSON value, which a table holds as its text."""
        return parse_json(self.text(name), f"{self.place}, the field {name!r}")

    def error(self, name: str, problem: str) -> UserError:
        """An error about a field, naming file, row and field."""
        return UserError(f"{self.place}: the field {name!r} {problem}.")

    @property
    def place(self) -> str:
        """File and row, for messages."""
        return f"{self._file}, row {self._number}"

    def _value(self, name: str) -> Any:
        if name not in self.values:
            there = ", ".join(map(str, self.values)) or "none"
            raise self.error(name, f"is missing; the fields there are {there}")
        return self.values[name]


def sample_of(
    row: Row,
    name: str,
    tasks: Iterable[str],
    extra: Mapping[str, Kind],
    *,
    references: bool = True,
) -> Sample:
    """The sample in a row with the usual columns and ``extra`` ones, under the id ``name``.

    An extra column that is absent or null is left out.  Raises ``UserError`` for a task that is
    not one of ``tasks``, and where ``references`` are needed and there are none.
    """
    task = row.text("task")
    if task not in tasks:
        raise row.error("task", f"is wrong: {unknown_name('task', task, tasks)}".rstrip("."))
    answers = tuple(row.texts("answer"))
    if references and not answers:
        raise row.error("answer", "is empty: there is no reference to score an answer with")
    max_new_tokens = row.integer("max_new_tokens")
    if not 1 <= max_new_tokens <= MAX_NEW_TOKENS:
        raise row.error("max_new_tokens", f"is {max_new_tokens}, not from 1 to {MAX_NEW_TOKENS}")
    return Sample(
        id=name,
        context=row.text("context"),
        question=row.text("question"),
        answer_prefix=row.text("answer_prefix"),
        answers=answers,
        max_new_tokens=max_new_tokens,
        task=task,
        extra={
            column: getattr(row, kind)(column)
            for column, kind in extra.items()
            if row.values.get(column) is not None
        },
    )


def to_table(samples: Iterable[Sample], extra: Mapping[str, Kind]) -> pa.Table:
    """Samples with their ``extra`` columns as a table; ids follow from the order and are left out.

    Lone surrogates, which Arrow's strings cannot hold, become question marks.
    """
    kinds: dict[str, Kind] = {**_COLUMNS, **extra}
    schema = pa.schema([(name, _arrow_type(kind)) for name, kind in kinds.items()])
    rows = [
        {name: _stored(_field(sample, name), kind) for name, kind in kinds.items()}
        for sample in samples
    ]
    return pa.Table.from_pylist(rows, schema=schema)


def _arrow_type(kind: Kind) -> pa.DataType:
    if kind == "texts":
        return pa.list_(pa.string())
    return pa.int64() if kind == "integer" else pa.string()


def _field(sample: Sample, name: str) -> Any:
    if name == "answer":
        return list(sample.answers)
    return getattr(sample, name) if name in _COLUMNS else sample.extra.get(name)


def _stored(value: Any, kind: Kind) -> Any:
    if value is None or kind == "integer":
        return value
    if kind == "json":
        return json.dumps(value)
    if kind == "texts":
        return [_stored(item, "text") for item in value]
    return value.encode("utf-8", "replace").decode()


def _typed(value: Any) -> str:
    return f"{shown(value)} ({type(value).__name__})"
