"""Which searches a call wants, which of them are known already, and what came of the others."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmark.generic_config_optimizer import GenericConfigOptimizer
from benchmark.tuning.cache import BestConfigCache, CachedResult
from benchmark.tuning.evaluations import TuningTask
from benchmark.tuning.outcome import document
from benchmark.tuning.search_file import Names, journal_stem
from benchmark.tuning.settings import OptimizationConfig
from benchmark.tuning.study import Study

logger = logging.getLogger(__name__)


@dataclass
class OpenSearch:
    """A search that is to be done."""

    names: Names
    key: dict[str, Any]
    space: GenericConfigOptimizer
    tasks: list[TuningTask]


class SearchPlan:
    """Which searches a call wants, and what came of them."""

    def __init__(
        self,
        model: str,
        spaces: Mapping[str, GenericConfigOptimizer],
        tasks: Sequence[TuningTask],
        settings: OptimizationConfig,
        cache: BestConfigCache,
    ) -> None:
        self.settings, self.cache = settings, cache
        self.found: dict[str, dict[str, CachedResult]] = {name: {} for name in spaces}
        """By config type, then by task; ``failed`` likewise, with the reason."""
        self.failed: dict[str, dict[str, str]] = {name: {} for name in spaces}
        self.open: list[OpenSearch] = []
        for config_type, space in spaces.items():
            if settings.use_per_task_config:
                for task in tasks:
                    names = Names(
                        model=model,
                        config_type=config_type,
                        benchmark=task.task.benchmark.name,
                        subset=task.task.subset,
                    )
                    self.open.append(OpenSearch(names, self._key(space, [task]), space, [task]))
            else:
                key = self._key(space, tasks)
                names = Names(model=model, config_type=config_type, benchmark=None, subset=None)
                self.open.append(OpenSearch(names, key, space, list(tasks)))

    def _key(self, space: GenericConfigOptimizer, tasks: Sequence[TuningTask]) -> dict[str, Any]:
        """All that the outcome of a search depends on."""
        return {
            "config_type": space.config_type,
            "search_space": space.to_json(),
            **self.settings.search_key(),
            "num_samples": self.settings.num_samples,
            "tasks": {
                task.name: {
                    **task.task.key,
                    "tuning_ids": task.split.tuning_ids,
                    "held_out_ids": task.split.held_out_ids,
                }
                for task in tasks
            },
        }

    def look_up(self) -> None:
        """Close the searches whose results are known."""
        for wanted in list(self.open):
            result = self.cache.get(wanted.names, wanted.key)
            if result is not None:
                self.found[wanted.names.config_type][wanted.names.task] = result
                self.open.remove(wanted)

    def start(self) -> list[tuple[OpenSearch, Study]]:
        """The studies of the open searches, each with what its journal has."""
        studies = []
        for wanted in self.open:
            title = f"{wanted.names.config_type} {wanted.names.task}"
            name = f"{journal_stem(wanted.names, wanted.key)}.jsonl"
            journal = self.cache.folder / "trials" / name
            study = Study(title, wanted.space, wanted.tasks, self.settings, journal)
            studies.append((wanted, study))
        return studies

    def finish(self, wanted: OpenSearch, study: Study) -> None:
        """Write what came of a search."""
        winner = study.winner()
        names = wanted.names
        if winner is None:
            reasons = [record.reason for record in study.trials if record.reason]
            message = reasons[0] if reasons else "no trial saw all samples in the time given"
            self.failed[names.config_type][names.task] = message
            logger.error("%s: no settings were found: %s", study.name, message)
            return
        path = self.cache.store(names, wanted.key, document(study, winner))
        found = self.cache.get(names, wanted.key)
        assert found is not None, f"{path} was just written"
        for remark in found.remarks:
            logger.warning("%s: the best settings: %s", study.name, remark)
        self.found[names.config_type][names.task] = found
