"""What a tracker is told: a run for each finished cell, and for each trial of the searches."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmark.files import fingerprint
from benchmark.report.frames.columns import BY_LAYER
from benchmark.report.frames.load import cell_frame
from benchmark.report.frames.scan import Scan
from benchmark.tuning.cache import BestConfigCache, CachedResult
from benchmark.tuning.search_file import journal_stem
from sparse_attention.printable import terminal_text

_ABOUT = (
    *("model", "benchmark", "subset", "config", "method", "description", "status", "tuning"),
    *("protocol", "oracle", "sample_data", "samples", "devices"),
)
_MEASURED = (
    *("score", "score_low", "score_high", "held_out_score"),
    *("dense_difference", "dense_difference_low", "dense_difference_high"),
    *("held_out_dense_difference", "density", "attention_error", "bytes_read"),
    *("kept_share", "seconds_per_sample", "peak_memory_bytes"),
)
_OF_TRIALS = ("score", "density", "attention_error", "bytes_read")


@dataclass(frozen=True)
class TrackedRun:
    """One run of a tracker."""

    id: str
    """16 hex digits; the same for the same result, so that a run is not there twice."""
    group: str
    name: str
    params: Mapping[str, str | int | float | bool]
    steps: Sequence[tuple[int, Mapping[str, float]]]
    """Metrics by step.  Of a cell, step 0 has its results, and its metrics by layer have the layer
    as the step; of a trial, a step is the number of samples that it had seen."""


def tracked_runs(scan: Scan, cache: Path) -> list[TrackedRun]:
    """Of cells that were found, and of the searches in ``cache`` that chose their settings."""
    runs = cell_runs(scan)
    tuned = [(cell.metrics or {}).get("tuning") for cell in scan.cells]
    searches = {one["search"] for one in tuned if one}
    models = {cell.names["model"] for cell in scan.cells}
    for result in BestConfigCache(cache).read_all() if searches else ():
        own = {name: value for name, value in result.key.items() if name != "tasks"}
        if result.names.model in models and fingerprint(own)[:8] in searches:
            runs += _trial_runs(result)
    return runs


def cell_runs(scan: Scan) -> list[TrackedRun]:
    """Of the finished cells among those that were found."""
    cells = [cell for cell in scan.cells if cell.metrics is not None]
    return [_cell_run(row) for row in cell_frame(Scan(scan.root, cells)).to_dict("records")]


def _cell_run(row: Mapping[Any, Any]) -> TrackedRun:
    steps = [(0, {name: float(row[name]) for name in _MEASURED if row[name] == row[name]})]
    by_layer = {name: row[name] for name in BY_LAYER if row[name]}
    steps += [
        (layer, {name: values[layer] for name, values in by_layer.items()})
        for layer in range(max(map(len, by_layer.values()), default=0))
    ]
    tuned = f", {row['tuning']}" if row["tuning"] else ""
    return TrackedRun(
        id=fingerprint([row["model"], Path(row["folder"]).name, row["subset"]])[:16],
        group=_text(f"{row['model']} {row['benchmark']}"),
        name=_text(f"{row['subset']} {row['config']}{tuned}"),
        params={name: _param(row[name]) for name in _ABOUT},
        steps=steps,
    )


def _trial_runs(result: CachedResult) -> Iterator[TrackedRun]:
    journal, best = journal_stem(result.names, result.key), result.best["trial"]
    for trial in result.document["trials"]:
        yield trial_run(journal, trial, is_best=trial["number"] == best)


def trial_run(journal: str, trial: Mapping[str, Any], *, is_best: bool | None = None) -> TrackedRun:
    """Of a trial that has ended.

    Args:
        journal: name of the file that has it, without its ending.
        trial: the JSON of its record.
        is_best: None while that is not known.
    """
    return TrackedRun(
        id=fingerprint([journal, trial["number"]])[:16],
        group=_text(f"search {journal}"),
        name=f"trial {trial['number']}",
        params={
            **{name: _param(value) for name, value in trial["point"].items()},
            "status": trial["status"],
            **({} if is_best is None else {"is_best": is_best}),
        },
        steps=[
            (
                rung["mean"]["samples"],
                {
                    "loss": rung["losses"][0],
                    **{
                        name: rung["mean"][name]
                        for name in _OF_TRIALS
                        if rung["mean"].get(name) is not None
                    },
                },
            )
            for rung in trial["rungs"]
        ],
    )


def _param(value: Any) -> str | int | float | bool:
    if isinstance(value, bool | int | float):
        return value
    return _text(value if isinstance(value, str) else json.dumps(value))


def _text(text: str) -> str:
    shown = terminal_text(text)
    return shown if len(shown) <= 500 else f"{shown[:497]}..."
