"""What all pictures of scores against density share: panels, axes, markers."""

from __future__ import annotations

import io
import math
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from benchmark.files import write_atomic
from benchmark.report.escapes import picture_text
from benchmark.report.looks import Look

SCORES = (-0.04, 1.06)
"""Limits of y."""
_MOST_COLUMNS = 4
_INCHES_OF_A_LABEL = 2.4
_FILLS = ("full", "none", "left", "top", "right", "bottom")
"""Of markers of one look that mean different rows."""


def panels(count: int, title: str) -> tuple[Figure, list[Axes]]:
    """A figure with so many panels, whose axes have labels of their own."""
    columns = min(_MOST_COLUMNS, count)
    lines = math.ceil(count / columns)
    figure = Figure(figsize=(3.2 * columns + 0.6, 2.9 * lines + 1.3), layout="constrained")
    FigureCanvasAgg(figure)
    grid: np.ndarray = figure.subplots(lines, columns, squeeze=False)
    for axis in grid.flat[count:]:
        axis.set_visible(False)
    entitle(figure, title, min(26 * columns, 56), fontsize=10)
    return figure, list(grid.flat[:count])


def entitle(figure: Figure, title: str, width: int = 56, fontsize: float = 9) -> None:
    """Write a title in lines of about the same length, of at most ``width`` characters.

    With up to 56, ``picture_text`` need not cut them.
    """
    lines = textwrap.wrap(title, width)
    for narrower in range(-(-len(title) // max(1, len(lines))), width):
        if len(even := textwrap.wrap(title, narrower)) == len(lines):
            lines = even
            break
    figure.suptitle("\n".join(map(picture_text, lines)), fontsize=fontsize)


def density_axis(axis: Axes) -> None:
    """Make x the logarithm of the density and y a score in [0, 1]."""
    axis.set_xscale("log")
    axis.set_ylim(*SCORES)
    axis.grid(alpha=0.25)
    axis.tick_params(labelsize=8)
    axis.set_xlabel("density (share of keys read)", fontsize=9)
    axis.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.xaxis.set_minor_locator(NullLocator())


def share_labels(axes: Sequence[Axes]) -> None:
    """Leave out what the first panel of a line or the last of a column says for all of it."""
    columns = min(_MOST_COLUMNS, len(axes))
    for place, axis in enumerate(axes):
        if place % columns:
            axis.set_ylabel("")
            axis.tick_params(labelleft=False)
        if place + columns < len(axes):
            axis.set_xlabel("")
            axis.tick_params(labelbottom=False)


def marker(look: Look, variant: int = 0) -> dict[str, Any]:
    """How matplotlib draws points of a look; ``variant`` tells rows of one look apart."""
    return {
        "marker": look.marker,
        "color": look.colour,
        "markersize": 6,
        "fillstyle": _FILLS[variant % len(_FILLS)],
        "markerfacecoloralt": "white",
        "linestyle": "none",
    }


def legend(figure: Figure, axes: Sequence[Axes]) -> None:
    """One legend below for all panels, each label once."""
    found = {
        label: handle
        for axis in axes
        for handle, label in zip(*axis.get_legend_handles_labels(), strict=True)
    }
    figure.legend(
        list(found.values()),
        list(found),
        loc="outside lower center",
        ncols=max(1, int(figure.get_figwidth() / _INCHES_OF_A_LABEL)),
        fontsize=8,
        frameon=False,
    )


def save(figure: Figure, path: Path) -> None:
    """Write a PNG that depends on the numbers alone."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=150, metadata={"Software": None})
    write_atomic(path, buffer.getvalue())
