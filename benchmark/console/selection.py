"""From arguments to settings: what a matrix is to be, with every name in it checked.

Nothing of a model but its name is looked at, so that what is wrong is said before anything large is
imported.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmark.console.fields import given_fields
from benchmark.executor_config import AdapterConfig, BenchmarkConfig, RequestConfig
from benchmark.generic_config_optimizer import types_of
from benchmark.named_models import check_model_name
from benchmark.suite.options import option_value
from benchmark.suite.registry import benchmark_class, get_benchmark
from benchmark.trackers.installed import check_tracker
from benchmark.tuning.settings import OptimizationConfig
from sparse_attention.config import AttentionConfig, load_configs
from sparse_attention.config_types import make_config
from sparse_attention.errors import UserError, unknown_name
from sparse_attention.prompt import PromptSettings
from sparse_attention.protocol import Protocol
from sparse_attention.reading import parse_json, shown


@dataclass(frozen=True)
class MatrixSelection:
    """What a command line asks a matrix to be."""

    models: list[str]
    configs: list[tuple[str, AttentionConfig | None]]
    """By label; None: to be searched."""
    benchmarks: list[BenchmarkConfig]
    adapter: AdapterConfig
    requests: dict[str, Any]
    """Fields of ``RequestConfig``."""


def select_run(options: argparse.Namespace) -> MatrixSelection:
    """What ``sparse-bench run`` asks for; raises ``UserError`` or ``ValidationError``."""
    files = vars(options).get("config_file", [])
    names = vars(options).get("configs") or ([] if files else ["dense"])
    return _select(options, [(name, make_config(name)) for name in names])


def select_tune(options: argparse.Namespace) -> tuple[MatrixSelection, OptimizationConfig]:
    """What ``sparse-bench tune`` asks for; raises ``UserError`` or ``ValidationError``."""
    for name in options.configs:
        types_of(name)
    selection = _select(options, [(name, None) for name in options.configs])
    return selection, optimization_config(options)


def _select(
    options: argparse.Namespace, configs: list[tuple[str, AttentionConfig | None]]
) -> MatrixSelection:
    given = vars(options)
    if "track" in given:
        check_tracker(options.track)
    requests = given_fields(RequestConfig, options)
    RequestConfig(**requests)
    selection = MatrixSelection(
        options.models,
        [*configs, *named_files(given.get("config_file", []))],
        benchmarks(options.benchmarks, given),
        _adapter_config(options),
        requests,
    )
    for name in selection.models:
        check_model_name(name, selection.adapter.revision)
    return selection


def named_files(files: Sequence[str]) -> list[tuple[str, AttentionConfig]]:
    """Configurations by label from JSON files."""
    return [pair for file in files for pair in load_configs(file).items()]


def benchmarks(names: Sequence[str], given: Mapping[str, Any]) -> list[BenchmarkConfig]:
    """Benchmarks with subsets and options, from the command line."""
    options = _options(given.get("option", []), names)
    subsets = given.get("subsets")
    classes = {name: benchmark_class(name) for name in names}
    known = [subset for cls in classes.values() for subset in cls.subsets]
    for subset in subsets or ():
        if subset not in known:
            raise unknown_name(f"subset of {' and '.join(classes)}", subset, known)
    configs = []
    for name, cls in classes.items():
        chosen = None if subsets is None else [item for item in subsets if item in cls.subsets]
        if chosen == []:
            raise UserError(f"no subset of {name} is among {', '.join(subsets or ())}.")
        count = given.get("max_requests")
        generates = "samples" in get_benchmark(name, **options[name]).options
        if count is not None and count > 0 and generates:
            # More would be generated only to be left out, fewer would not do.
            options[name].setdefault("samples", count)
        configs.append(BenchmarkConfig(name, chosen, options[name]))
    return configs


def _options(texts: Sequence[str], benchmarks: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Options by benchmark from ``benchmark.name=value``; values are JSON, else text."""
    options: dict[str, dict[str, Any]] = {name: {} for name in benchmarks}
    for text in texts:
        path, equals, value = text.partition("=")
        benchmark, dot, name = path.partition(".")
        if not (equals and dot and name):
            raise UserError(f"option {text!r} is not of the form BENCHMARK.NAME=VALUE.")
        if benchmark not in options:
            raise unknown_name("benchmark (of those given)", benchmark, benchmarks)
        if name in options[benchmark]:
            raise UserError(f"the option {benchmark}.{name} is given twice; give it once.")
        options[benchmark].update([option_value(f"{name}={value}")])
    return options


def _adapter_config(options: argparse.Namespace) -> AdapterConfig:
    return AdapterConfig(
        **given_fields(AdapterConfig, options),
        prompt=PromptSettings(**given_fields(PromptSettings, options)),
        protocol=_protocol(options),
    )


def _protocol(options: argparse.Namespace) -> Protocol:
    given = given_fields(Protocol, options)
    if given.get("press_sees_question") and given.get("sparse_from") != "generation":
        raise UserError(
            "--question-aware needs --protocol generation: presses then compress after the whole "
            "question was read with dense attention."
        )
    return Protocol(**given)


def optimization_config(options: argparse.Namespace) -> OptimizationConfig:
    """How to search, from the command line."""
    given = given_fields(OptimizationConfig, options)
    return OptimizationConfig(
        **{**given, "search_space": _search_space(given.get("search_space", ()))}
    )


def _search_space(texts: Sequence[str]) -> dict[str, Any]:
    space: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not (equals and name):
            raise UserError(f"search space {shown(text)} is not of the form FIELD=JSON.")
        if name in space:
            raise UserError(f"the search space of {name} is given twice; give it once.")
        space[name] = parse_json(value, f"search space of {name}")
    return space
