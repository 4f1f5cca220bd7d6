"""What is shown of each group: one model on one benchmark, cells that may be compared."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from benchmark.report.facts.shown import interval, name, number
from benchmark.report.frames.columns import BY_LAYER, ESTIMATES
from benchmark.report.frames.load import comparable_part
from benchmark.report.frames.methods import DENSE
from benchmark.report.looks import look_of
from benchmark.results.key import differing_fields
from benchmark.results.statistics import mean_of_estimates

COSTS: Mapping[str, str] = {
    "density": "density (share of keys read)",
    "bytes_read": "bytes read (share of dense attention's)",
    "kept_share": "kept memory (share of dense attention's)",
    "seconds_per_sample": "seconds a sample",
}
"""Columns of a frame of cells that scores are drawn against, with their titles."""
_MEANS = (*COSTS, "attention_error", "union_density", "selection_share")
_STATUSES = ("complete", "incomplete", "unfinished")
_DIFFERING = 3
"""Fields that a title names."""
_COUNTS = ("samples", "answered", "truncated", "skipped", "failed", "missing")


@dataclass(frozen=True)
class Configuration:
    """A row of a group, with what it was on each subset and on all of them."""

    label: str
    method: str
    description: str
    tuning: str
    oracle: bool
    cells: Mapping[str, Mapping[str, Any]]
    """By subset: estimates as lists of mean, low and high, means and counts; the mean over all
    subsets is under ``""``, where none is missing."""
    folders: Mapping[str, str]
    """Of the cells, by subset."""

    @property
    def is_dense(self) -> bool:
        """Whether it reads everything."""
        return self.method == DENSE


@dataclass(frozen=True)
class GroupFacts:
    """One model on one benchmark."""

    id: str
    model: str
    benchmark: str
    differs: str
    """What tells it from other groups of the same model and benchmark; empty without any."""
    protocol: str
    sample_data: bool
    subsets: Sequence[str]
    configurations: Sequence[Configuration]

    @property
    def title(self) -> str:
        """One line for people."""
        own = f" ({self.differs})" if self.differs else ""
        return f"{self.model} on {self.benchmark}{own}"

    @property
    def dense(self) -> Configuration | None:
        """Dense attention, if it was run."""
        return next((one for one in self.configurations if one.is_dense), None)

    @property
    def methods(self) -> list[str]:
        """In the order of their first configurations, dense attention first."""
        return list(dict.fromkeys(one.method for one in self.configurations))


def group_facts(cells: pd.DataFrame, keys: Mapping[str, Mapping[str, Any]]) -> list[GroupFacts]:
    """The groups of a frame of cells, the largest first; ``keys`` of the cells, by folder."""
    differs = _differences(cells, keys)
    groups = [
        _group(str(id), differs[str(id)], frame) for id, frame in cells.groupby("group", sort=False)
    ]
    return sorted(groups, key=lambda group: -len(group.configurations) * len(group.subsets))


def panels(group: GroupFacts) -> Iterator[tuple[str, str]]:
    """Keys of ``Configuration.cells`` with titles: the mean over several subsets, and each."""
    if len(group.subsets) > 1:
        yield "", f"mean of {len(group.subsets)} tasks"
    for subset in group.subsets:
        yield subset, name(subset)


def honest_score(cell: Mapping[str, Any]) -> list[float] | None:
    """The score to compare by: on samples held out where the settings were tuned."""
    return cell["held_out_score"] or cell["score"]


def honest_difference(cell: Mapping[str, Any]) -> list[float] | None:
    """The difference to dense attention to compare by, likewise."""
    held_out = cell["held_out_score"] is not None
    return cell["held_out_dense_difference"] if held_out else cell["dense_difference"]


def shades(group: GroupFacts) -> dict[str, float]:
    """By label, where a configuration is among the settings of its method: 0 sparsest, 1 densest.

    The only one of a method is at 1.
    """
    found: dict[str, float] = {}
    for method in group.methods:
        own = [one for one in group.configurations if one.method == method]
        own.sort(key=lambda one: _typical(one, "density"))
        for place, one in enumerate(own):
            found[one.label] = place / (len(own) - 1) if len(own) > 1 else 1.0
    return found


def look(method: str) -> tuple[str, str]:
    """Colour and marker of a method."""
    found = look_of([] if method == DENSE else method.split("+"))
    return found.colour, found.marker


def _typical(one: Configuration, column: str) -> float:
    values = [cell[column] for cell in one.cells.values() if cell[column] is not None]
    return sum(values) / len(values) if values else 1.0


def _differences(cells: pd.DataFrame, keys: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """By group, the fields of its key in which groups of the same names differ."""
    firsts = cells.drop_duplicates("group")
    words: dict[str, str] = {}
    for _, alike in firsts.groupby(["model", "benchmark"], sort=False):
        shared = [comparable_part(keys[folder]) for folder in alike["folder"]]
        fields = {
            field for other in shared[1:] for field, _, _ in differing_fields(shared[0], other)
        }
        for id, key in zip(alike["group"], shared, strict=True):
            parts = [f"{field.rpartition('.')[2]} {_at(key, field)}" for field in sorted(fields)]
            words[str(id)] = name(", ".join(dict.fromkeys(parts[:_DIFFERING])))
    return words


def _at(key: Any, field: str) -> str:
    for part in field.split("."):
        key = key.get(part) if isinstance(key, dict) else None
    text = str(key)
    return text if len(text) <= 12 else text[:8]


def _group(id: str, differs: str, frame: pd.DataFrame) -> GroupFacts:
    first = frame.iloc[0]
    subsets = sorted(frame["subset"].unique())
    rows: dict[tuple[str, ...], dict[str, Any]] = {}
    for row in frame.to_dict("records"):
        # Settings that were tuned for each task are one row, though they differ.
        own = row["tuning"] or row["description"]
        rows.setdefault((row["config"], own), {})[row["subset"]] = row
    found = [_configuration(by_subset, subsets) for by_subset in rows.values()]
    found.sort(key=lambda one: (not one.is_dense, one.method, _typical(one, "density")))
    return GroupFacts(
        id=id,
        model=name(first["model"]),
        benchmark=name(first["benchmark"]),
        differs=differs,
        protocol=name(first["protocol"]),
        sample_data=bool(frame["sample_data"].any()),
        subsets=subsets,
        configurations=_with_own_labels(found),
    )


def _with_own_labels(found: Sequence[Configuration]) -> list[Configuration]:
    """Labels that two configurations have get a number."""
    seen: dict[str, int] = {}
    own = []
    for one in found:
        seen[one.label] = seen.get(one.label, 0) + 1
        again = f" ({seen[one.label]})" if seen[one.label] > 1 else ""
        own.append(Configuration(**{**vars(one), "label": f"{one.label}{again}"}))
    return own


def _configuration(
    by_subset: Mapping[str, Mapping[str, Any]], subsets: Sequence[str]
) -> Configuration:
    first = next(iter(by_subset.values()))
    cells = {subset: _cell(row) for subset, row in by_subset.items()}
    if len(subsets) > 1 and set(cells) == set(subsets):
        cells[""] = _mean(list(cells.values()))
    descriptions = list(dict.fromkeys(row["description"] for row in by_subset.values()))
    tuning = first["tuning"]
    return Configuration(
        label=name(f"{first['config']}, {tuning}" if tuning else first["config"]),
        method=first["method"],
        description="; ".join(map(name, descriptions)),
        tuning=name(tuning),
        oracle=bool(first["oracle"]),
        cells=cells,
        folders={subset: row["folder"] for subset, row in by_subset.items()},
    )


def _cell(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "status": row["status"],
        **{column: interval(row, column) for column in ESTIMATES},
        **{column: number(row[column]) for column in _MEANS},
        **{column: row[column] for column in BY_LAYER},
        **{column: int(row[column]) for column in _COUNTS},
    }


def _mean(cells: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Over subsets; a value that one of them lacks is missing."""
    mean: dict[str, Any] = {"status": max((c["status"] for c in cells), key=_STATUSES.index)}
    for column in ESTIMATES:
        limits = [(c[column][0], c[column][1], c[column][2]) for c in cells if c[column]]
        whole = len(limits) == len(cells)
        mean[column] = [number(end) for end in mean_of_estimates(limits)] if whole else None
    for column in _MEANS:
        values = [cell[column] for cell in cells if cell[column] is not None]
        mean[column] = number(sum(values) / len(values)) if len(values) == len(cells) else None
    for column in BY_LAYER:
        mean[column] = _layer_means([cell[column] for cell in cells])
    return mean | {column: sum(cell[column] for cell in cells) for column in _COUNTS}


def _layer_means(values: Sequence[list[float] | None]) -> list[float | None] | None:
    """By layer; None where a task lacks it, or has another model's number of layers."""
    known = [layers for layers in values if layers]
    if len(known) < len(values) or len({len(layers) for layers in known}) > 1:
        return None
    return [number(sum(layer) / len(known)) for layer in zip(*known, strict=True)]
