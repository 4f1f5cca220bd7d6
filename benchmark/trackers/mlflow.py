"""MLflow: ``mlflow ui --backend-store-uri sqlite:///results/tracking/mlflow/mlflow.db``."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from mlflow.entities import Metric, Param
from mlflow.tracking import MlflowClient

from benchmark.trackers.runs import TrackedRun

_ID = "sparse_bench.id"


def write(runs: Sequence[TrackedRun], folder: Path) -> None:
    """Runs of one experiment for each group; a run that is there already is replaced."""
    client = MlflowClient(tracking_uri=f"sqlite:///{folder.resolve() / 'mlflow.db'}")
    for run in runs:
        known = client.get_experiment_by_name(run.group)
        if known is None:
            artifacts = (folder.resolve() / "artifacts").as_uri()
            experiment = client.create_experiment(run.group, artifact_location=artifacts)
        else:
            experiment = known.experiment_id
            for old in client.search_runs([experiment], f"tags.`{_ID}` = '{run.id}'"):
                client.delete_run(old.info.run_id)
        made = client.create_run(experiment, run_name=run.name, tags={_ID: run.id}).info.run_id
        now = time.time_ns() // 1_000_000
        client.log_batch(
            made,
            metrics=[
                Metric(name, value, now, step)
                for step, metrics in run.steps
                for name, value in metrics.items()
            ],
            params=[Param(name, str(value)) for name, value in run.params.items()],
        )
        client.set_terminated(made)
