"""What callers may give in plain form: configurations, benchmarks, models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from benchmark.executor_config import BenchmarkConfig
from sparse_attention.config import AttentionConfig
from sparse_attention.config_types import ConfigLike, as_config
from sparse_attention.errors import UserError
from sparse_attention.printable import LABELS, is_label

ConfigsLike = str | Mapping[str, ConfigLike] | Sequence[str | tuple[str, ConfigLike]]
"""Configurations with labels: pairs or a dictionary, and names of config types, which are their own
labels.  None as a configuration is dense attention."""
BenchmarkLike = BenchmarkConfig | str | tuple[Any, ...] | Mapping[str, Any]
"""A benchmark: its name, ``(name, subsets)``, ``(name, subsets, options)``, or a dictionary of the
arguments of ``BenchmarkConfig``."""


def check_label(label: object) -> None:
    """Raises ``UserError`` for what cannot be the name of a configuration everywhere."""
    if not is_label(label):
        raise UserError(f"the label {label!r:.80} of a configuration cannot be shown; {LABELS}.")


def named_configs(given: ConfigsLike) -> dict[str, AttentionConfig]:
    """Configurations by label; ``UserError`` for a repetition, and for what is none."""
    if isinstance(given, str):
        given = [given]
    if not isinstance(given, Mapping | Sequence):
        raise _not_of_the_form(given)
    named: dict[str, AttentionConfig] = {}
    for each in given.items() if isinstance(given, Mapping) else given:
        label, config = _pair(each)
        check_label(label)
        if label in named:
            raise UserError(f"configuration {label!r} is given twice; labels must differ.")
        named[label] = as_config(config)
    if not named:
        raise UserError("no configuration is given; name at least one, such as dense.")
    return named


def benchmark_configs(given: BenchmarkLike | Sequence[BenchmarkLike]) -> list[BenchmarkConfig]:
    """Benchmarks to run; ``UserError`` for what is none."""
    alone = isinstance(given, str | BenchmarkConfig | Mapping) or _is_one(given)
    if not alone and not isinstance(given, Sequence):
        raise _no_benchmark(given)
    return [_benchmark(each) for each in ([given] if alone else given)]


def _is_one(given: object) -> bool:
    """Whether a tuple is one benchmark rather than several: its second part is a list or None."""
    return isinstance(given, tuple) and len(given) in (2, 3) and isinstance(given[1], list | None)


def model_names(given: str | Sequence[str]) -> list[str]:
    """Names of models; ``UserError`` for what is none."""
    names = [given] if isinstance(given, str) else given
    if not isinstance(names, Sequence) or not all(isinstance(name, str) for name in names):
        raise UserError(f"models are a name or a list of names, got {given!r:.200}.")
    return list(names)


def _pair(each: Any) -> tuple[str, Any]:
    if isinstance(each, str):
        return each, each
    if isinstance(each, tuple | list) and len(each) == 2 and isinstance(each[0], str):
        return each[0], each[1]
    raise _not_of_the_form(each)


def _not_of_the_form(given: object) -> UserError:
    return UserError(
        "configurations are names of config types, pairs of a label and a configuration, or a "
        f"dictionary of these; got {given!r:.200}."
    )


def _benchmark(given: Any) -> BenchmarkConfig:
    if isinstance(given, BenchmarkConfig):
        return given
    if isinstance(given, str):
        return BenchmarkConfig(given)
    try:
        if isinstance(given, Mapping):
            return BenchmarkConfig(**given)
        if isinstance(given, tuple | list):
            return BenchmarkConfig(*given)
    except (TypeError, ValueError) as error:
        raise _no_benchmark(given) from error
    raise _no_benchmark(given)


def _no_benchmark(given: object) -> UserError:
    return UserError(
        "a benchmark is its name, (name, subsets), (name, subsets, options) or a BenchmarkConfig; "
        f"got {given!r:.200}."
    )
