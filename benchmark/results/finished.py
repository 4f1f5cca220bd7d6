"""What the folder of a finished cell says, whoever made it: its key and its metrics."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmark.files import fingerprint
from benchmark.results.key import FORMAT
from benchmark.results.metrics_file import Metrics
from benchmark.results.records import PartOfRecord
from benchmark.results.seal import unseal
from sparse_attention.reading import read_json

METRICS = "metrics.json"


class _Protocol(PartOfRecord):
    sparse_from: str
    dense_layers: list[int]
    press_sees_question: bool


class _BenchmarkKey(PartOfRecord):
    name: str
    subset: str
    sample_data: bool
    options: dict[str, Any]


class _ModelKey(PartOfRecord):
    dtype: str


class _MethodKey(PartOfRecord):
    name: str


class _ConfigKey(PartOfRecord):
    methods: list[_MethodKey]


class _Key(PartOfRecord):
    """The part of a key that is read by name; the whole is only compared."""

    protocol: _Protocol
    benchmark: _BenchmarkKey
    config: _ConfigKey
    model: _ModelKey
    device_type: str
    prompt: dict[str, Any]
    data: dict[str, Any]


def read_key(folder: Path) -> dict[str, Any]:
    """The key of a cell's folder, which fits its name; of another format just that is known.

    Raises ``ValueError`` if it is damaged.
    """
    key = read_json(folder / "key.json", "key")
    if not isinstance(key, dict) or type(key.get("format")) is not int:
        raise ValueError("key.json is no key")
    if fingerprint(key)[:8] != folder.name[-8:]:
        raise ValueError("key.json does not fit the folder's name")
    if key["format"] == FORMAT:
        _Key.from_json(key)
    return key


def read_metrics(folder: Path, key: Mapping[str, Any]) -> Metrics:
    """The derived document of a cell's folder; ``ValueError`` if it is damaged."""
    document = read_json(folder / METRICS, "metrics")
    return Metrics.from_json(unseal(document, fingerprint(key)))
