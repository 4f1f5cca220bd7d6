"""The page on one's own questions and methods: what it shows runs, and is as short as it says."""

from __future__ import annotations

import json
import linecache
import re
from pathlib import Path
from typing import Any

import pytest
from local_pool import LocalPool

from benchmark import executor
from sparse_attention.registry import METHODS

PAGE = (Path(__file__).parents[2] / "docs" / "own.md").read_text()
QUESTIONS, CURVE = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
(LINE,) = re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)


def cell(text: str, number: int) -> dict[str, object]:
    """Run a cell as a notebook does, whose code has no file; the names after it."""
    name = f"<ipython-input-{number}>"
    linecache.cache[name] = len(text), None, text.splitlines(keepends=True), name
    names: dict[str, object] = {"__name__": "cells_of_a_notebook"}
    exec(compile(text, name, "exec"), names)
    return names


@pytest.fixture(autouse=True)
def _in_a_new_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(executor, "WorkerPool", LocalPool)
    monkeypatch.setattr(METHODS, "_registered", dict(METHODS._registered))


def test_the_examples_are_short() -> None:
    for text in (QUESTIONS, CURVE):
        assert len([line for line in text.splitlines() if line.strip()]) <= 10


def test_from_a_file_of_questions_to_a_table(capsys) -> None:
    Path("mine.jsonl").write_text(LINE)
    cell(QUESTIONS, 1)
    shown = capsys.readouterr().out
    assert "custom" in shown
    assert [line.split()[3] for line in shown.splitlines()[1:]] == ["dense", "quest"]


def test_from_a_class_in_a_notebook_to_a_curve() -> None:
    text = CURVE.replace('"samples": 8', '"samples": 2, "length": 300')
    axes: Any = cell(text.replace("BenchmarkExecutor().run", "axes = BenchmarkExecutor().run"), 2)[
        "axes"
    ]
    densities, scores = axes.lines[0].get_data()
    assert densities == pytest.approx([1, 0.5, 0.25, 0.125], abs=0.01)
    assert scores[0] == 1
    assert scores[-1] < 1
    assert len(_keys()) == 4
    cell(text.replace('name = "every_nth"', 'name = "every_nth"  # why'), 3)
    assert len(_keys()) == 4, "results do not depend on prose"
    cell(text.replace("% self.step == 0", "% self.step == 1 % self.step"), 4)
    assert len(_keys()) == 8, "they depend on the code of the class"


def _keys() -> set[str]:
    paths = Path("results").glob("*/ruler/vt/every*/key.json")
    return {json.dumps(json.loads(path.read_bytes())["config"]) for path in paths}
