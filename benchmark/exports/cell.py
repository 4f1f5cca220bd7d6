"""A finished cell as the exports see it, and what they write."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from benchmark.files import write_if_changed
from benchmark.report.frames.methods import family, method_names
from benchmark.report.frames.scan import CellFolder, LeftOut
from benchmark.results.finished import METRICS

_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True)
class ExportedCell:
    """One configuration on one subset, finished, of this version."""

    folder: CellFolder
    metrics: Mapping[str, Any]
    predictions: list[dict[str, Any]]

    @classmethod
    def read(cls, folder: CellFolder, left_out: list[LeftOut]) -> ExportedCell | None:
        """None, and a reason in ``left_out``, if the cell cannot be exported."""
        if not folder.is_current or folder.metrics is None:
            number = None if folder.is_current else folder.key["format"]
            reason = "not finished" if folder.is_current else f"of format {number}"
            left_out.append(LeftOut(folder.path, number, reason))
            return None
        return cls(folder, folder.metrics, folder.predictions(left_out))

    @property
    def names(self) -> dict[str, str]:
        """Model, benchmark, subset and config."""
        return self.folder.names

    @property
    def key(self) -> Mapping[str, Any]:
        """What the result depends on."""
        return self.folder.key

    @property
    def name(self) -> str:
        """Of files: it is of the cell alone."""
        return "__".join([*self.folder.path.relative_to(self.folder.path.parents[3]).parts])

    @property
    def method(self) -> str:
        """``dense``, or the methods in words."""
        return family(method_names(self.key.get("config") or {}))

    @cached_property
    def finished(self) -> datetime:
        """When it was finished, by the file system: results have no times in them."""
        return datetime.fromtimestamp((self.folder.path / METRICS).stat().st_mtime, UTC)


def plain(value: Any) -> Any:
    """A value whose texts any reader of JSON takes: half characters become U+FFFD."""
    if isinstance(value, str):
        return _SURROGATE.sub("\ufffd", value)
    if isinstance(value, Mapping):
        return {plain(key): plain(inner) for key, inner in value.items()}
    return [plain(inner) for inner in value] if isinstance(value, list | tuple) else value


def write_json(path: Path, document: Any) -> Path:
    """Write one JSON document."""
    return _write(path, json.dumps(plain(document), indent=1))


def write_lines(path: Path, documents: Iterable[Any]) -> Path:
    """Write one JSON document a line."""
    return _write(path, "\n".join(json.dumps(plain(one)) for one in documents))


def _write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_if_changed(path, f"{text}\n".encode())
    return path
