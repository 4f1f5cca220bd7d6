"""From a run on ZeroSCROLLS' test split to a submission, and its check."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from benchmark.results.cells import open_results
from benchmark.zero_scrolls import ZeroScrolls
from benchmark.zero_scrolls.submission import (
    expected_ids,
    main,
    problems,
    read_submission,
    write_submission,
)
from sparse_attention.errors import UserError

SHORT = ["--max-prompt-tokens", "300", "--max-new-tokens", "8"]
TEST_SPLIT = ["--option", "zero_scrolls.split=test", *SHORT]
IDS = expected_ids("samples")
ODD = ['a, "b"\r\nc\n', "", "nan", "NA", "=1+1", " x ", "文"]


def submission() -> dict[str, dict[str, str]]:
    texts = iter(ODD * 10)
    return {task: {name: next(texts) for name in names} for task, names in IDS.items()}


def test_any_text_survives(tmp_path, capsys):
    path = tmp_path / "s.csv"
    write_submission(path, submission())
    assert read_submission(path) == submission()
    assert main(["verify", str(path), "--source", "samples"]) == 0
    assert "20 predictions, valid" in capsys.readouterr().out


def test_what_a_file_cannot_hold_becomes_a_question_mark(tmp_path):
    path = tmp_path / "s.csv"
    write_submission(path, {"qasper": {"x": "a\0b\ud800c"}})
    assert read_submission(path) == {"qasper": {"x": "a?b?c"}}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("quality"), "no predictions for quality"),
        (lambda s: s["qasper"].pop("sample-1"), "qasper: the id 'sample-1' is missing"),
        (lambda s: s["qasper"].update(x="y"), "qasper: the id 'x' is not one of the task"),
        (lambda s: s.update(qaspar={}), "unknown task qaspar"),
        (lambda s: s["qasper"].update({"sample-1": 5}), "'sample-1' is no text"),
    ],
)
def test_problems(change, message):
    changed = submission()
    change(changed)
    (problem,) = problems(changed, IDS)
    assert message in problem
    assert problems(submission(), IDS) == []


def test_bad_files_are_explained(tmp_path, capsys):
    path = tmp_path / "s.csv"
    for content in (b"", b"Task,ID\nqasper,x\n", b"Task,ID,Prediction\nqasper,x,y\nqasper,x,z\n"):
        path.write_bytes(content)
        with pytest.raises(UserError, match=r"s\.csv"):
            read_submission(path)
    path.write_bytes(b"Task,ID,Prediction\nqasper,x,y\n")
    assert main(["verify", str(path), "--source", "samples"]) == 2
    assert "no predictions for gov_report" in capsys.readouterr().err
    assert main(["verify", str(tmp_path / "none.csv"), "--source", "samples"]) == 2


def test_a_submission_from_a_run(sample_run, tmp_path, capsys):
    results = sample_run("zero_scrolls", *TEST_SPLIT)
    path = tmp_path / "submission.csv"
    folder = str(results / "embedded" / "zero_scrolls")
    assert main(["create", folder, "dense", str(path), "--source", "samples"]) == 0
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["Task"], row["ID"]) for row in rows] == [
        (task, name) for task, names in IDS.items() for name in names
    ]
    capsys.readouterr()
    assert main(["create", folder, "sparse", str(path), "--source", "samples"]) == 2
    assert "split=test" in capsys.readouterr().err


def test_the_test_split_is_answered_and_not_scored(sample_run):
    results = sample_run("zero_scrolls", *TEST_SPLIT)
    for path in results.glob("*/*/*/*/metrics.json"):
        metrics = json.loads(path.read_bytes())
        assert metrics["status"] == "complete"
        assert metrics["score"] is None
        assert metrics["density"] is not None
        assert metrics["counts"]["without_reference"] == metrics["counts"]["samples"] == 2


def test_a_submission_needs_the_test_split(sample_run, tmp_path, capsys):
    results = sample_run("zero_scrolls", "--subsets", "gov_report", *SHORT)
    arguments = ["create", str(results / "embedded" / "zero_scrolls"), "dense"]
    assert main([*arguments, str(tmp_path / "s.csv"), "--source", "samples"]) == 2
    assert "is of the split validation" in capsys.readouterr().err
    assert not (tmp_path / "s.csv").exists()
    assert open_results(results) == Path(results)
    assert ZeroScrolls.subsets == tuple(IDS)
