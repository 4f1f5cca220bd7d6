"""Benchmarks by name: those of this package and those that other packages offer.

Another package adds a benchmark with an entry point of the group ``sparse_bench.benchmarks``
(``name = "package.module:Class"``), a script with ``register_benchmark``.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

from benchmark.suite.base import Benchmark
from sparse_attention.catalogue import Catalogue
from sparse_attention.errors import unknown_name
from sparse_attention.printable import is_label


def _problems(cls: object) -> Iterator[str]:
    if not isinstance(cls, type):
        return
    if not issubclass(cls, Benchmark):
        yield "it is not a subclass of Benchmark"
        return
    if inspect.isabstract(cls):
        yield f"it does not implement {', '.join(sorted(cls.__abstractmethods__))}"
    summary, subsets = getattr(cls, "summary", None), getattr(cls, "subsets", None)
    if not isinstance(summary, str) or not summary.strip() or not summary.isprintable():
        yield f"its summary is {summary!r:.80} and must be one line of text"
    named = isinstance(subsets, tuple) and all(map(is_label, subsets))
    if not named or not subsets:
        yield f"its subsets are {subsets!r:.80} and must be a tuple of printable names"


BENCHMARKS: Catalogue[type[Benchmark]] = Catalogue(
    "benchmark",
    "sparse_bench.benchmarks",
    {
        "custom": "benchmark.custom.benchmark:Custom",
        "infinite_bench": "benchmark.infinite_bench.benchmark:InfiniteBench",
        "longbench": "benchmark.longbench.benchmark:LongBench",
        "longbenchv2": "benchmark.longbenchv2.benchmark:LongBenchV2",
        "loogle": "benchmark.loogle.benchmark:LooGLE",
        "ruler": "benchmark.ruler.benchmark:Ruler",
        "zero_scrolls": "benchmark.zero_scrolls.benchmark:ZeroScrolls",
    },
    _problems,
    "a concrete subclass of benchmark.suite.base.Benchmark with name, summary and subsets (see "
    '"How to add a dataset" in benchmark/README.md)',
)


def register_benchmark(benchmark_class: type[Benchmark]) -> type[Benchmark]:
    """Make a class known under its ``name``; usable as a decorator.

    Raises:
        UserError: if it is no benchmark, or another class has that name.
    """
    return BENCHMARKS.register(benchmark_class)


def benchmark_names() -> list[str]:
    """Names of all benchmarks, sorted; imports none of them."""
    return sorted(BENCHMARKS)


def benchmark_class(name: str) -> type[Benchmark]:
    """The class of a name.

    Raises:
        UserError: with the nearest match for an unknown one; for one of another package that
            cannot be used, with the reason.
    """
    if name not in BENCHMARKS:
        raise unknown_name("benchmark", name, BENCHMARKS)
    return BENCHMARKS[name]


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
