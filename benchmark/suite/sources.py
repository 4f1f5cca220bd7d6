"""Reading data: JSON lines, parquet files and datasets of the hub, as checked rows."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import pyarrow as pa

from benchmark.suite.rows import Row
from sparse_attention.errors import UserError
from sparse_attention.reading import DATA_FILE, MIB, parse_json, read_json, user_file

SAMPLE_MARK = "sparse-bench sample data"
"""Key in the metadata of parquet files that were made from the sample data."""
_LONGEST_LINE = 256 * MIB
"""Characters; the longest document that is published, of two million words, has 16 million."""


def json_lines(path: Path, member: str | None = None) -> Iterator[Row]:
    """Rows of a file of one JSON object a line, or of such a ``member`` of a zip file.

    Blank lines are skipped.  Raises ``UserError`` for a file that cannot be read and a line that is
    not such an object.
    """
    label = path if member is None else path / member
    try:
        file = user_file(path, "data file")
        source = file if member is None else zipfile.Path(file, member)
        with source.open(encoding="utf-8") as lines:
            for number, line in enumerate(_bounded(lines, label), start=1):
                if line.strip():
                    yield Row(_json_object(line, label, number), str(label), number)
    except (OSError, KeyError, RuntimeError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        # RuntimeError: an archive with a password or of an unknown method.
        raise UserError(f"cannot read {label}: {error}.") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{label} is not UTF-8 text ({error.reason}).") from error


def _bounded(lines: IO[str], label: Path) -> Iterator[str]:
    while line := lines.readline(_LONGEST_LINE):
        if len(line) == _LONGEST_LINE:
            raise UserError(f"{label} has a line of more than {_LONGEST_LINE} characters.")
        yield line


def _json_object(text: str, path: Path, number: int) -> Mapping[str, Any]:
    value = parse_json(text, f"{path}, row {number}")
    if not isinstance(value, dict):
        raise UserError(f"{path}, row {number}: a JSON object is expected.")
    return value


def raw_file(source: Path, name: str, *folders: str) -> Path:
    """The file ``name``: the source itself, or in it, or in one of its ``folders``.

    Raises ``UserError`` if it is not there, also where the source is a file of another name: it
    would be read as something that it is not.
    """
    if source.is_file() and source.name == name:
        return source
    candidates = [source / name, *(source / folder / name for folder in folders)]
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    raise UserError(
        f"{source} is not {name}, nor has it {name} in it; name another source or other subsets."
    )


def json_records(path: Path) -> Iterator[Row]:
    """Rows of a JSON file with a list of objects; ``UserError`` if it is something else."""
    records = json_file(path)
    if not isinstance(records, list):
        raise UserError(f"{path}: a list of JSON objects is expected.")
    for number, values in enumerate(records, start=1):
        if not isinstance(values, dict):
            raise UserError(f"{path}, row {number}: a JSON object is expected.")
        yield Row(values, str(path), number)


def json_file(path: Path) -> Any:
    """The value in a JSON file; ``UserError`` if there is none."""
    return read_json(path, "data file", DATA_FILE)


def parquet_rows(
    files: Iterable[Path], task: str | None = None, known: Collection[str] = ()
) -> Iterator[Row]:
    """Rows of parquet files; with ``task`` those whose column ``task`` is that.

    Raises ``UserError`` for a file that is not parquet, and with ``task`` for one without that
    column and for a row whose task is not one of ``known``.
    """
    from pyarrow import parquet

    for file in files:
        user_file(file, "data file")
        try:
            with parquet.ParquetFile(file) as data:
                names = data.schema_arrow.names
                if task is not None and "task" not in names:
                    raise UserError(f"{file} lacks the column 'task'; it has {', '.join(names)}.")
                places = list(range(data.metadata.num_rows))
                if task is not None:
                    tasks = data.read(columns=["task"])["task"].to_pylist()
                    for number, name in enumerate(tasks, start=1):
                        if not isinstance(name, str) or name not in known:
                            raise Row({}, str(file), number).error("task", f"is {name!r}: unknown")
                    places = [place for place in places if tasks[place] == task]
                rows = data.read().take(places).to_pylist() if places else []
        except UserError:
            raise
        except (pa.ArrowException, OSError, ValueError, OverflowError) as error:
            # ValueError: texts that are not UTF-8, and times beyond those of Python.
            raise UserError(f"{file} is not a readable parquet file: {error}.") from error
        for place, values in zip(places, rows, strict=True):
            yield Row(values, str(file), place + 1)


def is_sample_data(file: Path) -> bool:
    """Whether a parquet file says that it was made from rows that ship with the project."""
    from pyarrow import parquet

    try:
        return SAMPLE_MARK.encode() in (parquet.read_schema(file).metadata or {})
    except (pa.ArrowException, OSError):
        return False  # reported when its rows are read


def hub_rows(name: str, config: str | None, split: str, task: str | None = None) -> Iterator[Row]:
    """Rows of a dataset of the hub; with ``task`` those whose column ``task`` is that.

    Raises ``UserError`` where it cannot be had, for whatever reason.
    """
    from datasets import load_dataset

    label = name if config is None else f"{name} ({config})"
    try:
        data = load_dataset(name, config, split=split)
    except Exception as error:
        # Network, hub, format and disk each raise their own kinds, of several libraries.
        raise hub_error(label, error) from error
    places: Iterable[int] = range(len(data))
    if task is not None:
        if "task" not in data.column_names:
            raise UserError(
                f"{label} lacks the column 'task'; it has {', '.join(data.column_names)}."
            )
        tasks = list(data["task"])
        places = [place for place in places if tasks[place] == task]
    for place in places:
        yield Row(data[place], label, place + 1)


def hub_file(name: str, path: str) -> Path:
    """A file of a dataset repository of the hub, downloaded or kept from before."""
    from huggingface_hub import hf_hub_download

    try:
        return Path(hf_hub_download(name, path, repo_type="dataset"))
    except Exception as error:
        raise hub_error(f"{name}/{path}", error) from error


def hub_error(label: str, error: Exception) -> UserError:
    """The error for something that the hub did not give."""
    reason = str(error).strip().splitlines()[0] if str(error).strip() else "no details"
    return UserError(
        f"cannot load {label} from the hub ({type(error).__name__}: {reason}). Check name, network "
        "and disk, or set the option source to a local folder or file, or to 'samples'."
    )
