"""LongBench's own prompt files."""

from __future__ import annotations

import json

import pytest

from benchmark.longbench.prompts import FILES, fill, with_late_question
from benchmark.longbench.tasks import TASKS
from benchmark.suite.rows import Row

TAILS = {
    "narrativeqa": ("Question: IN\n\n", "Answer:"),
    "qasper": ("Question: IN\n\n", "Answer:"),
    "multifieldqa_en": ("Question: IN\n", "Answer:"),
    "hotpotqa": ("Question: IN\n", "Answer:"),
    "2wikimqa": ("Question: IN\n", "Answer:"),
    "musique": ("Question: IN\n", "Answer:"),
    "multifieldqa_zh": ("问题：IN\n", "回答："),
    "dureader": ("问题：IN\n", "回答："),
    "qmsum": ("Query: IN\n", "Answer:"),
    "vcsum": ("", "会议总结："),
    "lcc": ("", "Next line of code:\n"),
    "repobench-p": ("IN", "Next line of code:\n"),
    "lsht": ("IN", ""),
}
LABELS = {"trec": "Type:", "triviaqa": "Answer:", "samsum": "Summary: "}
PREFIXES = {
    "gov_report": "Summary:",
    "multi_news": "Summary:",
    "passage_count": "The final answer is: ",
    "passage_retrieval_en": "The answer is: ",
    "passage_retrieval_zh": "答案是：",
}


@pytest.mark.parametrize("task", TASKS)
def test_prompts_are_cut_where_the_prepared_datasets_cut_them(task, data):
    folder = data / "longbench"
    template = json.loads((folder / "dataset2prompt.json").read_text())[task]
    text = f"IN\n{LABELS[task]}" if task in LABELS else "IN"
    row = Row({"context": "CONTEXT\n{input} {context}", "input": text}, "file", 1)
    prompt = FILES.prompt(task, None, folder / "data" / "x.jsonl")
    filled = fill(with_late_question(prompt.template), row)
    whole = filled["context"] + filled["question"] + filled["answer_prefix"]
    assert whole == template.format(context="CONTEXT\n{input} {context}", input=text)
    if task in TAILS:
        assert (filled["question"], filled["answer_prefix"]) == TAILS[task]
    elif task in LABELS:
        assert (filled["question"], filled["answer_prefix"]) == ("IN\n", LABELS[task])
    else:
        assert filled["answer_prefix"] == PREFIXES[task]
        assert filled["question"].endswith("\n")
        assert len(filled["question"]) > 20
    lengths = json.loads((folder / "dataset2maxlen.json").read_text())
    assert prompt.max_new_tokens == lengths[task]
