"""What papers use, what our config types use, and what each gives: the page ``docs/settings.md``.

    python perf/settings_table.py --samples 5 --tasks niah_single_1 niah_single_2 > docs/settings.md

Reads what ``real_model.py`` measured with the same arguments, and measures what is missing.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from paper_settings import SOURCES, Source, line_rows
from real_lines import LINES, Line
from real_model import TASKS, channel_file, measure

from benchmark.files import fingerprint
from benchmark.results.finished import read_key
from benchmark.results.journal import sound_records
from benchmark.results.records import Prediction
from benchmark.results.statistics import Estimate, mean_interval
from benchmark.run.finish import CellResult
from sparse_attention import AttentionConfig, make_config
from sparse_attention.program import run_program

KEPT = 0.95
"""Share of dense attention's score that counts as keeping it."""
SOLVED = 0.8
"""Score from which on dense attention solves a task."""

_HEAD = """\
# Settings

What the papers use, what our config types use, and what each gives on a model that everybody can
have. Made by `perf/settings_table.py`; do not edit.

SmolLM2-135M-Instruct, RULER at {length} tokens, sparse from the question on, greedy, at most 16 new
tokens.

{tasks}; {samples} samples in all. Dense attention scores {dense}.

Scores are means over the samples with 95% intervals; the cost of a masker is its density (the share
of the keys that it reads), that of a press the share of the cache that it keeps, question and
answer included.

A default **keeps** if its mean score is at least 95% of dense attention's. "Least that keeps" is
the cheapest setting among those measured, `perf/real_lines.py`, that does so, even where a costlier
one does not. These are few samples on one small model: take it as a place to start a search from,
not as a result about the method.

| config type | in its paper or code | measured | our default | measured | least that keeps | |
|---|---|---|---|---|---|---|
"""
_LINES = """

## What says so

The lines that decide the second column, in the files where they were read, at the revision that was
read. Of most papers only the beginning could be read: what they measured with is in their code.

| config type | line | where |
|---|---|---|
"""


@dataclass(frozen=True)
class Measured:
    """One configuration over all tasks."""

    label: str
    config: AttentionConfig
    score: Estimate
    cost: float

    def words(self) -> str:
        """Score with its interval, and cost."""
        one = self.score
        return f"{one.mean:.2f} [{one.low:.2f}, {one.high:.2f}] at {self.cost:.2f}"


def _predictions(cell: CellResult) -> list[Prediction]:
    scope = fingerprint(read_key(cell.folder))
    found, _ = sound_records(cell.folder / "predictions.jsonl", Prediction.from_json, scope)
    return list(found.values())


def pooled(cells: tuple[CellResult, ...]) -> tuple[dict[str, Measured], list[str]]:
    """Each configuration over the tasks that dense attention solves, and these."""
    solved = [
        cell.subset
        for cell in cells
        if cell.config == "dense" and cell.metrics and cell.metrics["score"]["mean"] >= SOLVED
    ]
    groups: dict[str, list[CellResult]] = {}
    for cell in cells:
        if cell.subset in solved:
            groups.setdefault(cell.config, []).append(cell)
    found = {}
    for label, group in groups.items():
        records = [one for cell in group for one in _predictions(cell)]
        config = group[0].attention
        assert config is not None
        costs = [one.kept_share if config.presses else one.density for one in records]
        found[label] = Measured(
            label,
            config,
            mean_interval([one.score or 0.0 for one in records], [r.context for r in records]),
            math.fsum(cost or 0.0 for cost in costs) / len(costs),
        )
    return found, solved


def rows(found: Mapping[str, Measured], channels: Path) -> Iterator[str]:
    """A line for each config type."""
    by_config = {one.config: one for one in found.values()}
    wanted = KEPT * found["dense"].score.mean
    for name, source in SOURCES.items():
        settings = {"channel_file": str(channels)} if name == "double_sparsity" else {}
        default = make_config(name, **settings)
        ours = by_config.get(default)
        lines = [line for line in LINES if line.config_type == name]
        yield " | ".join(
            [
                f"| `{name}`",
                source.words,
                _words(by_config.get(source.config) if source.config else None),
                _settings(default),
                _words(ours),
                _words(_least(lines, found, wanted), settings=True),
                f"{_verdict(ours, wanted, source)} |",
            ]
        )


def _least(lines: list[Line], found: Mapping[str, Measured], wanted: float) -> Measured | None:
    """The cheapest setting that keeps."""
    own = [found[label] for line in lines for label in line.configs()]
    keeping = [one for one in own if one.score.mean >= wanted]
    return min(keeping, key=lambda one: one.cost, default=None)


def _verdict(ours: Measured | None, wanted: float, source: Source) -> str:
    if ours is None:
        return source.why or "not measured"
    if ours.score.mean >= wanted:
        return "keeps"
    if ours.score.high >= wanted and not source.why:
        return "a little below, which so few samples cannot tell from keeping"
    if not source.why:
        raise SystemExit(f"{ours.label} loses too much, and no reason is given")
    return source.why


def _settings(config: AttentionConfig) -> str:
    method = config.methods[-1]
    shown = [f"{key} {value}" for key, value in method if key in _SHOWN and value is not None]
    return ", ".join(shown) or method.name


_SHOWN = (
    *("heavy_size", "top_p", "page_size", "group_factor", "subspaces", "pq_bits", "lsh_k"),
    *("lsh_l", "sampling_rate", "base_rate", "epsilon", "delta", "window_size"),
    *("compression_ratio", "observation_window", "kernel_size", "lag", "chunk_length"),
)


def _words(one: Measured | None, settings: bool = False) -> str:
    if one is None:
        return "none" if settings else "-"
    return f"{_settings(one.config)}: {one.words()}" if settings else one.words()


def main() -> int:
    """Print the page."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--folder", type=Path, default=Path("results-real"))
    parser.add_argument("--length", type=int, default=1024)
    parser.add_argument("--samples", type=int, default=3, help="of each task")
    parser.add_argument("--tasks", nargs="+", default=TASKS)
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    result = measure(
        options.folder, options.length, options.samples, options.workers, options.tasks
    )
    found, solved = pooled(result.cells)
    dense = found["dense"]
    names = (
        f"Tasks that dense attention solves: {', '.join(solved)} (of {', '.join(options.tasks)})"
    )
    head = _HEAD.format(
        length=options.length,
        tasks=names,
        samples=dense.score.samples,
        dense=f"{dense.score.mean:.2f}",
    )
    table = "\n".join(rows(found, channel_file(options.folder)))
    print(head + table + _LINES + "\n".join(line_rows()))
    return 0


if __name__ == "__main__":
    sys.exit(run_program("settings_table", main))
