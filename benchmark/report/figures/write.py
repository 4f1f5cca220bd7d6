"""The main figures of results as files."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from matplotlib import rc_context
from matplotlib.figure import Figure

from benchmark.files import safe_name, write_atomic
from benchmark.picture_formats import FORMATS
from benchmark.report.facts.groups import GroupFacts, group_facts
from benchmark.report.facts.needles import needle_facts
from benchmark.report.figures.costs import compression_figure, cost_figure
from benchmark.report.figures.heat import heat_figure
from benchmark.report.figures.needles import needle_figure
from benchmark.report.frames.load import cell_frame, prediction_frame
from benchmark.report.frames.scan import Scan
from benchmark.report.search_picture import search_figure
from benchmark.tuning.cache import BestConfigCache
from sparse_attention.errors import UserError

_FIGURES: dict[str, Callable[[GroupFacts], Figure | None]] = {
    "costs": cost_figure,
    "compression": compression_figure,
    "differences": heat_figure,
}


def write_figures(
    scan: Scan, caches: Sequence[Path], folder: Path, formats: Sequence[str]
) -> Iterator[Path]:
    """Write ``<model>-<benchmark>-<figure>.<format>`` for each group; the files.

    Raises:
        UserError: if there are no scores to draw, or the folder cannot be written.
    """
    cells = cell_frame(scan)
    scored = cells[cells["score"].notna() | cells["held_out_score"].notna()]
    if scored.empty:
        raise UserError(
            f"{scan.root} has no scores to draw: {len(cells)} cells, none of them with a score."
        )
    groups = group_facts(scored, {str(cell.path): cell.key for cell in scan.cells})
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for group in groups:
            alike = [
                one
                for one in groups
                if (one.model, one.benchmark) == (group.model, group.benchmark)
            ]
            own = f"-{group.id}" if len(alike) > 1 else ""
            stem = f"{safe_name(group.model)}-{safe_name(group.benchmark)}{own}"
            for name, draw in _FIGURES.items():
                figure = draw(group)
                if figure is not None:
                    for kind in formats:
                        yield _write(figure, folder / f"{stem}-{name}.{kind}", kind)
        for needles in needle_facts(prediction_frame(scan, costs=False)):
            stem = f"{safe_name(needles['model'])}-{safe_name(needles['benchmark'])}-needles"
            for kind in formats:
                yield _write(needle_figure(needles), folder / f"{stem}.{kind}", kind)
    except OSError as error:
        raise UserError(f"figures: cannot write {folder}: {error.strerror}.") from error
    searches = [result for cache in caches for result in BestConfigCache(cache).read_all()]
    for kind in formats if searches else ():
        yield _write(search_figure(searches), folder / f"searches.{kind}", kind)


def _write(figure: Figure, path: Path, kind: str) -> Path:
    buffer = io.BytesIO()
    with rc_context({"svg.hashsalt": path.stem, "pdf.fonttype": 42}):
        figure.savefig(buffer, format=kind, dpi=200, metadata=dict(FORMATS[kind]))
    write_atomic(path, buffer.getvalue())
    return path
