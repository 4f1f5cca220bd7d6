"""Benchmarks by name: those of this package and those that other packages offer.

Another package adds a benchmark with an entry point of the group ``sparse_bench.benchmarks``
(``name = "package.module:Class"``), a script with ``register_benchmark``.
"""

from __future__ import annotations

import importlib
import inspect
from importlib.metadata import entry_points
from typing import Any

from benchmark.suite.base import Benchmark
from sparse_attention.errors import UserError, unknown_name

ENTRY_POINT_GROUP = "sparse_bench.benchmarks"

_BUILT_IN = {
    "infinite_bench": "benchmark.infinite_bench.benchmark:InfiniteBench",
    "longbench": "benchmark.longbench.benchmark:LongBench",
    "longbenchv2": "benchmark.longbenchv2.benchmark:LongBenchV2",
    "loogle": "benchmark.loogle.benchmark:LooGLE",
    "ruler": "benchmark.ruler.benchmark:Ruler",
    "zero_scrolls": "benchmark.zero_scrolls.benchmark:ZeroScrolls",
}
_REGISTERED: dict[str, type[Benchmark]] = {}


def register_benchmark(benchmark_class: type[Benchmark]) -> type[Benchmark]:
    """Make a class known under its ``name``; usable as a decorator.

    Raises ``UserError`` if another class has that name.
    """
    name = benchmark_class.name
    taken = name in _BUILT_IN or _REGISTERED.get(name, benchmark_class) is not benchmark_class
    if taken:
        raise UserError(f"a benchmark named {name!r} exists already; choose another name.")
    _REGISTERED[name] = benchmark_class
    return benchmark_class


def _references() -> dict[str, str]:
    references = {entry.name: entry.value for entry in entry_points(group=ENTRY_POINT_GROUP)}
    return {**references, **_BUILT_IN}


def benchmark_names() -> list[str]:
    """Names of all benchmarks, sorted; imports none of them."""
    return sorted({*_references(), *_REGISTERED})


def benchmark_class(name: str) -> type[Benchmark]:
    """The class of a name; raises ``UserError`` with the nearest match for an unknown one."""
    if name in _REGISTERED:
        return _REGISTERED[name]
    references = _references()
    if name not in references:
        raise unknown_name("benchmark", name, benchmark_names())
    module, _, attribute = references[name].partition(":")
    return getattr(importlib.import_module(module), attribute)


def get_benchmark(name: str, **options: Any) -> Benchmark:
    """Instance of a benchmark; raises ``UserError`` for an unknown name or option."""
    cls = benchmark_class(name)
    parameters = inspect.signature(cls).parameters.values()
    if all(parameter.kind is not parameter.VAR_KEYWORD for parameter in parameters):
        known = [parameter.name for parameter in parameters]
        for option in options:
            if option not in known:
                raise unknown_name(f"option of the benchmark {name}", option, known)
    return cls(**options)
