"""What a run would do and cost: its cells, samples and tokens, what is there, time and memory.

Nothing is written and no weights are read.  Times come from what earlier runs on this model took:
of the same cells, as of first samples, else of other ones in the results folder.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import pandas as pd

from benchmark.executor_config import AdapterConfig
from benchmark.results.cells import find_results
from benchmark.run.devices import Devices
from benchmark.run.jobs import Cell, Job
from benchmark.run.memory import LARGEST_CHUNK
from benchmark.run.model_size import ModelSize, model_size
from benchmark.run.progress import duration
from benchmark.run.table import Table
from benchmark.suite.base import Sample, by_context
from sparse_attention.errors import UserError
from sparse_attention.prompt import PromptSkipped, encode_prompt


@dataclass(frozen=True)
class _Past:
    """What one answer cost earlier."""

    prefill_seconds: float
    decode_seconds: float
    tokens: int


@dataclass(frozen=True)
class JobForecast:
    """What is to be expected of the cells of a model on a subset."""

    model: str
    benchmark: str
    subset: str
    cells: int
    answers: int
    """Of all cells."""
    cached: int
    """Of these, how many are there."""
    contexts: int
    """That are still to be read."""
    tokens: int
    """Of the prompts that are still to be asked; each context counts once."""
    longest: int
    """Tokens of the longest of them."""
    seconds: float
    """Of one worker; NaN where nothing was measured before."""
    memory: float
    """Bytes that a worker needs for the longest prompt; NaN where the model's size is not known."""


@dataclass(frozen=True)
class Forecast(Table):
    """All that a run would do."""

    jobs: tuple[JobForecast, ...]
    workers: int

    @property
    def seconds(self) -> float:
        """Of all workers together, if they share the work evenly; NaN if it is not known."""
        return math.fsum(job.seconds for job in self.jobs) / self.workers

    def to_frame(self) -> pd.DataFrame:
        """A row for each model and subset."""
        return pd.DataFrame([vars(job) for job in self.jobs])

    def _shown(self) -> pd.DataFrame:
        frame = self.to_frame()
        frame["time"] = [
            "?" if math.isnan(seconds) else duration(seconds / self.workers)
            for seconds in frame.pop("seconds")
        ]
        frame["memory"] = [
            "?" if math.isnan(size) else f"{size / 1e9:.1f} GB" for size in frame["memory"]
        ]
        return frame.astype(str)

    def summary(self) -> str:
        """One line for people."""
        total, cached = (sum(getattr(job, name) for job in self.jobs) for name in _COUNTS)
        time = "an unknown time (a run with --samples 2 measures it)"
        if not math.isnan(self.seconds):
            time = f"about {duration(self.seconds)}"
        return (
            f"{total - cached} of {total} answers to compute with {self.workers} worker(s): {time}"
        )


_COUNTS = ("answers", "cached")


def forecast(jobs: Sequence[Job], devices: Devices, settings: AdapterConfig) -> Forecast:
    """What running some jobs would do."""
    sizes = {
        job.task.model.name: model_size(job.task.model, settings.dtype, devices.kind)
        for job in jobs
    }
    made = [_job_forecast(job, settings, sizes[job.task.model.name]) for job in jobs]
    return Forecast(tuple(made), devices.workers)


def _job_forecast(job: Job, settings: AdapterConfig, size: ModelSize | None) -> JobForecast:
    task = job.task
    known = [_answered(cell) for cell in job.cells]
    missing = [s for s in task.samples if any(s.id not in answered for answered in known)]
    contexts = by_context(missing)
    lengths = [_lengths(job, context, settings) for context in contexts]
    read = sum(max((context for context, _ in each), default=0) for each in lengths)
    asked = sum(question for each in lengths for _, question in each)
    longest = max((context + question for each in lengths for context, question in each), default=0)
    return JobForecast(
        model=task.model.name,
        benchmark=task.benchmark.name,
        subset=task.subset,
        cells=len(job.cells),
        answers=len(job.cells) * len(task.samples),
        cached=sum(len(answered) for answered in known),
        contexts=len(contexts),
        tokens=read + asked,
        longest=longest,
        seconds=_seconds(job, read, len(missing)) if missing else 0.0,
        memory=math.nan if size is None else _memory(size, longest),
    )


def _memory(size: ModelSize, longest: int) -> float:
    """Weights, a cache that grows by a copy of one layer, and what a chunk leaves behind."""
    if not longest:
        return 0.0
    return (
        size.weights + 1.25 * longest * size.token + min(longest, LARGEST_CHUNK) * size.activations
    )


def _lengths(job: Job, context: Sequence[Sample], settings: AdapterConfig) -> list[tuple[int, int]]:
    """Tokens of context and question of each sample that would be asked."""
    model = job.task.model
    lengths = []
    for sample in context:
        with suppress(PromptSkipped, UserError):
            prompt = encode_prompt(
                model.tokenizer,
                sample.context,
                sample.question,
                sample.answer_prefix,
                truncation_notice=sample.truncation_notice,
                settings=job.task.prompt,
                max_new_tokens=sample.max_new_tokens,
                max_positions=settings.max_positions or model.max_positions or 1 << 30,
            )
            lengths.append((len(prompt.context_ids), len(prompt.question_ids)))
    return lengths


def _answered(cell: Cell) -> set[str]:
    """Ids of the samples that a run would not ask again."""
    for files in find_results(cell.files.subset_folder, cell.files.key):
        costs = {line["id"] for line in _lines(files.folder / "costs.jsonl")}
        return {
            line["id"]
            for line in _lines(files.folder / "predictions.jsonl")
            if line["id"] in costs and line.get("status") != "failed"
        }
    return set()


def _seconds(job: Job, read: int, samples: int) -> float:
    """Of one worker, for so many tokens of contexts and samples under all configurations."""
    subset = job.cells[0].files.subset_folder
    everything: list[_Past] = []
    of_cells: list[list[_Past]] = []
    for cell in job.cells:
        own = [one for f in find_results(subset, cell.files.key) for one in _past(f.folder)]
        of_cells.append(own)
        everything += own
    if not everything:
        paths = sorted(subset.parents[1].glob("*/*/*/costs.jsonl"))  # of this model
        everything = [one for path in paths for one in _past(path.parent)]
    prefills = [one for one in everything if one.prefill_seconds > 0 and one.tokens]
    if not everything or not prefills:
        return math.nan
    tokens = sum(one.tokens for one in prefills)
    prefill = read * sum(one.prefill_seconds for one in prefills) / tokens
    decode = sum(
        samples * fmean(one.decode_seconds for one in (own or everything)) for own in of_cells
    )
    return prefill + decode


def _past(folder: Path) -> list[_Past]:
    tokens = {
        line["id"]: line.get("prompt_tokens") for line in _lines(folder / "predictions.jsonl")
    }
    found = []
    for line in _lines(folder / "costs.jsonl"):
        with suppress(KeyError, TypeError, ValueError):
            seconds = float(line["prefill_seconds"]), float(line["decode_seconds"])
            found.append(_Past(*seconds, int(tokens.get(line["id"]) or 0)))
    return found


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    """Records of a file, as they stand there: an estimate needs no checksums and mends nothing."""
    with suppress(OSError, UnicodeDecodeError):
        for line in path.read_text(encoding="utf-8").splitlines():
            with suppress(ValueError):
                record = json.loads(line)
                if isinstance(record, dict) and isinstance(record.get("id"), str):
                    yield record
