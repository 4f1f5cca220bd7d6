"""Benchmarks with the sample data that ships with the project, and frames of answers to it."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from functools import cache
from typing import Any

import pandas as pd
from transformers import AutoTokenizer

from benchmark.embedded import MODEL_PATH
from benchmark.suite.base import Benchmark, Sample, frame_of
from benchmark.suite.registry import benchmark_class, benchmark_names, get_benchmark

TOKENIZER = AutoTokenizer.from_pretrained(MODEL_PATH)
BENCHMARKS = [name for name in benchmark_names() if name != "toy"]
SUBSETS = [(name, subset) for name in BENCHMARKS for subset in benchmark_class(name).subsets]


def sample_benchmark(name: str, **options: Any) -> Benchmark:
    if name == "ruler":
        options = {"length": 600, "samples": 3, "cache_dir": _cache(), **options}
    return get_benchmark(name, **{"source": "samples", **options})


def answered(benchmark: Benchmark, subset: str, answer: Callable[[Sample], Any]) -> pd.DataFrame:
    """The frame of a subset with ``answer(sample)`` as the predictions."""
    samples = benchmark.samples(subset, TOKENIZER)
    frame = frame_of(samples)
    frame["predicted_answer"] = pd.Series([answer(sample) for sample in samples], dtype=object)
    return frame


def perfect(name: str) -> Callable[[Sample], str]:
    """Answers that deserve full marks."""
    special = {"ruler": _all_of_them, "longbenchv2": _letter, "infinite_bench": _infinite_bench}
    return special.get(name, _first)


def numbers_in(value: Any) -> list[float]:
    """All numbers of a nested document that JSON can hold."""
    document = json.loads(json.dumps(value, allow_nan=False))
    if isinstance(document, dict):
        return [number for inner in document.values() for number in numbers_in(inner)]
    return [document] if isinstance(document, int | float) else []


def _first(sample: Sample) -> str:
    return sample.answers[0]


def _all_of_them(sample: Sample) -> str:
    return ", ".join(sample.answers)


def _letter(sample: Sample) -> str:
    return f"The correct answer is ({sample.answers[0]})"


def _infinite_bench(sample: Sample) -> str:
    if sample.task == "code_debug":
        return ". ".join(reversed(sample.answers))
    return _all_of_them(sample) if sample.task == "math_calc" else _first(sample)


@cache
def _cache() -> str:
    return tempfile.mkdtemp(prefix="ruler-samples-")
