"""Picture of searches: what their trials scored at which density, method beside method."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from benchmark.report.axes import density_axis, legend, marker, panels, save
from benchmark.report.escapes import picture_text
from benchmark.report.looks import BLACK, look_of
from benchmark.tuning.cache import CachedResult
from benchmark.tuning.search_file import GLOBAL


def write_search_picture(results: Sequence[CachedResult], path: Path) -> None:
    """Write a PNG with a panel for each task and one for the searches over all of them.

    Small points: trials that saw all samples; a line joins those of a method that no other of its
    trials beats in score and density.  The winner is ringed; the larger point with an interval is
    what one for a single task scored on samples that the search did not see.
    """
    names = {result.names.task for result in results}
    tasks = sorted(names, key=lambda name: (name != GLOBAL, name))
    models = ", ".join(dict.fromkeys(result.names.model for result in results))
    figure, axes = panels(len(tasks), f"searches on {models}")
    for axis, task in zip(axes, tasks, strict=True):
        density_axis(axis)
        axis.set_ylabel("score", fontsize=9)
        axis.set_title(picture_text("all tasks" if task == GLOBAL else task), fontsize=9)
        for result in results:
            if result.names.task == task:
                _draw(axis, result)
    ring = Line2D([], [], label="winner of its search", **_RING)
    axes[0].add_line(ring)
    legend(figure, axes)
    save(figure, path)


_RING = {
    "marker": "o",
    "markersize": 11,
    "markerfacecolor": "none",
    "color": BLACK,
    "linestyle": "none",
}


def _draw(axis: Axes, result: CachedResult) -> None:
    trials = {trial["number"]: trial for trial in result.document["trials"]}
    complete = [_place(trial) for trial in trials.values() if trial["status"] == "complete"]
    style = marker(look_of(method.name for method in result.config.methods))
    axis.plot(*zip(*complete, strict=True), alpha=0.5, **{**style, "markersize": 3.5})
    front = [_place(trials[number]) for number in result.document["pareto"]]
    line = {"color": style["color"], "linewidth": 1.2, "marker": style["marker"], "markersize": 3.5}
    axis.plot(*zip(*front, strict=True), label=picture_text(result.names.config_type), **line)
    axis.plot(*_place(trials[result.best["trial"]]), **_RING)
    found, *others = result.best["held_out"].values()
    if not others and found and found.get("score"):
        mean, (low, high) = found["score"]["mean"], found["score"]["interval"]
        error = [[mean - low], [high - mean]]
        axis.errorbar(found["density"], mean, yerr=error, capsize=2, elinewidth=0.8, **style)


def _place(trial: Any) -> tuple[float, float]:
    mean = trial["rungs"][-1]["mean"]
    return mean["density"], mean["score"]
