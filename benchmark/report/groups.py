"""Results read back from their files, in groups whose numbers may stand in one table."""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmark.files import fingerprint
from benchmark.results.cells import check_marker
from benchmark.results.key import FORMAT
from benchmark.results.statistics import mean_of_estimates
from sparse_attention.errors import UserError

logger = logging.getLogger(__name__)

Interval = tuple[float, float, float]
"""Mean, lower and upper limit."""


@dataclass(frozen=True)
class Row:
    """A configuration with its metrics on each subset."""

    label: str
    description: str
    """What is read; of a row that was tuned for each task, how it was tuned."""
    metrics: Mapping[str, Mapping[str, Any]]

    @property
    def tuned(self) -> Mapping[str, str]:
        """Descriptions of tuned configurations by subset; empty where nothing was tuned."""
        return {
            subset: metrics["description"]
            for subset, metrics in self.metrics.items()
            if metrics.get("tuning")
        }

    @property
    def is_dense(self) -> bool:
        """Whether it reads everything."""
        return self.description == "dense"

    def estimate(self, name: str, subset: str, *, held_out: bool = False) -> Interval | None:
        """``score`` or ``dense_difference`` on a subset; None if there is none.

        ``held_out``: on the samples that the configuration was not tuned on.
        """
        metrics = self.metrics.get(subset, {})
        found = ((metrics.get("held_out") or {}) if held_out else metrics).get(name)
        return None if found is None else (found["mean"], *found["interval"])

    def mean_estimate(
        self, name: str, subsets: Iterable[str], *, held_out: bool = False
    ) -> Interval | None:
        """Mean over ``subsets``; None unless every one of them has the value."""
        found = [self.estimate(name, subset, held_out=held_out) for subset in subsets]
        known = [interval for interval in found if interval is not None]
        return mean_of_estimates(known) if known and len(known) == len(found) else None

    def mean(self, name: str, subsets: Iterable[str]) -> float | None:
        """Mean of a number over ``subsets``; None unless every one of them has it."""
        found = [self.metrics.get(subset, {}).get(name) for subset in subsets]
        known = [value for value in found if value is not None]
        return sum(known) / len(known) if known and len(known) == len(found) else None

    def total_cost(self, name: str) -> float:
        """Sum of a cost over all subsets."""
        return sum(metrics["costs"][name] for metrics in self.metrics.values())

    def total_count(self, name: str) -> int:
        """Sum of a count over all subsets."""
        return sum(metrics["counts"][name] for metrics in self.metrics.values())


@dataclass
class Group:
    """Results of one model on one benchmark that agree in all but subset and configuration."""

    model: str
    benchmark: str
    shared: Mapping[str, Any]
    """The part of the keys in which they agree."""
    folder: Path
    rows: dict[str, Row] = field(default_factory=dict)
    subsets: list[str] = field(default_factory=list)

    @property
    def title(self) -> str:
        """One line for people."""
        protocol = self.shared["protocol"]
        layers = f", dense layers {protocol['dense_layers']}" if protocol["dense_layers"] else ""
        start = f"sparse from the {protocol['sparse_from']} on"
        if protocol.get("press_sees_question"):
            start += ", presses see the question"
        name = self.benchmark
        if self.shared["benchmark"].get("sample_data"):
            name = f"sample data for {name}, not the benchmark itself"
        return f"{self.model} on {name} ({start}{layers})"


def read_groups(results: Path, cells: Iterable[Path] | None = None) -> list[Group]:
    """Groups of all finished cells below ``results``, or of the folders ``cells`` alone.

    A damaged file is reported and left out, and so are results of other formats.  Raises
    ``UserError`` if ``results`` is no results folder.
    """
    if not results.is_dir():
        raise UserError(f"no results folder {results}.")
    check_marker(results)
    groups: dict[str, Group] = {}
    others: Counter[str] = Counter()
    paths = results.glob("*/*/*/*/metrics.json") if cells is None else _metrics_files(cells)
    for path in sorted(paths) if cells is None else paths:
        if ".damaged-" in path.parent.name:
            continue
        try:
            metrics = json.loads(path.read_bytes())
            key = json.loads((path.parent / "key.json").read_bytes())
            if key["format"] == FORMAT:
                _add(groups, path, metrics, key)
            else:
                others[str(key["format"])] += 1
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            logger.warning("%s is damaged and left out: %r", path, error)
    for found, count in sorted(others.items()):
        logger.warning(
            "%s: %d results of format %s are left out, this version shows format %d; the same run "
            "computes them again",
            *(results, count, found, FORMAT),
        )
    for group in groups.values():
        if cells is None:
            group.rows = dict(sorted(group.rows.items(), key=lambda item: not item[1].is_dense))
    return list(groups.values())


def _metrics_files(cells: Iterable[Path]) -> list[Path]:
    return [path for cell in cells if (path := cell / "metrics.json").exists()]


def _add(
    groups: dict[str, Group], path: Path, metrics: Mapping[str, Any], key: Mapping[str, Any]
) -> None:
    # Of the prompt policy, only what was overridden: subsets may have policies of their own.
    own = ("config", "data", "prompt")
    shared = {name: value for name, value in key.items() if name not in own}
    shared["benchmark"] = {k: v for k, v in key["benchmark"].items() if k != "subset"}
    model, benchmark, subset = metrics["model"], metrics["benchmark"], metrics["subset"]
    folder = path.parent.parent.parent
    group = groups.setdefault(fingerprint([model, shared]), Group(model, benchmark, shared, folder))
    tuning = metrics["tuning"]
    name = fingerprint([metrics["config"], tuning or key["config"]])
    description = tuning["description"] if tuning else metrics["description"]
    label = f"{metrics['config']}, {tuning['mode']}" if tuning else metrics["config"]
    known = group.rows.get(name, Row(label, description, {}))
    group.rows[name] = Row(known.label, known.description, {**known.metrics, subset: metrics})
    if subset not in group.subsets:
        group.subsets.append(subset)
