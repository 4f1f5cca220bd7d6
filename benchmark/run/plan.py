"""The plan of a run: its tasks and jobs, and checks of all that can be known beforehand."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmark.embedded import MODEL_NAME
from benchmark.executor_config import AdapterConfig, BenchmarkConfig, RequestConfig
from benchmark.results.cells import CellFiles
from benchmark.results.key import (
    FORMAT,
    library_versions,
    method_sources_fingerprint,
)
from benchmark.run.embedded_defaults import embedded_defaults
from benchmark.run.jobs import Cell, Choice, Job
from benchmark.run.models import ModelSource
from benchmark.run.task import Task
from benchmark.suite.base import Benchmark, Sample, by_context
from benchmark.suite.fingerprints import samples_fingerprint, tokenizer_fingerprint
from benchmark.suite.registry import get_benchmark
from sparse_attention.config import AttentionConfig
from sparse_attention.errors import UserError, unknown_name
from sparse_attention.hf.facts import model_profile
from sparse_attention.hf.layers import key_layers
from sparse_attention.prompt import PromptSettings, check_prompt_settings, encode_prompt


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


def plan_tasks(
    models: Sequence[ModelSource],
    benchmarks: Sequence[BenchmarkConfig],
    settings: AdapterConfig,
    requests: RequestConfig,
    device_type: str,
) -> list[Task]:
    """All subsets under all models, models one after the other; what is named twice once.

    Raises ``UserError`` for every name, option or data file that is not usable.
    """
    instances = [_instances(model, benchmarks) for model in models]
    tasks: dict[str, Task] = {}
    for model, own in zip(models, instances, strict=True):
        _check_layers(model, settings)
        for config, benchmark in own:
            usable = getattr(benchmark, "supported_subsets", benchmark.subsets)
            for subset in usable if config.subsets is None else config.subsets:
                task = _task(model, benchmark, subset, settings, requests, device_type)
                tasks.setdefault(task.id, task)
    return list(tasks.values())


def plan_jobs(tasks: Sequence[Task], choose: Choice, results: Path) -> list[Job]:
    """The jobs of a matrix on ``tasks``; writes nothing.

    Raises ``UserError`` for a configuration that cannot run on the model, and for two models that
    are the same under names that the results folder cannot tell apart.
    """
    jobs = []
    owners: dict[Path, str] = {}
    for task in tasks:
        chosen = choose(task)
        _check_methods(task.model, {label: one.config for label, one in chosen.items()})
        folder = task.folder(results)
        cells = [
            Cell(label, one, CellFiles(folder, one.file_label(label), task.key_of(one.config)))
            for label, one in chosen.items()
        ]
        for cell in cells:
            owner = owners.setdefault(cell.files.folder, task.model.name)
            if owner != task.model.name:
                raise UserError(
                    f"models {owner!r} and {task.model.name!r} have the same files, and their "
                    "results would lie in one folder; name one of them."
                )
        if cells:
            jobs.append(Job(task, cells))
    return jobs


def _task(
    model: ModelSource,
    benchmark: Benchmark,
    subset: str,
    settings: AdapterConfig,
    requests: RequestConfig,
    device_type: str,
) -> Task:
    everything = benchmark.samples(subset, model.tokenizer)
    samples = select_samples(everything, requests.max_requests, subset)
    _check_samples(benchmark, subset, samples)
    if settings.max_new_tokens is not None:
        samples = [replace(one, max_new_tokens=settings.max_new_tokens) for one in samples]
    prompt = settings.prompt_for(benchmark.prompt_settings(subset))
    _check_prompt(model, prompt)
    max_positions = settings.max_positions or model.max_positions
    _check_lengths(model, samples, prompt, max_positions)
    key = {
        **_shared_key(model, benchmark, subset, samples, settings, requests),
        "prompt": prompt.model_dump(mode="json"),
        "max_positions": max_positions,
        "prompt_overrides": settings.prompt.model_dump(mode="json", exclude_unset=True),
        "device_type": device_type,
    }
    return Task(model, benchmark, subset, samples, prompt, key)


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
        "generation": {
            "decoding": "greedy",
            "max_new_tokens": settings.max_new_tokens,
            "measure_error": settings.measure_error,
            **({"error_every": settings.error_every} if settings.error_every > 1 else {}),
        },
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
    layers = len(key_layers(model.config))
    if any(layer >= layers for layer in settings.protocol.dense_layers):
        raise UserError(
            f"dense_layers {list(settings.protocol.dense_layers)}: model {model.name!r} has "
            f"attention layers 0 to {layers - 1}."
        )


def _check_methods(model: ModelSource, configs: Mapping[str, AttentionConfig]) -> None:
    """Let a configuration that cannot run on the model stop the run before it starts."""
    profile = model_profile(model.name, model.config)
    for label, config in configs.items():
        try:
            config.for_model(profile)
        except UserError as error:
            raise UserError(f"configuration {label!r}: {error}") from error


def _check_prompt(model: ModelSource, prompt: PromptSettings) -> None:
    try:
        check_prompt_settings(model.tokenizer, prompt)
    except UserError as error:
        raise UserError(f"model {model.name!r}: {error}") from error


def _check_lengths(
    model: ModelSource,
    samples: Sequence[Sample],
    prompt: PromptSettings,
    max_positions: int | None,
) -> None:
    """With the policy ``error``, let a prompt that is too long stop the run before it starts."""
    if prompt.truncation != "error" or max_positions is None:
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
                max_positions=max_positions,
            )
        except UserError as error:
            raise UserError(f"sample {sample.id} for model {model.name!r}: {error}") from error
