"""Scores over costs: a line for each method, with bands, the front, and dense attention."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from operator import itemgetter
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from benchmark.report.axes import SCORES, legend, panels
from benchmark.report.escapes import picture_text
from benchmark.report.facts import groups as facts
from benchmark.report.facts.front import front
from benchmark.report.facts.groups import COSTS, Configuration, GroupFacts, honest_score, look
from benchmark.report.figures.shades import shaded

_WIDE = 8.0
"""Ratio of costs from which their axis is logarithmic."""
Cost = Callable[[Mapping[str, Any]], float | None]


def cost_figure(group: GroupFacts) -> Figure:
    """A panel for each cost that tells configurations apart, of the mean over tasks.

    Seconds do not where all shared one batch, kept memory does not where no press freed any.
    """
    panel = next(key for key, _ in facts.panels(group))
    told = {column: title for column, title in COSTS.items() if _tells_apart(group, panel, column)}
    shown = told or {"density": COSTS["density"]}
    figure, axes = panels(len(shown), f"{group.title}: score against cost")
    for axis, (column, title) in zip(axes, shown.items(), strict=True):
        found = _draw_methods(axis, group, panel, itemgetter(column))
        steps = [one.cells[panel] for one in front(group, panel, column)]
        scores = [score[0] for cell in steps if (score := honest_score(cell))]
        costs = [cell[column] for cell in steps]
        axis.step(costs, scores, where="post", color="0.4", linestyle="--", linewidth=1, zorder=1)
        _scale(axis, found if column != "kept_share" else [])
        axis.set_xlabel(title, fontsize=9)
    legend(figure, axes)
    return figure


def _tells_apart(group: GroupFacts, panel: str, column: str) -> bool:
    cells = [one.cells.get(panel) for one in group.configurations if not one.is_dense]
    return len({cell[column] for cell in cells if cell is not None} - {None}) > 1


def compression_figure(group: GroupFacts) -> Figure:
    """A panel for each task: scores over the share of keys that is not read."""
    shown = [(key, title) for key, title in facts.panels(group) if key]
    figure, axes = panels(len(shown), f"{group.title}: score over compression ratio")
    for axis, (panel, title) in zip(axes, shown, strict=True):
        _draw_methods(axis, group, panel, _compression)
        axis.set_xlim(-0.04, 1.04)
        axis.set_xlabel("compression ratio (1 - density)", fontsize=9)
        axis.set_title(picture_text(title), fontsize=9)
    legend(figure, axes)
    return figure


def _compression(cell: Mapping[str, Any]) -> float | None:
    return None if cell["density"] is None else 1 - cell["density"]


def _draw_methods(axis: Axes, group: GroupFacts, panel: str, cost: Cost) -> list[float]:
    """Draw all but dense attention as lines, and that as a level; the costs."""
    axis.set_ylim(*SCORES)
    axis.set_ylabel("score", fontsize=9)
    axis.grid(alpha=0.25)
    axis.tick_params(labelsize=8)
    shades = facts.shades(group)
    costs: list[float] = []
    for method in group.methods:
        own = [one for one in group.configurations if one.method == method]
        points = sorted(_points(own, panel, cost), key=lambda point: point[0])
        if points and own[0].is_dense:
            _, (mean, low, high), _ = points[0]
            axis.axhline(mean, color="k", linewidth=1, label="dense")
            axis.axhspan(low, high, color="k", alpha=0.06, linewidth=0)
        elif points:
            costs += [x for x, _, _ in points]
            _draw_method(axis, method, points, shades)
    return costs


def _points(
    own: Sequence[Configuration], panel: str, cost: Cost
) -> list[tuple[float, tuple[float, float, float], Configuration]]:
    found = []
    for one in own:
        cell = one.cells.get(panel)
        if cell is not None and (score := honest_score(cell)) and (x := cost(cell)) is not None:
            found.append((x, (score[0], score[1], score[2]), one))
    return found


def _draw_method(
    axis: Axes,
    method: str,
    points: Sequence[tuple[float, tuple[float, float, float], Configuration]],
    shades: Mapping[str, float],
) -> None:
    colour, marker = look(method)
    given = [point for point in points if not point[2].tuning]
    style = ":" if all(one.oracle for _, _, one in points) else "-"
    if len(given) > 1:
        xs = [x for x, _, _ in given]
        axis.fill_between(
            xs,
            [s[1] for _, s, _ in given],
            [s[2] for _, s, _ in given],
            color=colour,
            alpha=0.1,
            linewidth=0,
        )
        axis.plot(xs, [s[0] for _, s, _ in given], color=colour, linewidth=1.2, linestyle=style)
    for place, (x, (mean, low, high), one) in enumerate(points):
        alone = len(given) == 1 or bool(one.tuning)
        axis.errorbar(
            x,
            mean,
            yerr=[[mean - low], [high - mean]] if alone else None,
            color=colour,
            elinewidth=0.8,
            capsize=2,
            linestyle="none",
            marker="*" if one.tuning else marker,
            markersize=10 if one.tuning else 6,
            markerfacecolor="none" if one.oracle else shaded(colour, shades[one.label]),
            markeredgecolor=colour,
            label=picture_text(method) if place == len(points) - 1 else None,
        )


def _scale(axis: Axes, costs: Sequence[float]) -> None:
    known = [cost for cost in costs if cost > 0]
    if known and max(known) > _WIDE * min(known):
        axis.set_xscale("log")
        axis.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.xaxis.set_minor_formatter(NullFormatter())
