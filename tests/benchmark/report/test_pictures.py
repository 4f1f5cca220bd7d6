"""Pictures: labels on every panel, the look of each method, no point under another."""

from __future__ import annotations

from math import log
from pathlib import Path

import pytest
from matplotlib.figure import Figure
from search_files import KEY, content

from benchmark.report import picture, search_picture
from benchmark.report.apart import HEIGHT, WIDTH, side_by_side
from benchmark.report.frames.scan import scan_results
from benchmark.report.groups import group_results
from benchmark.report.looks import BLACK, look_of
from benchmark.run.matrix import MatrixResult
from benchmark.tuning.cache import BestConfigCache
from benchmark.tuning.search_file import Names

X, Y = (0.01, 1.0), (0.0, 1.0)


def test_points_that_would_hide_each_other_stand_side_by_side() -> None:
    places = [(0.1, 1.0), (0.1, 1.0), (0.101, 0.99), (0.1, 0.5), (0.5, 1.0)]
    drawn = side_by_side(places, X, Y)
    assert drawn[0] == 0.1
    assert drawn[3:] == [0.1, 0.5], "nothing is near these"
    for first in range(3):
        for second in range(first):
            apart = abs(_across(drawn[first]) - _across(drawn[second]))
            assert apart > 0.99 * WIDTH
            assert abs(_across(drawn[first]) - _across(places[first][0])) < 2.1 * WIDTH


def _across(x: float) -> float:
    return (log(x) - log(X[0])) / (log(X[1]) - log(X[0]))


def test_points_apart_in_height_stay() -> None:
    assert side_by_side([(0.1, 0.5), (0.1, 0.5 + 1.1 * HEIGHT)], X, Y) == [0.1, 0.1]


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    figures: list[Figure] = []
    monkeypatch.setattr(picture, "save", lambda figure, _: figures.append(figure))
    return figures


def test_a_picture_of_results(finished: MatrixResult, drawn: list[Figure]) -> None:
    (group,) = group_results(scan_results(finished.results_dir)).groups
    picture.write_picture(group, Path("unused.png"))
    (figure,) = drawn
    for axis in figure.axes:
        assert axis.get_xlabel()
        assert axis.get_ylabel() == "score"
    (edges,) = (row for row in group.rows.values() if not row.is_dense)
    (container,) = figure.axes[0].containers
    assert container[0].get_color() == look_of(edges.methods).colour
    assert container[0].get_marker() == look_of(edges.methods).marker
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["dense (line)", "edges"]
    assert group.date in figure.get_suptitle()
    assert "..." not in figure.get_suptitle()


def test_a_picture_of_searches(tmp_path: Path) -> None:
    cache = BestConfigCache(tmp_path)
    for task in ((None, None), ("ruler", "vt")):
        names = Names(model="m", config_type="sink_masker", benchmark=task[0], subset=task[1])
        cache.store(names, KEY, content())
    figure = search_picture.search_figure(cache.read_all())
    assert [axis.get_title() for axis in figure.axes] == ["all tasks", "ruler_vt"]
    assert all(axis.get_xlabel() for axis in figure.axes)
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == ["sink_masker", "winner of its search"]
    colours = {line.get_color() for line in figure.axes[0].lines}
    assert colours == {look_of(["sink"]).colour, BLACK}
