"""Picture of a group: score against density, with error bars."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.axes import Axes

from benchmark.report.apart import side_by_side
from benchmark.report.axes import SCORES, density_axis, legend, marker, panels, save, share_labels
from benchmark.report.escapes import picture_text
from benchmark.report.frames.methods import family
from benchmark.report.groups import Group, Row
from benchmark.report.looks import Look, look_of

_MOST_LABELS = 24
"""In a legend; of more rows it has the methods."""
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
    share_labels(axes)
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
    many = len(rows) > _MOST_LABELS
    for place, row in enumerate(rows):
        estimate = row.mean_estimate("score", subsets)
        label = picture_text(family(row.methods) if many else row.label)
        density = _density(row, subsets)
        if estimate is None:
            continue
        mean, low, high = estimate
        if row.is_dense:
            axis.axhline(mean, color="0.25", linewidth=1, label=f"{label} (line)")
            axis.axhspan(low, high, color="0.25", alpha=0.1, linewidth=0)
        elif density:
            look, variant = looks[place]
            points.append((density, estimate, (look, 0 if many else variant, label)))
    drawn = side_by_side([(x, mean) for x, (mean, *_), _ in points], axis.get_xlim(), SCORES)
    alike: dict[tuple[Look, int, str], list[tuple[float, ...]]] = {}
    for x, (_, (mean, low, high), kind) in zip(drawn, points, strict=True):
        alike.setdefault(kind, []).append((x, mean, mean - low, high - mean))
    for (look, variant, label), own in alike.items():
        xs, means, below, above = zip(*own, strict=True)
        axis.errorbar(
            xs,
            means,
            yerr=[below, above],
            capsize=2,
            elinewidth=0.8,
            label=label,
            **marker(look, variant),
        )
