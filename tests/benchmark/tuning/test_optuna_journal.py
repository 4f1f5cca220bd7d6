"""The copy of a search that Optuna's own tools open."""

from __future__ import annotations

import logging
from pathlib import Path

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from benchmark.generic_config_optimizer import GenericConfigOptimizer
from benchmark.objectives import Measured
from benchmark.tuning.optuna_journal import SUFFIX, OptunaJournal
from benchmark.tuning.records import OnTask, Rung, TrialRecord

SPACE = GenericConfigOptimizer(
    "sink_local",
    {"sink_size": [1, 4], "window_size": {"low": 2, "high": 64, "log": True}},
)


def trial(number: int, status: str, *losses: float) -> TrialRecord:
    point = {"sink_size": 4, "window_size": 2 + number}
    rungs = []
    for rung, loss in enumerate(losses):
        mean = Measured(
            score=1 - loss, density=0.1, attention_error=0.2, bytes_read=0.1, samples=2 + rung
        )
        own = OnTask(losses=[loss], **mean.to_json())
        rungs.append(Rung(losses=[loss], mean=mean, tasks={"toy_first": own}))
    return TrialRecord(
        number=number,
        point=point,
        config=SPACE.config(point).to_json(),
        status=status,
        reason="" if rungs else "error",
        rungs=rungs,
    )


def load(path: Path) -> optuna.Study:
    storage = JournalStorage(JournalFileBackend(str(path)))
    return optuna.load_study(study_name=path.name.removesuffix(SUFFIX), storage=storage)


def test_optuna_reads_the_trials(tmp_path: Path) -> None:
    path = tmp_path / f"search{SUFFIX}"
    path.write_text("something else\n")
    journal = OptunaJournal(path, SPACE, 1, [trial(0, "failed")])
    journal.add(trial(1, "pruned", 0.5))
    journal.add(trial(2, "complete", 0.4, 0.25))
    study = load(path)
    states = [one.state for one in study.trials]
    assert states == [TrialState.FAIL, TrialState.PRUNED, TrialState.COMPLETE]
    assert (study.best_value, study.best_trial.user_attrs["score"]) == (0.25, 0.75)
    assert study.best_params == {"sink_size": "4", "window_size": 4}
    assert study.trials[1].intermediate_values == {2: 0.5}
    assert study.trials[2].intermediate_values == {2: 0.4, 3: 0.25}
    assert study.trials[0].user_attrs["reason"] == "error"


def test_a_search_goes_on_where_no_copy_can_be_written(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / f"search{SUFFIX}").mkdir()
    with caplog.at_level(logging.WARNING):
        journal = OptunaJournal(tmp_path / f"search{SUFFIX}", SPACE, 1, [])
        journal.add(trial(0, "complete", 0.5))
    assert [record.message.count("cannot be written") for record in caplog.records] == [1]
