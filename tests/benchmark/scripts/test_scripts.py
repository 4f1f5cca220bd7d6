"""The programs that search, run and look into the cache, as they are called."""

from __future__ import annotations

from pathlib import Path

import pytest
import toy_benchmark  # noqa: F401 - registers the benchmark
from local_pool import LocalPool
from search_without_tune import without_tune

from benchmark.console.main import main as sparse_bench
from benchmark.console.selection import named_files
from benchmark.scripts import get_cached_config, run_optimized_benchmarks
from benchmark.tuning.cache import BestConfigCache
from sparse_attention.config import load_config


def test_the_scripts(tiny_model: Path, tmp_path: Path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    arguments = [
        *("--models", str(tiny_model), "--benchmarks", "toy", "--subsets", "first"),
        *("--option", "toy.contexts=6", "--configs", "dense", "local_masker", "--samples", "3"),
        *("--max-requests", "12", "--gpu-ids", "--num-workers", "1", "--quiet"),
        *("--search-space", "window_size=[2,4,8]"),
    ]
    with without_tune():
        assert run_optimized_benchmarks.main(arguments, LocalPool) == 0
    assert "local_masker, global" in capsys.readouterr().out
    stored = list(Path("results/hyperparameter_cache").glob("*.json"))
    assert [path.name.rpartition("_")[2] for path in stored] == ["global.json"]
    # The command is the same with its own names: it finds the search and all answers.
    names = {"--samples": "--trials", "--max-requests": "--samples"}
    command = ["tune", "--objective", "combined_score"]
    command += [names.get(argument, argument) for argument in arguments]
    answers = LocalPool.requests
    assert sparse_bench(command, LocalPool) == 0
    assert LocalPool.requests == answers
    assert "local_masker, global" in capsys.readouterr().out
    assert list(Path("results/hyperparameter_cache").glob("*.json")) == stored
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
        (["--seed", "-1"], "seed"),
        (["--timeout-per-trial", "inf"], "timeout_per_trial"),
        (["--penalty", "nan"], "penalty"),
        (["--scheduler", "ash"], "Did you mean 'asha'"),
        (["--cache-dir", "/dev/null"], "belongs to the system"),
        (["--cache-dir", "a" * 300], "too long for a path"),
        (["--search-space", "quest.page_size=[8]"], "quest is not searched"),
        (["--search-space", "page_size=[8]"], "unknown field of what is searched 'page_size'"),
        (["--search-space", "window_size=[8]", "--search-space", "window_size=8"], "given twice"),
        (["--search-space", "window_size=[" + "9" * 25 + "]"], "more than 64 bits"),
    ],
)
def test_bad_input_of_the_script(tiny_model, tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(tmp_path)
    base = ["--models", str(tiny_model), "--benchmarks", "toy"]
    base += [] if "--configs" in arguments else ["--configs", "local_masker"]
    assert run_optimized_benchmarks.main([*base, *arguments], LocalPool) == 2
    errors = capsys.readouterr().err
    assert message in errors
    assert errors.count("\n") == 1
