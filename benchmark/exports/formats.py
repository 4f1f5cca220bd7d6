"""The formats, by name, and the export of a folder."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from benchmark.exports import every_eval_ever, inspect, kvpress, skylight
from benchmark.exports.cell import ExportedCell
from benchmark.report.frames.scan import LeftOut, scan_results
from sparse_attention.errors import UserError, unknown_name
from sparse_attention.reading import user_folder

FORMATS: Mapping[str, Callable[[Sequence[ExportedCell], Path], list[Path]]] = {
    "inspect": inspect.export,
    "every-eval-ever": every_eval_ever.export,
    "skylight": skylight.export,
    "kvpress": kvpress.export,
}


def export_results(
    results: str | Path, form: str, output: str | Path | None = None
) -> tuple[list[Path], list[LeftOut]]:
    """Write the finished cells in a folder; what was written, and what was left out.

    Args:
        results: a results folder, or a folder within one.
        form: of ``FORMATS``.
        output: a folder; beside the results folder, ``RESULTS-exports/FORM``, if None.
    """
    if form not in FORMATS:
        raise unknown_name("format", form, FORMATS)
    scan = scan_results(results)
    left_out = list(scan.left_out)
    read = [ExportedCell.read(cell, left_out) for cell in scan.cells]
    cells = [cell for cell in read if cell is not None]
    if not cells:
        reasons = "; ".join(f"{one.cell}: {one.reason}" for one in left_out[:3])
        raise UserError(f"no finished results in {results} to export ({reasons or 'empty'}).")
    beside = scan.root.with_name(f"{scan.root.name}-exports") / form
    folder = user_folder(beside if output is None else output, "output")
    return FORMATS[form](cells, folder), left_out
