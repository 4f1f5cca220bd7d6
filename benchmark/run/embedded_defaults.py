"""What a benchmark means for the embedded model where a run does not say otherwise."""

from __future__ import annotations

import logging
from typing import Any

from benchmark.embedded import SUPPORTED_TASKS
from benchmark.executor_config import BenchmarkConfig
from benchmark.suite.dataset import SAMPLES, DatasetBenchmark
from benchmark.suite.registry import benchmark_class

logger = logging.getLogger(__name__)

LENGTH = 1024
"""Tokens of a RULER sample."""


def embedded_defaults(config: BenchmarkConfig) -> BenchmarkConfig:
    """The same benchmark with defaults that fit the model.

    RULER in the model's own words, 1024 tokens long, with the tasks that it can do; of datasets
    the sample data that ships with the project, because the model cannot read others and may be
    used without network.
    """
    options: dict[str, Any] = dict(config.options)
    subsets = config.subsets
    if config.benchmark_name == "ruler":
        # The sample data is for trying every task, also those that the model cannot do.
        everything = options.get("source") == SAMPLES
        lexicon = "wonderwords" if everything or "upstream" in options else "embedded"
        options = {"lexicon": lexicon, "length": LENGTH, **options}
        if subsets is None and options["lexicon"] == "embedded":
            subsets = SUPPORTED_TASKS
    elif "source" not in options and _is_from_hub(config.benchmark_name):
        logger.info(
            "%s: the embedded model gets the sample data of the project; "
            "--option %s.source=hub is the real data",
            *(config.benchmark_name, config.benchmark_name),
        )
        options["source"] = SAMPLES
    return BenchmarkConfig(config.benchmark_name, subsets, options)


def _is_from_hub(name: str) -> bool:
    benchmark = benchmark_class(name)
    return issubclass(benchmark, DatasetBenchmark) and bool(benchmark.hub_dataset)
