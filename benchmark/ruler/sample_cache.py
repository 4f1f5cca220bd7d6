"""Generated samples on disk, under a key of everything that they depend on.

A file is JSON lines: a header with the key, the number of samples and the SHA-256 of all that
follows, then one sample a line.
"""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmark.files import write_atomic
from benchmark.suite.base import Sample
from sparse_attention.reading import DATA_FILE, decoded, parse_json, read_bytes

_FORMAT = 1


class SampleCache:
    """Samples in a folder; a damaged file is reported with a warning and counts as missing."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def path(self, label: str, key: Mapping[str, Any]) -> Path:
        """File of the samples with ``key``; ``label`` is for people who look at the folder."""
        digest = hashlib.sha256(_dump(key).encode()).hexdigest()
        return self._folder / f"{label}-{digest[:16]}.jsonl"

    def load(self, label: str, key: Mapping[str, Any]) -> list[Sample] | None:
        """Return the samples with ``key``, or None."""
        path = self.path(label, key)
        if not path.exists():
            return None
        try:
            return _parse(read_bytes(path, "generated samples", DATA_FILE), key)
        except (ValueError, KeyError, TypeError) as error:
            warnings.warn(f"{path} is damaged ({error}); generating it anew", stacklevel=2)
            return None

    def store(self, label: str, key: Mapping[str, Any], samples: Iterable[Sample]) -> None:
        """Keep samples; a folder that cannot be written is reported with a warning."""
        path = self.path(label, key)
        lines = [_dump(asdict(sample)) for sample in samples]
        body = "".join(f"{line}\n" for line in lines).encode()
        header = {
            "format": _FORMAT,
            "samples": len(lines),
            "sha256": hashlib.sha256(body).hexdigest(),
            "key": key,
        }
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(path, f"{_dump(header)}\n".encode() + body)
        except OSError as error:
            warnings.warn(f"cannot keep generated samples in {path}: {error}", stacklevel=2)


def _parse(content: bytes, key: Mapping[str, Any]) -> list[Sample]:
    head, _, body = content.partition(b"\n")
    header = _value(head)
    if header["format"] != _FORMAT or _dump(header["key"]) != _dump(key):
        raise ValueError("it belongs to other samples")
    if header["sha256"] != hashlib.sha256(body).hexdigest():
        raise ValueError("its content does not have the recorded hash")
    records = [_value(line) for line in body.splitlines()]
    if len(records) != header["samples"]:
        raise ValueError("its number of samples is not the recorded one")
    return [Sample(**{**record, "answers": tuple(record["answers"])}) for record in records]


def _value(line: bytes) -> Any:
    return parse_json(decoded(line, "a line", "text"), "a line")


def data_fingerprint(samples: Iterable[Sample]) -> str:
    """SHA-256 of the samples with all their fields."""
    digest = hashlib.sha256()
    for sample in samples:
        digest.update(f"{_dump(asdict(sample))}\n".encode())
    return digest.hexdigest()


def _dump(value: Any) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False)
