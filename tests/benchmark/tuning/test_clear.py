"""Of settings that keep the constraint, those that keep it by one standard error win."""

from __future__ import annotations

from pathlib import Path

import pytest
from local_pool import LocalPool
from search_without_tune import without_tune
from toy_search import search

from benchmark.executor_config import BenchmarkConfig
from benchmark.objectives import Measured
from benchmark.tuning.evaluations import TuningTask


@pytest.mark.parametrize(("clear_above", "error"), [(0.5, 0.01), (2.0, 0.01), (2.0, 0.3)])
def test_what_is_clear_wins_where_something_is(
    tiny_model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    clear_above: float,
    error: float,
) -> None:
    """Settings that read more than ``clear_above`` of the keys are; others have an ``error``."""
    measure = TuningTask.measure

    def measured(task: TuningTask, name: str, contexts, reference=None) -> Measured:
        found = measure(task, name, contexts, reference)
        assert isinstance(found, Measured)
        assert (found.dense_difference is None) == (reference is None)
        clear = {"dense_difference": 0.0, "dense_error": 0.0}
        unclear = {"dense_difference": -0.015, "dense_error": error}
        compared = clear if found.density > clear_above else unclear
        return found.model_copy(update={"score": 1.0, **compared})

    monkeypatch.setattr(TuningTask, "measure", measured)
    with without_tune():
        found = search(
            *(str(tiny_model), str(tmp_path), ("sink_local",), LocalPool),
            BenchmarkConfig("toy", ["first"], {"contexts": 12}),
            num_samples=8,
            optimization_metric="density_at_score",
            search_algorithm="grid",
        )["sink_local"].results["toy_first"]
    trials = found.document["trials"]
    densities = [t["rungs"][-1]["mean"]["density"] for t in trials if t["status"] == "complete"]
    assert found.feasible
    assert min(densities) < 0.5
    assert (max(densities) > 0.5) == (error < 0.1), "no trial goes on where samples are lacking"
    if clear_above < 1:
        assert found.best["tuning"]["density"] == min(one for one in densities if one > 0.5)
        assert not any("not clear" in remark for remark in found.remarks)
    else:
        assert found.best["tuning"]["density"] == min(densities)
        assert found.remarks[0].startswith("not clear: it is within 0.02 of dense attention's")
