"""A sample is shown as it was asked and answered."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from local_pool import LocalPool
from rich.console import Console

from benchmark.console.main import main
from benchmark.executor import BenchmarkExecutor
from benchmark.report.sample import print_answers, read_answers
from sparse_attention.errors import UserError


@pytest.fixture(scope="module")
def folder(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    results = tmp_path_factory.mktemp("shown") / "results"
    executor = BenchmarkExecutor([], results, quiet=True, pool=LocalPool)
    toy = ("toy", ["first"], {"contexts": 2})
    executor.run_benchmark_matrix(str(tiny_model), ["dense", "sink_local"], [toy])
    (subset,) = results.glob("*/toy/first")
    return subset


def test_a_sample_with_all_its_answers(folder, capsys):
    assert main(["show", str(folder), "--sample", "2"]) == 0
    shown = capsys.readouterr().out
    answers = read_answers(folder, "2")
    one = answers.any
    assert "sample 2 of 4" in shown
    assert one.question.strip() in shown
    assert all(reference in shown for reference in one.references)
    assert "dense" in shown
    assert "sink_local" in shown
    assert one.prompt is not None
    assert one.prompt.split()[-1] == one.answer_prefix
    (file,) = folder.glob("dense-*/predictions.jsonl")
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert [line["prompt"] is not None for line in lines] == [True, True, False, False]


def test_by_id_and_in_one_cell(folder):
    (cell,) = folder.glob("dense-*")
    names = [json.loads(line)["id"] for line in (cell / "predictions.jsonl").open()]
    answers = read_answers(cell, names[3])
    assert (answers.number, answers.of, list(answers.by_config)) == (4, 4, [cell.name])


@pytest.mark.parametrize(
    ("sample", "message"), [("9", "has 1 to 4"), ("0", "has 1 to 4"), ("first", "has no sample")]
)
def test_a_sample_that_is_not_there(folder, sample, message):
    with pytest.raises(UserError, match=message):
        read_answers(folder, sample)


def test_a_folder_without_answers_names_those_that_have_some(folder, tmp_path, capsys):
    assert main(["show", str(folder.parent.parent)]) == 2
    assert str(folder) in capsys.readouterr().err
    with pytest.raises(UserError, match="name the folder of a subset"):
        read_answers(tmp_path, "1")


def test_what_a_model_wrote_does_not_reach_the_terminal(folder, capsys):
    """A line that was changed is not believed, so it is written as a record would be."""
    answers = read_answers(folder, "1")
    label, one = next(iter(answers.by_config.items()))
    hostile = one.model_copy(update={"predicted_answer": "\x1b[31mred\x07", "prompt": "[bold]a"})
    print_answers(replace(answers, by_config={label: hostile}), Console(width=80))
    shown = capsys.readouterr().out
    assert "\x1b[31m" not in shown
    assert "[bold]a" in shown
