from __future__ import annotations

from pathlib import Path

import pytest

from benchmark.report.figures.needles import needle_figure
from benchmark.report.figures.shades import shaded
from benchmark.report.figures.write import write_figures
from benchmark.report.frames.scan import scan_results
from sparse_attention.errors import UserError


def test_the_main_figures_are_the_same_each_time(made: Path, tmp_path: Path) -> None:
    part = scan_results(made / "made-up" / "ruler" / "vt")
    files = list(write_figures(part, [], tmp_path / "a", ["svg"]))
    names = ("costs", "compression", "differences", "needles")
    assert [path.name for path in files] == [f"made-up-ruler-{name}.svg" for name in names]
    again = list(write_figures(part, [], tmp_path / "b", ["svg"]))
    assert [path.read_bytes() for path in again] == [path.read_bytes() for path in files]


@pytest.mark.parametrize("lengths", [[1024], [1024, 4096]])
def test_needles_have_a_number_where_there_are_answers(lengths: list[int]) -> None:
    cells = [[length, depth, depth / 4, 3] for length in lengths for depth in range(4)]
    configs = [{"label": f"config {number}", "cells": cells} for number in range(30)]
    needles = {"title": "m on b", "tasks": ["vt"], "lengths": lengths, "depths": 5}
    figure = needle_figure({**needles, "configs": configs})
    shown = [axis for axis in figure.axes if axis.get_visible()]
    assert len(shown) == (1 if len(lengths) == 1 else 24)
    texts = [text.get_text() for axis in shown for text in axis.texts]
    assert sorted(texts) == sorted(["0.00", "0.25", "0.50", "0.75"] * 24 * len(lengths))
    assert "the first 24 of 30" in figure.get_suptitle().replace("\n", " ")


def test_without_scores_there_is_nothing_to_draw(made: Path, tmp_path: Path) -> None:
    scan = scan_results(made)
    scan.cells.clear()
    with pytest.raises(UserError, match="no scores to draw: 0 cells"):
        list(write_figures(scan, [], tmp_path, ["png"]))


def test_sparser_settings_are_lighter() -> None:
    assert shaded("#0072B2", 1.0).upper() == "#0072B2"
    light = shaded("#0072B2", 0.0)
    assert int(light[1:], 16) > int(shaded("#0072B2", 0.5)[1:], 16) > 0x0072B2
