"""Weights & Biases, offline: ``wandb sync results/tracking/wandb/wandb/offline-run-*``."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import wandb

from benchmark.trackers.runs import TrackedRun

_PROJECT = "sparse-bench"


def write(runs: Sequence[TrackedRun], folder: Path) -> None:
    """An offline run for each, in the place of an earlier one of the same result."""
    for run in runs:
        for earlier in folder.glob(f"wandb/offline-run-*-{run.id}"):
            shutil.rmtree(earlier)
        with (
            wandb.init(
                mode="offline",
                project=_PROJECT,
                dir=str(folder),
                id=run.id,
                group=run.group[:128],  # what its server takes
                name=run.name[:128],
                config=dict(run.params),
                settings=wandb.Settings(silent=True, console="off", disable_git=True),
            ) as writer
        ):
            # Its own steps only count up: ours are a metric that others are drawn over.
            writer.define_metric("*", step_metric="at")
            for step, metrics in run.steps:
                writer.log({"at": step, **metrics})
