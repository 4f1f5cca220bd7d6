"""Trials that stop early, and those that go on all the same."""

from __future__ import annotations

from search_files import content

from benchmark.tuning.halving import Halving
from benchmark.tuning.records import COMPLETE, PRUNED, RUNNING, TrialRecord
from benchmark.tuning.settings import OptimizationConfig

(TRIAL,) = content()["trials"]  # type: ignore[misc]
CONSTRAINED = OptimizationConfig(optimization_metric="density_at_score")


def trial(number: int, status: str, loss: float) -> TrialRecord:
    rung = {**TRIAL["rungs"][0], "losses": [loss]}
    return TrialRecord.from_json({**TRIAL, "number": number, "status": status, "rungs": [rung]})


def is_feasible(record: TrialRecord) -> bool:
    return record.rungs[-1].losses[0] <= 1


VERDICTS = is_feasible, is_feasible


def test_the_best_of_those_that_were_stopped_goes_on_where_no_other_wins() -> None:
    halving = Halving(CONSTRAINED, 12)
    dense, sparse = trial(2, PRUNED, 0.5), trial(3, PRUNED, 0.3)
    trials = [trial(0, COMPLETE, 1.1), trial(1, PRUNED, 1.5), dense, sparse]
    assert halving.second_chance([*trials, trial(4, RUNNING, 0.1)], *VERDICTS) is None
    for expected in (sparse, dense):
        found = halving.second_chance(trials, *VERDICTS)
        assert found is expected
        halving.resume(found)
        assert halving.second_chance(trials, *VERDICTS) is None, "it runs"
        found.status = PRUNED
    assert halving.second_chance(trials, *VERDICTS) is None, "each had its chance"


def test_a_winner_that_keeps_the_constraint_bounds_the_others() -> None:
    halving, stopped = Halving(CONSTRAINED, 12), trial(1, PRUNED, 0.3)
    assert halving.second_chance([trial(0, COMPLETE, 0.2), stopped], *VERDICTS) is None
    assert halving.second_chance([trial(0, COMPLETE, 0.4), stopped], *VERDICTS) is stopped


def test_a_winner_that_does_not_settle_it_bounds_nothing() -> None:
    halving, stopped = Halving(CONSTRAINED, 12), trial(1, PRUNED, 0.3)
    complete = trial(0, COMPLETE, 0.2)
    assert halving.second_chance([complete, stopped], is_feasible, lambda _: False) is stopped


def test_without_a_constraint_nothing_is_resumed() -> None:
    halving = Halving(OptimizationConfig(optimization_metric="benchmark_score"), 12)
    assert halving.second_chance([trial(1, PRUNED, 0.3)], *VERDICTS) is None
