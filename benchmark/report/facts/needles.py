"""Needle tasks: how well what stands at some depth of a context of some length is found."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from benchmark.report.facts.shown import name, number
from benchmark.report.frames.methods import DENSE

DEPTHS = 5
"""Parts of a context."""


def needle_facts(predictions: pd.DataFrame) -> list[dict[str, Any]]:
    """For each model and benchmark the mean scores by configuration, length and depth.

    Of the tasks whose samples have one reference each that stands in one place of the context;
    groups of other lengths are put together.  A length is the power of two that is nearest to the
    tokens of the prompt.
    """
    scored = predictions[predictions["score"].notna()]
    is_placed = scored["depth"].notna() & (scored["references"].map(len) == 1)
    tasks = [scored[name] for name in ("model", "benchmark", "subset")]
    found = scored[is_placed.groupby(tasks).transform("all")]
    if found.empty:
        return []
    found = found.assign(
        depth_part=(found["depth"].astype(float) * DEPTHS).clip(upper=DEPTHS - 1).astype(int),
        length=found["prompt_tokens"].map(lambda tokens: 2 ** round(math.log2(max(1, tokens)))),
        label=[
            f"{c}, {t}" if t else c for c, t in zip(found["config"], found["tuning"], strict=True)
        ],
    )
    return [
        _facts(str(model), str(benchmark), frame)
        for (model, benchmark), frame in found.groupby(["model", "benchmark"], sort=False)
    ]


def _facts(model: str, benchmark: str, frame: pd.DataFrame) -> dict[str, Any]:
    means = frame.groupby(["label", "length", "depth_part"], sort=False)["score"].agg(
        ["mean", "size"]
    )
    about = frame.groupby("label").agg(method=("method", "first"), density=("density", "mean"))
    about = about.assign(other=about["method"] != DENSE).sort_values(["other", "method", "density"])
    by_config: dict[str, list[Sequence[float | None]]] = {name(label): [] for label in about.index}
    cells: Mapping[Any, Any] = means.to_dict("index")
    for (label, length, part), cell in cells.items():
        own = [int(length), int(part), number(cell["mean"]), int(cell["size"])]
        by_config[name(label)].append(own)
    return {
        "model": name(model),
        "benchmark": name(benchmark),
        "title": f"{name(model)} on {name(benchmark)}",
        "tasks": [name(subset) for subset in sorted(frame["subset"].unique())],
        "lengths": sorted(int(length) for length in frame["length"].unique()),
        "depths": DEPTHS,
        "configs": [{"label": label, "cells": own} for label, own in by_config.items()],
    }
