"""Nothing that is slow, or of the machine, is reached."""

from __future__ import annotations

from pathlib import Path

import pytest
from fuzzing import no_workers


@pytest.fixture(autouse=True)
def _nothing_is_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("SPARSE_BENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("benchmark.hyperparameter_optimization.hold_ray", no_workers)
    monkeypatch.setattr("benchmark.optimizer.optimized_executor.hold_ray", no_workers)
    monkeypatch.setattr("benchmark.run.ray_session.hold_ray", no_workers)
    monkeypatch.setattr("benchmark.embedded_training.train.build_tokenizer", no_workers)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
