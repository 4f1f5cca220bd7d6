"""Jobs of a matrix run and their cells: what is known, and what is still to be answered."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from benchmark.results.cells import CellFiles, find_results
from benchmark.results.records import Cost, Prediction
from benchmark.run.task import Task
from benchmark.suite.base import Sample, by_context
from sparse_attention.config import AttentionConfig

logger = logging.getLogger(__name__)

DENSE = AttentionConfig()


@dataclass(frozen=True)
class Chosen:
    """A configuration of a cell, and how it was chosen."""

    config: AttentionConfig
    tuned_on: frozenset[str] = frozenset()
    """Ids of the samples on which its settings were searched; its score on them flatters."""
    tuning: Mapping[str, Any] | None = None
    """Of a search: ``mode``, ``search`` (its hash) and ``description``, which tell its results from
    those of other searches."""
    answers: Mapping[str, tuple[Prediction, Cost]] = field(default_factory=dict)
    """By sample, what a search has asked under this configuration already."""

    def file_label(self, label: str) -> str:
        """Label of the cell's folder: two searches may find the same configuration."""
        if self.tuning is None:
            return label
        mode = self.tuning["mode"].replace(" ", "-")
        return f"{label}-{mode}-{self.tuning['search']}"


Choice = Callable[[Task], Mapping[str, Chosen]]
"""From a task to its configurations by label."""


@dataclass
class Cell:
    """One configuration of a job, with what is known of it."""

    label: str
    chosen: Chosen
    files: CellFiles
    predictions: dict[str, Prediction] = field(default_factory=dict)
    costs: dict[str, Cost] = field(default_factory=dict)
    finished: bool = False
    """Whether it was complete, with its metrics, before this run."""
    given: bool = False
    """Whether a search has answered all that was missing."""

    @property
    def config(self) -> AttentionConfig:
        """Under which the samples are answered."""
        return self.chosen.config

    def load(self, ids: Sequence[str]) -> int:
        """Read what is on disk; samples that failed, or whose cost was lost, are asked again.

        Returns:
            How many answers are those of the search.
        """
        self.files.prepare()
        self.predictions, self.costs = self.files.read(ids)
        if not self.predictions:
            self._take_over(ids)
        given = self._take_from_search(ids)
        without_cost = [name for name in self.predictions if name not in self.costs]
        if without_cost:
            logger.warning(
                "%s lacks the costs of %d samples, which are computed again",
                *(self.files.folder, len(without_cost)),
            )
        failed = [name for name, found in self.predictions.items() if found.status == "failed"]
        forgotten = {*without_cost, *failed}
        if forgotten:
            for name in forgotten:
                del self.predictions[name]
                self.costs.pop(name, None)
            self.files.rewrite(ids, self.predictions, self.costs)
        metrics = self.files.read_metrics()
        self.finished = (
            metrics is not None
            and metrics.status == "complete"
            and len(self.predictions) == len(ids)
        )
        return given

    def _take_over(self, ids: Sequence[str]) -> None:
        """Copy the answers of the same configuration under another label, if there are any."""
        for other in find_results(self.files.subset_folder, self.files.key):
            if other.folder != self.files.folder:
                self.predictions, self.costs = other.read(ids)
                self.files.rewrite(ids, self.predictions, self.costs)
                return

    def _take_from_search(self, ids: Sequence[str]) -> int:
        missing = [name for name in ids if name not in self.predictions]
        found = {name: pair for name in missing if (pair := self.chosen.answers.get(name))}
        if not found:
            return 0
        self.predictions.update({name: prediction for name, (prediction, _) in found.items()})
        self.costs.update({name: cost for name, (_, cost) in found.items()})
        self.files.rewrite(ids, self.predictions, self.costs)
        self.given = len(found) == len(missing)
        return len(found)

    def add(self, predictions: Sequence[Prediction], costs: Sequence[Cost]) -> None:
        """Record new samples, on disk first; those that are known already stay as they are."""
        new = [found for found in predictions if found.id not in self.predictions]
        names = {found.id for found in new}
        new_costs = [cost for cost in costs if cost.id in names]
        if new:
            self.files.append(new, new_costs)
        self.predictions.update({found.id: found for found in new})
        self.costs.update({cost.id: cost for cost in new_costs})


@dataclass
class Job:
    """A task under all configurations of a matrix; they share prefills."""

    task: Task
    cells: list[Cell]

    @property
    def open_cells(self) -> list[Cell]:
        """The cells that this run works on."""
        return [cell for cell in self.cells if not cell.finished]

    @property
    def asked_cells(self) -> list[Cell]:
        """Those of them under whose configurations samples are asked."""
        return [cell for cell in self.open_cells if not cell.given]

    def pending_contexts(self) -> list[list[Sample]]:
        """Samples that some open cell lacks, by context.

        They are answered under all configurations of ``asked_cells``, also those that have them
        already: so the batches after an interruption are those of a run without one, and so are
        the results, to the last digit.
        """
        missing = [
            sample
            for sample in self.task.samples
            if any(sample.id not in cell.predictions for cell in self.open_cells)
        ]
        return by_context(missing)
