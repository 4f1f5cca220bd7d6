"""Which settings a search tries next: Optuna asks for points of a space, and is told their losses.

Equal settings are proposed once, settings that do not go together never, and the default settings
first.
"""

from __future__ import annotations

import json
import math
import sys
import warnings
from collections.abc import Iterator
from itertools import chain, zip_longest
from random import Random
from typing import Any, get_args

import optuna
from optuna.samplers import BaseSampler, NSGAIISampler, RandomSampler, TPESampler
from optuna.trial import TrialState

from benchmark.generic_config_optimizer import (
    TYPE_PARAMETER,
    GenericConfigOptimizer,
    Parameter,
    SearchRange,
    types_of,
)
from benchmark.tuning.records import Point
from benchmark.tuning.settings import AlgorithmName
from sparse_attention.config import AttentionConfig
from sparse_attention.errors import UserError

ALGORITHMS: tuple[str, ...] = get_args(AlgorithmName)

_ATTEMPTS = 64
"""Proposals in a row that may be old or impossible before the next one comes from the grid: a
sampler that goes on proposing what it likes would else never let a small space be exhausted."""
_POPULATION = 12
"""Of the evolutionary search; searches here have tens of trials, not thousands."""
_GRID_LIMIT = 100_000
"""Points of a config type that a grid has at most: more than any search tries, and a list that fits
into memory."""


def _sampler(algorithm: AlgorithmName, seed: int) -> BaseSampler:
    if algorithm == "tpe":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            # Jointly and in groups, because parameters depend on the config type.
            return TPESampler(seed=seed, multivariate=True, group=True)
    if algorithm == "evolutionary":
        return NSGAIISampler(seed=seed, population_size=_POPULATION)
    return RandomSampler(seed=seed)


class Proposals:
    """The points of one search.

    ``tpe``: tree-structured Parzen estimators (Bergstra et al. 2011), joint over the parameters;
    ``evolutionary``: NSGA-II (Deb et al. 2002); ``random``; ``grid``: all combinations, with ranges
    in eight steps, in a random order.
    """

    def __init__(
        self, space: GenericConfigOptimizer, algorithm: AlgorithmName, seed: int, dimensions: int
    ) -> None:
        """Start a search.

        Args:
            space: where to search.
            algorithm: one of those above.
            seed: of its random choices.
            dimensions: number of losses that are minimised.
        """
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._space = space
        self._by_name = {parameter.name: parameter for parameter in space.search_space}
        self._attempts = 0 if algorithm == "grid" else _ATTEMPTS
        self._study = optuna.create_study(
            sampler=_sampler(algorithm, seed), directions=["minimize"] * dimensions
        )
        default = [] if (point := _default(space)) is None else [point]
        self._grid = chain(default, _grid(space, Random(f"grid {seed}")))
        self._losses: dict[AttentionConfig, tuple[float, ...] | None] = {}
        self._open: dict[int, tuple[optuna.Trial, AttentionConfig]] = {}
        if self._attempts and default:
            self._study.enqueue_trial(self._written(default[0]))

    def next(self) -> tuple[int, Point, AttentionConfig] | None:
        """A number for ``tell``, a new point and its configuration; None if none is left."""
        for _ in range(self._attempts):
            found = self._accept(self._study.ask())
            if found is not None:
                return found
        for point in self._grid:
            config = self._config(point)
            if config is not None and config not in self._losses:
                self._study.enqueue_trial(self._written(point))
                return self._accept(self._study.ask())
        return None

    def tell(self, number: int, losses: tuple[float, ...] | None) -> None:
        """The losses of a point; None, or one that is not finite: it has none and cannot win."""
        trial, config = self._open.pop(number)
        self._losses[config] = losses
        self._finish(trial, losses)

    def replay(self, point: Point, losses: tuple[float, ...] | None) -> None:
        """Take over a point that was tried earlier, with its losses as for ``tell``."""
        self._losses[self._space.config(point)] = losses
        self._study.enqueue_trial(self._written(point))
        trial = self._study.ask()
        self._suggest(trial)
        self._finish(trial, losses)

    def _finish(self, trial: optuna.Trial, losses: tuple[float, ...] | None) -> None:
        if losses is not None and all(map(math.isfinite, losses)):
            self._study.tell(trial, list(losses))
        else:
            self._study.tell(trial, state=TrialState.FAIL)

    def _accept(self, trial: optuna.Trial) -> tuple[int, Point, AttentionConfig] | None:
        """The point of a trial, unless it is old or impossible; Optuna is then told at once."""
        point = self._suggest(trial)
        config = self._config(point)
        if config is None or config in self._losses:
            self._finish(trial, None if config is None else self._losses[config])
            return None
        self._losses[config] = None
        self._open[trial.number] = trial, config
        return trial.number, point, config

    def _written(self, point: Point) -> Point:
        """A point as ``_ask`` reads it: choices as text."""
        return {
            name: value
            if isinstance(self._by_name[name].domain, SearchRange)
            else json.dumps(value)
            for name, value in point.items()
        }

    def _config(self, point: Point) -> AttentionConfig | None:
        try:
            return self._space.config(point)
        except UserError:
            return None

    def _suggest(self, trial: optuna.Trial) -> Point:
        point: Point = {}
        if self._space.searches_type:
            point[TYPE_PARAMETER] = _ask(trial, self._by_name[TYPE_PARAMETER])
        kind = point.get(TYPE_PARAMETER, self._space.config_type)
        point.update({p.name: _ask(trial, p) for p in self._space.parameters(kind)})
        return point


def _ask(trial: optuna.Trial, parameter: Parameter) -> Any:
    domain = parameter.domain
    if not isinstance(domain, SearchRange):
        # As text, because Optuna takes 1, 1.0 and True for the same choice.
        return json.loads(trial.suggest_categorical(parameter.name, list(map(json.dumps, domain))))
    if isinstance(domain.low, int) and isinstance(domain.high, int):
        return trial.suggest_int(parameter.name, domain.low, domain.high, log=domain.log)
    return trial.suggest_float(parameter.name, domain.low, domain.high, log=domain.log)


def _default(space: GenericConfigOptimizer) -> Point | None:
    """The default settings of the type; None where they are not in the space."""
    if space.searches_type:
        return None
    fields = {
        field: value for method in types_of(space.config_type)[0].methods for field, value in method
    }
    if any(parameter.name not in fields for parameter in space.search_space):
        return None  # a value for each layer has no default
    point = {parameter.name: fields[parameter.name] for parameter in space.search_space}
    inside = (parameter.contains(point[parameter.name]) for parameter in space.search_space)
    return point if all(inside) else None


def _grid(space: GenericConfigOptimizer, rng: Random) -> Iterator[Point]:
    """The points of each config type in turn, ranges in steps, in a random order."""
    kinds = [_grid_of(space, kind, rng) for kind in space.parameters_of]
    for points in zip_longest(*kinds):
        yield from (point for point in points if point is not None)


def _grid_of(space: GenericConfigOptimizer, kind: str, rng: Random) -> Iterator[Point]:
    parameters = space.parameters(kind)
    total = math.prod(len(parameter.values) for parameter in parameters)
    if total <= sys.maxsize:
        indices = rng.sample(range(total), min(total, _GRID_LIMIT))
    else:  # a range has no length then, and no number will come twice
        indices = [rng.randrange(total) for _ in range(_GRID_LIMIT)]
    for index in indices:
        point: Point = {TYPE_PARAMETER: kind} if space.searches_type else {}
        for parameter in parameters:
            index, digit = divmod(index, len(parameter.values))
            point[parameter.name] = parameter.values[digit]
        yield point
