"""What a search of one trial leaves, without the search."""

from __future__ import annotations

from benchmark.results.key import FORMAT
from sparse_attention.config_types import make_config

TASK = {"format": FORMAT, "tuning_ids": ["a"], "held_out_ids": []}
KEY = {"objective": {"name": "density"}, "num_samples": 10, "tasks": {"ruler_vt": TASK}}
MEASURED = {"score": 0.5, "density": 0.25, "attention_error": 0.125, "samples": 4}


def content(size: int = 4, **best: object) -> dict[str, object]:
    """Its winner reads the first ``size`` keys; ``best`` are other fields of the winner."""
    config = make_config("sink_masker", sink_size=size)
    on_task = {"losses": [0.25], **MEASURED}
    rung = {"losses": [0.25], "mean": MEASURED, "tasks": {"ruler_vt": on_task}}
    point = {"sink_size": size}
    return {
        "best": {
            "config": config.to_json(),
            "description": config.describe(),
            "point": point,
            "trial": 0,
            "loss": [0.25],
            "feasible": True,
            "remarks": [],
            "tuning": MEASURED,
            "held_out": {"ruler_vt": None},
            **best,
        },
        "tasks": {
            "ruler_vt": {
                "tuning": on_task,
                "best_trial": 0,
                "loss_to_best": 0.0,
                "held_out": None,
            }
        },
        "pareto": [0],
        "trials": [
            {
                "number": 0,
                "point": point,
                "config": config.to_json(),
                "status": "complete",
                "reason": "",
                "rungs": [rung],
            }
        ],
    }
