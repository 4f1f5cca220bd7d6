"""The cells of a results folder as they lie there: finished, half done, of earlier versions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from benchmark.files import fingerprint
from benchmark.results.cells import MARKER, check_marker
from benchmark.results.finished import METRICS, read_key, read_metrics
from benchmark.results.journal import sound_records
from benchmark.results.key import FORMAT
from benchmark.results.records import Cost, Prediction
from sparse_attention.errors import UserError
from sparse_attention.reading import (
    DATA_FILE,
    decoded,
    parse_json,
    read_bytes,
    read_json,
    user_folder,
)

_HINTS = 5
"""Folders that an error names at most."""


@dataclass(frozen=True)
class LeftOut:
    """Something that is there and is not shown."""

    cell: Path
    format: int | None
    """Of another version; None: it is damaged."""
    reason: str


@dataclass(frozen=True)
class CellFolder:
    """The folder of a cell that has a sound key."""

    path: Path
    key: Mapping[str, Any]
    metrics: Mapping[str, Any] | None
    """Content of ``metrics.json``; None if the cell is not finished."""

    @property
    def is_current(self) -> bool:
        """Whether this version wrote it, so that its checksums can be verified."""
        return bool(self.key["format"] == FORMAT)

    @property
    def names(self) -> dict[str, str]:
        """Model, benchmark, subset and label; of an unfinished cell as its folders have them."""
        model, benchmark, subset = (parent.name for parent in reversed(self.path.parents[:3]))
        found = {
            "model": model,
            "benchmark": benchmark,
            "subset": subset,
            "config": self.path.name[:-9],
        }
        return {name: str((self.metrics or {}).get(name, value)) for name, value in found.items()}

    def predictions(self, left_out: list[LeftOut]) -> list[dict[str, Any]]:
        """The sound predictions, in the order of the file; damage is added to ``left_out``."""
        return self._records("predictions.jsonl", Prediction, left_out)

    def costs(self, left_out: list[LeftOut]) -> dict[str, dict[str, Any]]:
        """The sound costs by sample; damage is added to ``left_out``."""
        return {cost["id"]: cost for cost in self._records("costs.jsonl", Cost, left_out)}

    def _records(
        self, name: str, kind: type[Prediction | Cost], left_out: list[LeftOut]
    ) -> list[dict[str, Any]]:
        path = self.path / name
        if not self.is_current:
            return list(_earlier_records(path))
        try:
            found, damaged = sound_records(path, kind.from_json, fingerprint(self.key))
        except ValueError as error:
            left_out.append(LeftOut(path, None, f"damaged: {error}"))
            return []
        if damaged:
            left_out.append(LeftOut(path, None, f"damaged: {damaged} lines"))
        return [vars(record) for record in found.values()]


@dataclass
class Scan:
    """What a results folder, or a part of it, holds."""

    root: Path
    """The results folder."""
    cells: list[CellFolder] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)


def scan_results(path: str | Path) -> Scan:
    """Read the keys and metrics of all cells in a results folder, or in a folder within one.

    Raises:
        UserError: if it is none, or one of a later version.
    """
    folder = user_folder(path, "results folder")
    if not (folder / MARKER).is_file():
        folder = folder.resolve()  # it may be within one
    root = results_root(folder)
    return scan_cells(root, cell_folders(root, folder))


def scan_cells(root: Path, cells: Iterable[Path]) -> Scan:
    """Read the keys and metrics of these cells in the results folder ``root``."""
    scan = Scan(root)
    for cell in cells:
        try:
            key = read_key(cell)
            scan.cells.append(CellFolder(cell, key, _metrics(cell, key)))
        except (OSError, ValueError) as error:
            scan.left_out.append(LeftOut(cell, None, f"damaged: {error}"))
    return scan


def results_root(folder: Path) -> Path:
    """The results folder that ``folder`` is or lies in; ``UserError`` if it is in none."""
    for root in (folder, *folder.parents):
        if (root / MARKER).is_file():
            check_marker(root)
            return root
    if not folder.is_dir():
        raise UserError(f"no results folder {folder}.")
    inside = [found.parent for found in islice(folder.glob(f"*/{MARKER}"), _HINTS)]
    if inside:
        where = f"results folders in it: {', '.join(map(str, sorted(inside)))}"
    elif any(folder.iterdir()):
        where = "it holds other files; name what --results-dir named"
    else:
        where = "it is empty; 'sparse-bench run' fills one"
    raise UserError(f"{folder} is not a results folder: no {MARKER}; {where}.")


def cell_folders(root: Path, within: Path) -> Iterator[Path]:
    """Folders below ``within`` that are those of cells, finished or not, in order."""
    parts = within.relative_to(root).parts[:4]
    pattern = "/".join(["*"] * (4 - len(parts)))
    below = root.joinpath(*parts)
    for cell in sorted(below.glob(pattern)) if pattern else [below]:
        if (cell / "key.json").is_file() and ".damaged-" not in cell.name:
            yield cell


def _metrics(cell: Path, key: Mapping[str, Any]) -> Mapping[str, Any] | None:
    if not (cell / METRICS).exists():
        return None
    if key["format"] == FORMAT:
        return read_metrics(cell, key).to_json()
    document = read_json(cell / METRICS, "metrics")
    if not isinstance(document, dict):
        raise ValueError(f"{METRICS} is no object")
    return document


def _earlier_records(path: Path) -> Iterator[dict[str, Any]]:
    """Lines of an earlier version, whose checksums and fields are not those of this one."""
    if not path.exists():
        return
    for line in read_bytes(path, "records", DATA_FILE).splitlines():
        with suppress(ValueError):
            record = parse_json(decoded(line, "it", "text"), "text", any_text=True)
            if isinstance(record, dict) and isinstance(record.get("id"), str):
                yield record
