"""What searches give back: the best settings of config types, as a table and to choose from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from benchmark.objectives import Candidate, Objective, choose, make_objective
from benchmark.run.table import Table, estimate_columns
from benchmark.tuning.cache import CachedResult
from benchmark.tuning.search_file import GLOBAL
from sparse_attention.config import AttentionConfig


@dataclass(frozen=True)
class OptimizedSparseConfig(Table):
    """The best settings of one config type for one model."""

    config_type: str
    results: Mapping[str, CachedResult] = field(default_factory=dict)
    """By task (``benchmark_subset``), or only under ``global``."""
    failures: Mapping[str, str] = field(default_factory=dict)
    """Why there is none, likewise."""

    @property
    def infeasible(self) -> dict[str, str]:
        """Why the result of a task should not be used, likewise: it violates the constraint."""
        return {
            task: result.remarks[0] for task, result in self.results.items() if not result.feasible
        }

    def result_for(self, benchmark: str, subset: str) -> CachedResult | None:
        """The result for a task: its own, else the global one; None if there is none."""
        return self.results.get(f"{benchmark}_{subset}") or self.results.get(GLOBAL)

    def config_for(self, benchmark: str, subset: str) -> AttentionConfig | None:
        """The configuration for a task; None if there is none."""
        result = self.result_for(benchmark, subset)
        return None if result is None else result.config

    def to_frame(self) -> pd.DataFrame:
        """As ``OptimizedConfigs.to_frame``, of this config type."""
        return pd.DataFrame(list(self._rows()))

    def _rows(self) -> Iterator[dict[str, Any]]:
        for task, reason in self.failures.items():
            yield {**_NOTHING, "config": self.config_type, "task": task, "message": reason}
        for search, result in self.results.items():
            for task, held_out in result.best["held_out"].items():
                yield _row(self.config_type, search, task, result, held_out or {})


class OptimizedConfigs(Table, dict[str, OptimizedSparseConfig]):
    """The best settings by config type.

    Printed, and shown by a notebook, as a table.
    """

    def to_frame(self) -> pd.DataFrame:
        """A row for each config type and task.

        ``tuning_score`` is on the samples that the search saw; ``held_out_score``, its paired
        ``held_out_dense_difference``, density and attention error are on those that it did not.
        """
        return pd.DataFrame([row for found in self.values() for row in found._rows()])

    def best(
        self, objective: str | None = None, *, oracles: bool = False, **limits: float
    ) -> dict[str, CachedResult]:
        """By task, the result whose settings are best on the samples held out.

        Results that do not keep the constraint of their search, or there that of the objective, are
        not chosen; a task without any other is absent.

        Args:
            objective: see ``benchmark.objectives.Objective``; None for that of the search.
            oracles: whether oracles, which cannot be deployed, may be chosen.
            limits: ``tolerance``, ``density_budget``, ``penalty``, where not the objective's own.

        Raises:
            UserError: for an unknown objective.
        """
        tasks: dict[str, list[tuple[CachedResult, Candidate]]] = {}
        wanted = None if objective is None else make_objective(objective, limits)
        for found in self.values():
            for result in found.results.values():
                if wanted is None:
                    wanted = Objective(**result.key["objective"])
                if not result.feasible or (result.config.oracle and not oracles):
                    continue
                for task, held_out in result.best["held_out"].items():
                    candidate = _candidate(result, held_out)
                    if candidate is not None:
                        tasks.setdefault(task, []).append((result, candidate))
        winners = {}
        for task, pairs in tasks.items():
            assert wanted is not None
            place = choose(wanted, [candidate for _, candidate in pairs])
            if place is not None:
                winners[task] = pairs[place][0]
        return winners


def _candidate(result: CachedResult, held_out: Mapping[str, Any] | None) -> Candidate | None:
    if held_out is None or held_out["status"] != "complete":
        return None
    return Candidate.of(held_out, held_out, dense=not result.config.methods)


_NOTHING: Mapping[str, Any] = {
    "config": "",
    "search": "",
    "task": "",
    "status": "failed",
    "objective": "",
    "trials": 0,
    "settings": "",
    "tuning_score": None,
    **estimate_columns("held_out_score", None),
    **estimate_columns("held_out_dense_difference", None),
    "density": None,
    "bytes_read": None,
    "attention_error": None,
    "message": "",
    "file": "",
}
"""The columns, as of a search that found nothing."""


def _row(
    config_type: str, search: str, task: str, result: CachedResult, held_out: Mapping[str, Any]
) -> dict[str, Any]:
    failure = [held_out["reason"]] if "reason" in held_out else []
    return {
        **_NOTHING,
        "config": config_type,
        "search": search,
        "task": task,
        "status": "complete" if result.feasible else "infeasible",
        "objective": result.key["objective"]["name"],
        "trials": len(result.document["trials"]),
        "settings": result.best["description"],
        "tuning_score": result.document["tasks"][task]["tuning"]["score"],
        **estimate_columns("held_out_score", held_out.get("score")),
        **estimate_columns("held_out_dense_difference", held_out.get("dense_difference")),
        "density": held_out.get("density"),
        "bytes_read": held_out.get("bytes_read"),
        "attention_error": held_out.get("attention_error"),
        "message": "; ".join([*result.remarks, *failure]),
        "file": str(result.path),
    }
