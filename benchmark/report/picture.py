"""Picture of a group: score against density, with error bars."""

from __future__ import annotations

import io
import math
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from benchmark.files import write_atomic
from benchmark.report.axes import density_axis
from benchmark.report.escapes import picture_text
from benchmark.report.groups import Group, Row

_MARKERS = "osD^vPX*<>"


def write_picture(group: Group, path: Path) -> None:
    """Write a PNG: one panel for the mean over subsets and one for each subset."""
    panels: list[tuple[str, list[str]]] = [(name, [name]) for name in group.subsets]
    if len(group.subsets) > 1:
        panels.insert(0, (f"mean of {len(group.subsets)} subsets", group.subsets))
    columns = min(4, len(panels))
    lines = math.ceil(len(panels) / columns)
    figure = Figure(figsize=(3.2 * columns + 0.6, 2.7 * lines + 1.3), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(lines, columns, squeeze=False, sharex=True, sharey=True)
    rows = list(group.rows.values())
    for axis, (title, subsets) in zip(axes.flat, panels, strict=False):
        _draw(axis, title, subsets, rows)
    axes.flat[0].set_xlim(0.85 * _lowest_density(rows, panels), 1.1)
    for axis in list(axes.flat)[len(panels) :]:
        axis.set_visible(False)
    handles, labels = axes.flat[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, fontsize=8, frameon=False)
    figure.suptitle(picture_text(group.title), fontsize=10)
    for place, axis in enumerate(list(axes.flat)[: len(panels)]):
        if place % columns == 0:
            axis.set_ylabel("score", fontsize=9)
        if place + columns >= len(panels):  # the lowest panel of its column
            axis.set_xlabel("density (share of keys read)", fontsize=9)
            axis.tick_params(labelbottom=True)
    buffer = io.BytesIO()
    # Without a version in it the file depends on the numbers alone.
    figure.savefig(buffer, format="png", dpi=150, metadata={"Software": None})
    write_atomic(path, buffer.getvalue())


def _lowest_density(rows: list[Row], panels: list[tuple[str, list[str]]]) -> float:
    found = [row.mean("density", subsets) for row in rows for _, subsets in panels]
    return min([density for density in found if density], default=1.0)


def _draw(axis: Axes, title: str, subsets: list[str], rows: list[Row]) -> None:
    for number, row in enumerate(rows):
        estimate = row.mean_estimate("score", subsets)
        density = row.mean("density", subsets)
        colour, label = f"C{number % 10}", picture_text(row.label)
        if estimate is None:
            # An empty entry keeps the legend of the first panel complete.
            axis.plot([], [], color=colour, label=label)
            continue
        mean, low, high = estimate
        if row.is_dense:
            axis.axhline(mean, color="0.25", linewidth=1, label=f"{label} (line)")
            axis.axhspan(low, high, color="0.25", alpha=0.1, linewidth=0)
        elif density:
            axis.errorbar(
                density,
                mean,
                yerr=[[mean - low], [high - mean]],
                fmt=_MARKERS[number % len(_MARKERS)],
                color=colour,
                markersize=5,
                capsize=2,
                linewidth=1,
                label=label,
            )
    density_axis(axis)
    axis.set_title(picture_text(title), fontsize=9)
