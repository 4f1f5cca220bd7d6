"""How far a matrix or a search is, from the sizes and lines of its files alone."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmark.report.frames.scan import cell_folders
from benchmark.results.finished import METRICS, read_key


@dataclass(frozen=True)
class TaskState:
    """The cells of one model on one subset."""

    name: str
    cells: int
    finished: int
    answered: int
    samples: int
    """That all of these cells are to answer."""
    changed: float
    """When the last file changed, in seconds since 1970."""


@dataclass(frozen=True)
class SearchState:
    """The journal of one search."""

    name: str
    ended: int
    """Trials that have ended."""
    statuses: dict[str, int]
    best: str
    """The trial of least loss among those that saw all samples, in words."""
    changed: float


def task_states(root: Path) -> list[TaskState]:
    """The tasks of a results folder; what is damaged counts as not there."""
    tasks: dict[str, list[Path]] = {}
    for cell in cell_folders(root, root):
        tasks.setdefault("/".join(cell.relative_to(root).parts[:3]), []).append(cell)
    return [_task(name, cells) for name, cells in tasks.items()]


def search_states(caches: Sequence[Path]) -> list[SearchState]:
    """The searches whose journals lie in folders of the cache."""
    journals = [path for cache in caches for path in sorted(cache.glob("trials/*.jsonl"))]
    return [_search(path) for path in journals]


def _task(name: str, cells: Sequence[Path]) -> TaskState:
    answered = samples = finished = 0
    changed = 0.0
    for cell in cells:
        try:
            count = read_key(cell).get("data", {}).get("count", 0)
        except (OSError, ValueError):
            continue
        done = _lines(cell / "predictions.jsonl")
        finished += (cell / METRICS).exists()
        answered += done
        samples += max(done, count if isinstance(count, int) else 0)
        changed = max(changed, _changed(cell / "predictions.jsonl"))
    return TaskState(name, len(cells), finished, answered, samples, changed)


def _search(path: Path) -> SearchState:
    lines = [trial for trial in _objects(path) if isinstance(trial.get("rungs"), list)]
    # One that had a second chance has two lines, of which the later one counts.
    trials = list({json.dumps(trial.get("config")): trial for trial in lines}.values())
    complete = [trial for trial in trials if trial.get("status") == "complete" and trial["rungs"]]
    best = ""
    if complete:
        mean = min(complete, key=lambda trial: trial["rungs"][-1]["losses"][0])["rungs"][-1]["mean"]
        best = f"score {mean['score']:.3f} at density {mean['density']:.3f}"
    statuses = Counter(str(trial.get("status")) for trial in trials)
    return SearchState(path.stem, len(trials), dict(statuses), best, _changed(path))


def _objects(path: Path) -> Iterator[dict[str, Any]]:
    for line in path.read_bytes().splitlines():
        try:
            found = json.loads(line)
        except ValueError:
            continue
        if isinstance(found, dict):
            yield found


def _lines(path: Path) -> int:
    """Whole lines of a file, which another process may be writing."""
    return path.read_bytes().count(b"\n") if path.is_file() else 0


def _changed(path: Path) -> float:
    return path.stat().st_mtime if path.is_file() else 0.0
