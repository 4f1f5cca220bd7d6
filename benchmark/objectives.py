"""What a search minimises, from what was measured of a configuration."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeFloat,
    PositiveInt,
    ValidationError,
)

from benchmark.results.records import Record, Share
from sparse_attention.errors import UserError, explain

ObjectiveName = Literal[
    "combined_score",
    "benchmark_score",
    "attention_error",
    "density",
    "score_at_density",
    "density_at_score",
    "pareto",
]
OBJECTIVES: tuple[str, ...] = get_args(ObjectiveName)
_NEARLY_DENSE = 0.5
"""Share of the keys above which what was chosen saves so little that it is said."""


def saves_little(density: float | None, bytes_read: float | None) -> Iterator[str]:
    """What must be said of a winner that saves little or nothing: ``reads 87% of the keys``."""
    if density is not None and density > _NEARLY_DENSE:
        yield f"reads {density:.0%} of the keys"
    if bytes_read is not None and bytes_read > 1:
        yield f"reads {bytes_read:.2f} times the bytes of dense attention, choosing included"


class Measured(Record):
    """Means over the samples that a configuration answered."""

    score: Share
    density: Share
    attention_error: NonNegativeFloat | None = None
    """None where it was not measured."""
    bytes_read: NonNegativeFloat | None = None
    """As of predictions; None in results of earlier versions."""
    dense_difference: float | None = None
    """Score less that of dense attention on the same samples; None where it was not compared."""
    dense_error: NonNegativeFloat | None = None
    """Standard error of this difference; None of one context, too."""
    samples: PositiveInt


class Objective(BaseModel):
    """A loss of what was measured; smaller is better.

    With score s, density d and attention error e of a configuration, and s_dense the score of dense
    attention on the same samples:

    - ``combined_score``: e + penalty (1 - s);
    - ``benchmark_score``: 1 - s;
    - ``attention_error``: e;
    - ``density``: d;
    - ``score_at_density``: 1 - s where d is at most ``density_budget``, else 1 + d - budget;
    - ``density_at_score``: d where s is at least s_dense - ``tolerance``, else 1 + what s lacks;
    - ``pareto``: both 1 - s and d; the winner is the sparsest whose score is within ``tolerance``
      of the best one.

    A violated constraint costs more than 1 and a kept one at most 1, so that the former never wins
    over the latter.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: ObjectiveName = "combined_score"
    penalty: float = Field(default=1.0, ge=0, allow_inf_nan=False)
    density_budget: float = Field(default=0.1, gt=0, le=1)
    tolerance: float = Field(default=0.02, ge=0, le=1)

    @property
    def dimensions(self) -> int:
        """Number of losses."""
        return 2 if self.name == "pareto" else 1

    @property
    def needs_dense(self) -> bool:
        """Whether the losses depend on the score of dense attention."""
        return self.name == "density_at_score"

    @property
    def needs_error(self) -> bool:
        """Whether the losses depend on the attention error."""
        return self.name in ("combined_score", "attention_error")

    @property
    def constrained(self) -> bool:
        """Whether there is a constraint, which may be violated."""
        return self.name in ("score_at_density", "density_at_score")

    def is_kept(self, losses: Sequence[float]) -> bool:
        """Whether losses on a task say that the constraint, if any, is kept there."""
        return not self.constrained or losses[0] <= 1

    def is_clear(self, losses: Sequence[float], measured: Measured) -> bool:
        """Whether the constraint, if any, is kept on a task by one standard error at least.

        Of many settings the best that keep it on some samples are those that were lucky there.  To
        ask for one standard error is the rule of Breiman et al. (1984, Classification and
        Regression Trees, 3.4.3).
        """
        if self.name != "density_at_score":
            return self.is_kept(losses)
        difference, error = measured.dense_difference, measured.dense_error
        if difference is None or error is None or not self.is_kept(losses):
            return False
        return difference - error >= -self.tolerance

    def can_be_clear(self, measured: Measured) -> bool:
        """Whether there are samples enough to tell one that loses nothing from the tolerance."""
        if self.name != "density_at_score":
            return True
        return measured.dense_error is not None and measured.dense_error <= self.tolerance

    def losses(self, measured: Measured, dense_score: float | None) -> tuple[float, ...]:
        """The losses of a configuration.

        Args:
            measured: of the configuration; finite, with the attention error where
                ``needs_error``.
            dense_score: of dense attention on the same samples, where ``needs_dense``.
        """
        score, density, error = measured.score, measured.density, measured.attention_error
        if self.needs_error:
            assert error is not None
            return (
                error if self.name == "attention_error" else error + self.penalty * (1 - score),
            )
        if self.name == "benchmark_score":
            return (1 - score,)
        if self.name == "density":
            return (density,)
        if self.name == "score_at_density":
            excess = density - self.density_budget
            return (1 + excess if excess > 0 else 1 - score,)
        if self.name == "density_at_score":
            assert dense_score is not None
            lacking = dense_score - self.tolerance - score
            return (1 + lacking if lacking > 0 else density,)
        return (1 - score, density)

    def best(self, losses: Sequence[Sequence[float]], densities: Sequence[float]) -> int:
        """Place of the winner; of equal losses the sparsest, of these the first.

        Raises:
            ValueError: if there is no candidate or a loss is not finite.
        """
        if not all(math.isfinite(value) for line in losses for value in line):
            raise ValueError(f"a loss is not finite: {losses!r:.200}")
        places = list(range(len(losses)))
        if self.name == "pareto":
            limit = min(line[0] for line in losses) + self.tolerance + 1e-12
            places = [place for place in places if losses[place][0] <= limit]
            return min(places, key=lambda place: (losses[place][1], losses[place][0], place))
        return min(places, key=lambda place: (losses[place][0], densities[place], place))


@dataclass(frozen=True)
class Candidate:
    """What results say of a configuration, to be compared with others on the same samples."""

    score: float
    dense_score: float | None
    """Of dense attention on the same samples; None where it did not answer them."""
    density: float
    attention_error: float | None
    """None where it was not measured."""
    samples: int

    @classmethod
    def of(
        cls, estimates: Mapping[str, Any], means: Mapping[str, Any], dense: bool
    ) -> Candidate | None:
        """Read JSON of results; None without a sample that was answered and has references.

        Args:
            estimates: has ``score`` and ``dense_difference``.
            means: has ``density`` and ``attention_error``.
            dense: whether it is dense attention itself.
        """
        score, difference = estimates["score"], estimates["dense_difference"]
        if score is None or means["density"] is None:
            return None
        if dense:
            dense_score, error = score["mean"], 0.0
        else:
            dense_score = None if difference is None else score["mean"] - difference["mean"]
            error = means["attention_error"]
        return cls(score["mean"], dense_score, means["density"], error, score["samples"])

    def losses(self, objective: Objective) -> tuple[float, ...]:
        """The losses; ``UserError`` where the objective needs what was not measured."""
        if objective.needs_dense and self.dense_score is None:
            raise UserError(
                f"{objective.name} compares with dense attention, which did not answer these "
                "samples: run dense too, or choose another objective."
            )
        if objective.needs_error and self.attention_error is None:
            raise UserError(
                f"{objective.name} needs the attention error, which was not measured: set "
                "measure_error, or choose another objective."
            )
        measured = Measured(
            score=self.score,
            density=self.density,
            attention_error=self.attention_error,
            samples=self.samples,
        )
        return objective.losses(measured, self.dense_score)


def choose(objective: Objective, candidates: Sequence[Candidate]) -> int | None:
    """Place of the best candidate that keeps the constraint; None if none does."""
    losses = [candidate.losses(objective) for candidate in candidates]
    kept = [place for place, found in enumerate(losses) if objective.is_kept(found)]
    if not kept:
        return None
    densities = [candidates[place].density for place in kept]
    return kept[objective.best([losses[place] for place in kept], densities)]


def make_objective(name: str, limits: Mapping[str, float]) -> Objective:
    """An objective with its ``penalty``, ``density_budget`` and ``tolerance``.

    Raises:
        UserError: for an unknown or invalid one.
    """
    try:
        return Objective(name=name, **limits)  # type: ignore[arg-type]
    except ValidationError as error:
        raise UserError(f"objective: {explain(error)}") from None


def pareto_front(scores: Sequence[float], densities: Sequence[float]) -> list[int]:
    """Places of the candidates that none beats in one of both and equals in the other.

    Sorted by density; of equal candidates the first.
    """
    order = sorted(range(len(scores)), key=lambda place: (densities[place], -scores[place], place))
    front: list[int] = []
    for place in order:
        if not front or scores[place] > scores[front[-1]]:
            front.append(place)
    return front
