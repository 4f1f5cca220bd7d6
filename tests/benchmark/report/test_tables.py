"""The tables that the README shows, at the widths of terminals."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console
from search_files import KEY, content

from benchmark.report.frames.scan import scan_results
from benchmark.report.groups import Group, Row, group_results
from benchmark.report.search_table import print_results, search_table
from benchmark.report.tables import notes, print_group, subset_table, summary_table
from benchmark.report.text_table import TextTable
from benchmark.results.metrics_file import Estimates, Metrics, Tuning
from benchmark.run.matrix import MatrixResult
from benchmark.tuning.cache import BestConfigCache, CachedResult
from benchmark.tuning.search_file import Names

WIDTHS = (80, 120, 200)
LABELS = ("pq_cache, default", "magic_pig, per task", "lagkv, global", "quest, global")


@pytest.fixture(scope="module")
def group(finished: MatrixResult) -> Group:
    """Results of the form of the demo's: three tasks, presses, settings that were searched."""
    (found,) = group_results(scan_results(finished.results_dir)).groups
    dense, sparse = found.rows.values()
    (metrics,) = sparse.metrics.values()
    changed = metrics.model_copy(
        update={
            "held_out": Estimates(score=metrics.score, dense_difference=metrics.dense_difference),
            "tuning": Tuning(mode="global", search="ab", description="tuned once for all tasks"),
            "density": 0.75,
            "union_density": 0.9,
            "selection_share": 0.25,
            "kept_share": 0.25,
        }
    )
    tasks = ("niah_multikey_2", "niah_multiquery", "vt")
    rows = {"dense": _on(dense, "dense", next(iter(dense.metrics.values())), tasks)}
    rows |= {label: _on(sparse, label, changed, tasks) for label in LABELS}
    return replace(
        found, benchmark="ruler", rows=rows, subsets=list(tasks), qualifier="in our own words"
    )


def _on(row: Row, label: str, metrics: Metrics, tasks: tuple[str, ...]) -> Row:
    settings = dict.fromkeys(tasks, "sink sink_size=4 + local window_size=64 + quest page_size=8")
    said = "dense" if label == "dense" else "tuned once for all tasks"
    return replace(
        row, label=label, description=said, metrics=dict.fromkeys(tasks, metrics), settings=settings
    )


@pytest.fixture
def found(tmp_path: Path) -> list[CachedResult]:
    cache = BestConfigCache(tmp_path)
    for kind in ("sink_masker", "streaming_llm_rerotated"):
        for task in ((None, None), ("ruler", "niah_multikey_2")):
            names = Names(model="embedded", config_type=kind, benchmark=task[0], subset=task[1])
            cache.store(names, KEY, content(remarks=["reads 87% of the keys"]))
    return cache.read_all()


def printed(show: Callable[[Console], None], width: int) -> str:
    console = Console(width=width, record=True, force_terminal=False)
    show(console)
    return console.export_text()


def check_whole(table: TextTable, text: str, width: int) -> None:
    assert "…" not in text
    assert all(len(line) <= width for line in text.splitlines())
    for row in table.without_empty().rows:
        for name, cell in zip(table.without_empty().columns, row, strict=True):
            whole = cell.split() if name in table.words else cell.replace(" [", "\n[").split("\n")
            missing = [part for part in whole if part not in text]
            assert not missing, (width, name, missing)


@pytest.mark.parametrize("width", WIDTHS)
def test_tables_of_results_are_whole(group: Group, width: int) -> None:
    text = printed(lambda console: print_group(group, console), width)
    for table in (summary_table(group), subset_table(group)):
        check_whole(table, text, width)


@pytest.mark.parametrize("width", WIDTHS)
def test_tables_of_searches_are_whole(found: list[CachedResult], width: int) -> None:
    text = printed(lambda console: print_results(found, console), width)
    check_whole(search_table(found), text, width)
    assert "sink_size=4" in text
    assert "! reads 87% of the keys" in " ".join(text.split())


def test_titles_say_what_was_measured(group: Group) -> None:
    for table in (summary_table(group), subset_table(group)):
        assert table.title.startswith(f"{group.model} on ruler in our own words: ")
        assert f"(float32, sparse from the question on, {group.date})" in table.title
    assert ": mean of 3 subsets, 24 samples (" in summary_table(group).title
    options = {**group.shared["benchmark"]["options"], "length": 1024}
    shared = {**group.shared, "benchmark": {**group.shared["benchmark"], "options": options}}
    other = replace(group, shared={**shared, "model": {**shared["model"], "dtype": "bfloat16"}})
    assert other.setting.startswith("length 1024, bfloat16, ")


def test_what_must_be_said_is_said(group: Group) -> None:
    said = list(notes(group))
    assert any("does not rank methods" in note for note in said)
    assert "quest, global reads 75% of the keys." in said
    much = "quest, global reads 1.15 times the bytes of dense attention, choosing included."
    assert much in said
    assert "quest, global: tuned once for all tasks." in said
    assert "quest, global: sink sink_size=4 + local window_size=64 + quest page_size=8." in said
    columns = summary_table(group).columns
    assert columns[columns.index("density") + 1] == "bytes"


def test_defaults_are_spelled_out(finished: MatrixResult) -> None:
    (found,) = group_results(scan_results(finished.results_dir)).groups
    assert "edges: sink sink_size=2 + local window_size=4." in list(notes(found))
