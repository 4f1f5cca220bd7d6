from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from local_pool import LocalPool
from search_without_tune import without_tune
from toy_search import BENCHMARK, TASKS, TYPES, search

from benchmark.executor_config import AdapterConfig, BenchmarkConfig
from benchmark.hyperparameter_optimization import (
    OptimizationConfig,
    get_cached_optimization_config,
    optimize,
    optimize_sparse_configs,
)
from benchmark.objectives import Measured, Objective
from benchmark.run.ray_session import hold_ray
from benchmark.tuning.cache import BestConfigCache
from benchmark.tuning.records import config_hash
from sparse_attention.config import AttentionConfig
from sparse_attention.config_types import make_config
from sparse_attention.errors import UserError


@pytest.fixture(scope="module", autouse=True)
def ray_for_all():
    with hold_ray():
        yield


@pytest.fixture(scope="module")
def searched(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory):
    """A per-task search of two config types on two tasks, and its cache."""
    cache = tmp_path_factory.mktemp("search") / "cache"
    return search(str(tiny_model), str(cache)), cache


def no_pool(*_: object) -> LocalPool:
    raise AssertionError("a model was asked")


def test_every_task_has_its_winner(searched, tiny_model: Path):
    found, _ = searched
    assert set(found) == {"sink_local", "oracle_top_k"}
    for config_type, optimized in found.items():
        assert set(optimized.results) == TASKS
        assert not optimized.failures
        for task, result in optimized.results.items():
            document = result.document
            trials = document["trials"]
            assert len(trials) == 6
            assert len({json.dumps(trial["config"]) for trial in trials}) == 6
            complete = [trial for trial in trials if trial["status"] == "complete"]
            losses = [trial["rungs"][-1]["losses"][0] for trial in complete]
            best = next(t for t in trials if t["number"] == result.best["trial"])
            assert best["rungs"][-1]["losses"][0] == min(losses)
            assert result.config == AttentionConfig.from_json(best["config"])
            names = [method.name for method in make_config(config_type).methods]
            assert [method.name for method in result.config.methods] == names
            key = result.key["tasks"][task]
            assert len(key["tuning_ids"]) == len(key["held_out_ids"]) == 12
            held_out = result.best["held_out"][task]
            assert held_out["score"]["samples"] == 12
            mean = best["rungs"][-1]["mean"]
            combined = mean["attention_error"] + (1 - mean["score"])
            assert combined == pytest.approx(min(losses))


def test_trials_stop_early(searched):
    found, _ = searched
    trials = [
        trial
        for optimized in found.values()
        for result in optimized.results.values()
        for trial in result.document["trials"]
    ]
    assert {trial["status"] for trial in trials} == {"complete", "pruned"}
    for trial in trials:
        samples = [rung["mean"]["samples"] for rung in trial["rungs"]]
        assert samples == [4, 12][: len(samples)], "rungs are 2 and 6 contexts of 2 samples"


def test_what_is_known_is_not_searched(searched, tiny_model: Path):
    found, cache = searched
    again = search(str(tiny_model), str(cache), pool=no_pool)
    for config_type, optimized in again.items():
        for task, result in optimized.results.items():
            assert result.config == found[config_type].results[task].config
            config = get_cached_optimization_config(
                model_name=str(tiny_model),
                config_type=config_type,
                benchmark_name="toy",
                subset=task.removeprefix("toy_"),
                cache_dir=cache,
            )
            assert config == result.config
    absent = get_cached_optimization_config(str(tiny_model), "magic_pig", cache_dir=cache)
    assert absent is None


def journaled(cache: Path) -> set[tuple[str, str]]:
    """Configurations and samples whose answers are on disk; samples of all tasks differ."""
    lines = [
        json.loads(line)
        for path in (cache / "evaluations").rglob("evaluations-*.jsonl")
        for line in path.read_text().splitlines()
    ]
    pairs = {(line["config"], line["prediction"]["id"]) for line in lines}
    assert len(pairs) == len(lines)
    return pairs


def test_another_objective_asks_no_model_for_known_answers(searched, tiny_model: Path):
    _, cache = searched
    asked = []

    class Watching(LocalPool):
        def run(self, take, *, poll=None):
            for request, outcome in super().run(take, poll=poll):
                asked.extend(
                    (config, sample.id) for config in request.configs for sample in request.samples
                )
                yield request, outcome

    known = journaled(cache)
    with without_tune():
        found = search(
            str(tiny_model),
            str(cache),
            pool=Watching,
            optimization_metric="density",
            scheduler="none",
        )
    assert {t for one in found.values() for t in one.results} == TASKS
    assert len(set(asked)) == len(asked), "nothing is asked twice"
    assert set(asked).isdisjoint(known)
    assert journaled(cache) == known | set(asked)
    tried = {
        config_hash(AttentionConfig.from_json(trial["config"]))
        for one in found.values()
        for result in one.results.values()
        for trial in result.document["trials"]
    }
    assert tried & {config for config, _ in known}, "the other search tried some of them too"


def test_global_winners_are_best_on_average(searched, tiny_model: Path):
    _, cache = searched
    settings = {"use_per_task_config": False, "scheduler": "none"}
    with without_tune():
        found = search(str(tiny_model), str(cache), pool=LocalPool, **settings)
    for optimized in found.values():
        (result,) = optimized.results.values()
        assert result.names.task == "global"
        trials = [t for t in result.document["trials"] if t["status"] == "complete"]
        assert len(trials) == 6
        for trial in trials:
            own = [task["losses"][0] for task in trial["rungs"][-1]["tasks"].values()]
            assert set(trial["rungs"][-1]["tasks"]) == TASKS
            assert trial["rungs"][-1]["losses"] == [pytest.approx(sum(own) / 2)]
        best = min(trial["rungs"][-1]["losses"][0] for trial in trials)
        assert result.best["loss"] == [best]
        for name, task in result.document["tasks"].items():
            alone = min(t["rungs"][-1]["tasks"][name]["losses"][0] for t in trials)
            assert task["loss_to_best"] == pytest.approx(task["tuning"]["losses"][0] - alone)
        assert optimized.config_for("toy", "first") == optimized.config_for("toy", "second")


def test_the_interface_is_asynchronous(searched, tiny_model: Path):
    _, cache = searched
    settings = OptimizationConfig(
        num_samples=6,
        cache_dir=str(cache),
        use_per_task_config=True,
        search_space={"window_size": [2, 4, 8, 16], "sink_size": [1, 2, 4, 8]},
    )
    found = asyncio.run(
        optimize_sparse_configs(
            model_name=str(tiny_model),
            benchmarks=[BENCHMARK],
            config_types=["sink_local"],
            optimization_config=settings,
            gpu_ids=[],
            pool=no_pool,
        )
    )
    assert set(found["sink_local"].results) == TASKS


def test_what_is_right_on_few_samples_only_does_not_hide_what_is_right(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Settings that read less than half of the keys keep the constraint on few samples alone."""

    def losses(_: Objective, measured: Measured, __: float | None) -> tuple[float, ...]:
        kept = measured.samples < 6 or measured.density > 0.5
        return (measured.density if kept else 1.5,)

    monkeypatch.setattr(Objective, "losses", losses)
    found = search(
        *(str(tiny_model), str(tmp_path), ("sink_local",), LocalPool),
        BenchmarkConfig("toy", ["first"], {"contexts": 12}),
        num_samples=8,
        optimization_metric="density_at_score",
        search_algorithm="grid",
        smallest_rung=2,
    )["sink_local"].results["toy_first"]
    assert found.feasible
    densities = [trial["rungs"][-1]["mean"]["density"] for trial in found.document["trials"]]
    assert found.best["tuning"]["density"] == min(one for one in densities if one > 0.5)


def test_failures_never_win(tiny_model: Path, tmp_path: Path):
    benchmarks = [BenchmarkConfig("toy", ["broken"], {"contexts": 4})]
    settings = OptimizationConfig(num_samples=2, cache_dir=str(tmp_path), use_per_task_config=True)
    words = str(tiny_model), benchmarks, ["local_masker"], settings
    with without_tune():
        found = optimize(*words, gpu_ids=[], quiet=True, pool=LocalPool)["local_masker"]
    assert not found.results
    assert "no metric for broken" in found.failures["toy_broken"]
    assert not list(tmp_path.glob("*.json"))


@pytest.mark.parametrize(
    ("types", "settings", "message"),
    [
        (["magic_pg"], {}, "Did you mean 'magic_pig'"),
        (["dense"], {}, "nothing to search"),
        (["local_masker"], {"search_space": {"window_sise": [1]}}, "window_size"),
    ],
)
def test_bad_input_computes_nothing(tiny_model: Path, tmp_path: Path, types, settings, message):
    with pytest.raises(UserError, match=message):
        optimize(
            str(tiny_model),
            [BENCHMARK],
            types,
            OptimizationConfig(cache_dir=str(tmp_path / "cache"), **settings),
            pool=no_pool,
        )
    assert not (tmp_path / "cache").exists()


def test_a_search_measures_the_attention_error_where_its_objective_needs_it(
    tiny_model: Path, tmp_path: Path
):
    def optimized(objective: str, pool: type[LocalPool]):
        settings = OptimizationConfig(
            num_samples=2, cache_dir=str(tmp_path), optimization_metric=objective
        )
        return optimize(
            str(tiny_model),
            [BENCHMARK],
            ["local_masker"],
            settings,
            adapter_config=AdapterConfig(measure_error=False),
            gpu_ids=[],
            quiet=True,
            pool=pool,
        )["local_masker"]

    with pytest.raises(UserError, match="combined_score needs the attention error"):
        optimized("combined_score", no_pool)
    with without_tune():
        (result,) = optimized("density_at_score", LocalPool).results.values()
    assert result.best["tuning"]["attention_error"] is None
    assert result.best["tuning"]["samples"] > 0
    (read,) = BestConfigCache(tmp_path).read_all()
    assert read.best == result.best


def test_a_trial_that_takes_too_long_is_given_up(tiny_model: Path, tmp_path: Path):
    found = search(
        str(tiny_model), str(tmp_path), TYPES[:1], LocalPool, num_samples=2, timeout_per_trial=1e-3
    )
    for optimized in found.values():
        assert not optimized.results
        assert "no result after 0.001 s" in optimized.failures["toy_first"]


def test_a_search_ends_with_its_time(tiny_model: Path, tmp_path: Path):
    few = str(tiny_model), str(tmp_path), TYPES[:1], LocalPool
    found = search(*few, time_limit=1e-3, num_samples=2)
    assert all(set(optimized.failures) == TASKS for optimized in found.values())
    found = search(*few, num_samples=2)
    assert all(set(optimized.results) == TASKS for optimized in found.values())
