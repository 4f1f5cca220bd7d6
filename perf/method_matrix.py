"""Score against cost for every method, on RULER with the model that ships with the project.

    python perf/method_matrix.py

All configurations of ``method_table.py`` answer the same samples, as rows over shared prefills, at
each length.  Prints a table, draws the curves, and reports for each method and length the cost (the
density, or what a press keeps) from which on its mean score is at least 95% of dense attention's; 1
where it is not.  Presses do not see the question.
"""

from __future__ import annotations

from common import fix_environment, report

fix_environment()

import argparse
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from method_table import AXES, CURVES, LOCAL, PRESS_CURVES, SINK, Axis, Curve
from rich.console import Console
from rich.table import Table

from benchmark.embedded import MODEL_PATH, SUPPORTED_TASKS
from benchmark.executor_config import AdapterConfig
from benchmark.files import write_atomic
from benchmark.report.axes import density_axis, marker
from benchmark.report.looks import look_of
from benchmark.results.metrics import score_predictions
from benchmark.results.records import Prediction
from benchmark.results.statistics import Estimate, mean_interval
from benchmark.ruler.benchmark import Ruler
from benchmark.run.evaluator import Evaluator
from sparse_attention import AttentionConfig, HuggingFaceAdapter

GOOD = 0.95
"""Share of dense attention's score that counts as keeping it."""
DENSE = AttentionConfig()


@dataclass(frozen=True)
class Point:
    """A configuration at one length, over all samples of all tasks."""

    config: AttentionConfig
    answers: tuple[Prediction, ...]

    @property
    def score(self) -> Estimate:
        """Mean score with its interval, contexts as the independent units."""
        scores = [answer.score for answer in self.answers if answer.score is not None]
        assert len(scores) == len(self.answers), "an answer failed"
        return mean_interval(scores, [answer.context for answer in self.answers])

    def cost(self, axis: Axis) -> float:
        """Mean cost of the answers."""
        costs = [cost for answer in self.answers if (cost := axis.cost(answer)) is not None]
        return math.fsum(costs) / len(costs)

    @property
    def attention_error(self) -> float:
        """Mean attention error of the answers."""
        errors = [answer.attention_error or 0.0 for answer in self.answers]
        return math.fsum(errors) / len(errors)


def measure(
    evaluator: Evaluator, tokenizer: object, length: int, samples: int, tasks: Sequence[str]
) -> dict[AttentionConfig, Point]:
    """Answer the samples of all tasks at one length with every configuration."""
    curves = (*CURVES, *PRESS_CURVES)
    configs = dict.fromkeys([DENSE, *(config for curve in curves for config in curve.configs)])
    labels = {str(number): config for number, config in enumerate(configs)}
    benchmark = Ruler(lexicon="embedded", length=length, samples=samples)
    answers: dict[str, list[Prediction]] = {label: [] for label in labels}
    for task in tasks:
        asked = benchmark.samples(task, tokenizer)
        found = evaluator.evaluate(asked, labels, benchmark.prompt, scope=f"{task}@{length}")
        for label, predictions in found.predictions.items():
            by_id = {prediction.id: prediction for prediction in predictions}
            scored, _ = score_predictions(benchmark, asked, by_id)
            answers[label] += scored.values()
    return {config: Point(config, tuple(answers[label])) for label, config in labels.items()}


def cheapest(curve: Curve, points: Mapping[AttentionConfig, Point]) -> float:
    """Cost from which on the curve keeps dense attention's score; 1 where it does not."""
    wanted = GOOD * points[DENSE].score.mean
    own = [points[config] for config in curve.configs]
    lowest = 1.0
    for cost, score in sorted((p.cost(AXES[curve.axes[0]]), p.score.mean) for p in own)[::-1]:
        if score < wanted:
            break
        lowest = cost
    return lowest


def draw(
    curves: Sequence[Curve], matrix: Mapping[int, Mapping[AttentionConfig, Point]], path: Path
) -> None:
    """A PNG with a panel for each axis of some curves and each length."""
    names = list(dict.fromkeys(name for curve in curves for name in curve.axes))
    looks = [look_of(method.name for method in curve.configs[-1].methods) for curve in curves]
    size = (4.6 * len(matrix) + 0.4, 3.4 * len(names) + 1.2)
    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(len(names), len(matrix), squeeze=False, sharey=True)
    for line, name in zip(panels, names, strict=True):
        for panel, (length, points) in zip(line, matrix.items(), strict=True):
            for number, curve in enumerate(curves):
                own = sorted(
                    (points[config].cost(AXES[name]), *_limits(points[config].score))
                    for config in curve.configs
                )
                costs, means, lows, highs = zip(*own, strict=True)
                drawn = marker(looks[number], looks[:number].count(looks[number]))
                style = {"markersize": 4, "linewidth": 1.2, "linestyle": "-"}
                panel.plot(costs, means, **{**drawn, **style}, label=curve.name)
                panel.vlines(costs, lows, highs, color=drawn["color"], alpha=0.25, linewidth=1)
            panel.axhline(points[DENSE].score.mean, color="0.25", linewidth=1, label="dense")
            density_axis(panel)
            panel.set_title(f"{length} tokens", fontsize=9)
            panel.set_xlabel(AXES[name].title, fontsize=8)
        line[0].set_ylabel("score", fontsize=9)
    handles, labels = panels[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, fontsize=8, frameon=False)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=130, metadata={"Software": None})
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, buffer.getvalue())


def _limits(score: Estimate) -> tuple[float, float, float]:
    return score.mean, score.low, score.high


def main() -> None:
    """Measure, draw and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--lengths", type=int, nargs="+", default=[1024, 4096])
    parser.add_argument("--samples", type=int, default=5, help="of each task (default: 5)")
    parser.add_argument("--tasks", nargs="+", choices=SUPPORTED_TASKS, default=SUPPORTED_TASKS)
    parser.add_argument("--output", type=Path, default=Path("docs/images"), help="folder")
    options = parser.parse_args()
    torch.set_num_threads(1)

    adapter = HuggingFaceAdapter.load(str(MODEL_PATH))
    matrix = {
        length: measure(
            Evaluator(adapter, AdapterConfig()),
            *(adapter.tokenizer, length, options.samples, options.tasks),
        )
        for length in options.lengths
    }
    draw(CURVES, matrix, options.output / "method_matrix.png")
    draw(PRESS_CURVES, matrix, options.output / "press_matrix.png")
    measured: dict[str, float] = {}
    console = Console()
    console.width = max(console.width, 150)
    for length, points in matrix.items():
        dense = points[DENSE]
        table = Table(
            *("method", "settings", "score", "attention error", *AXES),
            title=f"RULER at {length} tokens, {len(dense.answers)} samples, dense "
            f"{dense.score.mean:.3f}",
        )
        for curve in (*CURVES, *PRESS_CURVES):
            for config in curve.configs:
                point = points[config]
                mean, low, high = _limits(point.score)
                costs = [
                    f"{point.cost(axis):.3f}" if name in curve.axes else "-"
                    for name, axis in AXES.items()
                ]
                own = [method for method in config.methods if method not in (SINK, LOCAL)]
                table.add_row(
                    curve.name,
                    " + ".join(method.describe() for method in own),
                    f"{mean:.3f} [{low:.2f}, {high:.2f}]",
                    f"{point.attention_error:.3f}",
                    *costs,
                )
            table.add_section()
            measured[f"{curve.name}@{length}"] = cheapest(curve, points)
        console.print(table)
    console.print(f"drawn in {options.output}", highlight=False)
    report(**measured)


if __name__ == "__main__":
    main()
