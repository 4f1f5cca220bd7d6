"""LooGLE: scores, questions of a document, bad input."""

from __future__ import annotations

import json

import pandas as pd
import pytest

from benchmark.loogle import calculate_metrics as module
from benchmark.loogle.benchmark import LooGLE
from benchmark.loogle.calculate_metrics import calculate_metrics, exact_match, partial_match
from benchmark.suite.base import by_context
from benchmark.suite.builder import main
from sparse_attention.errors import UserError


def frame(task, *pairs):
    return pd.DataFrame(
        [{"task": task, "answer": answer, "predicted_answer": text} for text, answer in pairs],
        dtype=object,  # lone surrogates are no ``str``
    )


THREE = json.dumps({"<mask-0>": "Lu", "<mask-1>": "Old Mill", "<mask-2>": "Ann"})
ONE = json.dumps({"<mask-0>": "Lu"})


def test_a_cloze_answer_that_cannot_be_read_misses_all_its_masks():
    rows = frame("shortdep_cloze", ("not json", THREE), ("{'<mask-0>': 'Lu'}", ONE))
    scores = {"exact_match": 0.25, "partial_match": 0.25}
    assert calculate_metrics(rows) == {"shortdep_cloze": scores}
    kvpress = calculate_metrics(rows, compat="kvpress")["shortdep_cloze"]
    assert kvpress == {"exact_match": 0.5, "partial_match": 0.25}


def test_exact_and_partial_matches():
    given = str({"<mask-0>": "lu", "<mask-1>": "Mill Road", "<mask-2>": 5})
    assert exact_match(given, json.loads(THREE)) == (0, 3)
    assert partial_match(given, json.loads(THREE)) == (1, 3)
    assert exact_match(' {"<mask-0>": "Lu"}', json.loads(THREE)) == (1, 3)


@pytest.mark.parametrize(
    "prediction",
    [
        "__import__('os').abort()",
        "{'<mask-0>': open('/etc/passwd').read()}",
        "[" * 100_000,
        "{'<mask-0>': " * 5_000,
        "9" * 5000,
        "\ud800",
        "\x00",
        "{'a': '\\d'}",
        "-" * 10**6,
        "x" * 10**6,
        "{[]: 1}",
        "",
        None,
    ],
    ids=range(13),
)
def test_cloze_answers_are_data_of_any_form(prediction):
    rows = frame("shortdep_cloze", (prediction, THREE))
    assert calculate_metrics(rows) == {"shortdep_cloze": {"exact_match": 0, "partial_match": 0}}


def test_an_empty_answer_is_read_as_none():
    rows = frame("shortdep_qa", ("", "None of them"))
    assert calculate_metrics(rows)["shortdep_qa"]["rouge-1"] == 1 / 3
    assert calculate_metrics(rows, compat="kvpress")["shortdep_qa"]["rouge-1"] == 0


def test_scores_are_plain_means_in_any_order(monkeypatch):
    monkeypatch.setattr(module, "meteor_obstacle", lambda: "not here")
    rows = frame("longdep_qa", ("a b c d", "a b c d"), ("x", "a"), ("a b", "a b c d"))
    found = calculate_metrics(rows)
    assert found == calculate_metrics(rows[::-1])
    assert found["longdep_qa"] == pytest.approx(
        {
            "bleu1": (1 + 0 + 0.36787944117) / 3,
            "bleu4": 1 / 3,
            "rouge-1": (1 + 0 + 0.5) / 3,
            "rouge-2": (1 + 0 + 1 / 3) / 3,
            "rouge-l": (1 + 0 + 0.5) / 3,
            "meteor": None,
        }
    )


def test_what_is_left_out_is_said(monkeypatch):
    monkeypatch.setattr(module, "meteor_obstacle", lambda: "no words here.")
    benchmark = LooGLE(source="samples")
    assert "Without METEOR: no words here." in benchmark.remarks("longdep_qa")
    assert any("BERTScore is off" in remark for remark in benchmark.remarks("longdep_qa"))
    assert benchmark.remarks("shortdep_cloze") == ()


def test_bert_score_is_asked_for_by_option(monkeypatch):
    seen = []

    def precision(predictions, references):
        seen.append((predictions, references))
        return [0.25, 0.75]

    monkeypatch.setattr(module, "bert_precision", precision)
    rows = frame("shortdep_qa", ("", "b"), ("c", "d"))
    assert "bert" not in calculate_metrics(rows)["shortdep_qa"]
    assert calculate_metrics(rows, bert_score=True)["shortdep_qa"]["bert"] == 0.5
    assert seen == [(["None", "c"], ["b", "d"])]
    monkeypatch.setitem(__import__("sys").modules, "bert_score", None)
    with pytest.raises(UserError, match=r"sparse-bench\[bert\]"):
        LooGLE(bert_score=True)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"task": "shortdep"}, "unknown task of LooGLE"),
        ({"answer": None}, "no reference answer"),
        ({"task": "shortdep_cloze", "answer": "Lu"}, "must be a JSON object"),
        ({"task": "shortdep_cloze", "answer": "{}"}, "must be a JSON object"),
    ],
)
def test_rows_that_cannot_be_scored(row, message):
    whole = {"task": "shortdep_qa", "predicted_answer": "1", "answer": "1", **row}
    with pytest.raises(UserError, match=message):
        calculate_metrics(pd.DataFrame([whole], dtype=object))


def test_questions_about_a_document_share_its_context():
    samples = LooGLE(source="samples").read("shortdep_qa")
    assert len(by_context(samples)) == 1
    assert len({sample.question for sample in samples}) == 3


GOOD = {"input": "Text.", "title": "T", "output": "none"}
PAIR = {"Q": "Who?", "A": "Lu", "type": "computation", "S": []}


def write_raw(folder, task, pairs, **changes):
    rows = [{**GOOD, "qa_pairs": repr([PAIR])}, {**GOOD, "qa_pairs": pairs, **changes}]
    (folder / f"{task}.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n")
    templates = {task: "See {{}}.\n{input}\nQuestion: {Q}\nAnswer: "}
    (folder / "task2prompt.json").write_text(json.dumps(templates))
    (folder / "task2maxlen.json").write_text(json.dumps({task: 7}))
    return str(folder)


def test_raw_rows_become_samples(tmp_path):
    source = write_raw(tmp_path, "longdep_qa", [PAIR, {"Q": "Why?", "A": "x"}], input="More.")
    first, second, third = LooGLE(source=source).read("longdep_qa")
    assert first.context == "See {}.\nText."
    assert (first.question, first.answer_prefix) == ("\nQuestion: Who?\n", "Answer: ")
    assert (first.answers, first.max_new_tokens) == (("Lu",), 7)
    assert first.extra == {"title": "T", "type": "computation"}
    assert (second.context, third.context) == ("See {}.\nMore.", "See {}.\nMore.")
    assert third.extra == {"title": "T"}


@pytest.mark.parametrize(
    ("task", "pairs", "message"),
    [
        ("longdep_qa", "none", "row 2: the field 'qa_pairs' cannot be read"),
        ("longdep_qa", "[1]", "row 2: the field 'qa_pairs' is not a list of dictionaries"),
        ("longdep_qa", "[{'A': 'x'}]", "row 2: .* whose Q is not a text"),
        ("longdep_qa", "[{'Q': 'x', 'A': 5}]", "row 2: .* whose A is not a text"),
        ("shortdep_cloze", "[{'Q': 'x', 'A': 'Lu'}]", "row 1: .* A is no dictionary of texts"),
        ("longdep_qa", "[{'Q': exit(), 'A': 'x'}]", "row 2: .* no Python literal"),
    ],
)
def test_bad_rows_are_named(task, pairs, message, tmp_path, capsys):
    source = write_raw(tmp_path, task, pairs)
    with pytest.raises(UserError, match=message):
        LooGLE(source=source).read(task)
    output = tmp_path / "out"
    assert main(LooGLE, ["--source", source, "--output", str(output), "--subsets", task]) == 2
    assert capsys.readouterr().err.startswith("create_huggingface_dataset: error: ")
    assert not output.exists()


@pytest.mark.parametrize(
    ("prompts", "lengths", "message"),
    [
        ({"longdep_qa": "{input} {other}"}, {"longdep_qa": 5}, "unknown slots other"),
        ({"longdep_qa": "{Q}"}, {"longdep_qa": 5}, "must be there once"),
        ({}, {"longdep_qa": 5}, "task2prompt.json has no text named 'longdep_qa'"),
        (
            {"longdep_qa": "{input}"},
            {"longdep_qa": "5"},
            "no integer from 1 to 1048576 named 'longdep_qa'",
        ),
        ([], {}, "no text named"),
        (None, None, "name their folder with the option prompts"),
    ],
)
def test_bad_prompt_files_are_named(prompts, lengths, message, tmp_path):
    source = write_raw(tmp_path, "longdep_qa", [PAIR])
    for name, content in (("task2prompt", prompts), ("task2maxlen", lengths)):
        (tmp_path / f"{name}.json").unlink()
        if content is not None:
            (tmp_path / f"{name}.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match=message):
        LooGLE(source=source).read("longdep_qa")
