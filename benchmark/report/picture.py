"""Picture of a group: score against density, with error bars."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.axes import Axes

from benchmark.report.apart import side_by_side
from benchmark.report.axes import SCORES, density_axis, legend, marker, panels, save
from benchmark.report.escapes import picture_text
from benchmark.report.groups import Group, Row
from benchmark.report.looks import Look, look_of

_DENSEST = 1.1
"""Where the x axis ends."""


def write_picture(group: Group, path: Path) -> None:
    """Write a PNG: one panel for the mean over subsets and one for each subset.

    A method has its look (``looks``); several rows of it are filled in different ways.  Points that
    would hide each other stand side by side.
    """
    shown: list[tuple[str, list[str]]] = [(name, [name]) for name in group.subsets]
    if len(group.subsets) > 1:
        shown.insert(0, (f"mean of {len(group.subsets)} subsets", group.subsets))
    figure, axes = panels(len(shown), f"{group.title}, {group.setting}")
    rows = list(group.rows.values())
    looks = _looks(rows)
    densities = [_density(row, names) for row in rows for _, names in shown]
    lowest = min([density for density in densities if density], default=1.0)
    for axis, (title, subsets) in zip(axes, shown, strict=True):
        density_axis(axis)
        axis.set_xlim(0.85 * lowest, _DENSEST)
        axis.set_ylabel("score", fontsize=9)
        axis.set_title(picture_text(title), fontsize=9)
        _draw(axis, subsets, rows, looks)
    legend(figure, axes)
    save(figure, path)


def _looks(rows: Sequence[Row]) -> Mapping[int, tuple[Look, int]]:
    """Look of each row, and its number among those that have the same."""
    found: dict[int, tuple[Look, int]] = {}
    for place, row in enumerate(rows):
        look = look_of(row.methods)
        found[place] = look, sum(look == other for other, _ in found.values())
    return found


def _density(row: Row, subsets: Sequence[str]) -> float | None:
    return None if row.is_dense else row.mean("density", subsets)


def _draw(
    axis: Axes, subsets: Sequence[str], rows: Sequence[Row], looks: Mapping[int, tuple[Look, int]]
) -> None:
    points = []
    for place, row in enumerate(rows):
        estimate, label = row.mean_estimate("score", subsets), picture_text(row.label)
        density = _density(row, subsets)
        if estimate is None:
            continue
        mean, low, high = estimate
        if row.is_dense:
            axis.axhline(mean, color="0.25", linewidth=1, label=f"{label} (line)")
            axis.axhspan(low, high, color="0.25", alpha=0.1, linewidth=0)
        elif density:
            points.append((density, mean, (low, high), looks[place], label))
    drawn = side_by_side([(x, y) for x, y, *_ in points], axis.get_xlim(), SCORES)
    for x, (_, mean, (low, high), (look, variant), label) in zip(drawn, points, strict=True):
        axis.errorbar(
            x,
            mean,
            yerr=[[mean - low], [high - mean]],
            capsize=2,
            elinewidth=0.8,
            label=label,
            **marker(look, variant),
        )
