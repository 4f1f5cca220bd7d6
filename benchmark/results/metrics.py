"""``metrics.json``: what a cell's predictions and costs say, derived without the model."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from benchmark.results.metrics_file import Metrics
from benchmark.results.records import STATUSES, Cost, Prediction, three_digits
from benchmark.results.statistics import LEVEL, Estimate, mean_interval, paired_difference
from benchmark.suite.base import Benchmark, Sample, frame_of


def score_predictions(
    benchmark: Benchmark, samples: Sequence[Sample], predictions: Mapping[str, Prediction]
) -> tuple[dict[str, Prediction], dict[str, Any]]:
    """The predictions with their scores, and the benchmark's official metrics of those answered.

    Raises ``ValueError`` if the benchmark gives a score that is not in [0, 1].
    """
    unscored = {
        name: found.model_copy(update={"score": None}) for name, found in predictions.items()
    }
    answered = [
        sample for sample in samples if sample.id in predictions and predictions[sample.id].answered
    ]
    if not answered:
        return unscored, {}
    frame = frame_of(answered)
    texts = [predictions[sample.id].predicted_answer for sample in answered]
    frame["predicted_answer"] = pd.Series(texts, dtype=object)  # lone surrogates are no ``str``
    scores = np.asarray(benchmark.sample_scores(frame), dtype=np.float64)
    hidden = np.array([not sample.answers for sample in answered])
    if scores.shape != hidden.shape or not (hidden | ((scores >= 0) & (scores <= 1))).all():
        raise ValueError(
            f"{benchmark.name} gave scores outside [0, 1] or not one per sample: {scores!r:.200}"
        )
    for sample, score in zip(answered, scores, strict=True):
        if not sample.answers:  # a split whose references only its authors have
            continue
        unscored[sample.id] = unscored[sample.id].model_copy(update={"score": float(score)})
    return unscored, _json_values(benchmark.calculate_metrics(frame))


def metrics_document(
    names: Mapping[str, Any],
    samples: Sequence[Sample],
    predictions: Mapping[str, Prediction],
    costs: Mapping[str, Cost],
    official: Mapping[str, Any],
    dense: Mapping[str, Prediction] | None,
    tuned_on: frozenset[str],
) -> dict[str, Any]:
    """The document of a cell from its scored predictions.

    ``names`` says which cell it is and comes first in the document.  ``dense`` are the scored
    predictions of dense attention on the same samples, where there are any.  Samples that failed
    or were skipped are counted and left out of every mean; ``held_out`` also leaves out the samples
    ``tuned_on``, where there are any.

    Raises ``ValueError`` for what ``Metrics`` does not have, such as remarks that are no texts.
    """
    found = [predictions[sample.id] for sample in samples if sample.id in predictions]
    scored = [prediction for prediction in found if prediction.score is not None]
    answered = [prediction for prediction in found if prediction.answered]
    status = Counter(prediction.status for prediction in found)
    missing = len(samples) - len(found)
    complete = not missing and not status["failed"]
    unseen = [prediction for prediction in scored if prediction.id not in tuned_on]
    document = {
        "status": "complete" if complete else "incomplete",
        **names,
        **_estimates(scored, dense),
        "held_out": _estimates(unseen, dense) if tuned_on else None,
        "density": _mean([p.density for p in answered]),
        "attention_error": _mean([p.attention_error for p in answered]),
        "union_density": _mean([p.union_density for p in answered]),
        "selection_share": _mean([p.selection_share for p in answered]),
        "kept_share": _mean([p.kept_share for p in answered]),
        "layer_density": _layer_means([p.layer_density for p in answered]),
        "layer_error": _layer_means([p.layer_error for p in answered]),
        "official": dict(official),
        "counts": {
            "samples": len(samples),
            "contexts": len({prediction.context for prediction in found}),
            **{name: status[name] for name in STATUSES},
            "without_reference": sum(not sample.answers for sample in samples),
            "missing": missing,
        },
        "failures": dict(sorted(Counter(p.reason for p in found if p.status == "failed").items())),
        "costs": _costs([costs[p.id] for p in found if p.id in costs]),
    }
    Metrics.from_json(document)  # what would not be read back is not written
    return document


def _estimates(
    scored: Sequence[Prediction], dense: Mapping[str, Prediction] | None
) -> dict[str, Any]:
    score = mean_interval([p.score for p in scored if p.score is not None], _contexts(scored))
    return {
        "score": estimate_json(score),
        "dense_difference": estimate_json(_difference(scored, dense)),
    }


def _difference(
    scored: Sequence[Prediction], dense: Mapping[str, Prediction] | None
) -> Estimate | None:
    pairs = [
        (ours.score, theirs.score, ours.context)
        for ours in scored
        if (theirs := (dense or {}).get(ours.id)) is not None
        if ours.score is not None and theirs.score is not None
    ]
    if not pairs:
        return None
    first, second, contexts = zip(*pairs, strict=True)
    return paired_difference(first, second, contexts)


def estimate_json(estimate: Estimate | None) -> dict[str, Any] | None:
    """Mean, interval and how it was found, as JSON values; None stays None."""
    if estimate is None:
        return None
    return {
        "mean": estimate.mean,
        "interval": [estimate.low, estimate.high],
        "level": LEVEL,
        "method": estimate.method,
        "samples": estimate.samples,
        "contexts": estimate.contexts,
    }


def _costs(costs: Sequence[Cost]) -> dict[str, Any]:
    return {
        "samples": len(costs),
        "prefill_seconds": round(sum(cost.prefill_seconds for cost in costs), 6),
        "decode_seconds": round(sum(cost.decode_seconds for cost in costs), 6),
        "peak_memory_bytes": max((cost.peak_memory_bytes for cost in costs), default=0),
        "rows": max((cost.rows for cost in costs), default=0),
        "devices": sorted({cost.device for cost in costs}),
    }


def _contexts(predictions: Sequence[Prediction]) -> list[str]:
    return [prediction.context for prediction in predictions]


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(f"{math.fsum(known) / len(known):.6g}") if known else None


def _layer_means(values: Sequence[list[float] | None]) -> list[float] | None:
    """Of each layer over the samples; all of a cell are of one model."""
    known = [layers for layers in values if layers is not None]
    if not known:
        return None
    return three_digits([math.fsum(layer) / len(known) for layer in zip(*known, strict=True)])


def _json_values(value: Any) -> Any:
    """``value`` with numpy's numbers as Python's, and NaN, which JSON has not, as null."""
    if isinstance(value, Mapping):
        return {str(name): _json_values(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_json_values(inner) for inner in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
