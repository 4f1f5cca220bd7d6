"""The columns of the frames that ``load_results`` gives, and what each of them means."""

from __future__ import annotations

from collections.abc import Mapping

CELL: Mapping[str, str] = {
    "model": "as the run named it",
    "benchmark": "name",
    "subset": "of the benchmark",
    "config": "the label of the configuration",
    "method": "the methods but for sink and local, joined by '+'; 'dense' without any",
    "description": "all methods with the settings that are not the defaults",
    "group": "cells with the same one differ in subset and configuration alone and may be compared",
    "status": "complete; incomplete: samples failed or are missing; unfinished: no metrics yet",
    "tuning": "how the settings were searched ('per task', 'global'); empty: they were given",
    "oracle": "whether it needs the true scores of all keys, and cannot be deployed",
    "sample_data": "whether the questions are sample data, not the benchmark itself",
    "samples": "that were to be answered",
    "contexts": "independent units among those answered",
    "answered": "samples with an answer",
    "truncated": "answered, but a part of the prompt was cut",
    "skipped": "not asked, because the prompt is too long",
    "failed": "without an answer, because something failed",
    "missing": "not computed yet",
    "score": "mean in [0, 1] over the samples with answer and reference",
    "score_low": "of the 95% interval, contexts as the independent units",
    "score_high": "likewise",
    "dense_difference": "mean difference to dense attention, paired by sample",
    "dense_difference_low": "of its 95% interval",
    "dense_difference_high": "likewise",
    "held_out_score": "on the samples that the settings were not tuned on",
    "held_out_score_low": "of the 95% interval",
    "held_out_score_high": "likewise",
    "held_out_dense_difference": "likewise, paired by sample",
    "held_out_dense_difference_low": "of its 95% interval",
    "held_out_dense_difference_high": "likewise",
    "density": "keys read / keys that dense attention would read",
    "attention_error": "relative squared error of attention outputs",
    "union_density": "the density by key-value head",
    "selection_share": "bytes read to choose keys / bytes of all keys and values",
    "bytes_read": "union_density + selection_share",
    "kept_share": "bytes of keys and values held at the end / those that dense attention holds",
    "layer_density": "list: the density in each layer that keeps keys",
    "layer_error": "list: the attention error in each of these layers",
    "prefill_seconds": "of all samples together",
    "decode_seconds": "of all samples together; equal shares of the batch where rows is above 1",
    "seconds_per_sample": "decode_seconds / samples with a cost",
    "peak_memory_bytes": "of the process or GPU",
    "rows": "configurations that were decoded in one batch, at most",
    "devices": "names, joined by ', '",
    "protocol": "where attention is sparse, in words",
    "remarks": "what the benchmark says beside its scores, joined by '; '",
    "format": "version of the files",
    "folder": "of the cell",
}
"""Of a frame of cells.  What there is no value of is missing (NaN)."""

PREDICTION: Mapping[str, str] = {
    **{
        name: CELL[name]
        for name in ("model", "benchmark", "subset", "config", "method", "group", "tuning")
    },
    "id": "of the sample",
    "task": "kind of question, as the benchmark calls it",
    "context": "hash of the context; samples with the same one depend on each other",
    "question": "what was asked",
    "answer_prefix": "how the answer was begun for the model",
    "references": "list of what the answer is compared with",
    "status": "ok, truncated, skipped or failed",
    "reason": "why there is no answer",
    "detail": "the same in words",
    "predicted_answer": "the answer; None without one",
    "thought": "what the model wrote between thinking marks; None without marks",
    "answer_tokens": "of the answer",
    "thought_tokens": "of these, those of what it thought",
    "finish_reason": "stop or length",
    "score": "in [0, 1]; missing until the cell is finished, and without answer or reference",
    "density": CELL["density"],
    "attention_error": CELL["attention_error"],
    "union_density": CELL["union_density"],
    "selection_share": CELL["selection_share"],
    "kept_share": CELL["kept_share"],
    "layer_density": CELL["layer_density"],
    "layer_error": CELL["layer_error"],
    "prompt_tokens": "of the whole prompt",
    "removed_tokens": "of the context, that did not fit",
    "prompt_sha256": "hash of the prompt's tokens",
    "depth": "where in the context the first reference stands, 0 to 1; missing if not in one place",
    "excerpt": "of the context, what stands around that place, else its beginning",
    "prompt": "what the model read, as text; only of the first samples of a subset",
    "prefill_seconds": "of the context, on the sample for which it was computed",
    "decode_seconds": "equal share of the batch's time",
    "rows": "configurations in the batch",
    "peak_memory_bytes": CELL["peak_memory_bytes"],
    "device": "name",
    "folder": "of the cell",
}
"""Of a frame of predictions."""


BY_LAYER = ("layer_density", "layer_error")
"""Columns of both whose values are lists, a number for each layer that keeps keys."""
ESTIMATES = ("score", "dense_difference", "held_out_score", "held_out_dense_difference")
"""Columns of a frame of cells that have an interval, ``*_low`` and ``*_high``."""

TEXTS = frozenset(
    (
        *("model", "benchmark", "subset", "config", "method", "description", "group", "status"),
        *("tuning", "devices", "protocol", "remarks", "folder", "id", "task", "context"),
        *(
            "question",
            "answer_prefix",
            "references",
            "reason",
            "detail",
            "predicted_answer",
            "thought",
        ),
        *(
            *BY_LAYER,
            "finish_reason",
            "prompt_sha256",
            "prompt",
            "excerpt",
            "device",
        ),
    )
)
"""Columns that hold objects, not numbers: a model may have written half a character, which no
``str`` of pandas holds.  What there is no value of is None there."""
