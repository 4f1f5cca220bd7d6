"""The best settings that were found, one JSON file for each search.

A file is named ``<model>_<config type>_<benchmark>_<subset>.json``, or ``..._global.json`` for all
tasks.  Names are for people: characters that a path cannot have become ``-``, and two searches
whose names fall together get files of their own.  Which search a file belongs to is in its
``names``, and whether its settings are still valid in its ``key``.  A file whose checksum does not
fit is not believed: the search goes on from the journal of its trials.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from benchmark.files import fingerprint, json_document, try_lock, write_atomic
from benchmark.results.key import FORMAT as ANSWER_FORMAT
from benchmark.results.key import describe_difference, differing_fields
from benchmark.results.seal import seal, unseal
from benchmark.tuning.search_file import FORMAT, Names, SearchFile
from sparse_attention.config import AttentionConfig
from sparse_attention.errors import UserError
from sparse_attention.reading import DATA_FILE, read_json, user_folder

logger = logging.getLogger(__name__)

_SCOPE = "search"
_LOCK_SECONDS = 30.0
"""How long to wait for another process, which has the lock only while it writes one file."""


@dataclass(frozen=True)
class CachedResult:
    """What a finished search found: the content of its file."""

    path: Path
    names: Names
    key: Mapping[str, Any]
    """Everything that the result depends on."""
    best: Mapping[str, Any]
    """``config``, ``point``, ``trial``, ``loss``, ``tuning`` (what the search measured) and
    ``held_out`` (what samples that it did not see say, by task)."""
    document: Mapping[str, Any]
    """The whole file as ``SearchFile`` has it, with all trials and their Pareto front."""

    @property
    def feasible(self) -> bool:
        """Whether the winner keeps the constraint of the objective, if that has one."""
        return bool(self.best["feasible"])

    def covers(self, task: str) -> bool:
        """Whether the search was on a task (``benchmark_subset``) among others."""
        return self.names.benchmark is None and task in self.document["tasks"]

    @property
    def remarks(self) -> tuple[str, ...]:
        """What must be said with the winner."""
        return tuple(self.best["remarks"])

    @property
    def config(self) -> AttentionConfig:
        """The configuration that won."""
        return AttentionConfig.from_json(self.best["config"])


class BestConfigCache:
    """The finished searches in a folder, a file each."""

    def __init__(self, folder: str | Path) -> None:
        self.folder = user_folder(folder, "cache folder")

    def read_all(self) -> list[CachedResult]:
        """All results; a file that is damaged or something else is reported and left out."""
        if not self.folder.is_dir():
            return []
        found = [_read(path) for path in sorted(self.folder.glob("*.json"))]
        return [result for result in found if result is not None]

    def find(self, names: Names) -> list[CachedResult]:
        """Results of one search, the newest first."""
        found = [result for path in self._paths(names) if (result := _read(path)) is not None]
        own = [result for result in found if result.names == names]
        return sorted(own, key=lambda result: result.document["created"], reverse=True)

    def covering(self, names: Names) -> list[CachedResult]:
        """Results of a search, else those of searches over several tasks that had its task."""
        together = names.model_copy(update={"benchmark": None, "subset": None})
        return self.find(names) or [
            result for result in self.find(together) if result.covers(names.task)
        ]

    def get(self, names: Names, key: Mapping[str, Any]) -> CachedResult | None:
        """The result with this key; None, and a message that names the difference, without it."""
        key = json.loads(json_document(key))
        found = self.find(names)
        for result in found:
            if result.key == key:
                return result
        if found:
            nearest = min(found, key=lambda result: len(list(differing_fields(key, result.key))))
            earlier = _answer_formats(nearest.key) - {ANSWER_FORMAT}
            if earlier:
                logger.warning(
                    "%s was found with answers of format %s, this version gives format %d: "
                    "searching anew, the earlier result is kept",
                    *(nearest.path.name, ", ".join(map(str, earlier)), ANSWER_FORMAT),
                )
            else:
                difference = describe_difference(key, nearest.key)
                logger.info(
                    "%s is another result (%s); searching anew", nearest.path.name, difference
                )
        return None

    def store(self, names: Names, key: Mapping[str, Any], content: Mapping[str, Any]) -> Path:
        """Write a result; an older one of the same search keeps its content under another name.

        Raises:
            UserError: if the folder cannot be written.
        """
        document = {
            "format": FORMAT,
            "names": names.to_json(),
            "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            **content,
            "key": key,
        }
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with self._locked():
                path = self._own_path(names)
                old = _read(path) if path.exists() else None
                if old is not None and fingerprint(old.key) != fingerprint(key):
                    path.rename(path.with_name(f"{path.stem}-{fingerprint(old.key)[:8]}.json"))
                write_atomic(path, json_document(seal(document, _SCOPE)))
        except OSError as error:
            raise UserError(f"cache {self.folder} cannot be written: {error.strerror}") from error
        return path

    def _locked(self) -> ExitStack:
        end = time.monotonic() + _LOCK_SECONDS
        while (lock := try_lock(self.folder / ".lock")) is None:
            if time.monotonic() > end:
                raise UserError(f"another process keeps the cache {self.folder} locked")
            time.sleep(0.01)
        return lock

    def _own_path(self, names: Names) -> Path:
        """The file of a search: the plain name, unless another search or a foreign file has it."""
        plain = self.folder / f"{names.stem}.json"
        if not plain.exists():
            return plain
        holder = _read(plain)
        if holder is not None and holder.names == names:
            return plain
        return self.folder / f"{names.stem}-{fingerprint(names.to_json())[:8]}.json"

    def _paths(self, names: Names) -> Iterator[Path]:
        if self.folder.is_dir():
            for path in sorted(self.folder.glob("*.json")):
                if path.name.startswith(names.stem):
                    yield path


def _answer_formats(key: Mapping[str, Any]) -> set[Any]:
    """Formats of the answers that a search was judged by, over its tasks."""
    tasks = key.get("tasks")
    known = tasks.values() if isinstance(tasks, dict) else ()
    return {task.get("format") for task in known if isinstance(task, dict)}


def _read(path: Path) -> CachedResult | None:
    try:
        document = read_json(path, "result of a search", DATA_FILE)
        found = document.get("format") if isinstance(document, dict) else None
        if type(found) is int and found < FORMAT:
            _say_once(
                f"{path} has format {found}, this version reads format {FORMAT}: it is left out, "
                "and kept"
            )
            return None
        document = unseal(document, _SCOPE)
        names = SearchFile.from_json(document).names
    except ValueError as error:
        _say_once(f"{path} is not a result of a search and is left out ({error})")
        return None
    return CachedResult(path, names, document["key"], document["best"], document)


@cache
def _say_once(message: str) -> None:
    logger.warning("%s", message)
