"""The key of a result: everything that it depends on, as one JSON document.

Two results with the same key are interchangeable; another value anywhere is another result.
"""

from __future__ import annotations

import ast
import hashlib
import inspect
import linecache
import platform
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import sparse_attention
from benchmark.files import file_sha256
from sparse_attention.config import AttentionConfig
from sparse_attention.errors import UserError
from sparse_attention.method import Method

FORMAT = 4
"""Version of the layout of result files; part of every key."""

_LIBRARIES = ("torch", "transformers", "tokenizers")
_COMPUTING = (
    *("numerics", "cache", "attention", "maskers", "presses", "learned", "decode"),
    *("hf/adapter", "hf/attention", "hf/facts", "hf/loading", "hf/prefill", "hf/rotary"),
    *("hf/projection", "hf/windows"),
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
    return hashlib.sha256(_without_prose(ast.parse(path.read_bytes())).encode()).hexdigest()


def _without_prose(tree: ast.AST) -> str:
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):  # constants that stand alone: docstrings, also of fields
            node.body = [item for item in body if not _is_prose(item)]  # type: ignore[attr-defined]
    return ast.dump(tree)


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
    """All that a configuration means, as JSON values.

    Files that it names are there by their content too, methods that are not of this project by
    their code.

    Raises:
        UserError: if the code of a method cannot be read.
    """
    document = config.to_json()
    outside = {
        m.name: _outside_fingerprint(type(m)) for m in config.methods if _is_outside(type(m))
    }
    if outside:
        document["sources_sha256"] = outside
    files = [name for method in config.methods for name in method.files]
    if files:
        document["files_sha256"] = {name: file_sha256(Path(name)) for name in files}
    return document


def _is_outside(method: type[Method]) -> bool:
    return _package(method) != sparse_attention.__name__


def _package(cls: type) -> str:
    return cls.__module__.partition(".")[0]


@cache
def _outside_fingerprint(method: type[Method]) -> str:
    """Hex SHA-256 over the package, or the script, of a method and of what it derives from.

    Of a notebook the classes alone.
    """
    bases = [cls for cls in method.__mro__ if _package(cls) not in _NOT_OUTSIDE]
    digest = hashlib.sha256()
    for cls in bases:
        module = sys.modules.get(_package(cls))
        file = getattr(module, "__file__", None)
        roots = [Path(place) for place in getattr(module, "__path__", ())]
        paths = [(path, root) for root in roots for path in sorted(root.rglob("*.py"))]
        if file and not roots:
            paths = [(Path(file), Path(file).parent)]
        for path, root in paths:
            name = path.relative_to(root).as_posix()
            digest.update(f"{name} {_code_fingerprint(path)}\n".encode())
        if not paths:
            digest.update(f"{cls.__qualname__} {_class_source(cls)}\n".encode())
    return digest.hexdigest()


_NOT_OUTSIDE = {sparse_attention.__name__, "pydantic", "abc", "builtins", "typing"}


def _class_source(cls: type) -> str:
    """The syntax tree of a class in a cell of a notebook, which has no file: only the lines that
    the interpreter shows in tracebacks, under a name that the code of its functions has.
    """
    functions = [getattr(member, "__func__", member) for member in vars(cls).values()]
    for code in (function.__code__ for function in functions if inspect.isfunction(function)):
        lines = "".join(linecache.getlines(code.co_filename))
        for node in ast.walk(ast.parse(lines)):
            if (
                isinstance(node, ast.ClassDef)
                and node.name == cls.__name__
                and node.lineno <= code.co_firstlineno <= (node.end_lineno or 0)
            ):
                return _without_prose(node)
    raise UserError(
        f"the code of {cls.__qualname__} cannot be read, so that its results could not be told "
        "from those of another version: define it in a file, or with a function in a notebook."
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
