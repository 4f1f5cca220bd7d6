"""What is said while a search works: answers, and how long it will take."""

from __future__ import annotations

from pathlib import Path

import pytest
from local_pool import LocalPool
from search_without_tune import WithoutTune
from toy_search import search

from benchmark.executor_config import BenchmarkConfig
from benchmark.run import progress
from benchmark.tuning.progress import TuningProgress

FEW = BenchmarkConfig("toy", ["first", "second"], {"contexts": 6})
SECONDS = 60.0
"""That each batch of answers takes."""


class _Watched(WithoutTune):
    """Says how far it is after every batch, on a clock of its own."""

    counts: list[tuple[int, int]]

    def evaluate(self, wants):
        super().evaluate(wants)
        _Watched.now += SECONDS
        _Watched.counts.append(self._studies[0].answers)
        self._progress._counted = 0.0
        self._progress.answered()

    now = 0.0


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    for module in ("benchmark.run.progress", "benchmark.tuning.progress"):
        monkeypatch.setattr(f"{module}.monotonic", lambda: _Watched.now)
    monkeypatch.setattr("benchmark.tuning.search.Search", _Watched)
    monkeypatch.setattr("benchmark.hyperparameter_optimization.start_ray", lambda: None)
    _Watched.counts = []
    said: list[str] = []
    monkeypatch.setattr(progress.Lines, "say", lambda _, line: said.append(line))
    monkeypatch.setattr(progress.Lines, "say_if_due", lambda _, line: said.append(line()))
    return said


def test_answers_are_counted_and_the_count_ends_whole(
    tiny_model: Path, tmp_path: Path, lines: list[str]
) -> None:
    search(
        str(tiny_model),
        str(tmp_path),
        ("sink_local",),
        LocalPool,
        num_samples=9,
        use_per_task_config=False,
        search_space={"window_size": [2, 4, 8], "sink_size": [1, 2]},
        optimization_metric="combined_score",
    )
    done = [answers for answers, _ in _Watched.counts]
    assert done == sorted(done)
    first, second, *_ = lines
    assert first.startswith("searching: ")
    assert "left" not in first, "until then the model was loaded"
    assert "min left (sink_local global 0 of 9 trials)" in second
    # Six settings are all that there are: the end is not at 6 of 9.
    (ended,) = (line for line in lines if line.startswith("sink_local global: "))
    assert ended.startswith("sink_local global: 6 trials, ")
    assert "best loss" in ended


def test_a_search_that_is_done_has_as_many_answers_as_it_expects(
    tiny_model: Path, tmp_path: Path, lines: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    ended: list[tuple[int, int]] = []
    monkeypatch.setattr(
        TuningProgress,
        "advance",
        lambda self, study, record: ended.append(study.answers) if study.has_ended else None,
    )
    search(str(tiny_model), str(tmp_path), ("sink_local",), LocalPool, FEW, num_samples=4)
    assert len(ended) == 2, "one for each task"
    assert all(answers == expected > 0 for answers, expected in ended)
