"""The export of a folder."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

from benchmark.exports import FORMS
from benchmark.exports.cell import ExportedCell
from benchmark.report.frames.scan import LeftOut, scan_results
from sparse_attention.errors import UserError, unknown_name
from sparse_attention.reading import user_folder


def export_results(
    results: str | Path, form: str, output: str | Path | None = None
) -> tuple[list[Path], list[LeftOut]]:
    """Write the finished cells in a folder; what was written, and what was left out.

    Args:
        results: a results folder, or a folder within one.
        form: of ``FORMS``.
        output: a folder; beside the results folder, ``RESULTS-exports/FORM``, if None.
    """
    if form not in FORMS:
        raise unknown_name("format", form, FORMS)
    scan = scan_results(results)
    left_out = list(scan.left_out)
    read = [ExportedCell.read(cell, left_out) for cell in scan.cells]
    cells = [cell for cell in read if cell is not None]
    if not cells:
        reasons = "; ".join(f"{one.cell}: {one.reason}" for one in left_out[:3])
        raise UserError(f"no finished results in {results} to export ({reasons or 'empty'}).")
    beside = scan.root.with_name(f"{scan.root.name}-exports") / form
    folder = user_folder(beside if output is None else output, "output")
    export = import_module(f"benchmark.exports.{form.replace('-', '_')}").export
    return export(cells, folder), left_out
