from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from local_pool import LocalPool
from toy_search import BENCHMARK, TYPES, search

from benchmark.console.commands import named_files
from benchmark.executor_config import AdapterConfig, BenchmarkConfig
from benchmark.hyperparameter_optimization import (
    OptimizationConfig,
    get_cached_optimization_config,
    optimize,
    optimize_sparse_configs,
)
from benchmark.optimizer import optimized_executor
from benchmark.optimizer.optimized_executor import create_optimized_benchmark_executor
from benchmark.report.groups import read_groups
from benchmark.run.ray_session import hold_ray
from benchmark.scripts import get_cached_config, run_optimized_benchmarks
from benchmark.tuning.cache import BestConfigCache
from benchmark.tuning.evaluations import config_hash
from sparse_attention.config import AttentionConfig, load_config
from sparse_attention.config_types import make_config
from sparse_attention.errors import UserError
from sparse_attention.hf.adapter import HuggingFaceAdapter
from sparse_attention.prompt import PromptSettings, encode_prompt

HERE = Path(__file__).parent
TASKS = {"toy_first", "toy_second"}


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
        for path in (cache / "evaluations").rglob("*.jsonl")
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
    found = search(
        str(tiny_model), str(cache), pool=LocalPool, use_per_task_config=False, scheduler="none"
    )
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


def test_failures_never_win(tiny_model: Path, tmp_path: Path):
    benchmarks = [BenchmarkConfig("toy", ["broken"], {"contexts": 4})]
    settings = OptimizationConfig(num_samples=2, cache_dir=str(tmp_path), use_per_task_config=True)
    found = optimize(
        str(tiny_model),
        benchmarks,
        ["local_masker"],
        settings,
        gpu_ids=[],
        quiet=True,
        pool=LocalPool,
    )["local_masker"]
    assert not found.results
    assert "no metric for broken" in found.failures["toy_broken"]
    assert not list(tmp_path.glob("*.json"))


def test_a_trial_that_takes_too_long_is_given_up(tiny_model: Path, tmp_path: Path):
    found = search(str(tiny_model), str(tmp_path), pool=LocalPool, timeout_per_trial=1e-3)
    for optimized in found.values():
        assert not optimized.results
        assert "no result after 0.001 s" in optimized.failures["toy_first"]


def test_a_search_ends_with_its_time(tiny_model: Path, tmp_path: Path):
    found = search(str(tiny_model), str(tmp_path), pool=LocalPool, time_limit=1e-3)
    assert all(set(optimized.failures) == TASKS for optimized in found.values())
    found = search(str(tiny_model), str(tmp_path), pool=LocalPool)
    assert all(set(optimized.results) == TASKS for optimized in found.values())


def test_killed_searches_go_on(searched, tiny_model: Path, tmp_path: Path):
    """SIGKILL at two moments; what was evaluated stays, and the search ends as it should."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (HERE, *sys.path)))}
    command = [sys.executable, str(HERE / "toy_search.py"), str(tiny_model), str(tmp_path)]

    def lines() -> int:
        return sum(path.read_bytes().count(b"\n") for path in tmp_path.rglob("*.jsonl"))

    before = 0
    for more in (5, 60):
        process = subprocess.Popen(command, env=environment, start_new_session=True)
        while process.poll() is None and lines() < before + more:
            time.sleep(0.01)
        os.killpg(process.pid, signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL, "it was to be killed before its end"
        before = lines()
    kept = {
        path: path.read_bytes()[: path.read_bytes().rfind(b"\n") + 1]
        for path in tmp_path.rglob("*.jsonl")
    }
    found = search(str(tiny_model), str(tmp_path), TYPES[:1], LocalPool)
    for path, content in kept.items():
        assert path.read_bytes().startswith(content)
    for optimized in found.values():
        assert set(optimized.results) == TASKS
        for result in optimized.results.values():
            numbers = [trial["number"] for trial in result.document["trials"]]
            assert numbers == list(range(6))


def test_tuned_settings_reach_the_attention(
    searched, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Each task's own winner is what reads the cache in phase 2."""
    found, _ = searched
    by_task = {}
    for number, (task, result) in enumerate(found["sink_local"].results.items()):
        config = make_config("sink_local", sink_size=1 + number, window_size=3 + 4 * number)
        best = {**result.best, "config": config.to_json()}
        by_task[task] = type(result)(result.path, result.names, result.key, best, result.document)
    tuned = {"sink_local": type(found["sink_local"])("sink_local", by_task)}
    monkeypatch.setattr(optimized_executor, "optimize", lambda *_, **__: tuned)
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
    (group,) = read_groups(result.results_dir)
    assert [row.label for row in group.rows.values()] == ["dense", "sink_local, per task"]


def toy_samples(subset: str, adapter: HuggingFaceAdapter):
    from toy_benchmark import Toy

    return Toy(contexts=12).samples(subset, adapter.tokenizer)


def test_fixed_and_dense_configurations_are_not_searched(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a search was started")

    monkeypatch.setattr(optimized_executor, "optimize", refuse)
    run = [str(tiny_model)], [("dense", None), ("mine", make_config("local_masker"))], [BENCHMARK]
    tuned_executor = create_optimized_benchmark_executor(
        [], results_dir=tmp_path / "a", quiet=True, pool=LocalPool
    )
    assert tuned_executor.run_benchmark_matrix(*run).exit_code == 0
    tuned_executor = create_optimized_benchmark_executor(
        [], enable_optimization=False, results_dir=tmp_path / "b", quiet=True, pool=LocalPool
    )
    result = tuned_executor.run_benchmark_matrix(
        [str(tiny_model)], [("local_masker", None)], [BENCHMARK]
    )
    key = json.loads((result.cells[0].folder / "key.json").read_text())
    assert key["config"] == make_config("local_masker").to_json()


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


def test_a_search_measures_the_attention_error(tiny_model: Path):
    with pytest.raises(UserError, match="measure_error"):
        optimize(
            str(tiny_model),
            [BENCHMARK],
            ["local_masker"],
            OptimizationConfig(),
            adapter_config=AdapterConfig(measure_error=False),
            pool=no_pool,
        )


def test_the_scripts(searched, tiny_model: Path, tmp_path: Path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    arguments = [
        *("--models", str(tiny_model), "--benchmarks", "toy", "--subsets", "first"),
        *("--option", "toy.contexts=6", "--configs", "dense", "local_masker", "--samples", "3"),
        *("--max-requests", "12", "--gpu-ids", "--num-workers", "1", "--quiet"),
        *("--search-space", "window_size=[2,4,8]"),
    ]
    assert run_optimized_benchmarks.main(arguments, LocalPool) == 0
    assert "local_masker, global" in capsys.readouterr().out
    stored = list(Path("results/hyperparameter_cache").glob("*.json"))
    assert [path.name.rpartition("_")[2] for path in stored] == ["global.json"]
    assert get_cached_config.main(["--config-type", "local_masker", "--show-all"]) == 0
    assert "window_size" in capsys.readouterr().out
    assert get_cached_config.main(["--config-type", "local_masker", "--create-optimized"]) == 0
    Path("best.json").write_text(capsys.readouterr().out)
    config = BestConfigCache("results/hyperparameter_cache").read_all()[0].config
    for file in ("best.json", stored[0]):
        assert load_config(file) == config
        assert [found for _, found in named_files([str(file)])] == [config]
    assert get_cached_config.main(["--config-type", "magic_pig"]) == 1
    errors = capsys.readouterr().err
    assert "no cached result for config type 'magic_pig'" in errors
    assert f"there is: local_masker global ({tiny_model})" in errors


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--configs", "magic_pg"], "Did you mean 'magic_pig'"),
        (["--objective", "speed"], "optimization_metric"),
        (["--samples", "0"], "num_samples"),
        (["--search-space", "window_size"], "FIELD=JSON"),
        (["--search-space", "window_size=[0]"], "window_size"),
        (["--held-out", "1.5"], "held_out"),
    ],
)
def test_bad_input_of_the_script(tiny_model, tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(tmp_path)
    base = ["--models", str(tiny_model), "--benchmarks", "toy", "--configs", "local_masker"]
    assert run_optimized_benchmarks.main([*base, *arguments], LocalPool) == 2
    errors = capsys.readouterr().err
    assert message in errors
    assert "Traceback" not in errors
