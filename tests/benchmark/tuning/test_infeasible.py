"""A search in which no setting keeps the constraint says so, everywhere."""

from __future__ import annotations

from pathlib import Path

import optuna
import pytest
from local_pool import LocalPool
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from rich.console import Console
from search_without_tune import without_tune
from toy_search import search

from benchmark.executor_config import BenchmarkConfig
from benchmark.generic_config_optimizer import GenericConfigOptimizer, types_of
from benchmark.hyperparameter_optimization import (
    OptimizationConfig,
    OptimizedConfigs,
    get_cached_optimization_config,
)
from benchmark.optimizer.optimized_executor import create_optimized_benchmark_executor
from benchmark.report.search_table import print_results
from benchmark.scripts import get_cached_config
from benchmark.tuning.optuna_journal import SUFFIX
from benchmark.tuning.overrides import check_overrides
from sparse_attention.errors import UserError

SETTINGS = {
    "optimization_metric": "score_at_density",
    "density_budget": 0.001,
    "num_samples": 3,
    "scheduler": "none",
}


@pytest.fixture(scope="module")
def impossible(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory):
    cache = tmp_path_factory.mktemp("impossible")
    with without_tune():
        found = search(
            str(tiny_model), str(cache), types=("sink_local",), pool=LocalPool, **SETTINGS
        )
    return found["sink_local"], cache


def test_the_best_score_is_first_among_violators(impossible):
    optimized, _ = impossible
    assert not optimized.failures
    for result in optimized.results.values():
        assert not result.feasible
        means = {t["number"]: t["rungs"][-1]["mean"] for t in result.document["trials"]}
        best = max(means.values(), key=lambda mean: (mean["score"], mean["density"]))
        assert means[result.best["trial"]] == best
        assert result.remarks[0].startswith("infeasible: none of 3 settings reads at most 0.001")
    assert set(optimized.infeasible) == set(optimized.results)


def test_optuna_opens_the_search(impossible):
    optimized, cache = impossible
    copies = sorted(cache.glob(f"trials/*{SUFFIX}"))
    assert len(copies) == len(optimized.results) == 2
    for path in copies:
        storage = JournalStorage(JournalFileBackend(str(path)))
        (study,) = optuna.get_all_study_names(storage)
        trials = optuna.load_study(study_name=study, storage=storage).trials
        assert [one.user_attrs["status"] for one in trials] == ["complete"] * 3


def test_it_is_shown(impossible):
    console = Console(record=True, width=200, force_terminal=True)
    print_results(list(impossible[0].results.values()), console)
    assert console.export_text().count("! infeasible: none of 3 settings") == 2


def test_it_is_said_in_the_frame(impossible):
    frame = impossible[0].to_frame()
    assert list(frame["task"]) == ["toy_first", "toy_second"]
    assert set(frame["status"]) == {"infeasible"}
    assert frame["message"].str.startswith("infeasible: none of 3 settings").all()
    for row, result in zip(frame.itertuples(), impossible[0].results.values(), strict=True):
        held_out = result.best["held_out"][row.task]
        assert row.held_out_score == held_out["score"]["mean"]
        assert (row.density, row.trials) == (held_out["density"], 3)
    assert OptimizedConfigs(sink_local=impossible[0]).best() == {}


def test_it_is_exported_by_force_only(impossible, tiny_model, capsys):
    _, cache = impossible
    names = (str(tiny_model), "sink_local", "toy", "first")
    assert get_cached_optimization_config(*names, cache_dir=cache) is None
    assert get_cached_optimization_config(*names, cache_dir=cache, force=True) is not None
    command = ["--cache-dir", str(cache), "--create-optimized", "--task", "toy_first"]
    assert get_cached_config.main(command) == 1
    shown = capsys.readouterr()
    assert not shown.out
    assert "infeasible" in shown.err
    assert "--force" in shown.err
    assert get_cached_config.main([*command, "--force"]) == 0
    assert '"methods"' in capsys.readouterr().out


def test_the_matrix_leaves_it_out(impossible, tiny_model, tmp_path):
    executor = create_optimized_benchmark_executor(
        [],
        OptimizationConfig(cache_dir=str(tmp_path / "cache"), **SETTINGS),
        results_dir=tmp_path / "results",
        quiet=True,
        pool=LocalPool,
    )
    with without_tune():
        result = executor.run_benchmark_matrix(
            [str(tiny_model)],
            [("dense", None), ("sink_local", None)],
            [BenchmarkConfig("toy", ["first"], {"contexts": 4})],
        )
    assert result.exit_code == 1
    dense, tuned = result.cells
    assert (dense.config, dense.status) == ("dense", "complete")
    assert (tuned.config, tuned.status) == ("sink_local", "failed")
    assert "infeasible" in tuned.message


def test_oracles_are_searched_when_they_are_asked_for():
    names = {kind.name for kind in types_of("sparse_attention")}
    assert {"quest", "magic_pig"} <= names
    assert not {"oracle_top_k", "oracle_top_p", "adaptive_sampling", "snapkv_top_k"} & names
    asked = GenericConfigOptimizer(
        "sparse_attention", {"config_type": ["oracle_top_k", "quest"], "sink_size": 4}
    )
    assert asked.search_space[0].domain == ("oracle_top_k", "quest")
    with pytest.raises(UserError, match="oracle_top_k"):
        types_of("sparse_attention", ["oracle_topk"])
    with pytest.raises(UserError, match="nothing to search"):
        types_of("sparse_attention", ["dense"])


def test_types_to_choose_from_are_of_the_search_for_a_type():
    check_overrides({"config_type": ["quest"], "quest.page_size": [8]}, ["sparse_attention"])
    with pytest.raises(UserError, match="magic_pig is not searched"):
        check_overrides({"config_type": ["quest"], "magic_pig.lsh_k": [8]}, ["sparse_attention"])
    with pytest.raises(UserError, match="with the config type 'sparse_attention' alone"):
        check_overrides({"config_type": ["quest"]}, ["quest"])
