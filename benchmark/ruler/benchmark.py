"""RULER: retrieval, tracing, aggregation and question answering at any context length."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from transformers import PreTrainedTokenizerBase

from benchmark.base import Benchmark, Sample
from benchmark.models import tokenizer_fingerprint
from benchmark.ruler import calculate_metrics as metrics
from benchmark.ruler.generate import GENERATOR_VERSION, generate
from benchmark.ruler.options import GENERATE, RulerOptions, Sources, task_named
from benchmark.ruler.prepared import read_prepared
from benchmark.ruler.sample_cache import SampleCache, data_fingerprint
from benchmark.ruler.tasks import TASKS, Task
from sparse_attention.prompt import PromptSettings


class Ruler(Benchmark):
    """The 13 tasks of RULER (arXiv:2404.06654), generated for a tokenizer or read from a dataset.

    Options (``RulerOptions`` has their ranges): ``length`` tokens of prompt and answer together,
    ``samples`` of each task, ``seed``, ``lexicon`` (``wonderwords`` or ``embedded``), ``haystack``
    (a text file, or JSON with a ``text``; the project's own prose without), ``shuffle``
    (``per_sample``, or ``upstream`` for the same permutations in all samples), ``prompts`` (a file
    with another wording), ``squad_file`` and ``hotpotqa_file`` (for qa_1 and qa_2; the hub
    without), ``source`` (``generate``, a parquet file or folder, or a hub name such as
    ``simonjegou/ruler``), ``one_shot`` (a solved example in vt and cwe) and ``cache_dir``.
    A wrong option raises ``UserError``.
    """

    name = "ruler"
    summary = "RULER: 13 synthetic retrieval, tracing, aggregation and QA tasks of any length"
    subsets = tuple(TASKS)
    prompt = PromptSettings(truncation="error")  # a cut context may have lost its needle

    def __init__(self, **options: Any) -> None:
        self._options = RulerOptions.parse(options)
        self._sources = Sources(self._options)
        self._last: tuple[tuple[str, str], list[Sample]] | None = None

    @property
    def options(self) -> dict[str, Any]:
        """All options but ``cache_dir``, on which no result depends."""
        return self._options.model_dump(exclude={"cache_dir"})

    @property
    def supported_subsets(self) -> tuple[str, ...]:
        """The subsets that the chosen lexicon can serve, in the order of ``subsets``."""
        tasks = self._sources.lexicon.tasks if self._generated else None
        return tuple(name for name in TASKS if tasks is None or name in tasks)

    def samples(self, subset: str, tokenizer: PreTrainedTokenizerBase) -> list[Sample]:
        """Return samples of a task; generated ones are kept in the cache folder."""
        task = self._task(subset)
        if not self._generated:
            options = self._options
            return read_prepared(options.source, task.name, options.length, options.samples)
        fingerprint = tokenizer_fingerprint(tokenizer)
        if self._last is None or self._last[0] != (subset, fingerprint):
            samples = self._generate(task, tokenizer, self._key(task, fingerprint))
            self._last = (subset, fingerprint), samples
        return list(self._last[1])

    def provenance(self, subset: str, tokenizer: PreTrainedTokenizerBase) -> dict[str, Any]:
        """Hash of the samples and, where they are generated, all that they depend on."""
        task = self._task(subset)
        record = {
            "source": self._options.source,
            "data_sha256": data_fingerprint(self.samples(subset, tokenizer)),
        }
        if not self._generated:
            return record
        return {**record, **self._key(task, tokenizer_fingerprint(tokenizer))}

    def sample_scores(self, frame: pd.DataFrame) -> np.ndarray:
        """Share of the references found, for qa whether any was found."""
        return metrics.sample_scores(frame)

    def calculate_metrics(self, frame: pd.DataFrame) -> dict[str, Any]:
        """Percent by task and average, as RULER rounds them."""
        return metrics.calculate_metrics(frame)

    @property
    def _generated(self) -> bool:
        return self._options.source == GENERATE

    def _task(self, subset: str) -> Task:
        return task_named(subset, self._sources.lexicon if self._generated else None)

    def _key(self, task: Task, tokenizer_sha256: str) -> dict[str, Any]:
        """All that generated samples depend on."""
        options = self._options
        return {
            "generator_version": GENERATOR_VERSION,
            "task": task.name,
            "length": options.length,
            "samples": options.samples,
            "seed": options.seed,
            "shuffle": options.shuffle,
            "one_shot": options.with_example(options.length),
            "tokenizer_sha256": tokenizer_sha256,
            **self._sources.provenance(task),
        }

    def _generate(
        self, task: Task, tokenizer: PreTrainedTokenizerBase, key: dict[str, Any]
    ) -> list[Sample]:
        cache = SampleCache(self._options.cache_folder)
        label = f"{task.name}-{self._options.length}"
        samples = cache.load(label, key)
        if samples is None:
            samples = generate(task, self._options, self._sources, tokenizer)
            cache.store(label, key, samples)
        return samples
