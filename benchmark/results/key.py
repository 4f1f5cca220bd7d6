"""The key of a result: everything that it depends on, as one JSON document.

Two results with the same key are interchangeable; another value anywhere is another result.
"""

from __future__ import annotations

import ast
import hashlib
import platform
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import sparse_attention
from benchmark.files import file_sha256
from sparse_attention.config import AttentionConfig

FORMAT = 3
"""Version of the layout of result files; part of every key."""

_LIBRARIES = ("torch", "transformers", "tokenizers")
_COMPUTING = (
    *("numerics", "cache", "attention", "maskers", "presses", "learned", "decode"),
    *("hf/adapter", "hf/attention", "hf/facts", "hf/loading", "hf/prefill", "hf/rotary"),
    *("config", "method", "model_facts", "prompt", "protocol"),
)
"""The rooms and modules of the library that decide an answer."""


@cache
def method_sources_fingerprint() -> str:
    """Hex SHA-256 over the code that computes answers.

    Of each module the syntax tree without docstrings, so that prose, comments and layout do not
    count; of the library only what can change an answer.
    """
    root = Path(sparse_attention.__path__[0])
    digest = hashlib.sha256()
    for path in sorted(path for place in _COMPUTING for path in _modules(root / place)):
        digest.update(f"{path.relative_to(root).as_posix()} {_code_fingerprint(path)}\n".encode())
    return digest.hexdigest()


def _modules(place: Path) -> Iterator[Path]:
    """The modules of a room, or the one module of that name."""
    return place.rglob("*.py") if place.is_dir() else iter([place.with_suffix(".py")])


def _code_fingerprint(path: Path) -> str:
    tree = ast.parse(path.read_bytes())
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):  # constants that stand alone: docstrings, also of fields
            node.body = [item for item in body if not _is_prose(item)]  # type: ignore[attr-defined]
    return hashlib.sha256(ast.dump(tree).encode()).hexdigest()


def _is_prose(item: ast.AST) -> bool:
    return (
        isinstance(item, ast.Expr)
        and isinstance(item.value, ast.Constant)
        and isinstance(item.value.value, str)
    )


@cache
def library_versions() -> dict[str, str]:
    """Versions of Python and of the libraries that can change a model's output."""
    return {"python": platform.python_version(), **{name: version(name) for name in _LIBRARIES}}


def config_document(config: AttentionConfig) -> dict[str, Any]:
    """All that a configuration means, as JSON values: files that it names by their content too."""
    document = config.to_json()
    files = [name for method in config.methods for name in method.files]
    if files:
        document["files_sha256"] = {name: file_sha256(Path(name)) for name in files}
    return document


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
