"""Where results lie, and how a cell of the matrix is read, extended and finished.

``<results>/<model>/<benchmark>/<subset>/<config label>-<8 hex digits of the key>/`` holds

- ``key.json``: everything the result depends on (``benchmark.results.key``);
- ``predictions.jsonl``: one ``Prediction`` a line, appended as they come, without times;
- ``costs.jsonl``: one ``Cost`` a line;
- ``metrics.json``: derived from the others (``benchmark.results.metrics``), written last.

Labels are for people; only the key decides whether a result is the one that is asked for.  All but
the key, whose hash is in the folder's name, have checksums (``benchmark.results.seal``).
"""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

from pydantic import ConfigDict, Field

from benchmark.files import (
    distinct_name,
    fingerprint,
    json_document,
    move_aside,
    safe_name,
    try_lock,
    write_atomic,
    write_if_changed,
)
from benchmark.results.finished import METRICS, read_metrics
from benchmark.results.journal import append_records, read_records, write_records
from benchmark.results.key import FORMAT, describe_difference, differing_fields
from benchmark.results.metrics_file import Metrics
from benchmark.results.records import Cost, Prediction, Record
from benchmark.results.seal import seal
from sparse_attention.errors import UserError
from sparse_attention.reading import read_json, user_folder

logger = logging.getLogger(__name__)

MARKER = "sparse-bench-results.json"
"""File that tells a folder of results from a folder of something else."""


def check_results(path: str | Path) -> Path:
    """A results folder's whole path; it need not exist, and nothing is written.

    Raises ``UserError`` if it cannot be written, or holds files and is not a results folder.
    """
    folder = user_folder(path, "results folder").resolve()
    try:
        if folder.exists() and not folder.is_dir():
            raise UserError(f"results folder {folder} is a file; name a folder.")
        if (folder / MARKER).exists():
            check_marker(folder)
        elif folder.is_dir() and not all(
            path.name.startswith(f".{MARKER}.") for path in folder.iterdir()
        ):
            raise UserError(
                f"{folder} is not a results folder: it holds files but no {MARKER}. "
                "Name an empty or new folder."
            )
        place = next(parent for parent in (folder, *folder.parents) if parent.exists())
        with tempfile.TemporaryFile(dir=place):
            pass
    except OSError as error:
        raise _unwritable(folder, error) from error
    return folder


def open_results(path: str | Path) -> Path:
    """The results folder, made if it is absent; see ``check_results``.

    One with results of an earlier format is taken too, and that is said: since the format is in
    every key, the cells of this version lie beside the earlier ones, which stay as they are.
    """
    folder = check_results(path)
    marker = folder / MARKER
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not marker.exists():
            write_atomic(marker, json_document({"format": FORMAT}))
    except OSError as error:
        raise _unwritable(folder, error) from error
    found = check_marker(folder)
    if FORMAT not in found.formats:
        logger.warning(
            "%s has results of format %d, this version writes format %d: its cells are computed "
            "again beside them, which stay as they are",
            *(folder, found.format, FORMAT),
        )
        both = {"format": found.format, "also": [*found.also, FORMAT]}
        write_atomic(marker, json_document(both))
    return folder


def _unwritable(folder: Path, error: OSError) -> UserError:
    return UserError(f"results folder {folder} cannot be written: {error.strerror}.")


class _Marker(Record):
    """What a results folder says about itself."""

    model_config = ConfigDict(extra="ignore")

    format: Annotated[int, Field(ge=1)]
    """With which it was begun."""
    also: list[int] = Field(default_factory=list)
    """Of what later versions added."""

    @property
    def formats(self) -> set[int]:
        return {self.format, *self.also}


def check_marker(folder: Path) -> _Marker:
    """What a results folder says; of this version or an earlier one.

    Raises ``UserError`` if ``folder`` is no results folder, or one of a later version.
    """
    try:
        found = _Marker.from_json(read_json(folder / MARKER, "marker of results"))
    except ValueError as error:
        raise UserError(
            f"{folder} is not a results folder: no readable {MARKER} ({error})."
        ) from error
    if found.format > FORMAT:
        raise UserError(
            f"{folder} has results of format {found.format}, this version writes {FORMAT}; "
            "name another folder."
        )
    return found


@dataclass
class CellFiles:
    """The files of one cell: one model, benchmark, subset and configuration."""

    subset_folder: Path
    label: str
    key: Mapping[str, Any]
    _lock: ExitStack | None = field(default=None, repr=False)

    @cached_property
    def scope(self) -> str:
        """Hash of the key, to which all files belong; its first 8 hex digits are in names."""
        return fingerprint(self.key)

    @property
    def folder(self) -> Path:
        """``<label>-<hash of the key>`` in the folder of the subset."""
        return self.subset_folder / f"{distinct_name(self.label)}-{self.scope[:8]}"

    @property
    def metrics_path(self) -> Path:
        """The derived file, which exists once the cell is finished."""
        return self.folder / METRICS

    def lock(self) -> None:
        """Keep other processes from this cell until ``unlock`` or the end of the process.

        Raises ``UserError`` if another process has it.
        """
        self.subset_folder.mkdir(parents=True, exist_ok=True)
        # Beside the folder, not in it: a damaged folder is moved aside while it is locked.
        lock = try_lock(self.subset_folder / f".{self.folder.name}.lock")
        if lock is None:
            raise UserError(
                f"another process is working on {self.folder}; wait for it, "
                "or name another results folder."
            )
        self._lock = lock

    def unlock(self) -> None:
        """Let other processes work on the cell."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def prepare(self) -> None:
        """Make the folder with its key; a folder that is not of this key is moved aside."""
        path = self.folder / "key.json"
        if self.folder.exists() and any(self.folder.glob("[!.]*")):
            found = _read_key_file(path)
            if found == self.key:
                return
            cause = (
                "no readable key.json"
                if found is None
                else f"its key differs in {describe_difference(self.key, found)}"
            )
            target = move_aside(self.folder)
            logger.warning(
                "%s is not a result of this cell (%s); moved to %s, the cell is computed again",
                *(self.folder, cause, target.name),
            )
        else:
            self._report_sibling()
        # A process that was killed may have made the folder and not yet the key.
        self.folder.mkdir(parents=True, exist_ok=True)
        write_atomic(path, json_document(self.key))

    def _report_sibling(self) -> None:
        pattern = f"{distinct_name(self.label)}-{'?' * 8}/key.json"
        siblings = [
            (len(list(differing_fields(self.key, key))), path.parent.name, key)
            for path in sorted(self.subset_folder.glob(pattern))
            if (key := _read_key_file(path)) is not None
        ]
        if siblings:
            _, name, key = min(siblings, key=lambda sibling: sibling[:2])
            logger.info(
                "%s is a new result; %s differs in: %s",
                *(self.folder.name, name, describe_difference(self.key, key)),
            )

    def read(self, ids: Sequence[str]) -> tuple[dict[str, Prediction], dict[str, Cost]]:
        """Predictions and costs by sample, as far as they can be trusted."""
        known = frozenset(ids)
        scope = self.scope
        path = self.folder / "predictions.jsonl"
        predictions = read_records(path, Prediction.from_json, scope, known)
        # The process may have died between a sample's cost and its prediction.
        path = self.folder / "costs.jsonl"
        costs = read_records(path, Cost.from_json, scope, known, repeats=True)
        return predictions, costs

    def append(self, predictions: Sequence[Prediction], costs: Sequence[Cost]) -> None:
        """Add samples; a prediction on disk always has its cost on disk."""
        append_records(self.folder / "costs.jsonl", costs, self.scope)
        append_records(self.folder / "predictions.jsonl", predictions, self.scope)

    def rewrite(
        self, ids: Sequence[str], predictions: Mapping[str, Prediction], costs: Mapping[str, Cost]
    ) -> None:
        """Replace both files, in the order of ``ids``; samples that are absent stay absent."""
        ordered = [predictions[name] for name in ids if name in predictions]
        own_costs = [costs[name] for name in ids if name in costs]
        write_records(self.folder / "predictions.jsonl", ordered, self.scope)
        write_records(self.folder / "costs.jsonl", own_costs, self.scope)

    def read_metrics(self) -> Metrics | None:
        """The derived document; None if it is absent or damaged, which is reported."""
        if not self.metrics_path.exists():
            return None
        try:
            return read_metrics(self.folder, self.key)
        except ValueError as error:
            target = move_aside(self.metrics_path)
            logger.warning(
                "%s is damaged (%s); moved to %s, it is derived again",
                *(self.metrics_path, error, target.name),
            )
            return None

    def write_metrics(self, metrics: Mapping[str, Any]) -> None:
        """Write the derived document; the last file that a finished cell gets."""
        write_if_changed(self.metrics_path, json_document(seal(metrics, self.scope)))


def find_results(subset_folder: Path, key: Mapping[str, Any]) -> list[CellFiles]:
    """Cells on disk with this key, under whichever labels."""
    paths = sorted(subset_folder.glob(f"*-{fingerprint(key)[:8]}/key.json"))
    found = [path.parent.name[:-9] for path in paths if _read_key_file(path) == key]
    return [CellFiles(subset_folder, label, key) for label in found]


def _read_key_file(path: Path) -> dict[str, Any] | None:
    try:
        document = read_json(path, "key")
    except UserError:
        return None
    return document if isinstance(document, dict) else None


def subset_folder(results: Path, model: str, benchmark: str, subset: str) -> Path:
    """The folder of all configurations of a model on a subset."""
    return results / safe_name(model.rstrip(os.sep)) / safe_name(benchmark) / safe_name(subset)
