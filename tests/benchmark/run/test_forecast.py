"""``--dry-run``: what a run would do, without doing any of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from commands import arguments
from local_pool import LocalPool

from benchmark.console.main import main
from benchmark.executor import BenchmarkExecutor
from benchmark.executor_config import BenchmarkConfig
from benchmark.run.forecast import JobForecast

CONFIGS = ["dense", "sink_local"]


def forecast(model: Path, folder: Path, subset: str = "first", workers: int = 2):
    executor = BenchmarkExecutor([], folder, workers, quiet=True, pool=LocalPool)
    return executor.forecast(str(model), CONFIGS, BenchmarkConfig("toy", [subset]))


def only(found) -> JobForecast:
    (job,) = found.jobs
    return job


def test_nothing_is_known_and_nothing_is_written(tiny_model: Path, tmp_path: Path) -> None:
    found = forecast(tiny_model, tmp_path / "results")
    job = only(found)
    assert (job.cells, job.answers, job.cached, job.contexts) == (2, 16, 0, 4)
    # Of 40 words the last one belongs to the question's first token; with its prefix it has three.
    assert (job.tokens, job.longest) == (4 * 39 + 8 * 3, 42)
    assert job.seconds != job.seconds
    weights = 2 * 63 * 32 + 2 * (4 * 32 * 32 - 2 * 32 * 16 + 3 * 32 * 64) + 5 * 32
    cache = 42 * 2 * 2 * 2 * 8
    assert job.memory == 4 * (weights + 1.25 * cache + 42 * (8 * 32 + 3 * 64))
    assert "16 of 16 answers to compute with 2 worker(s): an unknown time" in found.summary()
    assert not (tmp_path / "results").exists()


def test_times_are_those_of_first_samples(tiny_model: Path, tmp_path: Path) -> None:
    folder = tmp_path / "results"
    assert main(arguments(tiny_model, folder), LocalPool) == 0
    done = only(forecast(tiny_model, folder))
    assert (done.cached, done.tokens, done.seconds) == (16, 0, 0.0)
    for path in folder.rglob("first/*/costs.jsonl"):
        lines = [json.loads(line) for line in path.read_bytes().splitlines()]
        # The first context is there, which took 4 seconds to read and 1 for each answer.
        for number, line in enumerate(lines):
            line.update(prefill_seconds=0.0 if number % 2 else 4.0, decode_seconds=1.0)
        path.write_text("".join(json.dumps(line) + "\n" for line in lines[:2]))
    found = forecast(tiny_model, folder)
    job = only(found)
    assert (job.cached, job.contexts, job.tokens) == (4, 3, 3 * 39 + 6 * 3)
    assert job.seconds == pytest.approx(3 * 39 * 4.0 / 42 + 2 * 6 * 1.0)
    assert found.seconds == job.seconds / 2


def test_times_of_other_subsets_do_where_there_are_no_others(
    tiny_model: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "results"
    words = [word for word in arguments(tiny_model, folder) if word != "second"]
    assert main(words, LocalPool) == 0
    job = only(forecast(tiny_model, folder, "second"))
    assert job.cached == 0
    assert 0 < job.seconds < 60


def test_on_the_command_line(
    tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*arguments(tiny_model, tmp_path / "results"), "--dry-run"], LocalPool) == 0
    shown = capsys.readouterr().out
    assert "second" in shown
    assert "answers to compute with 1 worker(s): an unknown time" in shown
    assert not (tmp_path / "results").exists()
