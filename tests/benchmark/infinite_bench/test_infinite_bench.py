"""InfiniteBench: rules for answers, prompts, raw and prepared rows, bad input."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from benchmark.infinite_bench.benchmark import InfiniteBench
from benchmark.infinite_bench.calculate_metrics import calculate_metrics, sample_scores
from benchmark.infinite_bench.rules import SCORES
from benchmark.suite.builder import main
from sparse_attention.errors import UserError


def score(task, prediction, label, **settings):
    row = {"task": task, "predicted_answer": prediction, "answer": label}
    frame = pd.DataFrame([row], dtype=object)
    [value] = sample_scores(frame, **settings)
    return value


CHOICE = ["Snowfield", "C"]
DEBUG = ["load_file", "B"]


@pytest.mark.parametrize(
    ("task", "prediction", "label", "expected"),
    [
        ("passkey", "The key is 12345, not 99999.", ["12345"], 1),
        ("passkey", "9 then 12345", ["12345"], 0),
        ("passkey", "", ["12345"], 0),
        ("number_string", "0012", ["12"], 0),
        ("kv_retrieval", '{"a": "u-1"}', ["u-1"], 1),
        ("kv_retrieval", "u-12", ["u-1"], 0),
        ("code_run", "The return value is: -4.", ["-4"], 1),
        ("code_run", "4 or 5", [4], 0),
        ("code_run", "four", ["4"], 0),
        ("code_run", "1_0", ["10"], 1),
        ("code_run", "", ["4"], 0),
        ("math_find", "-94.", [94], 1),
        ("math_find", "94.5", ["94"], 0),
        ("math_find", "45.50", [45.5], 1),
        ("math_find", "45", ["45.0"], 1),
        ("math_find", "none", [45], 0),
        ("math_calc", "[1, 4, 9]", [1, 4, 8, 2], 0.5),
        ("math_calc", "1 -4 8 2 7", [[1, 4, 8, 2]], 1),
        ("math_calc", "01 4", ["1", "4"], 1),
        ("math_calc", "4", ["-4"], 0),
        ("longdialogue_qa_eng", "It was Ace.", ["ACE", "ACE ROTHSTEIN"], 1),
        ("longdialogue_qa_eng", "Ace Rothstein", ["ACE ROTHSTEIN"], 0),
        ("longdialogue_qa_eng", "Aces", ["ACE"], 0),
        ("longbook_choice_eng", "C. Snowfield", CHOICE, 1),
        ("longbook_choice_eng", "A long story: C", CHOICE, 0),
        ("longbook_choice_eng", "Snowfield", CHOICE, 1),
        ("longbook_choice_eng", "the answer is C", CHOICE, 1),
        ("longbook_choice_eng", "the answer is: Snowfield!", CHOICE, 1),
        ("longbook_choice_eng", "the answer is", CHOICE, 0),
        ("longbook_choice_eng", "I say AB or C", CHOICE, 0),
        ("longbook_choice_eng", "I say C or AB", CHOICE, 1),
        ("longbook_choice_eng", " \n", CHOICE, 0),
        ("code_debug", "B", DEBUG, 0),
        ("code_debug", "B. load_file", DEBUG, 1),
        ("code_debug", "B: that one", DEBUG, 1),
        ("code_debug", "The answer is: `load_file`", DEBUG, 1),
        ("code_debug", "The correct option is: B", DEBUG, 1),
        ("code_debug", "answer:", DEBUG, 0),
        ("code_debug", "It is: A, no, the answer is: B", DEBUG, 1),
        ("code_debug", "The Option is: A answer: B", DEBUG, 0),
        ("longbook_qa_eng", "the Hebrides!", ["Skye", "Hebrides"], 1),
        ("longbook_qa_chn", "田归农。", ["田归农"], 1),
        ("longbook_sum_eng", "A dog ran.", ["dog", "a dog ran"], 1),
    ],
)
def test_rules(task, prediction, label, expected):
    assert score(task, prediction, label) == expected


@pytest.mark.parametrize(
    ("task", "prediction", "label"),
    [
        ("longdialogue_qa_eng", "aces", ["XY", "Ace"]),
        ("longbook_choice_eng", "A good book\nso C", ["x", "A"]),
        ("longbook_choice_eng", "I think A, then C", CHOICE),
        ("code_debug", "B", DEBUG),
        ("code_debug", "load_file is it", DEBUG),
        ("code_debug", "A or B\nC", DEBUG),
    ],
)
def test_kvpress_is_more_lenient(task, prediction, label):
    assert score(task, prediction, label, compat="kvpress") == 1
    if prediction != "A good book\nso C":
        assert score(task, prediction, label) == 0


def test_the_first_value_is_skipped_on_demand():
    assert score("math_calc", "7 1 4", ["1", "4"]) == 0
    assert score("math_calc", "7 1 4", ["1", "4"], skip_first=True) == 1


@pytest.mark.parametrize("task", SCORES)
@pytest.mark.parametrize(
    "prediction",
    ["", None, float("nan"), "9" * 5000, "A " * 30_000, "is: " * 30_000,
     "\ud800\x00" * 30_000, "1 " * 30_000, "a\n" * 30_000, "²٣"],
    ids=["empty", "none", "nan", "digits", "letters", "leads", "surrogates", "numbers", "lines",
         "odd-digits"],
)  # fmt: skip
@pytest.mark.parametrize("compat", ["upstream", "kvpress"])
def test_absurd_predictions_are_scored(task, prediction, compat):
    label = {"code_debug": DEBUG, "longbook_choice_eng": CHOICE}.get(task, ["3", "4"])
    assert 0 <= score(task, prediction, label, compat=compat) <= 1


def test_means_by_task_in_any_order():
    rows = [
        {"task": "passkey", "predicted_answer": text, "answer": ["1"]} for text in ("1", "2", "x")
    ]
    rows.append({"task": "code_run", "predicted_answer": "5", "answer": [5]})
    found = calculate_metrics(pd.DataFrame(rows))
    assert found == {"passkey": {"accuracy": 1 / 3}, "code_run": {"accuracy": 1.0}}
    assert found == calculate_metrics(pd.DataFrame(rows[::-1]))
    assert calculate_metrics(pd.DataFrame()) == {}


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"task": "passkee"}, "did you mean 'passkey'"),
        ({"answer": []}, "no reference answer"),
        ({"task": "code_run", "answer": ["four"]}, "'four' of code_run is not a number"),
    ],
)
def test_rows_that_cannot_be_scored(row, message):
    whole = {"task": "passkey", "predicted_answer": "1", "answer": ["1"], **row}
    with pytest.raises(UserError, match=f"(?i){message}"):
        calculate_metrics(pd.DataFrame([whole]))
    with pytest.raises(UserError, match="needs the columns answer"):
        calculate_metrics(pd.DataFrame([{"task": "passkey", "predicted_answer": "1"}]))


RAW = {
    "longbook_choice_eng": {
        "id": 0, "context": "book", "input": "Who?", "answer": ["two"],
        "options": ["one", "two", "three", "four"],
    },
    "code_run": {
        "id": 0, "context": "code", "input": "Give me func_7(-3).", "answer": [4], "options": [],
    },
    "math_find": {
        "id": 0, "context": "[1]", "input": "The second largest number of the list is:",
        "answer": [2.5], "options": [],
    },
}  # fmt: skip


def write_raw(folder, **changes):
    for task, row in RAW.items():
        (folder / f"{task}.jsonl").write_text(json.dumps({**row, **changes.get(task, {})}) + "\n")
    return str(folder)


PROMPTS = """
import os
os.abort()
yarn_mistral_templates = {
    "longbook_choice_eng":
        "Read.\\n{context}\\n{question}\\nA. {OPTION_A}\\nB. {OPTION_B}\\nLetter:",
    "code_run": "See {func}.\\n{context}\\nValue of {func_call}:",
    "math_find": "{prompt}\\n{context}\\n{input}",
    "passkey": "{context} {nothing}",
}
kimi_templates = {"passkey": "{file}" + "{context}"}
"""


def test_upstreams_prompts_are_read_as_data(tmp_path):
    file = tmp_path / "prompt.py"
    file.write_text(PROMPTS)
    benchmark = InfiniteBench(source=write_raw(tmp_path), prompts=str(file))
    [choice] = benchmark.read("longbook_choice_eng")
    assert (choice.context, choice.question) == ("Read.\nbook", "\nWho?\nA. one\nB. two\n")
    assert (choice.answer_prefix, choice.answers) == ("Letter:", ("two", "B"))
    assert choice.max_new_tokens == 40
    [run] = benchmark.read("code_run")
    assert run.context + run.question == "See func_7.\ncode\nValue of func_7(-3):"
    [find] = benchmark.read("math_find")
    assert find.context == "What is the second largest number in the following list?\n[1]"
    assert find.answers == ("2.5",)
    assert benchmark.remarks("code_run") == ()
    own = InfiniteBench(source=str(tmp_path))
    assert "not upstream's" in own.remarks("code_run")[0]


@pytest.mark.parametrize(
    ("changes", "task", "message"),
    [
        (
            {"longbook_choice_eng": {"options": ["one"]}},
            "longbook_choice_eng",
            "'options' has 1 te",
        ),
        ({"longbook_choice_eng": {"answer": ["six"]}}, "longbook_choice_eng", "not one of the opt"),
        ({"code_run": {"input": "nothing"}}, "code_run", "row 1: the field 'input' has no call"),
        ({"code_run": {"answer": ["four"]}}, "code_run", "'four', which is not a number"),
        (
            {"code_run": {"context": 5}},
            "code_run",
            "row 1: the field 'context' is 5 .int., not a t",
        ),
        ({"math_find": {"answer": None}}, "math_find", "row 1: the field 'answer' is not a text"),
        ({"math_find": {"input": "?"}}, "math_find", "does not say what to find"),
        ({}, "passkey", "nor has it passkey.jsonl"),
    ],
)
def test_bad_rows_are_named(changes, task, message, tmp_path, capsys):
    source = write_raw(tmp_path, **changes)
    with pytest.raises(UserError, match=message):
        InfiniteBench(source=source).read(task)
    output = tmp_path / "out"
    arguments = ["--source", source, "--output", str(output), "--subsets", task]
    assert main(InfiniteBench, arguments) == 2
    assert "error: " in capsys.readouterr().err
    assert not output.exists()


def test_a_file_is_read_for_its_own_task_only(tmp_path):
    file = write_raw(tmp_path) + "/code_run.jsonl"
    assert len(InfiniteBench(source=file).read("code_run")) == 1
    with pytest.raises(UserError, match=r"is not math_find.jsonl"):
        InfiniteBench(source=file).read("math_find")


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        (PROMPTS, {"prompt_set": "yarn"}, "Did you mean 'yarn_mistral'"),
        (PROMPTS, {"prompt_set": "kimi"}, "computed there"),
        (PROMPTS, {}, "'nothing' is a slot of the template"),
        ("def (", {}, "not Python"),
        ("yarn_mistral_templates = {}", {}, "no template .a text. named 'passkey'"),
        ("yarn_mistral_templates = {'passkey': '{file:{context}}'}", {}, "not a plain name"),
    ],
)
def test_bad_prompt_files_are_named(content, options, message, tmp_path):
    (tmp_path / "prompt.py").write_text(content)
    row = {"context": "c", "input": "i", "answer": ["1"]}
    (tmp_path / "passkey.jsonl").write_text(json.dumps(row))
    prompts = str(tmp_path / "prompt.py")
    with pytest.raises(UserError, match=message):
        InfiniteBench(source=str(tmp_path), prompts=prompts, **options).read("passkey")


def test_prepared_rows_regain_the_text_of_the_right_option(tmp_path):
    builder = ["--source", write_raw(tmp_path), "--output", str(tmp_path / "out")]
    assert main(InfiniteBench, [*builder, "--subsets", "longbook_choice_eng"]) == 0
    [file] = (tmp_path / "out" / "longbook_choice_eng").glob("*.parquet")
    table = pd.read_parquet(file)
    assert list(table["answer"][0]) == ["two", "B"]
    table["answer"] = [["B"]]
    table.to_parquet(file)
    [sample] = InfiniteBench(source=str(tmp_path / "out")).read("longbook_choice_eng")
    assert sample.answers == ("two", "B")
    table["question"] = ["Who?"]
    table.to_parquet(file)
    with pytest.raises(UserError, match="no line with the option B"):
        InfiniteBench(source=str(tmp_path / "out")).read("longbook_choice_eng")


@pytest.mark.parametrize(("label", "prediction"), [(7, "7"), (7.5, "7.5"), (np.int64(7), "7")])
def test_a_number_alone_is_a_label(label, prediction):
    assert score("math_find", prediction, label) == 1
    assert score("math_find", "8", label) == 0
