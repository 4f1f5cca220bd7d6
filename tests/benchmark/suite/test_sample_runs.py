"""Every task of every benchmark from the command line to the report, with the embedded model."""

from __future__ import annotations

import json

import pytest
from sample_frames import BENCHMARKS, sample_benchmark

from benchmark.report.frames.scan import scan_results
from benchmark.report.groups import group_results
from benchmark.report.tables import notes
from benchmark.suite.registry import benchmark_class
from benchmark.testing import tokenizer
from benchmark.zero_scrolls import ZeroScrolls
from sparse_attention.prompt import encode_prompt

SHORT = ["--samples", "1", "--max-prompt-tokens", "600", "--max-new-tokens", "4"]


@pytest.mark.parametrize("name", BENCHMARKS)
def test_every_task_runs_and_is_marked(name, sample_run):
    short = ["--option", "ruler.length=500"] if name == "ruler" else []
    results = sample_run(name, *SHORT, *short)
    (group,) = group_results(scan_results(results)).groups
    assert sorted(group.subsets) == sorted(benchmark_class(name).subsets)
    assert "sample data" in group.title
    report = (results / "embedded" / name / "report.md").read_text()
    assert "sample data for" in report
    assert '"sample_data": true' in report
    for path in results.glob("*/*/*/*/metrics.json"):
        metrics = json.loads(path.read_bytes())
        assert metrics["status"] == "complete"
        assert metrics["sample_data"] is True
        assert metrics["score"]["samples"] == 1
        assert metrics["official"]
        key = json.loads((path.parent / "key.json").read_bytes())
        assert key["benchmark"]["sample_data"] is True
        assert key["prompt"]["truncation"]


def test_remarks_stand_in_the_report(sample_run):
    (group,) = group_results(scan_results(sample_run("longbench", *SHORT))).groups
    assert "lcc: edit similarity by difflib." in list(notes(group))
    (group,) = group_results(scan_results(sample_run("zero_scrolls", *SHORT))).groups
    assert any(note.startswith("qmsum: 2 validation samples;") for note in notes(group))


def test_prompt_policies_are_recorded_and_can_be_replaced(sample_run):
    subsets = ["--subsets", "trec", "qasper", "--samples", "1"]
    own = sample_run("longbench", *subsets)
    other = sample_run("longbench", *subsets, "--chat-template", "never", "--truncation", "left")
    found = {}
    for label, folder in (("own", own), ("other", other)):
        for task in ("trec", "qasper"):
            (path,) = folder.glob(f"embedded/longbench/{task}/dense-*/key.json")
            key = json.loads(path.read_bytes())
            found[label, task] = (
                key["prompt"]["chat_template"],
                key["prompt"]["truncation"],
                key["prompt_overrides"],
            )
    assert found["own", "trec"] == ("never", "middle", {})
    assert found["own", "qasper"] == ("auto", "middle", {})
    replaced = {"chat_template": "never", "truncation": "left"}
    assert found["other", "trec"] == ("never", "left", replaced)
    assert found["other", "qasper"] == ("never", "left", replaced)
    assert len(group_results(scan_results(own)).groups) == 1


def test_a_cut_document_is_followed_by_the_notice_of_the_dataset(sample_run):
    limit = 400
    arguments = ["--subsets", "narrative_qa", "--max-prompt-tokens", str(limit)]
    results = sample_run("zero_scrolls", *arguments)
    (path,) = results.glob("embedded/zero_scrolls/narrative_qa/dense-*/metrics.json")
    assert json.loads(path.read_bytes())["counts"]["truncated"] == 2
    for sample in sample_benchmark("zero_scrolls").samples("narrative_qa", tokenizer()):
        prompt = encode_prompt(
            tokenizer(),
            sample.context,
            sample.question,
            sample.answer_prefix,
            truncation_notice=sample.truncation_notice,
            settings=ZeroScrolls.prompt.model_copy(update={"max_prompt_tokens": limit}),
            max_new_tokens=sample.max_new_tokens,
            max_positions=8192,
        )
        tokens = [*prompt.context_ids, *prompt.question_ids]
        assert len(tokens) == limit
        text = tokenizer().decode(tokens, skip_special_tokens=True)
        assert text.endswith(sample.truncation_notice + sample.question + sample.answer_prefix)
        assert sample.context.startswith(text[:300])
