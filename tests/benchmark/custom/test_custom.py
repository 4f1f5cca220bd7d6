"""Questions of one's own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from local_pool import LocalPool

from benchmark.console.main import main
from benchmark.custom.calculate_metrics import score
from benchmark.suite.registry import get_benchmark
from sparse_attention.errors import UserError

ROWS = [
    {"context": "The key is blue.", "question": "Which colour?", "answer": "blue"},
    {"context": "The key is blue.", "question": "What is it?", "answer": ["key", "a key"]},
]


def write(path: Path, *rows: object) -> str:
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return str(path)


def read(file: str, **options: object):
    benchmark = get_benchmark("custom", file=file, **options)
    return benchmark, benchmark.samples("all", None)


def test_rows_become_samples(tmp_path):
    more = {**ROWS[0], "answer_prefix": "It is", "max_new_tokens": 3, "group": "colours"}
    _, samples = read(write(tmp_path / "mine.jsonl", *ROWS, more), max_new_tokens=7)
    assert [s.answers for s in samples] == [("blue",), ("key", "a key"), ("blue",)]
    assert [s.max_new_tokens for s in samples] == [7, 7, 3]
    assert [s.answer_prefix for s in samples] == ["", "", "It is"]
    assert samples[2].extra == {"group": "colours"}
    as_list = tmp_path / "mine.json"
    as_list.write_text(json.dumps(ROWS))
    assert [s.question for s in read(str(as_list))[1]] == ["Which colour?", "What is it?"]


@pytest.mark.parametrize(
    ("metric", "prediction", "references", "expected"),
    [
        ("contains", "It is Blue!", ["blue"], 1.0),
        ("contains", "It is red", ["blue", "green"], 0.0),
        ("contains_all", "a and c", ["A", "b"], 0.5),
        ("exact_match", "The Blue.", ["blue"], 1.0),
        ("exact_match", "blue sky", ["blue"], 0.0),
        ("f1", "blue sky", ["blue", "red"], 2 / 3),
        ("rouge_l", "a cat sat here", ["cat sat"], 2 / 3),
        ("edit_similarity", "abcd", ["abcx"], 0.75),
    ],
)
def test_metrics(metric, prediction, references, expected):
    assert score(metric, prediction, references) == pytest.approx(expected, abs=0.005)


def test_from_a_file_to_a_table(tmp_path, capsys):
    file = write(tmp_path / "mine.jsonl", *ROWS)
    command = (
        f"run --models embedded --benchmarks custom --option custom.file={file} --configs dense"
    )
    arguments = [*command.split(), "--results-dir", str(tmp_path / "results"), "--quiet"]
    assert main(arguments, LocalPool) == 0
    assert "custom" in capsys.readouterr().out
    (metrics,) = (tmp_path / "results").rglob("metrics.json")
    assert '"contains"' in metrics.read_text()


@pytest.mark.parametrize(
    ("rows", "options", "message"),
    [
        ([{"context": "a", "question": "b"}], {}, r"row 1: the field 'answer' is missing"),
        ([ROWS[0], {**ROWS[0], "answer": 3}], {}, "row 2: the field 'answer'"),
        ([{**ROWS[0], "answer": []}], {}, "there is no reference"),
        ([], {}, "has no sample"),
        (ROWS, {"metric": "contain"}, "metric"),
        (ROWS, {"source": "samples"}, "either file or source"),
    ],
)
def test_what_is_wrong_is_said(rows, options, message, tmp_path):
    with pytest.raises(UserError, match=message):
        read(write(tmp_path / "mine.jsonl", *rows), **options)


def test_no_file(tmp_path, capsys):
    command = ["run", "--models", "embedded", "--benchmarks", "custom"]
    assert main([*command, "--results-dir", str(tmp_path)]) == 2
    assert "set its option file" in capsys.readouterr().err
    with pytest.raises(UserError, match="cannot read"):
        get_benchmark("custom", file=str(tmp_path / "none.jsonl"))
