"""The settings of a search."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from benchmark.executor_config import MANY
from benchmark.objectives import Objective, ObjectiveName

AlgorithmName = Literal["tpe", "random", "grid", "evolutionary"]

YEAR = 366 * 24 * 3600
"""Seconds: what nobody waits for is a mistake."""
DEFAULT_CACHE = "./results/hyperparameter_cache"


class OptimizationConfig(BaseModel):
    """How settings are searched, judged and remembered."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    enabled: bool = True
    """False: no search; configurations that would be searched have their default settings."""
    num_samples: int = Field(default=20, ge=1, le=MANY)
    """Ray Tune trials: settings to try, for each config type (and task)."""
    optimization_metric: ObjectiveName = "combined_score"
    """What the search minimises.  ``combined_score``: attention error + penalty x (1 - score);
    ``benchmark_score``: 1 - score; ``attention_error``, which does not rank methods: its rank
    correlation with the score of 17 configurations on SmolLM2-135M was -.12; ``density``;
    ``score_at_density``: 1 - score, with a density of at most the budget; ``density_at_score``:
    density, with a score within the tolerance of dense attention's, by one standard error where a
    setting reaches that; ``pareto``: 1 - score and
    density, the winner is the sparsest within the tolerance of the best score."""
    use_per_task_config: bool = False
    """True: the best settings for each task; False: one for all tasks, the best on average."""
    cache_dir: str = DEFAULT_CACHE
    """Folder of the best settings and of all evaluations."""
    penalty: float = Field(default=1.0, ge=0, le=MANY)
    """Weight of 1 - score in ``combined_score``."""
    density_budget: float = Field(default=0.1, gt=0, le=1)
    """Density that ``score_at_density`` allows."""
    tolerance: float = Field(default=0.02, ge=0, le=1)
    """Score that ``density_at_score`` and ``pareto`` may give away."""
    max_concurrent_trials: int = Field(default=16, ge=1, le=4096)
    """Trials at a time: configurations that can answer as rows of one batch."""
    timeout_per_trial: float | None = Field(default=None, gt=0, le=YEAR)
    """Seconds after which a trial is given up; what it waits for counts too."""
    time_limit: float | None = Field(default=None, gt=0, le=YEAR)
    """Seconds for all trials together; searches end with what they have by then."""
    search_algorithm: AlgorithmName = "tpe"
    """How the next settings are chosen."""
    scheduler: Literal["asha", "none"] = "asha"
    """asha: bad trials stop after a part of the samples; none: every trial sees all of them."""
    reduction_factor: int = Field(default=4, ge=2, le=MANY)
    """asha: a rung has so many times the contexts of the one before, and lets one in so many on."""
    smallest_rung: int = Field(default=2, ge=1, le=MANY)
    """asha: contexts of each task in the first rung, at least."""
    held_out: float = Field(default=0.5, ge=0, lt=1)
    """Share of the contexts of a task that the search does not see, for judging its winner."""
    max_tuning_samples: int | None = Field(default=None, ge=1, le=MANY)
    """Samples of a task that the search sees at most; the others are held out too."""
    seed: int = Field(default=0, ge=0, lt=2**32)
    """Of the split, the order of samples and the search."""
    search_space: Mapping[str, Any] = Field(default_factory=dict)
    """Values or a range for a field: lsh_k=[8,10], sink_size=4,
    oracle_top_k.heavy_size={"low":0.01,"high":0.2,"log":true}."""

    @property
    def objective(self) -> Objective:
        """What the search minimises."""
        return Objective(
            name=self.optimization_metric,
            penalty=self.penalty,
            density_budget=self.density_budget,
            tolerance=self.tolerance,
        )

    @property
    def stops_early(self) -> bool:
        """Whether trials may end before they have seen all samples."""
        # With two losses there is no order in which some trials are the bad ones.
        return self.scheduler == "asha" and self.objective.dimensions == 1

    @property
    def gives_second_chances(self) -> bool:
        """Whether trials that were stopped may go on: those that did better may keep the constraint
        on few samples only.
        """
        return self.stops_early and self.objective.constrained

    def search_key(self) -> dict[str, Any]:
        """What the outcome of a search depends on, but for its length; JSON values."""
        second = {"second_chances": True} if self.gives_second_chances else {}
        return {
            "objective": self.objective.model_dump(mode="json"),
            "search": {
                "algorithm": self.search_algorithm,
                "scheduler": self.scheduler if self.stops_early else "none",
                "reduction_factor": self.reduction_factor,
                "smallest_rung": self.smallest_rung,
                "seed": self.seed,
                "timeout_per_trial": self.timeout_per_trial,
                **second,
            },
        }
