"""The process that was started is killed around its file operations; nothing differs afterwards.

At a few operations of each program; ``--kills N``: at N of them, ``--kills 0``: at all.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import toy_run
import toy_search
from file_operations import operations
from folders import contents
from local_pool import LocalPool
from search_without_tune import WithoutTune

import benchmark.hyperparameter_optimization
import benchmark.tuning.search
from benchmark.executor import BenchmarkExecutor
from benchmark.executor_config import BenchmarkConfig

FEW = 3
SMALL = BenchmarkConfig("toy", ["first", "second"], {"contexts": 2})


def matrix(model: str, folder: Path) -> None:
    executor = BenchmarkExecutor([], folder, quiet=True, pool=LocalPool)
    assert executor.run_benchmark_matrix([model], toy_run.CONFIGS, [SMALL]).exit_code == 0


def search(model: str, folder: Path) -> None:
    settings = {"search_algorithm": "grid", "num_samples": 3}
    types, few = toy_search.TYPES[:1], BenchmarkConfig("toy", ["first", "second"], {"contexts": 6})
    toy_search.search(model, str(folder), types, LocalPool, few, **settings)


@pytest.mark.parametrize("program", [matrix, search])
@pytest.mark.timeout(36000)  # each run has its own limit
def test_killed_at_file_operations(
    program: Callable[[str, Path], None],
    tiny_model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    kills: int | None,
) -> None:
    monkeypatch.setattr(benchmark.tuning.search, "Search", WithoutTune)
    monkeypatch.setattr(benchmark.hyperparameter_optimization, "start_ray", lambda: None)

    def run(folder: Path, last: int | None = None) -> int | None:
        return operations(lambda: program(str(tiny_model), folder), folder, last)

    program(str(tiny_model), tmp_path / "here")  # what is imported for it need not be in each child
    total = run(tmp_path / "undisturbed")
    assert total is not None
    assert total > 20
    expected = contents(tmp_path / "undisturbed")
    run(tmp_path / "undisturbed")
    assert contents(tmp_path / "undisturbed") == expected, "what is finished stays"
    number = total if kills == 0 else min(total, kills or FEW)
    for place in range(number):
        last = 1 + place * total // number
        folder = tmp_path / f"killed-{last}"
        assert run(folder, last) is None, "it was to be killed before its end"
        rest = run(folder)
        assert rest is not None
        # The copy of known trials for Optuna's tools is begun anew.
        assert rest <= total - last + 50, "what was done is kept"
        assert contents(folder) == expected, f"killed at operation {last}"
