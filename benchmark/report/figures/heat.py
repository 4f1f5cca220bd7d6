"""Differences to dense attention: tasks by configurations, grey where not significant."""

from __future__ import annotations

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from benchmark.report.axes import entitle
from benchmark.report.escapes import picture_text
from benchmark.report.facts.groups import GroupFacts, honest_difference, panels
from benchmark.report.looks import BLUE, VERMILLION

_WORST = 0.7
"""Difference from which the colour is full."""
_MOST = 60
"""Configurations in a picture; more could not be read."""


def heat_figure(group: GroupFacts) -> Figure | None:
    """The picture; None where nothing was compared with dense attention."""
    shown = list(panels(group))
    rows = [
        one
        for one in group.configurations
        if any(honest_difference(cell) for cell in one.cells.values())
    ]
    if not rows:
        return None
    cut = f" (the first {_MOST} of {len(rows)})" if len(rows) > _MOST else ""
    rows = rows[:_MOST]
    figure = Figure(figsize=(2.6 + 1.1 * len(shown), 1.4 + 0.27 * len(rows)), layout="constrained")
    FigureCanvasAgg(figure)
    axis = figure.subplots()
    axis.set(xlim=(0, len(shown)), ylim=(len(rows), 0))
    for line, one in enumerate(rows):
        for column, (panel, _) in enumerate(shown):
            found = honest_difference(one.cells[panel]) if panel in one.cells else None
            if found is None:
                continue
            sure = found[1] > 0 or found[2] < 0
            colour = (BLUE if found[0] > 0 else VERMILLION) if sure else "0.8"
            strength = min(0.85, 0.15 + abs(found[0]) / _WORST * 0.7) if sure else 0.35
            axis.add_patch(
                Rectangle((column, line), 1, 1, facecolor=colour, alpha=strength, edgecolor="w")
            )
            axis.text(
                column + 0.5,
                line + 0.5,
                f"{found[0] + 0.0:+.2f}",
                ha="center",
                va="center",
                fontsize=7,
                color="k" if sure else "0.4",
            )
    axis.set_xticks([at + 0.5 for at in range(len(shown))])
    axis.set_xticklabels([picture_text(title) for _, title in shown], fontsize=7, rotation=30)
    axis.set_yticks([at + 0.5 for at in range(len(rows))])
    axis.set_yticklabels([picture_text(one.label) for one in rows], fontsize=7)
    axis.xaxis.tick_top()
    axis.tick_params(length=0)
    for side in axis.spines.values():
        side.set_visible(False)
    entitle(figure, f"{group.title}: difference to dense attention{cut}")
    axis.set_xlabel("grey: the 95% interval has 0 in it", fontsize=7)
    return figure
