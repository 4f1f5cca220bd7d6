"""Logs of Inspect (``inspect view``): one file for each cell, all samples in it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmark.exports.cell import ExportedCell, write_json

_MEASURED = ("density", "attention_error", "union_density", "selection_share", "kept_share")
_ABOUT = ("status", "reason", "detail", "task", "context", "prompt_tokens", "removed_tokens")


def export(cells: Sequence[ExportedCell], output: Path) -> list[Path]:
    """Write a log for each cell."""
    return [write_json(output / f"{cell.name}.json", _log(cell)) for cell in cells]


def _log(cell: ExportedCell) -> dict[str, Any]:
    names, metrics = cell.names, cell.metrics
    created = cell.finished.isoformat()
    task = f"{names['benchmark']}/{names['subset']}"
    scored = sum(one["score"] is not None for one in cell.predictions)
    return {
        "version": 2,
        "status": "success" if metrics["status"] == "complete" else "error",
        "eval": {
            "eval_id": cell.name,
            "run_id": cell.name,
            "created": created,
            "task": task,
            "task_id": cell.name,
            "dataset": {"name": task, "samples": len(cell.predictions)},
            "model": f"sparse-bench/{names['model']}",
            "task_args": {"configuration": names["config"]},
            "config": {},
            "metadata": {"key": cell.key, "counts": metrics["counts"]},
        },
        "results": {
            "total_samples": metrics["counts"]["samples"],
            "completed_samples": metrics["counts"]["ok"] + metrics["counts"]["truncated"],
            "scores": [
                {
                    "name": "score",
                    "scorer": names["benchmark"],
                    "scored_samples": scored,
                    "unscored_samples": len(cell.predictions) - scored,
                    "metrics": _metrics(metrics),
                }
            ],
        },
        "stats": {"started_at": created, "completed_at": created},
        "samples": [_sample(cell, one) for one in cell.predictions],
    }


def _metrics(metrics: Any) -> dict[str, Any]:
    score = metrics["score"]
    found = {name: metrics[name] for name in _MEASURED}
    if score is not None:
        found |= dict(
            zip(("mean", "low", "high"), (score["mean"], *score["interval"]), strict=True)
        )
    return {
        name: {"name": name, "value": value} for name, value in found.items() if value is not None
    }


def _sample(cell: ExportedCell, one: dict[str, Any]) -> dict[str, Any]:
    answer = one["predicted_answer"]
    model = f"sparse-bench/{cell.names['model']}"
    sample = {
        "id": one["id"],
        "epoch": 1,
        "input": one["prompt"] or "\n\n".join(filter(None, [one["excerpt"], one["question"]])),
        "target": one["references"],
        "messages": [],
        "output": {"model": model, "choices": []},
        "scores": {},
        "metadata": {name: one[name] for name in (*_ABOUT, *_MEASURED)},
    }
    if answer is None:
        why = f"{one['status']}: {one['detail']}"
        return {**sample, "error": {"message": why, "traceback": "", "traceback_ansi": ""}}
    message = {"role": "assistant", "content": answer}
    reason = {"stop": "stop", "length": "max_tokens"}.get(one["finish_reason"], "unknown")
    sample["output"]["choices"] = [{"message": message, "stop_reason": reason}]
    sample["messages"] = [{"role": "user", "content": sample["input"]}, message]
    if one["score"] is not None:
        sample["scores"] = {"score": {"value": one["score"], "answer": answer}}
    return sample
