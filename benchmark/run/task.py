"""A task: a model on a subset, whose samples are to be answered."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from benchmark.files import fingerprint, json_document
from benchmark.results.cells import subset_folder
from benchmark.results.key import config_document
from benchmark.run.models import ModelSource
from benchmark.run.requests import Request
from benchmark.suite.base import Benchmark, Sample
from sparse_attention.config import AttentionConfig
from sparse_attention.prompt import PromptSettings

_SHOWN = 2
"""Samples of a subset whose whole prompt is recorded, so that it can be seen."""


@dataclass(frozen=True)
class Task:
    """A model on a subset: what a cell of the matrix and a search have in common."""

    model: ModelSource
    benchmark: Benchmark
    subset: str
    samples: Sequence[Sample]
    prompt: PromptSettings
    """How the samples become prompts."""
    key: Mapping[str, Any]
    """Everything that an answer depends on but for the configuration, as JSON values."""

    @property
    def scope(self) -> str:
        """``benchmark/subset``."""
        return f"{self.benchmark.name}/{self.subset}"

    @property
    def title(self) -> str:
        """Name for people; tasks that differ in options alone have the same one."""
        return f"{self.model.name} {self.scope}"

    @cached_property
    def id(self) -> str:
        """Two tasks with the same one are the same."""
        return f"{self.title} {fingerprint(self.key)}"

    @cached_property
    def ids(self) -> list[str]:
        """Ids of the samples, in order."""
        return [sample.id for sample in self.samples]

    def folder(self, root: Path) -> Path:
        """Where files about this model and subset lie below ``root``."""
        return subset_folder(root, self.model.name, self.benchmark.name, self.subset)

    def key_of(self, config: AttentionConfig) -> dict[str, Any]:
        """The key of the answers under a configuration, as it reads back from JSON."""
        return json.loads(json_document({**self.key, "config": config_document(config)}))

    def request(self, context: Sequence[Sample], configs: Mapping[str, AttentionConfig]) -> Request:
        """Ask for the answers to samples of one context under configurations by label."""
        return Request(
            task=self.id,
            model=self.model.location,
            revision=self.model.revision,
            samples=tuple(context),
            configs=configs,
            prompt=self.prompt,
            scope=self.scope,
            shown=frozenset(self.ids[:_SHOWN]),
        )
