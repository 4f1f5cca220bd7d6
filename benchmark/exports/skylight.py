"""The leaderboard of Sky Light: one line of JSON for each cell."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmark.exports.cell import ExportedCell, write_lines


def export(cells: Sequence[ExportedCell], output: Path) -> list[Path]:
    """Write ``leaderboard.jsonl``; cells without a score have no line."""
    lines = [_line(cell) for cell in cells if cell.metrics["score"] is not None]
    return [write_lines(output / "leaderboard.jsonl", lines)]


def _line(cell: ExportedCell) -> dict[str, Any]:
    names, dense = cell.names, cell.method == "dense"
    score = 100 * cell.metrics["score"]["mean"]
    return {
        "baseline": names["config"],
        "model_name": names["model"],
        "benchmark": names["benchmark"],
        "dataset": names["subset"],
        "config": cell.key,
        # What methods store beside keys is not measured here, but what they read of it.
        "aux_memory": None,
        "average_density": None if dense else cell.metrics["density"],
        "overall_score": score,
        "benchmark_metrics": {"score": score},
        "sample_size": cell.metrics["score"]["samples"],
    }
