"""What a run leaves in its folder, for a comparison with another run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmark.tuning.optuna_journal import SUFFIX


def contents(folder: Path) -> dict[str, object]:
    """What must not depend on interruptions: all files but locks, all values but times.

    A study names the folder that it is in; Optuna's journals have times in every line.
    """
    return {
        str(path.relative_to(folder)): _content(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
        and not path.name.endswith((".lock", SUFFIX))
        and path.name != "study.yaml"
    }


def _content(path: Path) -> object:
    if path.name == "metrics.json":
        metrics = json.loads(path.read_bytes())
        return {**_without_check(metrics), "costs": metrics["costs"]["samples"]}
    if path.name == "costs.jsonl":
        return [json.loads(line)["id"] for line in path.read_bytes().splitlines()]
    if path.name.startswith("costs-"):
        return {json.loads(line)["cost"]["id"] for line in path.read_bytes().splitlines()}
    if path.name.startswith("evaluations-"):
        return sorted(path.read_bytes().splitlines())
    if path.suffix == ".json":
        document: Any = json.loads(path.read_bytes())
        checked = {name for name in ("created", "check") if "created" in document}
        return {name: value for name, value in document.items() if name not in checked}
    return path.read_bytes()


def _without_check(document: dict[str, Any]) -> dict[str, Any]:
    """Without the sum that is over times too."""
    return {name: value for name, value in document.items() if name != "check"}
