"""Records of Every Eval Ever, schema 0.3.0: one of each cell, and one of each of its samples."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any
from uuid import UUID

from benchmark.exports.cell import ExportedCell, write_json, write_lines
from benchmark.files import safe_name

SCHEMA = "0.3.0"
SAMPLE_SCHEMA = f"instance_level_eval_{SCHEMA}"
_MEASURED = ("density", "attention_error", "union_density", "selection_share", "kept_share")


def export(cells: Sequence[ExportedCell], output: Path) -> list[Path]:
    """Write two files for each cell that has a score, where their validator wants them.

    These are ``data/BENCHMARK/DEVELOPER/MODEL/UUID.json`` and ``UUID_samples.jsonl`` in ``output``.
    """
    return [
        path for cell in cells if cell.metrics["score"] is not None for path in _files(cell, output)
    ]


def _files(cell: ExportedCell, output: Path) -> list[Path]:
    names = cell.names
    owner, model = _developer(cell), names["model"].rpartition("/")[2]
    place = Path("data", *map(safe_name, (names["benchmark"], owner, model)))
    # Of version 4, as the schema has it, and yet the same for the same cell.
    uuid = UUID(bytes=hashlib.sha256(cell.name.encode()).digest()[:16], version=4)
    samples = output / place / f"{uuid}_samples.jsonl"
    scored = [one for one in cell.predictions if one["score"] is not None]
    write_lines(samples, [_sample(cell, one) for one in scored])
    details = {
        "format": "jsonl",
        "file_path": (place / samples.name).as_posix(),
        "hash_algorithm": "sha256",
        "checksum": hashlib.sha256(samples.read_bytes()).hexdigest(),
        "total_rows": len(scored),
    }
    record = {**_record(cell), "detailed_evaluation_results": details}
    return [write_json(output / place / f"{uuid}.json", record), samples]


def _identity(cell: ExportedCell) -> dict[str, str]:
    stamp = str(int(cell.finished.timestamp()))
    return {"evaluation_id": f"{cell.name}/{stamp}", "retrieved_timestamp": stamp}


def _developer(cell: ExportedCell) -> str:
    return cell.names["model"].rpartition("/")[0] or "local"


def _task(cell: ExportedCell) -> str:
    return f"{cell.names['benchmark']}/{cell.names['subset']}"


def _record(cell: ExportedCell) -> dict[str, Any]:
    score, model = cell.metrics["score"], cell.names["model"]
    details = {name: str(cell.metrics[name]) for name in _MEASURED}
    return {
        "schema_version": SCHEMA,
        **_identity(cell),
        "source_metadata": {
            "source_name": "sparse-bench",
            "source_type": "evaluation_run",
            "source_organization_name": "unknown",
            "evaluator_relationship": "other",
        },
        "eval_library": {"name": "sparse-bench", "version": _version()},
        "model_info": {
            "name": model,
            "id": model,
            "developer": _developer(cell),
            "additional_details": {
                "deployment_type": "self_deployed",
                "model_availability": "unknown",
                "configuration": cell.names["config"],
                "methods": json.dumps(cell.key.get("config")),
                "protocol": json.dumps(cell.key["protocol"]),
            },
        },
        "evaluation_results": [
            {
                "evaluation_name": _task(cell),
                "source_data": {"dataset_name": _task(cell), "source_type": "other"},
                "metric_config": {
                    "lower_is_better": False,
                    "score_type": "continuous",
                    "min_score": 0.0,
                    "max_score": 1.0,
                },
                "score_details": {
                    "score": score["mean"],
                    "details": details,
                    "uncertainty": {
                        "confidence_interval": {
                            "lower": score["interval"][0],
                            "upper": score["interval"][1],
                            "confidence_level": score["level"],
                            "method": str(score["method"]),
                        },
                        "num_samples": score["samples"],
                    },
                },
            }
        ],
    }


def _sample(cell: ExportedCell, one: dict[str, Any]) -> dict[str, Any]:
    answer, tokens = one["predicted_answer"], one["prompt_tokens"]
    return {
        "schema_version": SAMPLE_SCHEMA,
        "evaluation_id": _identity(cell)["evaluation_id"],
        "model_id": cell.names["model"],
        "evaluation_name": _task(cell),
        "sample_id": one["id"],
        "sample_hash": one["prompt_sha256"],
        "interaction_type": "single_turn",
        "input": {
            "raw": one["question"],
            "formatted": one["prompt"],
            "reference": one["references"],
        },
        "output": {"raw": [answer]},
        "messages": None,
        "answer_attribution": [
            {
                "turn_idx": 0,
                "source": "output.raw",
                "extracted_value": answer,
                "extraction_method": "custom",
                "is_terminal": True,
            }
        ],
        "evaluation": {"score": one["score"], "is_correct": one["score"] == 1},
        "token_usage": {
            "input_tokens": tokens,
            "output_tokens": one["answer_tokens"],
            "total_tokens": tokens + one["answer_tokens"],
        },
        "metadata": {name: str(one[name]) for name in ("task", "context", *_MEASURED)},
    }


def _version() -> str:
    try:
        return version("sparse-bench")
    except PackageNotFoundError:
        return "unknown"
