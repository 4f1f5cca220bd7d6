"""Write and check a submission: a CSV file with the columns Task, ID and Prediction.

    python -m benchmark.zero_scrolls.submission create RESULTS/MODEL/zero_scrolls dense FILE.csv
    python -m benchmark.zero_scrolls.submission verify FILE.csv [--source SOURCE]

``create`` takes the predictions of a run with the option ``split=test``.  Both check what
upstream's verifier checks: for each of the ten tasks exactly the ids of the test split, and a text
for each.
"""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from benchmark.files import fingerprint, write_atomic
from benchmark.results.finished import read_key
from benchmark.results.journal import read_records
from benchmark.results.key import FORMAT
from benchmark.results.records import Prediction
from benchmark.suite.dataset import HUB
from benchmark.zero_scrolls.benchmark import ZeroScrolls
from benchmark.zero_scrolls.tasks import TASKS
from sparse_attention.errors import UserError
from sparse_attention.printable import terminal_text
from sparse_attention.program import Parser, run_program

COLUMNS = ("Task", "ID", "Prediction")

Submission = Mapping[str, Mapping[str, str]]
"""Predictions by task and id."""


def read_predictions(folder: Path, config: str) -> Submission:
    """Predictions of a configuration in the folder of a model's results on ZeroSCROLLS.

    Raises ``UserError`` if a task is missing, was not run on the test split, or has samples
    without an answer.
    """
    found: dict[str, Mapping[str, str]] = {}
    for task in TASKS:
        cells = sorted((folder / task).glob(f"{config}-????????"))
        if len(cells) != 1:
            raise UserError(
                f"{folder / task} has {len(cells)} results of the configuration {config!r} instead "
                "of one; run every task once with --option zero_scrolls.split=test."
            )
        found[task] = _read_cell(cells[0], task)
    return found


def _read_cell(folder: Path, task: str) -> dict[str, str]:
    try:
        key = read_key(folder)
    except ValueError as error:
        raise UserError(f"{folder} is damaged ({error}); run it again.") from error
    if key["format"] != FORMAT:
        raise UserError(
            f"{folder} has format {key['format']}, this version reads {FORMAT}; run it again."
        )
    options: Mapping[str, Any] = key["benchmark"]["options"]
    if options.get("split") != "test":
        raise UserError(
            f"{folder} is of the split {options.get('split')}; a submission needs test."
        )
    samples = ZeroScrolls(**options).read(task)
    ids = frozenset(sample.id for sample in samples)
    path = folder / "predictions.jsonl"
    records = read_records(path, Prediction.from_json, fingerprint(key), ids)
    answers: dict[str, str] = {}
    for sample in samples:
        answer = records[sample.id].predicted_answer if sample.id in records else None
        if answer is None:
            raise UserError(f"{folder}: sample {sample.id} has no answer; finish the run first.")
        answers[str(sample.extra["example_id"])] = answer
    return answers


def write_submission(path: Path, submission: Submission) -> None:
    """Write the CSV file; NUL and lone surrogates, which it cannot hold, become question marks."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_ALL)
    writer.writerow(COLUMNS)
    for task, predictions in submission.items():
        for name, prediction in predictions.items():
            writer.writerow((task, name, prediction.replace("\0", "?")))
    try:
        write_atomic(path, text.getvalue().encode("utf-8", "replace"))
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror}.") from error


def read_submission(path: Path) -> Submission:
    """Predictions of a CSV file; ``UserError`` if it has not just the three columns."""
    try:
        frame = pd.read_csv(path, dtype=object, keep_default_na=False)
    except (OSError, ValueError) as error:
        raise UserError(f"cannot read {path}: {error}.") from error
    if set(frame.columns) != set(COLUMNS):
        raise UserError(f"{path} has the columns {', '.join(frame.columns)}, not {COLUMNS}.")
    rows = {task: part.set_index("ID")["Prediction"] for task, part in frame.groupby("Task")}
    for task, part in rows.items():
        if part.index.has_duplicates:
            twice = part.index[part.index.duplicated()][0]
            raise UserError(f"{path}: the id {twice!r} of {task} occurs twice.")
    return {str(task): part.to_dict() for task, part in rows.items()}


def problems(submission: Submission, expected: Mapping[str, Sequence[str]]) -> list[str]:
    """What is wrong with a submission, given the ids of each task; empty if it is valid."""
    found = [f"unknown task {task}" for task in submission if task not in expected]
    for task, names in expected.items():
        if task not in submission:
            found.append(f"no predictions for {task}")
            continue
        given, needed = submission[task], dict.fromkeys(names)
        missing = [name for name in needed if name not in given]
        redundant = [name for name in given if name not in needed]
        found += [f"{task}: the id {name!r} is missing" for name in missing]
        found += [f"{task}: the id {name!r} is not one of the task" for name in redundant]
        found += [
            f"{task}: the prediction of {name!r} is no text"
            for name, text in given.items()
            if not isinstance(text, str)
        ]
    return found


def expected_ids(source: str) -> dict[str, list[str]]:
    """Ids of the test split of each task in a source."""
    benchmark = ZeroScrolls(source=source, split="test")
    return {task: [s.extra["example_id"] for s in benchmark.read(task)] for task in TASKS}


def _check(submission: Submission, source: str, path: Path) -> None:
    found = problems(submission, expected_ids(source))
    if found:
        rest = f" and {len(found) - 10} more" if len(found) > 10 else ""
        raise UserError(f"{path} is not a valid submission: {'; '.join(found[:10])}{rest}.")
    text = f"{path}: {sum(map(len, submission.values()))} predictions, valid"
    print(terminal_text(text))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the exit code is 2 for bad input and an invalid submission."""
    parser = Parser(
        prog="python -m benchmark.zero_scrolls.submission", description="ZeroSCROLLS submissions."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    create = commands.add_parser("create", help="write a submission from the results of a run")
    create.add_argument("results", type=Path, help="folder RESULTS/MODEL/zero_scrolls")
    create.add_argument("config", help="label of the configuration")
    create.add_argument("file", type=Path)
    verify = commands.add_parser("verify", help="check a submission")
    verify.add_argument("file", type=Path)
    for command in (create, verify):
        command.add_argument("--source", default=HUB, help="where the ids are from (%(default)s)")
    given = parser.parse_args(arguments)

    def work() -> int:
        if given.command == "create":
            write_submission(given.file, read_predictions(given.results, given.config))
        _check(read_submission(given.file), given.source, given.file)
        return 0

    return run_program("submission", work)


if __name__ == "__main__":
    sys.exit(main())
