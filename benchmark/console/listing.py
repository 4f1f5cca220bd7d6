"""What there is to choose from: the lists of ``sparse-bench ls``."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from benchmark.suite.registry import benchmark_class, benchmark_names
from sparse_attention.config import METHODS
from sparse_attention.config_types import CONFIG_TYPES


def _benchmarks() -> Iterator[str]:
    for name in benchmark_names():
        yield f"{name}: {benchmark_class(name).summary}"


def _subsets() -> Iterator[str]:
    for name in benchmark_names():
        yield f"{name}: {' '.join(benchmark_class(name).subsets)}"


def _methods() -> Iterator[str]:
    for name, method in METHODS.items():
        yield f"{name}: {method.summary()}"
        for field, info in method.model_fields.items():
            default = "required" if info.is_required() else f"default {info.default!r}"
            yield f"    {field}: {default}, {method.valid_values(field)}"


def _config_types() -> Iterator[str]:
    for name, kind in CONFIG_TYPES.items():
        yield f"{name}: {kind.summary} ({kind.make().describe()})"


LISTINGS: dict[str, Callable[[], Iterator[str]]] = {
    "benchmarks": _benchmarks,
    "subsets": _subsets,
    "methods": _methods,
    "config-types": _config_types,
}
