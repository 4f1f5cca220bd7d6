"""``load_results``: a results folder as a pandas frame."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, get_args

import pandas as pd

from benchmark.files import fingerprint
from benchmark.report.frames.columns import BY_LAYER, CELL, ESTIMATES, PREDICTION, TEXTS
from benchmark.report.frames.methods import (
    family,
    method_names,
    needs_all_scores,
    settings_words,
)
from benchmark.report.frames.scan import CellFolder, LeftOut, Scan, scan_results
from benchmark.report.spelled import spelled_out
from benchmark.results.records import Cost
from benchmark.run.table import estimate_columns
from sparse_attention.errors import unknown_name

logger = logging.getLogger(__name__)

_OF_COST = frozenset(Cost.model_fields) - {"id"}
Level = Literal["cell", "prediction"]
LEFT_OUT = "left_out"
"""Name of the attribute of a frame that says what is not in it."""
_OWN = ("config", "data", "prompt")
"""Parts of a key in which cells that are compared may differ; of the prompt policy only what was
overridden counts, because subsets may have policies of their own."""


def load_results(path: str | Path, level: Level = "cell") -> pd.DataFrame:
    """The results in a folder, a row for each cell or for each prediction.

    Whatever can be read is read: cells that are half done, and those of earlier versions, with the
    columns that they have.  What cannot is left out; it is logged, and ``frame.attrs["left_out"]``
    has a sentence for each.

    Args:
        path: a results folder, or a folder within one (of a model, benchmark, subset or cell).
        level: ``cell``: columns as in ``benchmark.report.frames.columns.CELL``; ``prediction``: as
            in ``PREDICTION`` there.

    Raises:
        UserError: if there is no results folder, or it is of a later version.
    """
    if level not in get_args(Level):
        raise unknown_name("level", level, get_args(Level))
    scan = scan_results(path)
    frame = cell_frame(scan) if level == "cell" else prediction_frame(scan)
    for sentence in frame.attrs[LEFT_OUT]:
        logger.warning("left out: %s", sentence)
    return frame


def cell_frame(scan: Scan) -> pd.DataFrame:
    """As ``load_results``, of cells that were found."""
    left_out = list(scan.left_out)
    rows = []
    for cell in scan.cells:
        try:
            rows.append(_cell_row(cell, left_out))
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            left_out.append(_unreadable(cell, error))
    return _framed({name: [row[name] for row in rows] for name in CELL}, left_out)


def prediction_frame(scan: Scan, *, costs: bool = True) -> pd.DataFrame:
    """As ``load_results``, of cells that were found; the columns of costs may be left empty."""
    left_out = list(scan.left_out)
    columns: dict[str, list[Any]] = {name: [] for name in PREDICTION}
    for cell in scan.cells:
        try:
            about = {**cell.names, **_kind(cell), "folder": str(cell.path)}
            spent = cell.costs(left_out) if costs else {}
            records = cell.predictions(left_out)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            left_out.append(_unreadable(cell, error))
            continue
        own = [spent.get(record["id"], {}) for record in records]
        for name, column in columns.items():
            if name in about:
                column += [about[name]] * len(records)
            else:
                column += [one.get(name) for one in (own if name in _OF_COST else records)]
    return _framed(columns, left_out)


def comparable_part(key: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a key in which cells must agree to stand in one table."""
    shared = {name: value for name, value in key.items() if name not in _OWN}
    shared["benchmark"] = {k: v for k, v in key["benchmark"].items() if k != "subset"}
    return shared


def protocol_words(protocol: Mapping[str, Any]) -> str:
    """Where attention is sparse, for people."""
    words = f"sparse from the {protocol['sparse_from']} on"
    if protocol.get("press_sees_question"):
        words += ", presses see the question"
    if protocol.get("dense_layers"):
        words += f", dense layers {protocol['dense_layers']}"
    return words


def _framed(columns: Mapping[str, list[Any]], left_out: list[LeftOut]) -> pd.DataFrame:
    frame = pd.DataFrame({name: _series(name, values) for name, values in columns.items()})
    frame.attrs[LEFT_OUT] = [f"{found.cell}: {found.reason}" for found in left_out]
    return frame


def _series(name: str, values: list[Any]) -> pd.Series:
    if name in TEXTS:
        return pd.Series(values, dtype=object)
    return pd.Series(values, dtype=float if not values or None in values else None)


def _unreadable(cell: CellFolder, error: Exception) -> LeftOut:
    """Of an earlier version, whose files have no schema here."""
    if cell.is_current:
        raise error
    number = cell.key["format"]
    return LeftOut(cell.path, number, f"of format {number}, with other fields ({error!r:.80})")


def _kind(cell: CellFolder) -> dict[str, Any]:
    metrics, config = cell.metrics or {}, cell.key.get("config") or {}
    shared = comparable_part(cell.key)
    return {
        "method": family(method_names(config)),
        "group": fingerprint([cell.names["model"], shared])[:8],
        "tuning": (metrics.get("tuning") or {}).get("mode", ""),
    }


def _cell_row(cell: CellFolder, left_out: list[LeftOut]) -> dict[str, Any]:
    metrics = cell.metrics
    config = cell.key.get("config") or {}
    row: dict[str, Any] = {
        **cell.names,
        **_kind(cell),
        "description": spelled_out(config, settings_words(config)),
        "oracle": needs_all_scores(config),
        "sample_data": bool(cell.key["benchmark"].get("sample_data")),
        "protocol": protocol_words(cell.key["protocol"]),
        "format": cell.key["format"],
        "folder": str(cell.path),
    }
    row |= _half_done(cell, left_out) if metrics is None else _finished(metrics)
    union, choosing = row["union_density"], row["selection_share"]
    row["bytes_read"] = math.nan if union is None or choosing is None else union + choosing
    return row


def _finished(metrics: Mapping[str, Any]) -> dict[str, Any]:
    counts, costs = metrics["counts"], metrics["costs"]
    held_out = metrics.get("held_out") or {}
    names = ("score", "dense_difference")
    estimates = [(name, metrics.get(name)) for name in names]
    estimates += [(f"held_out_{name}", held_out.get(name)) for name in names]
    row = {name: value for pair in estimates for name, value in estimate_columns(*pair).items()}
    return {
        **row,
        "status": metrics["status"],
        "answered": counts["ok"] + counts["truncated"],
        **{name: counts[name] for name in _COUNTS},
        **{name: _number(metrics.get(name)) for name in _MEANS},
        **{name: metrics.get(name) for name in BY_LAYER},
        **{name: costs[name] for name in _COSTS},
        "seconds_per_sample": (
            costs["decode_seconds"] / costs["samples"] if costs["samples"] else math.nan
        ),
        "devices": ", ".join(costs["devices"]),
        "remarks": "; ".join(metrics.get("remarks", [])),
    }


_COUNTS = ("samples", "contexts", "truncated", "skipped", "failed", "missing")
_MEANS = ("density", "attention_error", "union_density", "selection_share", "kept_share")
_COSTS = ("prefill_seconds", "decode_seconds", "peak_memory_bytes", "rows")


def _half_done(cell: CellFolder, left_out: list[LeftOut]) -> dict[str, Any]:
    """What can be said before all samples are answered: no scores, these come at the end."""
    found = cell.predictions(left_out)
    costs = list(cell.costs(left_out).values())
    answered = [one for one in found if one["status"] in ("ok", "truncated")]
    status = [one["status"] for one in found]
    samples = int((cell.key.get("data") or {}).get("count", len(found)))
    seconds = sum(cost["decode_seconds"] for cost in costs)
    nothing = [estimate_columns(name, None) for name in ESTIMATES]
    return {
        **{name: value for columns in nothing for name, value in columns.items()},
        "status": "unfinished",
        "samples": samples,
        "contexts": len({one["context"] for one in found}),
        "answered": len(answered),
        **{name: status.count(name) for name in ("truncated", "skipped", "failed")},
        "missing": max(0, samples - len(found)),
        **{name: _mean([one.get(name) for one in answered]) for name in _MEANS},
        **dict.fromkeys(BY_LAYER),
        "prefill_seconds": sum(cost["prefill_seconds"] for cost in costs),
        "decode_seconds": seconds,
        "seconds_per_sample": seconds / len(costs) if costs else math.nan,
        "peak_memory_bytes": max((cost["peak_memory_bytes"] for cost in costs), default=0),
        "rows": max((cost["rows"] for cost in costs), default=0),
        "devices": ", ".join(sorted({cost["device"] for cost in costs})),
        "remarks": "",
    }


def _mean(values: list[float | None]) -> float:
    known = [value for value in values if value is not None]
    return math.fsum(known) / len(known) if known else math.nan


def _number(value: float | None) -> float:
    return math.nan if value is None else value
