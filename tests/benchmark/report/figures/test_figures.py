from __future__ import annotations

from pathlib import Path

import pytest

from benchmark.report.figures.shades import shaded
from benchmark.report.figures.write import write_figures
from benchmark.report.frames.scan import scan_results
from sparse_attention.errors import UserError


def test_the_main_figures_are_the_same_each_time(made: Path, tmp_path: Path) -> None:
    part = scan_results(made / "made-up" / "ruler" / "vt")
    files = list(write_figures(part, [], tmp_path / "a", ["svg"]))
    names = ("costs", "compression", "differences")
    assert [path.name for path in files] == [f"made-up-ruler-{name}.svg" for name in names]
    again = list(write_figures(part, [], tmp_path / "b", ["svg"]))
    assert [path.read_bytes() for path in again] == [path.read_bytes() for path in files]


def test_without_scores_there_is_nothing_to_draw(made: Path, tmp_path: Path) -> None:
    scan = scan_results(made)
    scan.cells.clear()
    with pytest.raises(UserError, match="no scores to draw: 0 cells"):
        list(write_figures(scan, [], tmp_path, ["png"]))


def test_sparser_settings_are_lighter() -> None:
    assert shaded("#0072B2", 1.0).upper() == "#0072B2"
    light = shaded("#0072B2", 0.0)
    assert int(light[1:], 16) > int(shaded("#0072B2", 0.5)[1:], 16) > 0x0072B2
