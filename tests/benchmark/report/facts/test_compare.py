from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from benchmark.report.facts.compare import compare_results
from benchmark.report.facts.running import task_states
from benchmark.report.frames.load import load_results
from benchmark.report.frames.scan import scan_results
from perf.made_results import make_results
from sparse_attention.config import AttentionConfig
from sparse_attention.errors import UserError


def test_configurations_of_one_folder_are_paired(made: Path) -> None:
    side = scan_results(made)
    found = compare_results(side, side, ("dense", "quarter"))
    assert [pair.left["subset"] for pair in found.pairs] == ["niah_single_1", "vt"]
    cells = load_results(made).set_index(["config", "subset"])
    for pair in found.pairs:
        assert pair.difference is not None
        assert pair.difference.samples == 6
        row = cells.loc[("quarter", pair.left["subset"])]
        assert pair.difference.mean == pytest.approx(row["dense_difference"])
        assert pair.difference.low == pytest.approx(row["dense_difference_low"])
        assert pair.significant == (row["dense_difference_high"] < 0)
        assert pair.settings == ""


def test_folders_are_matched_by_names(made: Path, tmp_path: Path) -> None:
    other = make_results(tmp_path / "other", {"dense": AttentionConfig()}, ["vt", "cwe"], 4)
    found = compare_results(scan_results(made), scan_results(other))
    ((pair),) = found.pairs
    assert pair.difference is not None
    assert (pair.difference.samples, pair.difference.mean) == (4, 0)
    assert "benchmark.options.samples: 6 > 4" in pair.settings
    assert len(found.only_left) == 7
    assert found.only_right == ["made-up ruler/cwe dense"]


def test_samples_that_are_not_the_same_are_not_paired(made: Path, tmp_path: Path) -> None:
    other = make_results(
        tmp_path / "other", {"dense": AttentionConfig()}, ["vt"], 6, text="another"
    )
    (pair,) = compare_results(scan_results(made), scan_results(other)).pairs
    assert pair.difference is None
    assert not pair.significant


def test_what_cannot_be_compared_is_named(made: Path, tmp_path: Path) -> None:
    side = scan_results(made)
    with pytest.raises(UserError, match=r"unknown configuration 'quartr'. Did you mean 'quarter'"):
        compare_results(side, side, ("dense", "quartr"))
    other = make_results(tmp_path / "other", {"own": AttentionConfig()}, ["cwe", "fwe"], 2)
    with pytest.raises(UserError, match="nothing to compare"):
        compare_results(side, scan_results(other))


def test_how_far_a_run_is(made: Path, tmp_path: Path) -> None:
    results = Path(shutil.copytree(made, tmp_path / "results"))
    cell = next(results.glob("made-up/ruler/vt/half-*"))
    (cell / "metrics.json").unlink()
    lines = (cell / "predictions.jsonl").read_bytes().splitlines(keepends=True)
    (cell / "predictions.jsonl").write_bytes(b"".join(lines[:2]) + lines[2][:30])
    first, second = task_states(results)
    assert (first.name, first.answered, first.samples, first.finished) == (
        "made-up/ruler/niah_single_1",
        24,
        24,
        4,
    )
    assert (second.answered, second.samples, second.finished, second.cells) == (20, 24, 3, 4)
