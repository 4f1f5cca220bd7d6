"""What searches give back: the table, and the best of several config types."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from benchmark.objectives import Objective
from benchmark.tuning.cache import CachedResult, Names
from benchmark.tuning.found import OptimizedConfigs, OptimizedSparseConfig
from sparse_attention.config_types import make_config
from sparse_attention.errors import UserError


def held_out(score: float, density: float) -> dict[str, Any]:
    def estimate(mean: float) -> dict[str, Any]:
        return {"mean": mean, "interval": [mean - 0.1, mean + 0.1], "samples": 10}

    return {
        "status": "complete",
        "score": estimate(score),
        "dense_difference": estimate(score - 0.8),
        "density": density,
        "attention_error": density / 2,
    }


def result(kind: str, tasks: dict[str, Any], *, feasible: bool = True) -> CachedResult:
    config = make_config(kind)
    best = {
        "config": config.to_json(),
        "description": config.describe(),
        "feasible": feasible,
        "remarks": [] if feasible else ["infeasible: none"],
        "held_out": tasks,
    }
    document = {
        "trials": [{}, {}, {}],
        "tasks": {task: {"tuning": {"score": 0.9}} for task in tasks},
    }
    names = Names(model="m", config_type=kind, benchmark=None, subset=None)
    key = {"objective": Objective(name="density_at_score").model_dump()}
    return CachedResult(Path(f"{kind}.json"), names, key, best, document)


FOUND = OptimizedConfigs(
    quest=OptimizedSparseConfig(
        "quest",
        {"global": result("quest", {"ruler_vt": held_out(0.8, 0.3), "ruler_cwe": None})},
    ),
    magic_pig=OptimizedSparseConfig(
        "magic_pig",
        {"ruler_vt": result("magic_pig", {"ruler_vt": held_out(0.5, 0.1)})},
        {"ruler_cwe": "no trial finished"},
    ),
    oracle_top_k=OptimizedSparseConfig(
        "oracle_top_k", {"ruler_vt": result("oracle_top_k", {"ruler_vt": held_out(0.8, 0.02)})}
    ),
    snapkv=OptimizedSparseConfig(
        "snapkv",
        {"ruler_vt": result("snapkv", {"ruler_vt": held_out(0.8, 0.01)}, feasible=False)},
    ),
)


def test_a_row_for_each_type_and_task() -> None:
    frame = FOUND.to_frame().set_index(["config", "task"])
    assert list(frame.index) == [
        ("quest", "ruler_vt"),
        ("quest", "ruler_cwe"),
        ("magic_pig", "ruler_cwe"),
        ("magic_pig", "ruler_vt"),
        ("oracle_top_k", "ruler_vt"),
        ("snapkv", "ruler_vt"),
    ]
    row = frame.loc["quest", "ruler_vt"]
    assert (row["search"], row["status"], row["trials"]) == ("global", "complete", 3)
    assert (row["tuning_score"], row["held_out_score"], row["density"]) == (0.9, 0.8, 0.3)
    assert (row["held_out_score_low"], row["held_out_score_high"]) == pytest.approx((0.7, 0.9))
    assert row["attention_error"] == 0.15
    assert row["settings"] == make_config("quest").describe()
    assert pd.isna(frame.loc[("quest", "ruler_cwe"), "held_out_score"])
    failed = frame.loc["magic_pig", "ruler_cwe"]
    assert (failed["status"], failed["message"]) == ("failed", "no trial finished")
    assert frame.loc[("magic_pig", "ruler_vt"), "held_out_dense_difference"] == pytest.approx(-0.3)
    assert frame.loc[("snapkv", "ruler_vt"), "status"] == "infeasible"
    assert len(FOUND["magic_pig"].to_frame()) == 2


def test_it_is_shown_as_a_table() -> None:
    assert "0.800 [0.70, 0.90]" in str(FOUND)
    assert "no trial finished" in str(FOUND["magic_pig"])
    assert FOUND._repr_html_().count("<tr") == 1 + 6
    assert "<td>no trial finished</td>" in FOUND._repr_html_()
    assert str(OptimizedConfigs()) == "no results"


def test_the_best_by_task() -> None:
    assert FOUND.best() == {"ruler_vt": FOUND["quest"].results["global"]}
    assert FOUND.best(oracles=True) == {"ruler_vt": FOUND["oracle_top_k"].results["ruler_vt"]}
    assert FOUND.best("density") == {"ruler_vt": FOUND["magic_pig"].results["ruler_vt"]}
    assert FOUND.best("score_at_density", density_budget=0.05) == {}
    with pytest.raises(UserError, match="Did you mean 'density'"):
        FOUND.best("densty")
