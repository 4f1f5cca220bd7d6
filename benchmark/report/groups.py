"""Results read back from their files, in groups whose numbers may stand in one table."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from time import localtime, strftime
from typing import Any

from benchmark.files import fingerprint
from benchmark.report.frames.load import comparable_part
from benchmark.report.frames.scan import CellFolder, LeftOut, Scan
from benchmark.report.spelled import spelled_out
from benchmark.results.finished import METRICS
from benchmark.results.metrics_file import EstimateRecord, Metrics
from benchmark.results.statistics import mean_of_estimates

Interval = tuple[float, float, float]
"""Mean, lower and upper limit."""


@dataclass(frozen=True)
class Row:
    """A configuration with its metrics on each subset."""

    label: str
    description: str
    """What is read; of a row that was tuned, how it was tuned."""
    metrics: Mapping[str, Metrics]
    settings: Mapping[str, str] = field(default_factory=dict)
    """By subset, what was run with all settings that decide what is read."""
    methods: tuple[str, ...] = ()
    """Their names."""

    @property
    def tuned(self) -> Mapping[str, str]:
        """Settings of tuned configurations by subset; empty where nothing was tuned."""
        return {
            subset: self.settings.get(subset, metrics.description)
            for subset, metrics in self.metrics.items()
            if metrics.tuning is not None
        }

    @property
    def is_dense(self) -> bool:
        """Whether it reads everything."""
        return self.description == "dense"

    def estimate(self, name: str, subset: str, *, held_out: bool = False) -> Interval | None:
        """``score`` or ``dense_difference`` on a subset; None if there is none.

        ``held_out``: on the samples that the configuration was not tuned on.
        """
        metrics = self.metrics.get(subset)
        estimates = metrics.held_out if metrics is not None and held_out else metrics
        found: EstimateRecord | None = getattr(estimates, name, None)
        return None if found is None else found.limits

    def mean_estimate(
        self, name: str, subsets: Iterable[str], *, held_out: bool = False
    ) -> Interval | None:
        """Mean over ``subsets``; None unless every one of them has the value."""
        found = [self.estimate(name, subset, held_out=held_out) for subset in subsets]
        known = [interval for interval in found if interval is not None]
        return mean_of_estimates(known) if known and len(known) == len(found) else None

    def mean(self, name: str, subsets: Iterable[str]) -> float | None:
        """Mean of a number over ``subsets``; None unless every one of them has it."""
        found = [getattr(self.metrics.get(subset), name, None) for subset in subsets]
        known = [value for value in found if value is not None]
        return sum(known) / len(known) if known and len(known) == len(found) else None

    def total_cost(self, name: str) -> float:
        """Sum of a cost over all subsets."""
        return sum(getattr(metrics.costs, name) for metrics in self.metrics.values())

    def total_count(self, name: str) -> int:
        """Sum of a count over all subsets."""
        return sum(getattr(metrics.counts, name) for metrics in self.metrics.values())


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
    qualifier: str = ""
    """What must be said beside the benchmark's name."""
    date: str = ""
    """When its newest result was finished: ``2026-11-26``."""

    @property
    def title(self) -> str:
        """What was asked, for people."""
        name = self.benchmark
        if self.shared["benchmark"]["sample_data"]:
            name = f"sample data for {name}, not the benchmark itself"
        return f"{self.model} on {name} {self.qualifier}".rstrip()

    @property
    def setting(self) -> str:
        """How it was asked, for people: length, dtype, protocol and date."""
        protocol = self.shared["protocol"]
        length = self.shared["benchmark"]["options"].get("length")
        parts = [] if length is None else [f"length {length}"]
        parts.append(_dtype(self.shared))
        parts.append(f"sparse from the {protocol['sparse_from']} on")
        if protocol["press_sees_question"]:
            parts.append("presses see the question")
        if protocol["dense_layers"]:
            parts.append(f"dense layers {' '.join(map(str, protocol['dense_layers']))}")
        return ", ".join([*parts, self.date])


@dataclass(frozen=True)
class Results:
    """What is in a results folder."""

    groups: list[Group]
    left_out: list[LeftOut]

    @property
    def damaged(self) -> list[LeftOut]:
        """What nobody can read; the rest was left by other versions."""
        return [found for found in self.left_out if found.format is None]


def group_results(scan: Scan, cells: Collection[Path] | None = None) -> Results:
    """The finished cells of a scan; of ``cells`` alone, and in their order, where given.

    One that is damaged is left out, and so is one of another format.
    """
    groups: dict[str, Group] = {}
    left_out = list(scan.left_out)
    found = {cell.path: cell for cell in scan.cells if cell.metrics is not None}
    for cell in found.values() if cells is None else [found[one] for one in cells if one in found]:
        if cell.is_current:
            _add(groups, cell, Metrics.from_json(cell.metrics))
        else:
            number = cell.key["format"]
            left_out.append(LeftOut(cell.path, number, f"format {number}"))
    for group in groups.values():
        if cells is None:
            group.rows = dict(sorted(group.rows.items(), key=lambda item: not item[1].is_dense))
    return Results(list(groups.values()), left_out)


def _add(groups: dict[str, Group], cell: CellFolder, metrics: Metrics) -> None:
    key = cell.key
    shared = comparable_part(key)
    model, benchmark, subset = metrics.model, metrics.benchmark, metrics.subset
    folder = cell.path.parent.parent
    group = groups.setdefault(fingerprint([model, shared]), Group(model, benchmark, shared, folder))
    tuning = metrics.tuning
    name = fingerprint([metrics.config, tuning.to_json() if tuning else key["config"]])
    description = tuning.description if tuning else metrics.description
    label = f"{metrics.config}, {tuning.mode}" if tuning else metrics.config
    methods = tuple(method["name"] for method in key["config"]["methods"])
    known = group.rows.get(name, Row(label, description, {}, {}, methods))
    group.rows[name] = replace(
        known,
        metrics={**known.metrics, subset: metrics},
        settings={**known.settings, subset: spelled_out(key["config"], metrics.description)},
    )
    group.qualifier = metrics.qualifier or group.qualifier
    day = strftime("%Y-%m-%d", localtime((cell.path / METRICS).stat().st_mtime))
    group.date = max(group.date, day)
    if subset not in group.subsets:
        group.subsets.append(subset)


def _dtype(shared: Mapping[str, Any]) -> str:
    dtype = str(shared["model"]["dtype"])
    if dtype != "auto":
        return dtype
    return "float32" if shared["device_type"] == "cpu" else "dtype of the checkpoint"
