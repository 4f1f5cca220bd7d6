"""Picture of searches: what every trial scored at which density, the front, and the winner."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from benchmark.files import write_atomic
from benchmark.report.axes import density_axis
from benchmark.report.escapes import picture_text
from benchmark.tuning.cache import CachedResult


def write_search_picture(results: Sequence[CachedResult], path: Path) -> None:
    """Write a PNG with a panel for each search.

    Grey: trials that were stopped early, at the samples that they saw; blue: those that saw all
    samples, joined where no other is better and sparser; a ring: the winner; red: the winner on
    samples that the search did not see, with its interval.
    """
    columns = min(4, len(results))
    lines = math.ceil(len(results) / columns)
    figure = Figure(figsize=(3.2 * columns + 0.6, 2.7 * lines + 1.0), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(lines, columns, squeeze=False, sharey=True)
    for axis, result in zip(axes.flat, results, strict=False):
        _draw(axis, result)
    for axis in list(axes.flat)[len(results) :]:
        axis.set_visible(False)
    for axis in axes[:, 0]:
        axis.set_ylabel("score", fontsize=9)
    handles, labels = axes.flat[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=5, fontsize=8, frameon=False)
    models = ", ".join(dict.fromkeys(result.names.model for result in results))
    figure.suptitle(picture_text(f"searches on {models}"), fontsize=10)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=150, metadata={"Software": None})
    write_atomic(path, buffer.getvalue())


def _draw(axis: Axes, result: CachedResult) -> None:
    trials = {trial["number"]: trial for trial in result.document["trials"]}
    _scatter(axis, [t for t in trials.values() if t["status"] == "pruned"], "0.7", "stopped early")
    _scatter(axis, [t for t in trials.values() if t["status"] == "complete"], "C0", "all samples")
    front = [_place(trials[number]) for number in result.document["pareto"]]
    axis.plot(*zip(*front, strict=True), color="C0", linewidth=1, label="front")
    winner = _place(trials[result.best["trial"]])
    axis.plot(*winner, "o", markersize=10, markerfacecolor="none", color="k", label="winner")
    unseen = [found for found in result.best["held_out"].values() if found and found.get("score")]
    for place, found in enumerate(unseen):
        mean, (low, high) = found["score"]["mean"], found["score"]["interval"]
        axis.errorbar(
            found["density"],
            mean,
            yerr=[[mean - low], [high - mean]],
            fmt="rs",
            markersize=4,
            capsize=2,
            linewidth=1,
            label="" if place else "winner, held-out samples",
        )
    density_axis(axis)
    title = f"{result.names.config_type}, {result.names.task}"
    axis.set_title(picture_text(title), fontsize=9)


def _scatter(axis: Axes, trials: Sequence[Any], colour: str, label: str) -> None:
    places = [_place(trial) for trial in trials]
    axis.scatter([x for x, _ in places], [y for _, y in places], s=14, color=colour, label=label)


def _place(trial: Any) -> tuple[float, float]:
    mean = trial["rungs"][-1]["mean"]
    return mean["density"], mean["score"]
