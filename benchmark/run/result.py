"""What a matrix gives back: its cells, as a table and to choose from."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from benchmark.objectives import Candidate, choose, make_objective, saves_little
from benchmark.results.records import total_read
from benchmark.run.finish import CellResult
from benchmark.run.jobs import DENSE
from benchmark.run.table import Table, estimate_columns
from sparse_attention.errors import UserError

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class MatrixResult(Table):
    """All cells of a matrix, finished or failed.

    Printed, and shown by a notebook, as a table.
    """

    results_dir: Path
    cells: tuple[CellResult, ...]

    @property
    def exit_code(self) -> int:
        """0 if every cell is complete, else 1."""
        return int(any(cell.status != "complete" for cell in self.cells))

    @property
    def folders(self) -> list[Path]:
        """Of the cells; one for which a search found nothing has none."""
        return [cell.folder for cell in self.cells if cell.folder != self.results_dir]

    def to_frame(self) -> pd.DataFrame:
        """A row for each cell.

        ``score`` and ``dense_difference`` (paired by sample) have 95% intervals, ``.._low`` to
        ``.._high``.  Where settings were searched, ``held_out_..`` leaves out what the search saw.
        """
        return pd.DataFrame([_row(cell) for cell in self.cells])

    def best(
        self, objective: str = "density_at_score", *, oracles: bool = False, **limits: float
    ) -> MatrixResult:
        """The best cell of each model and subset: ``best().cells[0].attention`` is what to run.

        Searched settings are judged on samples that the search did not see.  Cells that are not
        complete, and those that do not keep the objective's constraint, are not chosen; a subset
        without any other has no cell here, and a warning.

        Args:
            objective: as of a search; see ``benchmark.objectives.Objective``.
            oracles: whether oracles, which cannot be deployed, may be chosen.
            limits: ``tolerance``, ``density_budget``, ``penalty``, where not the objective's own.

        Raises:
            UserError: for an unknown objective, one that needs what was not measured, and if no
                cell can be chosen.
        """
        wanted = make_objective(objective, limits)
        groups: dict[tuple[str, str, str], list[tuple[CellResult, Candidate]]] = {}
        for cell in self.cells:
            if cell.attention is None:  # a search found nothing, which it has said
                continue
            group = groups.setdefault((cell.model, cell.benchmark, cell.subset), [])
            candidate = _candidate(cell)
            if candidate is not None and (oracles or not _is_oracle(cell)):
                group.append((cell, candidate))
        winners = []
        for names, group in groups.items():
            place = choose(wanted, [candidate for _, candidate in group])
            if place is None:
                logger.warning("%s %s/%s: no cell keeps what %s asks", *names, objective)
            else:
                winners.append(group[place][0])
                for remark in saves_little(*_read(group[place][0])):
                    logger.warning("%s %s/%s: %s %s", *names, group[place][0].config, remark)
        if not winners:
            raise UserError(f"no complete cell that can be deployed keeps what {objective} asks.")
        return replace(self, cells=tuple(winners))


def _read(cell: CellResult) -> tuple[float | None, float | None]:
    """Density and bytes."""
    metrics: Mapping[str, Any] = cell.metrics or {}
    read = total_read(metrics.get("union_density"), metrics.get("selection_share"))
    return metrics.get("density"), read


def _is_oracle(cell: CellResult) -> bool:
    return cell.attention is not None and cell.attention.oracle


def _candidate(cell: CellResult) -> Candidate | None:
    if cell.status != "complete" or cell.metrics is None:
        return None
    return Candidate.of(
        cell.metrics["held_out"] or cell.metrics, cell.metrics, cell.attention == DENSE
    )


def _row(cell: CellResult) -> dict[str, Any]:
    metrics: Mapping[str, Any] = cell.metrics or {}
    held_out = metrics.get("held_out") or {}
    score = metrics.get("score")
    density, bytes_read = _read(cell)
    return {
        "model": cell.model,
        "benchmark": cell.benchmark,
        "subset": cell.subset,
        "config": cell.config,
        "status": cell.status,
        "samples": 0 if score is None else score["samples"],
        **estimate_columns("score", score),
        **estimate_columns("dense_difference", metrics.get("dense_difference")),
        **estimate_columns("held_out_score", held_out.get("score")),
        **estimate_columns("held_out_dense_difference", held_out.get("dense_difference")),
        "density": density,
        "bytes_read": bytes_read,
        "attention_error": metrics.get("attention_error"),
        "message": cell.message,
        "folder": str(cell.folder),
    }
