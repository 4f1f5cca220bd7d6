"""Both phases joined: which configurations are searched, and where the winners go."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from local_pool import LocalPool
from search_without_tune import without_tune
from toy_benchmark import Toy
from toy_search import BENCHMARK, TYPES, search

from benchmark.executor import BenchmarkExecutor
from benchmark.executor_config import BenchmarkConfig
from benchmark.hyperparameter_optimization import OptimizationConfig, search_tasks
from benchmark.optimizer import optimized_executor
from benchmark.optimizer.optimized_executor import create_optimized_benchmark_executor
from benchmark.report.frames.scan import scan_results
from benchmark.report.groups import group_results
from sparse_attention.config_types import make_config
from sparse_attention.errors import UserError
from sparse_attention.hf.adapter import HuggingFaceAdapter
from sparse_attention.prompt import PromptSettings, encode_prompt


@pytest.fixture
def one_process() -> Iterator[None]:
    with without_tune():
        yield


@pytest.mark.usefixtures("one_process")
def test_tuned_settings_reach_the_attention(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Each task's own winner is what reads the cache in phase 2."""
    found = search(str(tiny_model), str(tmp_path / "cache"), TYPES[:1], LocalPool, num_samples=2)
    by_task = {}
    for number, (task, result) in enumerate(found["sink_local"].results.items()):
        config = make_config("sink_local", sink_size=1 + number, window_size=3 + 4 * number)
        best = {**result.best, "config": config.to_json()}
        by_task[task] = type(result)(result.path, result.names, result.key, best, result.document)
    tuned = {"sink_local": type(found["sink_local"])("sink_local", by_task)}
    monkeypatch.setattr(optimized_executor, "search_tasks", lambda *_, **__: tuned)
    tuned_executor = create_optimized_benchmark_executor(
        gpu_ids=[],
        optimization_config=OptimizationConfig(use_per_task_config=True),
        results_dir=tmp_path / "results",
        num_workers=1,
        quiet=True,
        pool=LocalPool,
    )
    result = tuned_executor.run_benchmark_matrix(
        [str(tiny_model)], [("dense", None), ("sink_local", None)], [BENCHMARK]
    )
    assert result.exit_code == 0
    adapter = HuggingFaceAdapter.load(str(tiny_model))
    for cell in result.cells:
        if cell.config == "dense":
            continue
        task = f"toy_{cell.subset}"
        key = json.loads((cell.folder / "key.json").read_text())
        assert key["config"] == by_task[task].best["config"]
        lines = (cell.folder / "predictions.jsonl").read_text().splitlines()
        prediction = json.loads(lines[0])
        sample = next(s for s in toy_samples(cell.subset, adapter) if s.id == prediction["id"])
        prompt = encode_prompt(
            adapter.tokenizer,
            sample.context,
            sample.question,
            sample.answer_prefix,
            settings=PromptSettings(),
            max_new_tokens=sample.max_new_tokens,
            max_positions=256,
        )
        (answer,) = adapter.answer(
            adapter.prefill(prompt.context_ids),
            prompt.question_ids,
            [by_task[task].config],
            max_new_tokens=sample.max_new_tokens,
        )
        assert prediction["density"] == pytest.approx(answer.density, rel=1e-5)
        seen = set(by_task[task].key["tasks"][task]["tuning_ids"])
        assert cell.metrics["held_out"]["score"]["samples"] == 24 - len(seen)
    (group,) = group_results(scan_results(result.results_dir)).groups
    assert [row.label for row in group.rows.values()] == ["dense", "sink_local, per task"]


def toy_samples(subset: str, adapter: HuggingFaceAdapter):
    return Toy(contexts=12).samples(subset, adapter.tokenizer)


def test_fixed_and_dense_configurations_are_not_searched(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a search was started")

    monkeypatch.setattr(optimized_executor, "search_tasks", refuse)
    few = [BenchmarkConfig("toy", ["first"], {"contexts": 1})]
    run = [str(tiny_model)], [("dense", None), ("mine", make_config("local_masker"))], few
    tuned_executor = create_optimized_benchmark_executor(
        [], results_dir=tmp_path / "a", quiet=True, pool=LocalPool
    )
    assert tuned_executor.run_benchmark_matrix(*run).exit_code == 0
    tuned_executor = create_optimized_benchmark_executor(
        [], enable_optimization=False, results_dir=tmp_path / "b", quiet=True, pool=LocalPool
    )
    result = tuned_executor.run_benchmark_matrix([str(tiny_model)], [("local_masker", None)], few)
    key = json.loads((result.cells[0].folder / "key.json").read_text())
    assert key["config"] == make_config("local_masker").to_json()


@pytest.mark.usefixtures("one_process")
def test_the_matrix_takes_what_the_search_has_asked(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Winner and dense attention are not asked again; what is taken is what would be asked."""
    asked: list[int] = []

    def search_and_note(*arguments: object, **options: object) -> object:
        found = search_tasks(*arguments, **options)
        asked.append(LocalPool.requests)
        return found

    monkeypatch.setattr(optimized_executor, "search_tasks", search_and_note)
    settings = OptimizationConfig(
        num_samples=3,
        optimization_metric="density_at_score",
        tolerance=1.0,
        cache_dir=str(tmp_path / "cache"),
        search_space={"window_size": [2, 4, 8], "sink_size": 2},
    )
    executor = create_optimized_benchmark_executor(
        [], settings, results_dir=tmp_path / "a", num_workers=1, quiet=True, pool=LocalPool
    )
    matrix = [str(tiny_model)], [("dense", None), ("sink_local", None)], [BENCHMARK]
    result = executor.run_benchmark_matrix(*matrix)
    assert result.exit_code == 0
    assert asked == [LocalPool.requests]
    winners = {cell.config: cell.attention for cell in result.cells}
    plain = BenchmarkExecutor([], tmp_path / "b", quiet=True, pool=LocalPool)
    for there in plain.run_benchmark_matrix(matrix[0], winners, matrix[2]).cells:
        (here,) = (c for c in result.cells if (c.config, c.subset) == (there.config, there.subset))
        assert here.metrics["counts"] == there.metrics["counts"]
        assert here.metrics["costs"]["samples"] == there.metrics["costs"]["samples"] == 24
        texts = [
            [(p["id"], p["predicted_answer"], p["density"]) for p in map(json.loads, lines)]
            for cell in (here, there)
            if (lines := (cell.folder / "predictions.jsonl").read_text().splitlines())
        ]
        assert texts[0] == texts[1]
    # A configuration that the search has not asked is asked; the others stay as they are.
    more = [*matrix[1], ("other", make_config("sink_local", window_size=3))]
    executor = create_optimized_benchmark_executor(
        [], settings, results_dir=tmp_path / "c", num_workers=1, quiet=True, pool=LocalPool
    )
    executor.run_benchmark_matrix(matrix[0], more, matrix[2])
    assert LocalPool.requests - asked[-1] == 24, "each context once, for one configuration"
    costs = next((tmp_path / "c").glob("*/toy/first/other-*/costs.jsonl")).read_text()
    assert {json.loads(line)["rows"] for line in costs.splitlines()} == {1}


def test_what_cannot_run_is_refused_before_a_search(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """A second model that is missing, a file that is, another's method: nothing is written."""

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a search was started")

    monkeypatch.setattr(optimized_executor, "search_tasks", refuse)
    needs_file = make_config("hash_attention")
    (tmp_path / "file").touch()
    for models, configs, message, cache in (
        ([str(tiny_model), str(tmp_path / "gone")], [("sink_local", None)], "gone", "cache"),
        ([str(tiny_model)], [("sink_local", None), ("mine", needs_file)], "mine", "cache"),
        ([str(tiny_model)], [("sink_local", None), ("hash_attention", None)], "hash_att", "cache"),
        ([str(tiny_model)], [("sink_local", None)], "file is not a folder", "file"),
    ):
        executor = create_optimized_benchmark_executor(
            [],
            OptimizationConfig(cache_dir=str(tmp_path / cache)),
            results_dir=tmp_path / "results",
            quiet=True,
            pool=LocalPool,
        )
        with pytest.raises(UserError, match=message):
            executor.run_benchmark_matrix(models, configs, [BENCHMARK])
        assert not (tmp_path / "results").exists()
        assert not (tmp_path / "cache").exists()
