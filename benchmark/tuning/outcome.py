"""What a finished search says: its winner, judged on samples that it did not see."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from benchmark.objectives import pareto_front, saves_little
from benchmark.results.metrics import estimate_json
from benchmark.results.records import Prediction
from benchmark.results.statistics import mean_interval, paired_difference
from benchmark.tuning.evaluations import Failure, TuningTask
from benchmark.tuning.queue import Want
from benchmark.tuning.records import TrialRecord
from benchmark.tuning.study import DENSE, DENSE_NAME, Study


def held_out_wants(study: Study, winner: TrialRecord) -> list[Want]:
    """What must be evaluated before ``document`` can be written."""
    return [
        Want(task, name, config, task.split.held_out)
        for task in study.tasks
        for name, config in ((DENSE_NAME, DENSE), (winner.id, winner.attention))
    ]


def document(study: Study, winner: TrialRecord) -> dict[str, Any]:
    """The content of a cache file, but for names and key."""
    complete = study.complete
    means = [record.rungs[-1].mean for record in complete]
    front = pareto_front([mean.score for mean in means], [mean.density for mean in means])
    tasks = {task.name: _on_task(study, winner, task) for task in study.tasks}
    return {
        "best": {
            "config": winner.config,
            "description": winner.attention.describe(),
            "point": winner.point,
            "trial": winner.number,
            "loss": winner.rungs[-1].losses,
            "feasible": study.is_feasible(winner),
            "remarks": list(remarks(study, winner)),
            "tuning": winner.rungs[-1].mean.to_json(),
            "held_out": {name: found["held_out"] for name, found in tasks.items()},
        },
        "tasks": tasks,
        "pareto": [complete[place].number for place in front],
        "trials": [record.to_json() for record in study.trials],
    }


def remarks(study: Study, winner: TrialRecord) -> Iterator[str]:
    """What must be said with a winner, in sentences without a full stop."""
    mean = winner.rungs[-1].mean
    objective = study.settings.objective
    if not study.is_feasible(winner):
        if objective.name == "density_at_score":
            asked = f"is within {objective.tolerance:g} of dense attention's score"
        else:
            asked = f"reads at most {objective.density_budget:g} of the keys"
        yield (
            f"infeasible: none of {len(study.complete)} settings {asked} on all tasks; the best "
            f"score is {mean.score:.3f} at density {mean.density:.3f}"
        )
    elif not study.is_clear(winner):
        yield (
            f"not clear: it is within {objective.tolerance:g} of dense attention's score, but not "
            "by one standard error of the difference; more samples would tell"
        )
    yield from saves_little(mean.density, mean.bytes_read)
    if winner.attention.oracle:
        yield "an oracle: it needs all true scores and cannot be deployed"


def _on_task(study: Study, winner: TrialRecord, task: TuningTask) -> dict[str, Any]:
    """The winner on one task: tuned, held out, and against the trial that is best there."""
    own = winner.rungs[-1].tasks[task.name]
    best = study.winner_of(task)
    best_losses = best.rungs[-1].tasks[task.name].losses
    return {
        "tuning": own.to_json(),
        "best_trial": best.number,
        "loss_to_best": own.losses[0] - best_losses[0],
        "held_out": held_out(task, winner.id),
    }


def held_out(task: TuningTask, name: str) -> dict[str, Any] | None:
    """Score, difference to dense, density and error on the samples held out; None without any."""
    contexts = task.split.held_out
    if not contexts:
        return None
    measured = task.measure(name, contexts)
    if isinstance(measured, Failure):
        return {"status": "failed", "reason": f"{measured.reason}: {measured.detail}"}
    ours, dense = (_scores(task, found) for found in (name, DENSE_NAME))
    shared = [sample for sample in ours if sample in dense]
    difference = paired_difference(
        [ours[sample].score or 0.0 for sample in shared],
        [dense[sample].score or 0.0 for sample in shared],
        [ours[sample].context for sample in shared],
    )
    score = mean_interval(
        [found.score or 0.0 for found in ours.values()], [found.context for found in ours.values()]
    )
    return {
        "status": "complete",
        "score": estimate_json(score),
        "dense_difference": estimate_json(difference),
        "density": measured.density,
        "bytes_read": measured.bytes_read,
        "attention_error": measured.attention_error,
    }


def _scores(task: TuningTask, name: str) -> Mapping[str, Prediction]:
    """Predictions with a score by sample."""
    scored = task.scored(name, task.split.held_out)
    return {found.id: found for found in scored if found.score is not None}
