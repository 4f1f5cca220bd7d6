"""Prepared datasets: parquet files and datasets of the hub with the field's usual columns."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from benchmark.base import Sample
from sparse_attention.errors import UserError

SCHEMA = pa.schema(
    [
        ("context", pa.string()),
        ("question", pa.string()),
        ("answer_prefix", pa.string()),
        ("answer", pa.list_(pa.string())),
        ("task", pa.string()),
        ("max_new_tokens", pa.int64()),
        ("extra", pa.string()),  # JSON object; not in datasets of other tools
    ]
)
_COLUMNS = tuple(name for name in SCHEMA.names if name != "extra")
_HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")


def to_table(samples: Iterable[Sample]) -> pa.Table:
    """Return the samples as a table; ids are not kept, because they follow from the order."""
    rows = [
        {
            "context": sample.context,
            "question": sample.question,
            "answer_prefix": sample.answer_prefix,
            "answer": list(sample.answers),
            "task": sample.task,
            "max_new_tokens": sample.max_new_tokens,
            "extra": json.dumps(dict(sample.extra)),
        }
        for sample in samples
    ]
    return pa.Table.from_pylist(rows, schema=SCHEMA)


def read_prepared(source: str, task: str, length: int, limit: int) -> list[Sample]:
    """Return the first ``limit`` samples of ``task`` in a prepared dataset, in its order.

    ``source`` is a parquet file, a folder of parquet files or of one folder for each length, or a
    hub name whose configurations are lengths.  Raises ``UserError`` for data that is missing, of
    another form, or without the task.
    """
    path = Path(source).expanduser()
    if path.exists():
        rows = _read_files(path, task, length, limit)
    elif _HUB_NAME.fullmatch(source) and not source.startswith(".") and path.suffix != ".parquet":
        rows = _read_hub(source, task, length, limit)
    else:
        raise UserError(
            f"the source {source!r} does not exist; valid are 'generate', a parquet file or "
            "folder, and a hub name such as simonjegou/ruler."
        )
    if not rows:
        raise UserError(f"the prepared dataset {source} has no sample of the task {task}.")
    return [_sample(row, f"{task}-{length}-{index:04d}", source) for index, row in enumerate(rows)]


def _read_files(path: Path, task: str, length: int, limit: int) -> list[Mapping[str, Any]]:
    folder = path / str(length) if (path / str(length)).is_dir() else path
    files = [path] if path.is_file() else sorted(folder.glob("*.parquet"))
    if not files:
        lengths = sorted(int(p.name) for p in path.iterdir() if p.is_dir() and p.name.isdigit())
        there = f"it has the lengths {', '.join(map(str, lengths))}" if lengths else "it has none"
        raise UserError(f"{path} has no parquet file for length {length}; {there}.")
    rows: list[Mapping[str, Any]] = []
    for file in files:
        try:
            names = pq.read_schema(file).names
            _check_columns(names, str(file))
            columns = [*_COLUMNS, "extra"] if "extra" in names else list(_COLUMNS)
            table = pq.read_table(file, columns=columns, filters=[("task", "==", task)])
        except (pa.ArrowException, OSError) as error:
            raise UserError(f"{file} is not a readable parquet file: {error}.") from error
        rows += table.slice(0, limit - len(rows)).to_pylist()
    return rows


def _read_hub(source: str, task: str, length: int, limit: int) -> list[Mapping[str, Any]]:
    from datasets import load_dataset

    try:
        data = load_dataset(source, str(length), split="test")
    except (OSError, ValueError, RuntimeError) as error:
        reason = str(error).splitlines()[0] if str(error) else "no details"
        raise UserError(
            f"cannot load {source!r} with configuration {length} from the hub "
            f"({type(error).__name__}: {reason}). Check name, length and network, or use a local "
            "parquet folder or source='generate'."
        ) from error
    _check_columns(data.column_names, source)
    places = [place for place, name in enumerate(data["task"]) if name == task]
    return data.select(places[:limit]).to_list()


def _check_columns(names: Iterable[str], source: str) -> None:
    missing = [column for column in _COLUMNS if column not in set(names)]
    if missing:
        raise UserError(f"{source} lacks the columns {', '.join(missing)}.")


def _sample(row: Mapping[str, Any], name: str, source: str) -> Sample:
    try:
        extra = json.loads(row.get("extra") or "{}")
        return Sample(
            id=name,
            context=str(row["context"]),
            question=str(row["question"]),
            answer_prefix=str(row["answer_prefix"]),
            answers=tuple(str(answer) for answer in row["answer"]),
            max_new_tokens=int(row["max_new_tokens"]),
            task=str(row["task"]),
            extra=dict(extra),
        )
    except (TypeError, ValueError) as error:
        raise UserError(f"{source}: the sample {name} is malformed: {error}.") from error
