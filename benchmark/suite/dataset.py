"""Benchmarks that are datasets: one option chooses where their samples come from."""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from benchmark.suite.base import Benchmark, Sample, by_context
from benchmark.suite.fingerprints import samples_fingerprint
from benchmark.suite.options import BenchmarkOptions
from benchmark.suite.rows import Kind, Row, sample_of
from benchmark.suite.sources import hub_rows, is_sample_data, parquet_rows
from sparse_attention.errors import UserError, unknown_name
from sparse_attention.reading import user_file, user_path

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

HUB = "hub"
SAMPLES = "samples"
SAMPLE_NEW_TOKENS = 48
"""Limit of new tokens with the sample data, which is there to try the whole way in short time."""

_HUB_NAME = re.compile(r"[\w-][\w.-]*/[\w.-]+")


class DatasetOptions(BenchmarkOptions):
    """Options that all benchmarks of this kind have."""

    source: str = Field(default=HUB, min_length=1)
    """``hub`` (the prepared dataset of the benchmark), the hub name of another one of that form, a
    parquet file or folder, a raw file or folder of upstream, or ``samples``: the few rows that
    ship with the project."""


class DatasetBenchmark(Benchmark):
    """A benchmark whose samples are read from the source that the option ``source`` names.

    A subclass names its ``hub_dataset`` and says how upstream's raw files become rows with the
    usual columns (``raw_rows``).  Its sample data is a folder in the raw form, so it takes the
    same way.
    """

    options_class: ClassVar[type[DatasetOptions]] = DatasetOptions
    hub_dataset: ClassVar[str]
    """Hub name of the prepared dataset."""
    sample_folder: ClassVar[Path]
    """Folder with the sample data."""
    columns: ClassVar[Mapping[str, Kind]] = {}
    """Columns beside the usual ones, which become ``Sample.extra``."""

    def __init__(self, **options: Any) -> None:
        self._options = self.options_class.parse(self.name, options)
        self._last: tuple[str, list[Sample]] | None = None

    @property
    def options(self) -> dict[str, Any]:
        """The source and what the benchmark adds to it, defaults filled in."""
        return self._options.model_dump()

    @property
    def sample_data(self) -> bool:
        """Whether the samples are those that ship with the project, or a dataset made of them."""
        return self._options.source == SAMPLES or self._made_of_samples

    def samples(self, subset: str, tokenizer: PreTrainedTokenizerBase) -> list[Sample]:
        """All samples of a subset, those of one context together; independent of the tokenizer."""
        return self.read(subset)

    def read(self, subset: str) -> list[Sample]:
        """All samples of a subset; raises ``UserError`` for bad data."""
        if subset not in self.subsets:
            raise unknown_name(f"subset of {self.name}", subset, self.subsets)
        if self._last is None or self._last[0] != subset:
            samples = [
                sample_of(
                    row,
                    f"{subset}-{number:05d}",
                    (subset,),
                    self.columns,
                    references=self.has_references,
                )
                for number, row in enumerate(self._rows(subset))
            ]
            if not samples:
                raise UserError(
                    f"the source {self._options.source!r} of {self.name} has no sample of {subset}."
                )
            if self.sample_data:
                samples = [_shortened(sample) for sample in samples]
            self._last = subset, [sample for group in by_context(samples) for sample in group]
        return list(self._last[1])

    def provenance(self, subset: str, tokenizer: PreTrainedTokenizerBase) -> dict[str, Any]:
        """The source and the hash of all its samples of the subset."""
        source = self._options.source
        return {
            "source": self.hub_dataset if source == HUB else source,
            "sample_data": self.sample_data,
            "samples_sha256": samples_fingerprint(self.read(subset)),
        }

    @property
    def has_references(self) -> bool:
        """Whether every sample must have reference answers."""
        return True

    @abstractmethod
    def raw_rows(self, source: Path, subset: str) -> Iterable[Row]:
        """Rows with the usual columns from upstream's raw file or folder."""

    def prepared_row(self, row: Row, subset: str) -> Row:
        """A row of a prepared dataset in the usual columns, where another tool's differ."""
        return row

    def hub_config(self, subset: str) -> str | None:
        """Name of the configuration of the hub dataset that holds a subset."""
        return subset

    def hub_rows(self, subset: str) -> Iterable[Row]:
        """Rows of the benchmark's own hub dataset."""
        return self._prepared_from_hub(self.hub_dataset, subset)

    @cached_property
    def _made_of_samples(self) -> bool:
        path = user_path(self._options.source, f"source of {self.name}")
        files = [path] if path.is_file() else [*path.glob("*.parquet"), *path.glob("*/*.parquet")]
        return any(is_sample_data(file) for file in files if file.suffix == ".parquet")

    def _rows(self, subset: str) -> Iterable[Row]:
        source = self._options.source
        if source == HUB:
            return self.hub_rows(subset)
        if source == SAMPLES:
            return self.raw_rows(self.sample_folder, subset)
        path = user_path(source, f"source of {self.name}")
        if path.exists():
            files = parquet_files(path, subset)
            if not files:
                return self.raw_rows(path, subset)
            if files[0].parent == path / subset:
                rows = parquet_rows(files)
            else:
                rows = parquet_rows(files, subset, self.subsets)
            return (self.prepared_row(row, subset) for row in rows)
        if is_hub_name(source):
            return self._prepared_from_hub(source, subset)
        raise missing_source(source, f"'{HUB}', '{SAMPLES}'")

    def _prepared_from_hub(self, name: str, subset: str) -> Iterable[Row]:
        config = self.hub_config(subset)
        rows = hub_rows(name, config, "test", None if config == subset else subset)
        return (self.prepared_row(row, subset) for row in rows)


def _shortened(sample: Sample) -> Sample:
    return replace(sample, max_new_tokens=min(sample.max_new_tokens, SAMPLE_NEW_TOKENS))


def parquet_files(path: Path, config: str) -> list[Path]:
    """Parquet files of a source: itself, those of the folder ``config`` in it, or those in it."""
    if path.exists() and not path.is_dir():
        return [user_file(path, "source")] if path.suffix == ".parquet" else []
    return sorted((path / config).glob("*.parquet")) or sorted(path.glob("*.parquet"))


def is_hub_name(source: str) -> bool:
    """Whether a source that is no path has the form of a hub name."""
    return bool(_HUB_NAME.fullmatch(source)) and Path(source).suffix != ".parquet"


def missing_source(source: str, words: str) -> UserError:
    """The error for a source that is neither a path nor a hub name; ``words`` are valid too."""
    return UserError(
        f"the source {source!r} does not exist; valid are {words}, a parquet file or folder, raw "
        "files of upstream where the benchmark reads them, and a hub name such as owner/dataset."
    )
