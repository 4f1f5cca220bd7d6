"""What a benchmark is: samples to answer and a way to score the answers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pandas as pd

from sparse_attention.prompt import PromptSettings

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True)
class Sample:
    """One question about one context.

    The model reads ``context``, then ``question``, and continues ``answer_prefix``; see
    ``sparse_attention.prompt`` for how a chat template goes around them.
    """

    id: str
    """Unique within its subset and stable between runs."""
    context: str
    question: str
    answer_prefix: str
    answers: tuple[str, ...]
    """Reference answers; none where only the authors of the benchmark have them."""
    max_new_tokens: int
    """Tokens after which an answer is cut off."""
    task: str
    """The benchmark's own name of this kind of question, often that of the subset."""
    extra: Mapping[str, Any] = field(default_factory=dict)
    """Further columns that the metrics need, JSON values only."""

    @property
    def truncation_notice(self) -> str:
        """Said before the question where the context had to be cut; the extra column so named."""
        return str(self.extra.get("truncation_notice", ""))


class Benchmark(ABC):
    """A set of subsets with samples and their official metric.

    An instance is made from options (keyword arguments of the class, JSON values) that select the
    source of the data and its size.  ``samples`` is deterministic; samples that share a context
    come one after the other, so that one prefill serves them.
    """

    name: ClassVar[str]
    """What users call it: on the command line, in folders and in keys of results."""
    summary: ClassVar[str]
    """One line for ``sparse-bench ls``."""
    subsets: ClassVar[tuple[str, ...]]
    """Names of the subsets, in the order of reports."""
    prompt: ClassVar[PromptSettings] = PromptSettings()
    """How prompts are made unless a run says otherwise: the benchmark's own policy."""

    @property
    def sample_data(self) -> bool:
        """Whether the samples are the few rows that ship with the project.

        Their scores are no result of the benchmark, and marked so wherever they are shown.
        """
        return False

    @property
    def qualifier(self) -> str:
        """What every title must say beside the name, as of data that are not those published."""
        return ""

    @property
    @abstractmethod
    def options(self) -> dict[str, Any]:
        """All options with their defaults filled in, as JSON values; part of a result's key."""

    @abstractmethod
    def samples(self, subset: str, tokenizer: PreTrainedTokenizerBase) -> list[Sample]:
        """All samples of a subset; raises ``UserError`` for an unknown subset or bad data."""

    @abstractmethod
    def provenance(self, subset: str, tokenizer: PreTrainedTokenizerBase) -> dict[str, Any]:
        """What the samples were made from (files and their hashes, versions), as JSON values."""

    def prompt_settings(self, subset: str) -> PromptSettings:
        """The policy of a subset, where it differs from that of the others."""
        return self.prompt

    def remarks(self, subset: str) -> tuple[str, ...]:
        """What a reader must know beside the scores, in sentences; shown with every result."""
        return ()

    @abstractmethod
    def sample_scores(self, frame: pd.DataFrame) -> np.ndarray:
        """Score of each row in [0, 1], float64 of shape (rows,); NaN where it has no reference.

        ``frame`` has the columns of ``frame_of`` plus ``predicted_answer``.
        """

    @abstractmethod
    def calculate_metrics(self, frame: pd.DataFrame) -> dict[str, Any]:
        """The benchmark's official scores of ``frame``, in upstream's scale and rounding."""


def by_context(samples: Iterable[Sample]) -> list[list[Sample]]:
    """Samples grouped by context, in the order of appearance."""
    groups: dict[str, list[Sample]] = {}
    for sample in samples:
        groups.setdefault(sample.context, []).append(sample)
    return list(groups.values())


def frame_of(samples: list[Sample]) -> pd.DataFrame:
    """The samples as a frame of objects with the field's usual columns.

    Columns: ``id``, ``context``, ``question``, ``answer_prefix``, ``answer`` (list of str),
    ``max_new_tokens``, ``task`` and those of ``extra``.
    """
    rows = [
        {
            "id": sample.id,
            "context": sample.context,
            "question": sample.question,
            "answer_prefix": sample.answer_prefix,
            "answer": list(sample.answers),
            "max_new_tokens": sample.max_new_tokens,
            "task": sample.task,
            **sample.extra,
        }
        for sample in samples
    ]
    return pd.DataFrame(rows, dtype=object)
