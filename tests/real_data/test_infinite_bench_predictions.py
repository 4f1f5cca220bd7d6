"""InfiniteBench's published predictions give the published scores."""

from __future__ import annotations

import json

import pandas as pd
import pytest

from benchmark.infinite_bench.calculate_metrics import calculate_metrics

# Percent, from InfiniteBench's README; where that says "<5", from its scorer on the same files.
PUBLISHED = {
    "passkey": {"kimi": 98.14, "yi-6b-200k": 100.00},
    "number_string": {"kimi": 95.42, "yi-6b-200k": 94.92},
    "kv_retrieval": {"kimi": 53.60, "yi-6b-200k": 0.00},
    "longbook_sum_eng": {"kimi": 17.96, "yi-6b-200k": 0.92},
    "longbook_qa_eng": {"kimi": 16.52, "yi-6b-200k": 9.20},
    "longbook_choice_eng": {"kimi": 72.49, "yi-6b-200k": 36.68},
    "longdialogue_qa_eng": {"kimi": 11.50, "yi-6b-200k": 3.50},
    "longbook_qa_chn": {"kimi": 17.93, "yi-6b-200k": 15.07},
    "code_debug": {"kimi": 17.77, "yi-6b-200k": 9.14},
    "code_run": {"kimi": 2.00, "yi-6b-200k": 0.75},
    "math_calc": {"yi-6b-200k": 0.0004},
    "math_find": {"kimi": 12.57, "yi-6b-200k": 4.29},
}
KVPRESS = {
    "longdialogue_qa_eng": {"kimi": 12.00, "yi-6b-200k": 4.50},
    "longbook_choice_eng": {"kimi": 73.36, "yi-6b-200k": 36.68},
    "code_debug": {"kimi": 38.07, "yi-6b-200k": 18.78},
}


def cells(table):
    return [(task, model, value) for task, row in table.items() for model, value in row.items()]


def read(data, model, task):
    file = data / "infinite_bench" / model / f"preds_{task}.jsonl"
    rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    labels = [row["ground_truth"] for row in rows]
    return pd.DataFrame(
        {
            "task": task,
            "predicted_answer": [row["prediction"] for row in rows],
            "answer": [label if isinstance(label, list) else [label] for label in labels],
        }
    )


@pytest.mark.parametrize(("task", "model", "value"), cells(PUBLISHED))
def test_published_predictions_get_their_published_score(task, model, value, data):
    [score] = calculate_metrics(read(data, model, task))[task].values()
    assert round(100 * score, 4 if task == "math_calc" else 2) == value


@pytest.mark.parametrize(("task", "model", "value"), cells(KVPRESS))
def test_kvpress_rules_give_the_numbers_of_kvpress(task, model, value, data):
    [score] = calculate_metrics(read(data, model, task), compat="kvpress")[task].values()
    assert round(100 * score, 2) == value


def test_there_is_an_expected_score_for_every_file(data):
    files = (data / "infinite_bench").glob("*/preds_*.jsonl")
    found = {(path.stem.removeprefix("preds_"), path.parent.name) for path in files}
    assert found == {(task, model) for task, model, _ in cells(PUBLISHED)}
