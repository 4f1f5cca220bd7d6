"""RULER: retrieval, tracing, aggregation and question answering at any context length."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from benchmark.ruler import calculate_metrics as metrics
from benchmark.ruler.generate import GENERATOR_VERSION, frame_tokens, generate
from benchmark.ruler.options import GENERATE, RulerOptions, Sources, task_named
from benchmark.ruler.sample_cache import SampleCache, data_fingerprint
from benchmark.ruler.tasks import TASKS, Task
from benchmark.ruler.upstream.generate import generate_upstream
from benchmark.suite.base import Benchmark, Sample
from benchmark.suite.dataset import SAMPLES, is_hub_name, missing_source, parquet_files
from benchmark.suite.fingerprints import tokenizer_fingerprint
from benchmark.suite.rows import Kind, sample_of
from benchmark.suite.sources import hub_rows, parquet_rows
from sparse_attention.errors import UserError
from sparse_attention.prompt import PromptSettings
from sparse_attention.reading import user_path

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

COLUMNS: Mapping[str, Kind] = {
    "length_tokens": "integer",
    "needle_depths": "json",
    "documents": "integer",
}
"""Columns of generated samples that other tools' datasets lack."""


class Ruler(Benchmark):
    """The 13 tasks of RULER (arXiv:2404.06654), generated for a tokenizer or read from a dataset.

    Options (``RulerOptions`` has their ranges): ``length`` tokens of prompt and answer together,
    ``samples`` of each task, ``seed``, ``lexicon`` (``wonderwords`` or ``embedded``), ``haystack``
    (a text file, or JSON with a ``text``; the project's own prose without), ``upstream`` (a
    checkout of RULER, whose samples are made then, one by one), ``prompts`` (a file with another
    wording), ``squad_file`` and ``hotpotqa_file`` (for qa_1 and qa_2; the hub
    without), ``source`` (``generate``; ``samples``, which generates with a few questions that ship
    with the project; a parquet file or folder; or a hub name such as ``simonjegou/ruler``),
    ``one_shot`` (a solved example in vt and cwe) and ``cache_dir``.
    A wrong option raises ``UserError``.
    """

    name = "ruler"
    summary = "RULER: 13 synthetic retrieval, tracing, aggregation and QA tasks of any length"
    subsets = tuple(TASKS)
    prompt = PromptSettings(truncation="error")  # a cut context may have lost its needle

    def __init__(self, **options: Any) -> None:
        self._options = RulerOptions.parse(self.name, options)
        self._sources = Sources(self._options)
        self._last: tuple[tuple[str, str], list[Sample]] | None = None

    @property
    def options(self) -> dict[str, Any]:
        """All options but ``cache_dir``, on which no result depends."""
        return self._options.model_dump(exclude={"cache_dir"})

    @property
    def sample_data(self) -> bool:
        """Whether the questions are those that ship with the project."""
        return self._options.source == SAMPLES

    @property
    def qualifier(self) -> str:
        """That the wording is ours, which scores of others do not have."""
        options = self._options
        own = options.generated and options.prompts is None and options.upstream is None
        return "in our own wording" if own else ""

    @property
    def supported_subsets(self) -> tuple[str, ...]:
        """The subsets that the chosen lexicon can serve, in the order of ``subsets``."""
        tasks = self._sources.lexicon.tasks if self._options.generated else None
        return tuple(name for name in TASKS if tasks is None or name in tasks)

    def samples(self, subset: str, tokenizer: PreTrainedTokenizerBase) -> list[Sample]:
        """Return samples of a task; generated ones are kept in the cache folder."""
        task = self._task(subset)
        if not self._options.generated:
            return self._read(task)
        fingerprint = tokenizer_fingerprint(tokenizer)
        if self._last is None or self._last[0] != (subset, fingerprint):
            samples = self._generate(task, tokenizer, self._key(task, tokenizer, fingerprint))
            self._last = (subset, fingerprint), samples
        return list(self._last[1])

    def provenance(self, subset: str, tokenizer: PreTrainedTokenizerBase) -> dict[str, Any]:
        """Hash of the samples and, where they are generated, all that they depend on."""
        task = self._task(subset)
        record = {
            "source": self._options.source,
            "sample_data": self.sample_data,
            "data_sha256": data_fingerprint(self.samples(subset, tokenizer)),
        }
        if not self._options.generated:
            return record
        return {**record, **self._key(task, tokenizer, tokenizer_fingerprint(tokenizer))}

    def sample_scores(self, frame: pd.DataFrame) -> np.ndarray:
        """Share of the references found, for qa whether any was found."""
        return metrics.sample_scores(frame)

    def calculate_metrics(self, frame: pd.DataFrame) -> dict[str, Any]:
        """Percent by task and average, as RULER rounds them."""
        return metrics.calculate_metrics(frame)

    def _task(self, subset: str) -> Task:
        return task_named(subset, self._sources.lexicon if self._options.generated else None)

    def _key(
        self, task: Task, tokenizer: PreTrainedTokenizerBase, tokenizer_sha256: str
    ) -> dict[str, Any]:
        """All that generated samples depend on."""
        options = self._options
        return {
            "generator_version": GENERATOR_VERSION,
            "task": task.name,
            "length": options.length,
            "samples": options.samples,
            "seed": options.seed,
            "one_shot": options.with_example(options.length),
            "tokenizer_sha256": tokenizer_sha256,
            "frame_tokens": frame_tokens(tokenizer),
            **self._sources.provenance(task),
        }

    def _read(self, task: Task) -> list[Sample]:
        """The first samples of a task in a prepared dataset, in its order."""
        source, length = self._options.source, str(self._options.length)
        path = user_path(source, "source of ruler")
        if path.exists():
            rows = parquet_rows(_files(path, length), task.name, TASKS)
        elif is_hub_name(source):
            rows = hub_rows(source, length, "test", task.name)
        else:
            raise missing_source(source, f"'{GENERATE}', '{SAMPLES}'")
        samples = [
            sample_of(row, f"{task.name}-{length}-{index:04d}", TASKS, COLUMNS)
            for index, row in enumerate(islice(rows, self._options.samples))
        ]
        for sample in samples:
            if not all(reference.strip() for reference in sample.answers):
                raise UserError(
                    f"the prepared dataset {source}: sample {sample.id} has an empty reference, "
                    "which every answer would hold."
                )
        if not samples:
            raise UserError(f"the prepared dataset {source} has no sample of the task {task.name}.")
        return samples

    def _generate(
        self, task: Task, tokenizer: PreTrainedTokenizerBase, key: dict[str, Any]
    ) -> list[Sample]:
        cache = SampleCache(self._options.cache_folder)
        label = f"{task.name}-{self._options.length}"
        samples = cache.load(label, key)
        if samples is None:
            upstream = self._sources.upstream
            samples = (
                generate(task, self._options, self._sources, tokenizer)
                if upstream is None
                else generate_upstream(task, upstream, tokenizer)
            )
            cache.store(label, key, samples)
        return samples


def _files(path: Path, length: str) -> list[Path]:
    files = parquet_files(path, length) if path.is_dir() else [path]
    if not files:
        there = sorted(inner.name for inner in path.iterdir() if inner.is_dir())
        raise UserError(
            f"{path} has no parquet file for length {length}; its folders: "
            f"{', '.join(there) or 'none'}."
        )
    return files
