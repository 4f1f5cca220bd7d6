"""The axes that all pictures of scores against density share."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter


def density_axis(axis: Axes) -> None:
    """Make x the logarithm of the density and y a score in [0, 1]."""
    axis.set_xscale("log")
    axis.set_ylim(-0.04, 1.04)
    axis.grid(alpha=0.25)
    axis.tick_params(labelsize=8)
    axis.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.xaxis.set_minor_formatter(NullFormatter())
