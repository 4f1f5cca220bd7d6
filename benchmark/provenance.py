"""The key of a result: everything that it depends on, as one JSON document.

Two results with the same key are interchangeable; another value anywhere is another result.
"""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import sparse_attention
from benchmark.base import Sample
from benchmark.files import fingerprint
from sparse_attention.config import AttentionConfig

FORMAT = 2
"""Version of the layout of result files; part of every key."""

_LIBRARIES = ("torch", "transformers", "tokenizers")


@cache
def method_sources_fingerprint() -> str:
    """Hex SHA-256 over the sources of ``sparse_attention``: the code revision of the methods."""
    root = Path(sparse_attention.__path__[0])
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        digest.update(f"{path.relative_to(root).as_posix()} {content}\n".encode())
    return digest.hexdigest()


@cache
def library_versions() -> dict[str, str]:
    """Versions of Python and of the libraries that can change a model's output."""
    return {"python": platform.python_version(), **{name: version(name) for name in _LIBRARIES}}


def file_sha256(path: Path) -> str:
    """Hex SHA-256 of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def config_document(config: AttentionConfig) -> dict[str, Any]:
    """All that a configuration means, as JSON values: files that it names by their content too."""
    document = config.to_json()
    files = [name for method in config.methods for name in method.files]
    if files:
        document["files_sha256"] = {name: file_sha256(Path(name)) for name in files}
    return document


def context_fingerprint(context: str) -> str:
    """Short hash of a context, by which samples that share it are recognised."""
    return hashlib.sha256(context.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def samples_fingerprint(samples: Sequence[Sample]) -> str:
    """Hex SHA-256 of samples: their ids, texts, answers and order."""
    return fingerprint(
        [
            [
                sample.id,
                context_fingerprint(sample.context),
                sample.question,
                sample.answer_prefix,
                list(sample.answers),
                sample.max_new_tokens,
                sample.task,
                dict(sample.extra),
            ]
            for sample in samples
        ]
    )


def differing_fields(ours: Any, theirs: Any, path: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Each place at which two JSON documents differ: (dotted path, ours, theirs)."""
    if isinstance(ours, Mapping) and isinstance(theirs, Mapping):
        for name in sorted({*ours, *theirs}):
            inner = f"{path}.{name}" if path else str(name)
            yield from differing_fields(ours.get(name), theirs.get(name), inner)
    elif ours != theirs:
        yield path, ours, theirs


def describe_difference(ours: Any, theirs: Any) -> str:
    """The differing fields of two keys, in words."""
    return "; ".join(
        f"{path}: {_short(old)} there, {_short(new)} now"
        for path, new, old in differing_fields(ours, theirs)
    )


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:16]}..."
