"""What is shown of searches: their trials in order, what mattered, who went on."""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.exceptions import ExperimentalWarning

from benchmark.report.facts.shown import name, number
from benchmark.tuning.cache import BestConfigCache, CachedResult

CACHE = "hyperparameter_cache"
"""Where a results folder has its searches, unless they are elsewhere."""
_FEWEST = 4
"""Trials below which no importance is said."""


def read_searches(folders: Sequence[Path]) -> list[dict[str, Any]]:
    """The finished searches in folders of the cache, as values for a page."""
    found = [result for folder in folders for result in BestConfigCache(folder).read_all()]
    return [search_facts(result) for result in found]


def search_facts(result: CachedResult) -> dict[str, Any]:
    """One search."""
    trials = result.document["trials"]
    return {
        "title": name(f"{result.names.config_type}, {result.names.task}"),
        "model": name(result.names.model),
        "objective": result.key["objective"]["name"],
        "created": name(result.document["created"]),
        "feasible": result.feasible,
        "remarks": [name(remark) for remark in result.remarks],
        "winner": result.best["trial"],
        "settings": name(result.best["description"]),
        "held_out": [_held_out(task, found) for task, found in result.best["held_out"].items()],
        "front": list(result.document["pareto"]),
        "trials": [_trial(trial) for trial in trials],
        "importance": importance(trials),
        "rungs": survival(trials),
    }


def importance(trials: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """How much each parameter decides whether a trial is among the best, by Optuna's PED-ANOVA.

    Shares of 1; empty where there are too few trials, or all are alike.
    """
    ended = [
        (trial["point"], trial["rungs"][-1]["losses"][0]) for trial in trials if trial["rungs"]
    ]
    points = [{key: json.dumps(value) for key, value in point.items()} for point, _ in ended]
    shared = set.intersection(*map(set, points)) if points else set()
    values = {key: sorted({point[key] for point in points}) for key in sorted(shared)}
    varied = {key: choices for key, choices in values.items() if len(choices) > 1}
    if len(ended) < _FEWEST or not varied or len({loss for _, loss in ended}) < 2:
        return {}
    domains: dict[str, BaseDistribution] = {
        key: CategoricalDistribution(choices) for key, choices in varied.items()
    }
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            study = optuna.create_study()
            for point, (_, loss) in zip(points, ended, strict=True):
                params = {key: point[key] for key in varied}
                study.add_trial(
                    optuna.trial.create_trial(params=params, distributions=domains, value=loss)
                )
            evaluator = optuna.importance.PedAnovaImportanceEvaluator()
            found = optuna.importance.get_param_importances(study, evaluator=evaluator)
    except (RuntimeError, ValueError):
        return {}
    finally:
        optuna.logging.set_verbosity(verbosity)
    return {name(key): share for key, share in found.items() if math.isfinite(share)}


def survival(trials: Sequence[Mapping[str, Any]]) -> list[dict[str, int]]:
    """For each rung, the samples that it has and the trials that reached it."""
    deepest = max((len(trial["rungs"]) for trial in trials), default=0)
    rungs = []
    for rung in range(deepest):
        reached = [trial for trial in trials if len(trial["rungs"]) > rung]
        samples = max(trial["rungs"][rung]["mean"]["samples"] for trial in reached)
        rungs.append({"samples": samples, "trials": len(reached)})
    return rungs


def _trial(trial: Mapping[str, Any]) -> dict[str, Any]:
    last = trial["rungs"][-1] if trial["rungs"] else None
    mean = last["mean"] if last else {}
    return {
        "number": trial["number"],
        "status": trial["status"],
        "loss": number(last["losses"][0]) if last else None,
        "score": number(mean.get("score")),
        "density": number(mean.get("density")),
        "settings": name(", ".join(f"{key}={value}" for key, value in trial["point"].items())),
    }


def _held_out(task: str, found: Mapping[str, Any] | None) -> dict[str, Any]:
    if found is None or found["status"] != "complete":
        reason = "no samples were held out" if found is None else found["reason"]
        return {"task": name(task), "reason": name(reason)}
    score = found["score"]
    limits = None if score is None else [number(x) for x in (score["mean"], *score["interval"])]
    return {
        "task": name(task),
        "density": number(found["density"]),
        "score": limits,
    }
