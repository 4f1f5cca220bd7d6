"""Needles: scores by the depth at which the answer stands and by the length of the context."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from benchmark.report.axes import entitle
from benchmark.report.escapes import picture_text
from benchmark.report.looks import BLUE, VERMILLION

_MOST = 24
"""Configurations in a picture."""
_COLUMNS = 4
_COLOURS = LinearSegmentedColormap.from_list("needles", [VERMILLION, "#f4f2ee", BLUE])
_DARK = 0.3
"""How far from the middle of the colours a number is white."""


def needle_figure(needles: Mapping[str, Any]) -> Figure:
    """A panel for each configuration, lengths by depths; of one length, one panel for all.

    Args:
        needles: of one model and benchmark, as ``needle_facts`` has them.
    """
    configs = needles["configs"][:_MOST]
    depths, lengths = range(needles["depths"]), needles["lengths"]
    parts = [f"{at / len(depths):.0%} to {(at + 1) / len(depths):.0%}" for at in depths]
    if len(lengths) == 1:
        figure = Figure(figsize=(6.4, 1.5 + 0.27 * len(configs)), layout="constrained")
        axis = figure.subplots()
        grid = [_scores(config, [(lengths[0], depth) for depth in depths]) for config in configs]
        _heat(axis, grid, parts, [config["label"] for config in configs])
        axis.set_xlabel(f"depth in a context of about {lengths[0]} tokens", fontsize=8)
    else:
        columns = min(_COLUMNS, len(configs))
        lines = math.ceil(len(configs) / columns)
        width = max(2.2, 0.55 * len(lengths) + 0.6)
        size = (width * columns + 1.0, 1.7 * lines + 0.9)
        figure = Figure(figsize=size, layout="constrained")
        axes = figure.subplots(lines, columns, squeeze=False, sharex=True, sharey=True)
        for axis, config in zip(axes.flat, configs, strict=False):
            grid = [_scores(config, [(length, depth) for length in lengths]) for depth in depths]
            _heat(axis, grid, [str(length) for length in lengths], parts)
            axis.set_title(picture_text(config["label"]), fontsize=7)
        for axis in axes.flat[len(configs) :]:
            axis.set_visible(False)
        figure.supxlabel("tokens, about", fontsize=8)
        figure.supylabel("depth in the context", fontsize=8)
    FigureCanvasAgg(figure)
    left = len(needles["configs"]) - len(configs)
    cut = f" (the first {len(configs)} of {left + len(configs)} configurations)" if left else ""
    tasks = ", ".join(needles["tasks"])
    entitle(figure, f"{needles['title']}: score by depth and length{cut}; {tasks}")
    return figure


def _scores(config: Mapping[str, Any], places: Sequence[tuple[int, int]]) -> list[float]:
    found = {(length, depth): score for length, depth, score, _ in config["cells"]}
    return [math.nan if found.get(place) is None else found[place] for place in places]


def _heat(
    axis: Axes, grid: Sequence[Sequence[float]], columns: Sequence[str], rows: Sequence[str]
) -> None:
    axis.imshow(grid, cmap=_COLOURS, vmin=0, vmax=1, aspect="auto")
    for line, values in enumerate(grid):
        for column, value in enumerate(values):
            if not math.isnan(value):
                colour = "w" if abs(value - 0.5) > _DARK else "k"
                at: dict[str, Any] = {"ha": "center", "va": "center", "fontsize": 6}
                axis.text(column, line, f"{value:.2f}", color=colour, **at)
    axis.set_xticks(range(len(columns)), list(map(picture_text, columns)), fontsize=7)
    axis.set_yticks(range(len(rows)), list(map(picture_text, rows)), fontsize=7)
    axis.tick_params(length=0)
    for side in axis.spines.values():
        side.set_visible(False)
