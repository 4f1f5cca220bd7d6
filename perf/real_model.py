"""Every method on a real pretrained model: score over what it reads or keeps.

    python perf/real_model.py --folder results-real

SmolLM2-135M-Instruct (``--models smollm2``) answers RULER's needle tasks at each length under all
configurations of ``real_lines.py``, as rows over shared prefills.  Draws a picture for each length,
a panel for each task: above the presses over the compression ratio, below the maskers over the
density.  What was answered is kept: started again, it goes on.
"""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from real_lines import LINES, MASKERS, PRESSES, Line

from benchmark.executor import BenchmarkExecutor
from benchmark.executor_config import AdapterConfig, BenchmarkConfig
from benchmark.files import write_atomic
from benchmark.named_models import SMOLLM2, named_model
from benchmark.report.axes import density_axis, marker
from benchmark.report.looks import look_of
from benchmark.ruler.filler import filler_sentence
from benchmark.run.result import MatrixResult
from sparse_attention import AttentionConfig
from sparse_attention.calibration.double_sparsity import main as calibrate
from sparse_attention.program import run_program

TASKS = ("niah_single_1", "niah_single_2", "niah_multikey_1")
NEW_TOKENS = 16
"""Of an answer: the number that is asked for has ten."""
_SENTENCES = 400
"""Of the text on which double sparsity is calibrated, about 8000 tokens."""


@dataclass(frozen=True)
class Point:
    """A configuration on one task."""

    cost: float
    """Density of a masker, compression ratio of a press."""
    score: float
    low: float
    high: float
    samples: int


Points = Mapping[str, Mapping[str, Point]]
"""By task, then by label."""


def configurations(channel_file: Path) -> dict[str, AttentionConfig]:
    """Dense attention and all lines, by label."""
    found = {"dense": AttentionConfig()}
    for line in LINES:
        found |= line.configs(str(channel_file))
    return found


def channel_file(folder: Path) -> Path:
    """Double sparsity's channels for the model, found on text of our own if they are not there."""
    path = folder / "double_sparsity.safetensors"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        text = folder / "calibration.txt"
        random = Random(0)
        sentences = (filler_sentence(random) for _ in range(_SENTENCES))
        text.write_text(" ".join(sentences), encoding="utf-8")
        model = str(named_model(SMOLLM2))
        calibrate(["--model", model, "--text", str(text), "--output", str(path)])
    return path


def measure(
    folder: Path, length: int, samples: int, workers: int, tasks: Sequence[str]
) -> MatrixResult:
    """Answer the samples of all tasks at one length with every configuration."""
    executor = BenchmarkExecutor([], folder / "matrix", workers)
    return executor.run_benchmark_matrix(
        SMOLLM2,
        configurations(channel_file(folder)),
        BenchmarkConfig("ruler", tasks, {"length": length, "samples": samples}),
        AdapterConfig(measure_error=False, max_new_tokens=NEW_TOKENS),
    )


def points_of(result: MatrixResult) -> Points:
    """What was measured; an answer that failed ends the program."""
    found: dict[str, dict[str, Point]] = {}
    for cell in result.cells:
        if cell.status != "complete" or cell.metrics is None:
            raise SystemExit(f"{cell.config} on {cell.subset}: {cell.message}")
        score, press = cell.metrics["score"], bool(cell.attention and cell.attention.presses)
        cost = 1 - cell.metrics["kept_share"] if press else cell.metrics["density"]
        point = Point(cost, score["mean"], *score["interval"], score["samples"])
        found.setdefault(cell.subset, {})[cell.config] = point
    return found


def labels(line: Line) -> list[str]:
    """Of a line's configurations."""
    return list(line.configs())


def draw(points: Points, length: int, path: Path) -> None:
    """A PNG with a panel for each task, presses above and maskers below."""
    figure = Figure(figsize=(4.2 * len(points) + 3.4, 7.4), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(2, len(points), squeeze=False, sharey=True)
    for row, lines in zip(panels, (PRESSES, MASKERS), strict=True):
        for panel, (task, found) in zip(row, points.items(), strict=True):
            looks = [look_of(line.methods) for line in lines]
            for number, line in enumerate(lines):
                drawn = marker(looks[number], looks[:number].count(looks[number]))
                _draw_line(panel, drawn, line.name, [found[label] for label in labels(line)])
            dense = found["dense"]
            panel.axhline(dense.score, color="0.25", linewidth=1, label="dense")
            panel.set_title(f"{task}, {length} tokens, {dense.samples} samples", fontsize=9)
            if lines is PRESSES:
                panel.set_xlabel("compression ratio (share of the cache removed)", fontsize=8)
                panel.set_ylim(-0.04, 1.04)
                panel.grid(alpha=0.25)
                panel.tick_params(labelsize=8)
            else:
                panel.set_xlabel("density (share of the keys read)", fontsize=8)
                density_axis(panel)
        row[0].set_ylabel("score", fontsize=9)
        row[-1].legend(loc="center left", bbox_to_anchor=(1.02, 0.5), fontsize=8, frameon=False)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110, metadata={"Software": None})
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, buffer.getvalue())


def _draw_line(panel: Axes, drawn: Mapping[str, Any], name: str, points: Sequence[Point]) -> None:
    ordered = sorted(points, key=lambda point: point.cost)
    style = {**drawn, "markersize": 4, "linewidth": 1.2, "linestyle": "-"}
    costs, scores = [point.cost for point in ordered], [point.score for point in ordered]
    panel.plot(costs, scores, **style, label=name)


def table(points: Points) -> str:
    """Costs and scores with intervals, Markdown: one line for each configuration."""
    columns = ["configuration", *(f"{task} | cost" for task in points)]
    lines = [" | ".join(columns), " | ".join(["---", *["---: | ---:"] * len(points)])]
    for label in next(iter(points.values())):
        cells = [label]
        for found in points.values():
            one = found[label]
            cells += [f"{one.score:.2f} [{one.low:.2f}, {one.high:.2f}]", f"{one.cost:.3f}"]
        lines.append(" | ".join(cells))
    return "\n".join(f"| {line} |" for line in lines)


def main() -> int:
    """Measure, draw and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--folder", type=Path, default=Path("results-real"), help="what is kept")
    parser.add_argument("--lengths", type=int, nargs="+", default=[1024, 4096])
    parser.add_argument("--samples", type=int, default=3, help="of each task (default: 3)")
    parser.add_argument("--tasks", nargs="+", default=TASKS)
    parser.add_argument("--workers", type=int, default=2, help="processes (default: 2)")
    options = parser.parse_args()
    for length in options.lengths:
        points = points_of(
            measure(options.folder, length, options.samples, options.workers, options.tasks)
        )
        path = options.folder / f"real_model_{length}.png"
        draw(points, length, path)
        print(f"\n{length} tokens: {path}\n\n{table(points)}")
    return 0


if __name__ == "__main__":
    sys.exit(run_program("real_model", main))
