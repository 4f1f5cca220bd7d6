"""Results of any size without a model: made up, written as a run writes them."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmark.results.cells import CellFiles, open_results, subset_folder
from benchmark.results.key import FORMAT, config_document, library_versions
from benchmark.results.metrics import metrics_document
from benchmark.results.records import Cost, Prediction
from benchmark.suite.base import Sample
from sparse_attention.config import AttentionConfig

MODEL, BENCHMARK = "made-up", "ruler"
LAYERS = 32


def make_results(
    folder: Path,
    configs: Mapping[str, AttentionConfig],
    subsets: Sequence[str],
    samples: int,
    *,
    text: str = "",
) -> Path:
    """A results folder with a finished cell for each configuration and subset.

    Args:
        folder: new or empty.
        configs: by label; those that read less answer less well.
        subsets: names.
        samples: of each subset, one for each context.
        text: added to questions and answers.
    """
    root = open_results(folder)
    for subset in subsets:
        asked = [_sample(subset, number, samples, text) for number in range(samples)]
        dense: dict[str, Prediction] | None = None
        for label, config in configs.items():
            found = _answers(asked, label, config, text)
            write_cell(root, subset, label, config, asked, found, dense)
            dense = found if not config.methods else dense
    return root


def write_cell(
    root: Path,
    subset: str,
    label: str,
    config: AttentionConfig,
    asked: Sequence[Sample],
    found: Mapping[str, Prediction],
    dense: Mapping[str, Prediction] | None = None,
    tuned_on: frozenset[str] = frozenset(),
) -> CellFiles:
    """A cell with these answers; without metrics if some sample has none."""
    files = CellFiles(
        subset_folder(root, MODEL, BENCHMARK, subset), label, _key(subset, config, asked)
    )
    files.prepare()
    costs = {one.id: _cost(one) for one in asked if one.id in found}
    files.rewrite([one.id for one in asked], found, costs)
    if len(found) == len(asked):
        names = {
            "model": MODEL,
            "benchmark": BENCHMARK,
            "subset": subset,
            "config": label,
            "description": config.describe(),
            "protocol": files.key["protocol"],
            "tuning": _TUNED if tuned_on else None,
            "sample_data": False,
            "remarks": [],
        }
        files.write_metrics(
            metrics_document(
                names, asked, found, costs, {}, dense if config.methods else None, tuned_on
            )
        )
    return files


_TUNED = {"mode": "per task", "search": "0" * 8, "description": "tuned for each task (made up)"}


def _sample(subset: str, number: int, count: int, text: str) -> Sample:
    needle = str(1000 + 7 * number)
    return Sample(
        id=f"{subset}-{number:04d}",
        context=f"The number is {needle}.",
        question=f"What is the number of {subset} {number}? {text}",
        answer_prefix="The number is",
        answers=(needle,),
        max_new_tokens=8,
        task=subset,
    )


def _answers(
    asked: Sequence[Sample], label: str, config: AttentionConfig, text: str
) -> dict[str, Prediction]:
    rng = random.Random(label)
    density = _density(config)
    right = 1.0 if not config.methods else min(0.98, 0.5 + density)
    return {one.id: prediction(one, rng.random() < right, density, text) for one in asked}


def _density(config: AttentionConfig) -> float:
    """What a configuration may read, roughly."""
    fields = {name: value for method in config.methods for name, value in method}
    for name in ("heavy_size", "sampling_rate"):
        if isinstance(fields.get(name), float):
            return float(fields[name])
    return 1 - float(fields.get("compression_ratio", 0.0))


def prediction(sample: Sample, right: bool, density: float, text: str = "") -> Prediction:
    """An answer that is right or wrong."""
    answer = sample.answers[0] if right else "not known"
    return Prediction(
        id=sample.id,
        task=sample.task,
        context=hashlib.sha256(sample.id.encode()).hexdigest()[:16],
        question=sample.question,
        answer_prefix=sample.answer_prefix,
        references=list(sample.answers),
        status="ok",
        reason="",
        detail="",
        predicted_answer=f" {answer}. {text}",
        thought=None,
        thought_tokens=0,
        answer_tokens=4,
        finish_reason="stop",
        density=density,
        attention_error=(1 - density) / 10,
        union_density=density,
        selection_share=density / 2,
        kept_share=1.0,
        layer_density=[_by_layer(density, layer) for layer in range(LAYERS)],
        layer_error=[_by_layer((1 - density) / 10, layer) for layer in range(LAYERS)],
        prompt_tokens=1000,
        removed_tokens=0,
        prompt_sha256=hashlib.sha256(sample.id.encode()).hexdigest(),
        prompt=None,
        depth=int(sample.answers[0]) % 97 / 97,
        excerpt=sample.context,
        score=float(right),
    )


def _by_layer(mean: float, layer: int) -> float:
    """Less and less with depth, around a mean."""
    return float(f"{min(1.0, mean * (1.5 - layer / (LAYERS - 1))):.3g}")


def _cost(sample: Sample) -> Cost:
    return Cost(
        id=sample.id,
        prefill_seconds=0.5,
        decode_seconds=0.1,
        rows=1,
        peak_memory_bytes=1 << 29,
        device="cpu",
    )


def _key(subset: str, config: AttentionConfig, asked: Sequence[Sample]) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "model": {"files_sha256": "0" * 64, "dtype": "auto"},
        "device_type": "cpu",
        "benchmark": {
            "name": BENCHMARK,
            "subset": subset,
            "sample_data": False,
            "options": {"length": 1024, "samples": len(asked)},
            "max_requests": None,
        },
        "data": {"count": len(asked), "samples_sha256": "0" * 64},
        "protocol": {"sparse_from": "question", "dense_layers": [], "press_sees_question": False},
        "libraries": library_versions(),
        "prompt": {"truncation": "error"},
        "config": config_document(config),
    }
