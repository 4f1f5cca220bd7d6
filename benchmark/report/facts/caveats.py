"""What a reader must know before the numbers are believed, in sentences."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from benchmark.report.facts.groups import GroupFacts
from benchmark.report.facts.shown import name
from benchmark.results.key import FORMAT

FEW = 30
"""Contexts of a subset below which its intervals are wide."""
_NAMED = 4
"""Configurations that a sentence names."""


def caveats(group: GroupFacts, cells: pd.DataFrame) -> Iterator[str]:
    """Of one group; ``cells`` are its own, in a frame."""
    if group.sample_data:
        yield (
            "Sample data, not the benchmark itself: these scores can be compared with each other "
            "and with nothing else."
        )
    if group.dense is None:
        yield "Dense attention was not run here: there is no reference, and no difference to it."
    contexts = cells.loc[cells["score"].notna(), "contexts"]
    if len(contexts) and contexts.min() < FEW:
        few = int(contexts.min())
        yield (
            f"Few samples: {few} independent {'context' if few == 1 else 'contexts'} in a task. "
            "The intervals are wide, and a difference within its interval may be chance."
        )
    for status, words in (
        ("unfinished", "not finished: no score yet"),
        ("incomplete", "incomplete: scores are over the samples that were answered"),
    ):
        yield from _named(cells[cells["status"] == status], words)
    for column in ("failed", "skipped", "truncated", "missing"):
        own = cells[(cells[column] > 0) & (cells["status"] != "unfinished")]
        if len(own):
            total, samples = int(own[column].sum()), int(own["samples"].sum())
            yield from _named(own, f"{total} of {samples} samples {column}")
    if len(cells) and cells["score"].isna().all():
        yield "Nothing here has a score."
    tuned = cells[cells["tuning"] != ""]
    if len(tuned):
        yield (
            "Tuned settings have seen some of these samples. Pictures and differences show their "
            "score on samples held out; the plain score has the others in it."
        )
        yield from _named(
            tuned[tuned["held_out_score"].isna()],
            "tuned, and no sample was held out: the score is on what the search saw",
        )
    lacking = [one for one in group.configurations if len(one.cells) < len(group.subsets)]
    if lacking:
        yield (
            f"Not run on every task, and so without a mean: {_some([c.label for c in lacking])}."
        )
    if any(one.oracle for one in group.configurations):
        labels = [one.label for one in group.configurations if one.oracle]
        yield f"Oracles need all true scores and cannot be deployed: {_some(labels)}."
    if cells["rows"].max() > 1:
        yield (
            f"Up to {int(cells['rows'].max())} configurations shared a batch: seconds are equal "
            "shares of it and do not tell configurations apart."
        )
    earlier = cells[cells["format"] < FORMAT]
    if len(earlier):
        formats = ", ".join(map(str, sorted(earlier["format"].unique())))
        yield f"{len(earlier)} cells are of format {formats}; their checksums were not verified."
    yield from (name(remark) for remark in cells["remarks"].unique() if remark)


def _named(cells: pd.DataFrame, words: str) -> Iterator[str]:
    if len(cells):
        labels = [f"{row.config} on {row.subset}" for row in cells.itertuples()]
        yield f"{_some(labels)}: {words}."


def _some(labels: list[str]) -> str:
    shown = ", ".join(map(name, labels[:_NAMED]))
    return shown if len(labels) <= _NAMED else f"{shown} and {len(labels) - _NAMED} more"
