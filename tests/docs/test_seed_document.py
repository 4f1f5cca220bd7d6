"""The document that this project was asked to fulfil, line by line.

Its commands and snippets are data here, as they stand there.  They run on the embedded model and
with few samples (``SMALLER``); what would take long is parsed and planned.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import re
import runpy
import shlex
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from local_pool import LocalPool
from search_without_tune import WithoutTune

from benchmark import executor, hyperparameter_optimization
from benchmark.console.selection import select_tune
from benchmark.embedded import MODEL_NAME
from benchmark.executor import BenchmarkExecutor
from benchmark.executor_config import BenchmarkConfig
from benchmark.generic_config_optimizer import GenericConfigOptimizer, is_tunable
from benchmark.hyperparameter_optimization import OptimizationConfig
from benchmark.objectives import Measured, Objective
from benchmark.optimizer import optimized_executor
from benchmark.run.ray_session import hold_ray
from benchmark.suite.base import frame_of
from benchmark.suite.registry import BENCHMARKS, get_benchmark
from benchmark.tuning import search
from benchmark.tuning.cache import BestConfigCache
from sparse_attention import make_config
from sparse_attention.errors import UserError

ROOT = Path(__file__).parents[2]
LLAMA = "meta-llama/Llama-3.1-8B-Instruct"

# Quick start, and "Retrieving cached results".
DEMO = "python benchmark/scripts/demo_optimized_benchmarks.py"
FULL = """\
python benchmark/scripts/run_optimized_benchmarks.py \\
  --models meta-llama/Llama-3.1-8B-Instruct \\
  --benchmarks loogle ruler \\
  --configs dense magic_pig local_masker \\
  --samples 10 --max-requests 50
"""
RETRIEVE = """\
python benchmark/scripts/get_cached_config.py \\
  --cache-dir ./results/hyperparameter_cache \\
  --config-type magic_pig --show-all
"""
SHOW_ALL = "python benchmark/scripts/get_cached_config.py --config-type sparse_attention --show-all"
CREATE = (
    "python benchmark/scripts/get_cached_config.py --config-type sparse_attention "
    "--create-optimized"
)
ONE_TASK = (
    "python benchmark/scripts/get_cached_config.py --config-type sparse_attention "
    "--task loogle_shortdep_qa"
)

# "OptimizedBenchmarkExecutor"; two names are used there without an import.
MISSING = """\
from benchmark.optimizer.optimized_executor import AdapterConfig, BenchmarkConfig
"""
EXECUTOR = """\
from benchmark.optimizer.optimized_executor import create_optimized_benchmark_executor
from benchmark.hyperparameter_optimization import OptimizationConfig

# Create optimization config
opt_config = OptimizationConfig(
    enabled=True,
    num_samples=10,                     # Ray Tune trials
    optimization_metric="combined_score", # attention_error + benchmark_score  
    use_per_task_config=True,          # Optimize per benchmark subset
    cache_dir="./cache"
)

# Create executor
executor = create_optimized_benchmark_executor(
    gpu_ids=[0],
    optimization_config=opt_config,
    enable_optimization=True
)

# Run full benchmark matrix
executor.run_benchmark_matrix(
    model_names=["meta-llama/Llama-3.1-8B-Instruct"],
    sparse_attention_configs=[("magic_pig", None)],  # None = optimize
    benchmark_configs=[BenchmarkConfig("loogle", ["shortdep_qa"])],
    adapter_config=AdapterConfig(),
    request_kwargs={"max_requests": 100}
)
"""

# "Cache management".
CACHED = """\
from benchmark.hyperparameter_optimization import get_cached_optimization_config

# Retrieve best config for specific task
config = get_cached_optimization_config(
    model_name="meta-llama/Llama-3.1-8B-Instruct",
    config_type="magic_pig", 
    benchmark_name="loogle",
    subset="shortdep_qa",
    cache_dir="./cache"
)
"""

# "Basic usage" of the search alone.
SEARCHES = """\
from benchmark.hyperparameter_optimization import OptimizationConfig, optimize_sparse_configs

# Global optimization (single best config)
global_config = OptimizationConfig(
    enabled=True,
    num_samples=20,
    use_per_task_config=False  # Global mode
)

# Per-task optimization (best config per task)
per_task_config = OptimizationConfig(
    enabled=True,
    num_samples=20,
    use_per_task_config=True  # Per-task mode
)

# Run optimization
optimized_configs = await optimize_sparse_configs(
    model_name="meta-llama/Llama-3.1-8B-Instruct",
    benchmarks=your_benchmarks,
    config_types=["sparse_attention"],
    optimization_config=global_config  # or per_task_config
)
"""

SMALLER = {
    LLAMA: MODEL_NAME,
    "gpu_ids=[0]": "gpu_ids=[]",
    "num_samples=10,": "num_samples=1,",
    "num_samples=20,": "num_samples=1,",
    '"max_requests": 100': '"max_requests": 4',
}


def smaller(text: str) -> str:
    """A snippet for the embedded model, with few trials and samples."""
    for there, here in SMALLER.items():
        text = text.replace(there, here)
    return text


def execute(snippet: str, **names: Any) -> dict[str, Any]:
    """The names after a snippet, which may wait for coroutines as a notebook's cell may."""
    body = textwrap.indent(snippet, "    ")
    source = f"async def cell():\n{body}\n    return dict(locals())"
    exec(source, names)
    return asyncio.run(names["cell"]())


def command_of(line: str) -> tuple[Any, list[str]]:
    """The module of a command, and its arguments."""
    python, script, *arguments = shlex.split(line.replace("\\\n", " "))
    assert python == "python"
    assert (ROOT / script).is_file()
    return importlib.import_module(script.removesuffix(".py").replace("/", ".")), arguments


def call(line: str) -> int:
    module, arguments = command_of(line)
    return module.main(arguments)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """A working directory in which both snippets that search have run; the names after them."""
    place = tmp_path_factory.mktemp("document")
    with pytest.MonkeyPatch.context() as patch, hold_ray():
        patch.chdir(place)
        for module in (executor, hyperparameter_optimization, optimized_executor):
            patch.setattr(module, "WorkerPool", LocalPool)
        matrix = execute(smaller(MISSING + EXECUTOR))
        # Ray Tune has been seen to do it; the second time its processes need not start.
        patch.setattr(search, "Search", WithoutTune)
        tasks = [("ruler", ["niah_single_1", "vt"], {"length": 512, "samples": 4})]
        found = execute(smaller(SEARCHES), your_benchmarks=tasks)
        yield {**matrix, **found}


def test_the_matrix_with_searched_settings(folder: dict[str, Any]) -> None:
    settings = folder["opt_config"]
    assert settings.optimization_metric == "combined_score"
    assert settings.use_per_task_config
    (metrics,) = Path("results").glob("embedded/loogle/shortdep_qa/magic_pig*/metrics.json")
    document = json.loads(metrics.read_bytes())
    assert document["status"] == "complete"
    assert document["tuning"]["mode"] == "per task"
    (cached,) = BestConfigCache("./cache").read_all()
    key = json.loads(metrics.with_name("key.json").read_bytes())
    assert key["config"] == cached.best["config"]
    names = {method.name for method in cached.config.methods}
    assert names == {"sink", "local", "magic_pig"}


def test_the_cache_has_the_files_that_are_named(folder: dict[str, Any]) -> None:
    assert [path.name for path in Path("cache").glob("*.json")] == [
        "embedded_magic_pig_loogle_shortdep_qa.json"  # model_config_benchmark_subset
    ]
    assert [path.name for path in Path("results/hyperparameter_cache").glob("*.json")] == [
        "embedded_sparse_attention_global.json"  # model_config_global
    ]


def test_the_cached_configuration_of_a_task(folder: dict[str, Any]) -> None:
    (cached,) = BestConfigCache("./cache").read_all()
    assert execute(smaller(CACHED))["config"] == cached.config
    assert execute(smaller(CACHED).replace("shortdep_qa", "longdep_qa"))["config"] is None


def test_the_search_alone(folder: dict[str, Any]) -> None:
    """Global optimisation finds one configuration for all tasks; the method is searched too."""
    assert not folder["global_config"].use_per_task_config
    assert folder["per_task_config"].use_per_task_config
    found = folder["optimized_configs"]["sparse_attention"]
    assert list(found.results) == ["global"]
    assert set(found.results["global"].document["tasks"]) == {"ruler_niah_single_1", "ruler_vt"}
    assert found.config_for("ruler", "vt") == found.config_for("ruler", "niah_single_1")
    assert not found.config_for("ruler", "vt").oracle


def test_commands_that_retrieve(folder: dict[str, Any], capsys) -> None:
    assert call(RETRIEVE.replace("./results/hyperparameter_cache", "./cache")) == 0
    assert "magic_pig" in capsys.readouterr().out
    assert call(SHOW_ALL) == 0
    assert "sparse_attention" in capsys.readouterr().out
    assert call(CREATE) == 0
    config = folder["optimized_configs"]["sparse_attention"].results["global"].config
    assert json.loads(capsys.readouterr().out) == config.to_json()
    assert call(ONE_TASK.replace("loogle_shortdep_qa", "ruler_vt")) == 0, "the global one covers it"
    assert "global" in capsys.readouterr().out
    assert call(ONE_TASK) == 1, "no search covered this task"
    assert "no cached result" in capsys.readouterr().err


def test_what_is_there_is_not_searched_again(folder: dict[str, Any]) -> None:
    requests = LocalPool.requests
    execute(smaller(MISSING + EXECUTOR))
    assert LocalPool.requests == requests


@pytest.mark.parametrize("module", ["optimizer.optimized_executor", "hyperparameter_optimization"])
def test_what_a_snippet_needs_is_where_it_imports_the_rest(module: str) -> None:
    names = importlib.import_module(f"benchmark.{module}")
    assert {"AdapterConfig", "BenchmarkConfig"} <= set(names.__all__)
    assert names.BenchmarkConfig is BenchmarkConfig


def test_the_full_command_is_a_plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """50 samples of some twenty tasks take long, and so is only planned what it would do."""
    monkeypatch.chdir(tmp_path)
    module, arguments = command_of(FULL.replace(LLAMA, MODEL_NAME).replace("50", "2"))
    options = module.build_parser().parse_args(arguments)
    selection, settings = select_tune(options)
    assert [label for label, _ in selection.configs] == ["dense", "magic_pig", "local_masker"]
    assert settings.num_samples == 10
    assert settings.optimization_metric == "combined_score"
    assert selection.requests == {"max_requests": 2}
    planned = BenchmarkExecutor([], pool=LocalPool).plan(
        selection.models, selection.benchmarks, selection.adapter, selection.requests
    )
    subsets = {(task.benchmark.name, task.subset) for task in planned.tasks}
    assert ("loogle", "shortdep_qa") in subsets
    assert ("ruler", "vt") in subsets
    assert all(len(task.samples) == 2 for task in planned.tasks)
    assert not list(tmp_path.iterdir()), "a plan writes nothing"


@pytest.mark.parametrize("line", [DEMO, FULL, RETRIEVE])
def test_each_script_is_a_program(line: str, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    script = shlex.split(line)[1]
    monkeypatch.setattr("sys.argv", [script, "--help"])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(ROOT / script), run_name="__main__")
    assert ended.value.code == 0
    assert Path(script).name in capsys.readouterr().out


def test_the_demo_has_both_modes() -> None:
    module, arguments = command_of(DEMO)
    module.build_parser().parse_args(arguments)
    text = module.build_parser().format_help()
    assert re.search(r"once\s+for\s+all\s+tasks\s+and\s+once\s+for\s+each\s+task", text)


# "Supported configs".
SEARCHED = {
    "magic_pig": ("lsh_l", "lsh_k", "center", "packing", "seed"),
    "local_masker": ("window_size",),
    "sink_masker": ("sink_size",),
    "adaptive_sampling": ("base_rate", "epsilon", "delta"),
}
OFFSETS = {"init_offset": "sink_size", "local_offset": "window_size"}
"""Of adaptive sampling."""


def test_the_settings_that_are_searched() -> None:
    assert not is_tunable("dense")
    fixed = {("magic_pig", "packing"), ("magic_pig", "seed")}
    for kind, fields in SEARCHED.items():
        names = {parameter.name for parameter in GenericConfigOptimizer(kind).search_space}
        assert {field for field in fields if (kind, field) not in fixed} <= names
    # These change no quality or are no setting to find; they are searched where they are named.
    space = GenericConfigOptimizer(
        "magic_pig", {"packing": ["int64", "float32"], "seed": [1, 2]}
    ).to_json()
    assert space["packing"] == ["int64", "float32"]
    assert space["seed"] == [1, 2]


def test_the_offsets_of_adaptive_sampling_are_its_sink_and_window() -> None:
    config = make_config("adaptive_sampling", init_offset=7, local_offset=33)
    assert config == make_config("adaptive_sampling", sink_size=7, window_size=33)
    space = GenericConfigOptimizer("adaptive_sampling")
    assert set(OFFSETS.values()) <= {parameter.name for parameter in space.search_space}
    for name, field in OFFSETS.items():
        given = GenericConfigOptimizer("adaptive_sampling", {name: [5, 6]}).to_json()
        assert given[field] == [5, 6]
    with pytest.raises(UserError, match="init_offset of config type adaptive_sampling is sink_siz"):
        make_config("adaptive_sampling", sink_size=1, init_offset=2)
    with pytest.raises(UserError, match="unknown setting of config type magic_pig 'init_offset'"):
        make_config("magic_pig", init_offset=2)


def test_the_metrics() -> None:
    measured = Measured(score=0.75, density=0.2, attention_error=0.1, samples=4)
    expected = {"combined_score": 0.1 + 2 * 0.25, "attention_error": 0.1, "density": 0.2}
    for name, loss in expected.items():
        found = Objective(name=name, penalty=2).losses(measured, None)  # type: ignore[arg-type]
        assert found == pytest.approx((loss,))


def test_the_options_of_a_search() -> None:
    """Every name under "Configuration options", and the default that is named there."""
    assert OptimizationConfig().use_per_task_config is False
    OptimizationConfig(
        use_per_task_config=True,
        num_samples=3,
        max_concurrent_trials=2,
        timeout_per_trial=60,
        cache_dir="./cache",
    )


# "Supported benchmarks", and where the prepared datasets are.
DATASETS = {
    "loogle": "simonjegou/loogle",
    "ruler": "simonjegou/ruler",
    "zero_scrolls": "simonjegou/zero_scrolls",
    "infinite_bench": "MaxJeblick/InfiniteBench",
    "longbench": "Xnhyacinth/LongBench",
    "longbenchv2": "Xnhyacinth/LongBench-v2",
}
SUBSETS = {
    "ruler": ("niah_single_3",),
    "loogle": ("shortdep_qa", "shortdep_cloze", "longdep_qa"),
    "infinite_bench": ("kv_retrieval", "longbook_choice_eng", "longbook_qa_eng"),
}
FILES = ("README.md", "calculate_metrics.py", "create_huggingface_dataset.py")
COLUMNS = ("context", "question", "answer_prefix", "answer", "max_new_tokens")


@pytest.mark.parametrize("name", DATASETS)
def test_each_benchmark_is_a_folder_of_the_same_form(name: str) -> None:
    place = ROOT / "benchmark" / name
    assert all((place / file).is_file() for file in FILES)
    assert DATASETS[name] in (place / "README.md").read_text()
    benchmark = get_benchmark(name)
    assert set(SUBSETS.get(name, ())) <= set(benchmark.subsets)
    assert name in BENCHMARKS


def test_a_dataset_has_the_columns_that_are_named() -> None:
    samples = get_benchmark("loogle", source="samples").samples("shortdep_qa", None)
    assert set(COLUMNS) <= set(frame_of(samples).columns)
