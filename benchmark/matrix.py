"""The plan of a matrix run: its jobs, their cells, and which samples are still to be answered."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmark.base import Benchmark, Sample, by_context
from benchmark.embedded import MODEL_NAME
from benchmark.embedded.defaults import embedded_defaults
from benchmark.executor_config import AdapterConfig, BenchmarkConfig, RequestConfig
from benchmark.files import json_document
from benchmark.models import ModelSource, tokenizer_fingerprint
from benchmark.provenance import (
    FORMAT,
    config_document,
    library_versions,
    method_sources_fingerprint,
    samples_fingerprint,
)
from benchmark.records import Cost, Prediction
from benchmark.registry import get_benchmark
from benchmark.results import CellFiles, find_results, subset_folder
from sparse_attention.config import AttentionConfig
from sparse_attention.errors import UserError, unknown_name
from sparse_attention.hf_compat import model_profile
from sparse_attention.prompt import PromptSettings, encode_prompt

DENSE = AttentionConfig()


@dataclass(frozen=True)
class Chosen:
    """A configuration of a cell, and how it was chosen."""

    config: AttentionConfig
    tuned_on: frozenset[str] = frozenset()
    """Ids of the samples on which its settings were searched; its score on them flatters."""
    tuning: Mapping[str, Any] | None = None
    """Of a search: ``mode``, ``search`` (its hash) and ``description``, which tell its results from
    those of other searches."""

    def file_label(self, label: str) -> str:
        """Label of the cell's folder: two searches may find the same configuration."""
        if self.tuning is None:
            return label
        return f"{label}-{self.tuning['mode']}-{self.tuning['search']}"


Choice = Callable[[str, str, str], Mapping[str, Chosen]]
"""From model, benchmark and subset to the configurations by label."""


@dataclass
class Cell:
    """One configuration of a job, with what is known of it."""

    label: str
    chosen: Chosen
    files: CellFiles
    predictions: dict[str, Prediction] = field(default_factory=dict)
    costs: dict[str, Cost] = field(default_factory=dict)
    finished: bool = False
    """Whether it was complete, with its metrics, before this run."""

    @property
    def config(self) -> AttentionConfig:
        """What is read."""
        return self.chosen.config

    def load(self, ids: Sequence[str]) -> None:
        """Read what is on disk; failed samples are forgotten, to be tried again."""
        self.files.prepare()
        self.predictions, self.costs = self.files.read(ids)
        if not self.predictions:
            self._take_over(ids)
        failed = {name for name, found in self.predictions.items() if found.status == "failed"}
        if failed:
            for name in failed:
                del self.predictions[name]
                self.costs.pop(name, None)
            self.files.rewrite(ids, self.predictions, self.costs)
        metrics = self.files.read_metrics()
        self.finished = (
            metrics is not None
            and metrics.get("status") == "complete"
            and len(self.predictions) == len(ids)
        )

    def _take_over(self, ids: Sequence[str]) -> None:
        """Copy the answers of the same configuration under another label, if there are any."""
        for other in find_results(self.files.subset_folder, self.files.key):
            if other.folder != self.files.folder:
                self.predictions, self.costs = other.read(ids)
                self.files.rewrite(ids, self.predictions, self.costs)
                return

    def add(self, predictions: Sequence[Prediction], costs: Sequence[Cost]) -> None:
        """Record new samples, on disk first; those that are known already stay as they are."""
        new = [found for found in predictions if found.id not in self.predictions]
        names = {found.id for found in new}
        new_costs = [cost for cost in costs if cost.id in names]
        if new:
            self.files.append(new, new_costs)
        self.predictions.update({found.id: found for found in new})
        self.costs.update({cost.id: cost for cost in new_costs})


@dataclass
class Job:
    """A model on a subset, under all configurations; they share prefills."""

    model: ModelSource
    benchmark: Benchmark
    subset: str
    samples: list[Sample]
    prompt: PromptSettings
    key: dict[str, Any]
    """The key of its cells, but for the configuration."""
    cells: list[Cell] = field(default_factory=list)

    @property
    def ids(self) -> list[str]:
        """Ids of the samples, in order."""
        return [sample.id for sample in self.samples]

    @property
    def open_cells(self) -> list[Cell]:
        """The cells that this run works on."""
        return [cell for cell in self.cells if not cell.finished]

    def pending_contexts(self) -> list[list[Sample]]:
        """Samples that some open cell lacks, by context.

        They are answered under all open configurations, also those that have them already: so the
        batches after an interruption are those of a run without one, and so are the results, to
        the last digit.
        """
        missing = [
            sample
            for sample in self.samples
            if any(sample.id not in cell.predictions for cell in self.open_cells)
        ]
        return by_context(missing)


def select_samples(samples: Sequence[Sample], limit: int | None, subset: str) -> list[Sample]:
    """``limit`` samples: whole contexts in a random order fixed by ``subset``, the last one cut.

    The selection for a smaller limit is a part of that for a larger one; samples keep their order.
    """
    if limit is None or limit >= len(samples):
        return list(samples)
    contexts = by_context(samples)
    random.Random(f"selection of {subset}").shuffle(contexts)
    chosen = {sample.id for sample in [s for group in contexts for s in group][:limit]}
    return [sample for sample in samples if sample.id in chosen]


def named_configs(
    configs: Sequence[tuple[str, AttentionConfig | None]],
) -> dict[str, AttentionConfig]:
    """Configurations by label; None stands for dense attention.  ``UserError`` for a repetition."""
    named: dict[str, AttentionConfig] = {}
    for label, config in configs:
        if label in named:
            raise UserError(f"configuration {label!r} is given twice; labels must differ.")
        named[label] = config or DENSE
    if not named:
        raise UserError("no configuration is given; name at least one, such as dense.")
    return named


def plan_jobs(
    models: Sequence[ModelSource],
    choose: Choice,
    benchmarks: Sequence[BenchmarkConfig],
    settings: AdapterConfig,
    requests: RequestConfig,
    device_type: str,
    results: Path,
) -> list[Job]:
    """All jobs of a matrix, models one after the other; writes nothing.

    Raises ``UserError`` for every name, option or data file that is not usable.
    """
    instances = [_instances(model, benchmarks) for model in models]
    jobs = []
    for model, own in zip(models, instances, strict=True):
        _check_layers(model, settings)
        for config, benchmark in own:
            usable = getattr(benchmark, "supported_subsets", benchmark.subsets)
            for subset in dict.fromkeys(usable if config.subsets is None else config.subsets):
                everything = benchmark.samples(subset, model.tokenizer)
                samples = select_samples(everything, requests.max_requests, subset)
                _check_samples(benchmark, subset, samples)
                prompt = settings.prompt_for(benchmark.prompt_settings(subset))
                _check_lengths(model, samples, prompt)
                key = _shared_key(model, benchmark, subset, samples, settings, requests)
                key["prompt"] = prompt.model_dump(mode="json")
                key["prompt_overrides"] = settings.prompt.model_dump(
                    mode="json", exclude_unset=True
                )
                key["device_type"] = device_type
                folder = subset_folder(results, model.name, benchmark.name, subset)
                chosen = choose(model.name, benchmark.name, subset)
                _check_methods(model, {label: one.config for label, one in chosen.items()})
                cells = [
                    Cell(
                        label,
                        one,
                        CellFiles(folder, one.file_label(label), config_key(key, one.config)),
                    )
                    for label, one in chosen.items()
                ]
                jobs.append(Job(model, benchmark, subset, samples, prompt, key, cells))
    return jobs


def _instances(
    model: ModelSource, benchmarks: Sequence[BenchmarkConfig]
) -> list[tuple[BenchmarkConfig, Benchmark]]:
    """The benchmarks for a model, with subsets that exist."""
    instances = []
    for wanted in benchmarks:
        config = embedded_defaults(wanted) if model.name == MODEL_NAME else wanted
        benchmark = get_benchmark(config.benchmark_name, **config.options)
        for subset in config.subsets or ():
            if subset not in benchmark.subsets:
                raise unknown_name(f"subset of {benchmark.name}", subset, benchmark.subsets)
        instances.append((config, benchmark))
    return instances


def config_key(shared: Mapping[str, Any], config: AttentionConfig) -> dict[str, Any]:
    """The key of a cell, as it reads back from JSON."""
    return json.loads(json_document({**shared, "config": config_document(config)}))


def _shared_key(
    model: ModelSource,
    benchmark: Benchmark,
    subset: str,
    samples: Sequence[Sample],
    settings: AdapterConfig,
    requests: RequestConfig,
) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "model": {**model.identity, "dtype": settings.dtype},
        "tokenizer_sha256": tokenizer_fingerprint(model.tokenizer),
        "benchmark": {
            "name": benchmark.name,
            "subset": subset,
            "sample_data": benchmark.sample_data,
            "options": benchmark.options,
            **requests.model_dump(mode="json"),
        },
        "data": {
            "count": len(samples),
            "samples_sha256": samples_fingerprint(samples),
            "source": benchmark.provenance(subset, model.tokenizer),
        },
        "protocol": settings.protocol.model_dump(mode="json"),
        "generation": {"decoding": "greedy", "measure_error": settings.measure_error},
        "methods_sha256": method_sources_fingerprint(),
        "libraries": library_versions(),
    }


def _check_samples(benchmark: Benchmark, subset: str, samples: Sequence[Sample]) -> None:
    ids = [sample.id for sample in samples]
    if not ids:
        raise UserError(f"{benchmark.name}/{subset} has no samples; check its options and data.")
    if len(set(ids)) < len(ids):
        twice = next(name for name in ids if ids.count(name) > 1)
        raise UserError(f"{benchmark.name}/{subset}: sample id {twice!r} occurs twice in the data.")


def _check_layers(model: ModelSource, settings: AdapterConfig) -> None:
    layers = model.config.get_text_config().num_hidden_layers
    if any(layer >= layers for layer in settings.protocol.dense_layers):
        raise UserError(
            f"dense_layers {list(settings.protocol.dense_layers)}: model {model.name!r} has layers "
            f"0 to {layers - 1}."
        )


def _check_methods(model: ModelSource, configs: Mapping[str, AttentionConfig]) -> None:
    """Let a configuration that cannot run on the model stop the run before it starts."""
    profile = model_profile(model.name, model.config)
    for label, config in configs.items():
        try:
            config.for_model(profile)
        except UserError as error:
            raise UserError(f"configuration {label!r}: {error}") from error


def _check_lengths(model: ModelSource, samples: Sequence[Sample], prompt: PromptSettings) -> None:
    """With the policy ``error``, let a prompt that is too long stop the run before it starts."""
    if prompt.truncation != "error" or model.max_positions is None:
        return
    for sample in samples:
        try:
            encode_prompt(
                model.tokenizer,
                sample.context,
                sample.question,
                sample.answer_prefix,
                truncation_notice=sample.truncation_notice,
                settings=prompt,
                max_new_tokens=sample.max_new_tokens,
                max_positions=model.max_positions,
            )
        except UserError as error:
            raise UserError(f"sample {sample.id} for model {model.name!r}: {error}") from error
