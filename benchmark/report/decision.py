"""What to run: of each subset the configuration that reads least and keeps the score."""

from __future__ import annotations

from benchmark.report.spelled import spelled_out
from benchmark.report.text_table import NONE, TextTable
from benchmark.run.finish import CellResult
from benchmark.run.result import MatrixResult

_COLUMNS = ("subset", "config", "score", "difference to dense", "density", "bytes", "settings")


def decision_table(result: MatrixResult, tolerance: float = 0.02) -> TextTable:
    """The sparsest configurations that can be deployed and are within ``tolerance`` of dense.

    Those that were searched are judged on samples that the search did not see.  Raises
    ``UserError`` if there is none at all.
    """
    best = result.best("density_at_score", tolerance=tolerance)
    title = f"the fewest keys within {tolerance:g} of the score of dense attention"
    rows = tuple(_row(cell, row) for cell, row in zip(best.cells, _records(best), strict=True))
    return TextTable(title, _COLUMNS, rows, frozenset({"settings"}))


def _records(result: MatrixResult) -> list[dict[str, object]]:
    return result.to_frame().to_dict("records")


def _row(cell: CellResult, row: dict[str, object]) -> tuple[str, ...]:
    searched = cell.metrics is not None and cell.metrics["held_out"] is not None
    prefix = "held_out_" if searched else ""
    settings = spelled_out(cell.attention.to_json(), "") if cell.attention else ""
    return (
        cell.subset,
        cell.config,
        _number(row[f"{prefix}score"]),
        _number(row[f"{prefix}dense_difference"]),
        _number(row["density"]),
        _number(row["bytes_read"]),
        settings,
    )


def _number(value: object) -> str:
    return f"{value:.3f}" if isinstance(value, float) and value == value else NONE
