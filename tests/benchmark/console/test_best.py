"""``sparse-bench best`` on a cache with results of three searches, one of them infeasible."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from search_files import KEY, content

from benchmark.console.main import main
from benchmark.hyperparameter_optimization import get_cached_optimization_config
from benchmark.scripts import get_cached_config
from benchmark.tuning.cache import BestConfigCache
from benchmark.tuning.search_file import Names
from sparse_attention.config import load_config, load_configs
from sparse_attention.config_types import make_config


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.stderr.isatty", lambda: False, raising=False)
    found = BestConfigCache("results/hyperparameter_cache")
    days = iter(range(1, 9))
    monkeypatch.setattr(time, "strftime", lambda *_: f"2026-01-0{next(days)}T00:00:00Z")

    def store(task: tuple[str | None, str | None], number: int, **changes: object) -> None:
        names = Names(model="m", config_type=KIND, benchmark=task[0], subset=task[1])
        found.store(names, {**KEY, "number": number}, content(number, **changes))

    store(("ruler", "vt"), 1)
    store(("ruler", "vt"), 2)
    store((None, None), 3)
    store(("ruler", "cwe"), 5, feasible=False, remarks=["infeasible: none of 2 settings"])
    return found.folder


KIND = "sink_masker"


def sizes(text: str) -> list[int]:
    return [size for size in range(1, 6) if f"sink_size={size}" in text]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], [2, 3, 5]),
        (["--all"], [1, 2, 3, 5]),
        (["--tasks", "ruler_vt", "global"], [2, 3]),
        (["--tasks", "ruler_vt", "--all"], [1, 2]),
        (["--configs", KIND, "quest", "--models", "m", "--tasks", "ruler_cwe"], [5]),
    ],
)
def test_the_table(cache: Path, capsys, arguments: list[str], expected: list[int]) -> None:
    assert main(["best", *arguments]) == 0
    shown = capsys.readouterr().out
    assert sizes(shown) == expected
    assert ("! infeasible: none of 2 settings" in " ".join(shown.split())) == (5 in expected)


def test_a_search_over_all_tasks_answers_for_one_that_it_covered(cache: Path, capsys) -> None:
    for path in cache.glob("*ruler_vt*.json"):
        path.unlink()
    assert main(["best", "--tasks", "ruler_vt"]) == 0
    assert sizes(capsys.readouterr().out) == [3]
    found = get_cached_optimization_config("m", KIND, "ruler", "vt", cache)
    assert found == make_config(KIND, sink_size=3)
    assert get_cached_optimization_config("m", KIND, "ruler", "niah_single_1", cache) is None
    assert main(["best", "--tasks", "ruler_niah_single_1"]) == 1


def test_the_script_is_the_same_command(cache: Path, capsys) -> None:
    for command, script in (
        (["--all"], ["--show-all"]),
        (["--configs", KIND, "--tasks", "global"], ["--config-type", KIND, "--task", "global"]),
        (["--models", "m", "--force"], ["--model", "m", "--force"]),
        (
            ["--tasks", "ruler_vt", "--export", "-"],
            ["--task", "ruler_vt", "--create-optimized", "--cache-dir", str(cache)],
        ),
    ):
        shown = []
        for run in (lambda c=command: main(["best", *c]), lambda s=script: _script(s)):
            assert run() == 0
            shown.append(capsys.readouterr().out)
        assert shown[0] == shown[1]


def _script(arguments: list[str]) -> int:
    return get_cached_config.main(arguments)


def test_an_export_loads_back(cache: Path, capsys) -> None:
    assert main(["best", "--tasks", "ruler_vt", "--export", "one.json"]) == 0
    assert load_config("one.json") == make_config(KIND, sink_size=2)
    assert main(["best", "--tasks", "ruler_vt", "global", "--export", "two.json"]) == 0
    assert load_configs("two.json") == {
        f"{KIND}_global": make_config(KIND, sink_size=3),
        f"{KIND}_ruler_vt": make_config(KIND, sink_size=2),
    }
    assert not capsys.readouterr().out
    assert main(["best", "--tasks", "ruler_vt", "--export", "-"]) == 0
    assert json.loads(capsys.readouterr().out) == json.loads(Path("one.json").read_text())


def test_what_is_infeasible_is_exported_by_force_only(cache: Path, capsys) -> None:
    command = ["best", "--tasks", "ruler_cwe", "global", "--export", "best.json"]
    assert main(command) == 1
    assert not Path("best.json").exists()
    assert capsys.readouterr().err == (
        "sparse-bench: sink_masker ruler_cwe: infeasible: none of 2 settings; "
        "--force exports it all the same.\n"
    )
    assert main([*command, "--force"]) == 0
    assert set(load_configs("best.json")) == {f"{KIND}_global", f"{KIND}_ruler_cwe"}


def test_what_is_not_there(cache: Path, capsys) -> None:
    assert main(["best", "--configs", "quest", "magic_pig", "--tasks", "global"]) == 1
    shown = capsys.readouterr().err
    assert "no cached result for config type 'quest' or 'magic_pig', task 'global' in" in shown
    assert f"there is: {KIND} ruler_vt (m)" in shown
    assert main(["best", "--cache-dir", "empty"]) == 1
    assert "'sparse-bench tune' fills it" in capsys.readouterr().err


@pytest.mark.parametrize("file", ["absent/best.json", "results", "/dev/null", "a" * 300])
def test_an_export_that_cannot_be_written(cache: Path, capsys, file: str) -> None:
    assert main(["best", "--tasks", "global", "--export", file]) == 2
    shown = capsys.readouterr().err
    assert shown.startswith("sparse-bench: error: export file: ")
    assert shown.count("\n") == 1
