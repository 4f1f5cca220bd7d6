"""TensorBoard: ``tensorboard --logdir results/tracking/tensorboard``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tensorboardX import SummaryWriter
from tensorboardX.summary import hparams

from benchmark.files import safe_name
from benchmark.trackers.runs import TrackedRun


def write(runs: Sequence[TrackedRun], folder: Path) -> None:
    """A folder of events for each run, in the place of earlier ones."""
    for run in runs:
        own = folder / safe_name(run.group) / f"{safe_name(run.name)}-{run.id[:8]}"
        for earlier in own.glob("events.out.tfevents.*"):
            earlier.unlink()
        last = dict(item for _, metrics in run.steps for item in metrics.items())
        with SummaryWriter(str(own)) as writer:
            for summary in hparams(dict(run.params), last):
                writer.file_writer.add_summary(summary)
            for step, metrics in run.steps:
                for name, value in metrics.items():
                    writer.add_scalar(name, value, step)
