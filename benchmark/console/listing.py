"""What there is to choose from: the lists of ``sparse-bench ls``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

from benchmark.suite.registry import BENCHMARKS
from sparse_attention.catalogue import Catalogue
from sparse_attention.config_types import CONFIG_TYPES
from sparse_attention.errors import UserError
from sparse_attention.printable import terminal_text
from sparse_attention.program import complain
from sparse_attention.registry import METHODS

_ORACLE = " [oracle: a bound, not deployable]"


def _benchmarks() -> Iterator[str]:
    for name, benchmark in sorted(BENCHMARKS.usable()):
        yield f"{name}: {benchmark.summary}"


def _subsets() -> Iterator[str]:
    for name, benchmark in sorted(BENCHMARKS.usable()):
        yield f"{name}: {' '.join(benchmark.subsets)}"


def _methods() -> Iterator[str]:
    for name, method in METHODS.usable():
        yield f"{name}: {method.summary()}{_ORACLE if method.oracle else ''}"
        for field, info in method.model_fields.items():
            default = "required" if info.is_required() else f"default {info.default!r}"
            yield f"    {field}: {default}, {method.valid_values(field)}"


def _config_types() -> Iterator[str]:
    for name in CONFIG_TYPES:
        with suppress(UserError):  # of an entry point that cannot be used
            kind = CONFIG_TYPES[name]
            mark = _ORACLE if kind.oracle else ""
            yield f"{name}: {kind.summary} ({kind.make().describe()}){mark}"


LISTINGS: dict[str, tuple[Callable[[], Iterator[str]], Catalogue[Any]]] = {
    "benchmarks": (_benchmarks, BENCHMARKS),
    "subsets": (_subsets, BENCHMARKS),
    "methods": (_methods, METHODS),
    "config-types": (_config_types, METHODS),
}
"""The lists, each with where its names come from."""


def list_choices(kind: str | None) -> int:
    """``sparse-bench ls``; what a package offers but cannot be used is named on stderr."""
    catalogues = {}
    for name, (listing, catalogue) in LISTINGS.items():
        if kind in (None, name):
            print("\n".join([f"{name}:", *(f"  {terminal_text(line)}" for line in listing())]))
            catalogues[catalogue.group] = catalogue
    complaints = [text for one in catalogues.values() for text in one.complaints()]
    for text in complaints:
        complain(f"sparse-bench: error: {text}")
    return 2 if complaints else 0
