"""Writing prepared datasets: parquet with the usual columns, made from any source."""

from __future__ import annotations

import argparse
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from benchmark.files import json_document, write_atomic
from benchmark.suite.base import Sample
from benchmark.suite.dataset import DatasetBenchmark
from benchmark.suite.fingerprints import samples_fingerprint
from benchmark.suite.options import option_value
from benchmark.suite.rows import Kind, to_table
from benchmark.suite.sources import SAMPLE_MARK
from sparse_attention.errors import UserError, unknown_name
from sparse_attention.program import Parser, run_program
from sparse_attention.reading import user_folder

PROGRAM = "create_huggingface_dataset"
FILE_NAME = "test-00000-of-00001.parquet"
"""What the hub calls a split of one file, so that a folder can be uploaded as it is."""


def write_parquet(
    folder: Path, samples: Iterable[Sample], extra: Mapping[str, Kind], record: Mapping[str, Any]
) -> Path:
    """Write ``folder/test-00000-of-00001.parquet`` with ``provenance.json`` beside it.

    ``record`` is the content of the latter; with ``sample_data`` in it the table is marked.  Each
    file is absent, as it was, or complete.  Returns the parquet file's path; raises ``UserError``
    where it cannot be written.
    """
    table = to_table(samples, extra)
    if record.get("sample_data"):
        table = table.replace_schema_metadata({SAMPLE_MARK: "true"})
    content = io.BytesIO()
    pq.write_table(table, content)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_atomic(folder / "provenance.json", json_document(record))
        write_atomic(folder / FILE_NAME, content.getvalue())
    except OSError as error:
        raise UserError(f"cannot write to {folder}: {error.strerror}.") from error
    return folder / FILE_NAME


def main(benchmark: type[DatasetBenchmark], arguments: Sequence[str] | None = None) -> int:
    """Command line of ``benchmark.<name>.create_huggingface_dataset``; exit code 2 for bad input.

    Writes a folder for each subset.
    """
    parser = Parser(
        prog=f"python -m benchmark.{benchmark.name}.create_huggingface_dataset",
        description=f"Write {benchmark.name} as parquet, a folder for each subset.",
    )
    add = parser.add_argument
    add(
        "--source",
        required=True,
        help="raw file or folder of upstream; 'hub', a hub name, or 'samples'",
    )
    add("--output", required=True, type=Path, metavar="DIR", help="folder that gets the subsets")
    add("--subsets", nargs="+", metavar="NAME", help="subsets to write; all without")
    add(
        "--option",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="further option of the benchmark; may be repeated",
    )
    given = parser.parse_args(arguments)
    return run_program(PROGRAM, lambda: _write_subsets(benchmark, given))


def _write_subsets(cls: type[DatasetBenchmark], given: argparse.Namespace) -> int:
    options = {"source": given.source}
    for name, value in map(option_value, given.option):
        if name in options:
            raise UserError(f"the option {name!r} is given twice; give it once.")
        options[name] = value
    user_folder(given.output, "--output")
    benchmark = cls(**options)
    subsets = given.subsets or cls.subsets
    for subset in subsets:
        if subset not in cls.subsets:
            raise unknown_name(f"subset of {cls.name}", subset, cls.subsets)
    for subset in subsets:
        samples = benchmark.read(subset)
        record = {
            "benchmark": cls.name,
            "subset": subset,
            "options": benchmark.options,
            "sample_data": benchmark.sample_data,
            "samples_sha256": samples_fingerprint(samples),
        }
        print(write_parquet(given.output / subset, samples, cls.columns, record))
    return 0
