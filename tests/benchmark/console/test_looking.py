from __future__ import annotations

from pathlib import Path

import pytest

from benchmark.console.main import main
from perf.made_results import make_results
from sparse_attention.config import AttentionConfig
from sparse_attention.config_types import make_config

NASTY = "\x1b[31m\u202e<b>"


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    configs = {"dense": AttentionConfig(), NASTY: make_config("knorm", compression_ratio=0.5)}
    return make_results(tmp_path_factory.mktemp("looking") / "results", configs, ["vt"], 3)


def test_commands_that_look_at_results(results: Path, tmp_path: Path, capsys) -> None:
    assert main(["ls", "results", str(results)]) == 0
    assert "2 of 2" in capsys.readouterr().out
    assert main(["watch", str(results), "--once"]) == 0
    assert "6 of 6 answers" in capsys.readouterr().out
    assert main(["compare", str(results), "--configs", "dense", NASTY]) == 0
    shown = capsys.readouterr().out
    assert "3 samples" in shown
    assert r"\x1b[31m\u202e<b>" in shown
    assert main(["plot", str(results), "-o", str(tmp_path / "figures"), "--format", "svg"]) == 0
    assert len(list((tmp_path / "figures").glob("*.svg"))) == 4
    assert "\x1b" not in shown + capsys.readouterr().out


def test_the_page_is_named_and_written(results: Path, tmp_path: Path, capsys) -> None:
    page = tmp_path / "own.html"
    assert main(["report", str(results), "-o", str(page)]) == 0
    assert f"report: {page}" in capsys.readouterr().out
    assert page.stat().st_size > 4_000_000
    assert not (results / "report.html").exists()


@pytest.mark.parametrize("command", ["report", "plot", "watch", "compare"])
def test_folders_that_are_no_results(command: str, tmp_path: Path, capsys) -> None:
    assert main([command, str(tmp_path)]) == 2
    assert "is not a results folder" in capsys.readouterr().err


def test_only_results_lie_in_a_folder(capsys) -> None:
    assert main(["ls", "methods", "results"]) == 2
    assert "only 'ls results' takes a folder" in capsys.readouterr().err
