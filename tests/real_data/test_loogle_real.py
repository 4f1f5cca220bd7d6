"""LooGLE's published predictions and real documents."""

from __future__ import annotations

import ast
import json
import shutil

import pandas as pd
import pytest

from benchmark.embedded import MODEL_NAME
from benchmark.executor import BenchmarkExecutor
from benchmark.executor_config import AdapterConfig, BenchmarkConfig
from benchmark.loogle.benchmark import LooGLE
from benchmark.loogle.calculate_metrics import calculate_metrics, meteor_obstacle
from benchmark.suite.builder import main
from sparse_attention.config_types import make_config
from sparse_attention.prompt import PromptSettings

COUNTS = {
    "shortdep_qa": (5, 80),
    "longdep_qa": (5, 43),
    "shortdep_cloze": (5, 94),
    "longdep_summarization": (5, 5),
}


@pytest.fixture
def predictions(data):
    [line] = (data / "loogle/predictions/shortdep_qa_gpt-3.5-turbo-16k.jsonl").open()
    found = json.loads(line)
    return pd.DataFrame(
        {
            "task": "shortdep_qa",
            "answer": found["output"],
            "predicted_answer": found["llm_output"],
        }
    )


def test_published_predictions_get_upstreams_scores(predictions):
    scores = calculate_metrics(predictions)["shortdep_qa"]
    expected = {
        "bleu1": 0.182445,
        "bleu4": 0.068239,
        "rouge-1": 0.268350,
        "rouge-2": 0.116950,
        "rouge-l": 0.261357,
    }
    assert {name: round(scores[name], 6) for name in expected} == expected


def test_meteor_of_the_published_predictions(predictions):
    if obstacle := meteor_obstacle():
        pytest.skip(obstacle)
    assert round(calculate_metrics(predictions)["shortdep_qa"]["meteor"], 6) == 0.195916


@pytest.mark.parametrize("subset", LooGLE.subsets)
def test_real_documents_become_samples(subset, data):
    samples = LooGLE(source=str(data / "loogle")).read(subset)
    assert (len({sample.context for sample in samples}), len(samples)) == COUNTS[subset]
    templates = json.loads((data / "loogle" / "task2prompt.json").read_text())
    raw = [json.loads(line) for line in (data / "loogle" / f"{subset}.jsonl").open()]
    first = samples[0]
    question = ""
    if subset != "longdep_summarization":
        question = ast.literal_eval(raw[0]["qa_pairs"])[0]["Q"]
    whole = templates[subset].format(input=raw[0]["input"], Q=question)
    assert first.context + first.question + first.answer_prefix == whole
    assert raw[0]["input"] in first.context
    assert first.answer_prefix.strip() in ("Answer:", "Summarization:")


@pytest.mark.timeout(900)
def test_real_documents_go_through_builder_and_pipeline(data, tmp_path, capsys):
    prompts = tmp_path / "prompts"  # upstream's, with answers short enough for a test
    prompts.mkdir()
    shutil.copyfile(data / "loogle" / "task2prompt.json", prompts / "task2prompt.json")
    (prompts / "task2maxlen.json").write_text(json.dumps(dict.fromkeys(LooGLE.subsets, 16)))
    raw = {"source": str(data / "loogle"), "prompts": str(prompts)}

    folder = tmp_path / "parquet"
    arguments = ["--source", raw["source"], "--output", str(folder)]
    assert main(LooGLE, [*arguments, "--option", f"prompts={prompts}"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 4
    for subset in LooGLE.subsets:
        assert LooGLE(source=str(folder)).read(subset) == LooGLE(**raw).read(subset)

    executor = BenchmarkExecutor([], tmp_path / "results", 1, quiet=True)
    result = executor.run_benchmark_matrix(
        [MODEL_NAME],
        [("dense", None), ("sink_local", make_config("sink_local"))],
        [BenchmarkConfig("loogle", ["shortdep_qa", "shortdep_cloze"], {"source": str(folder)})],
        AdapterConfig(prompt=PromptSettings(max_prompt_tokens=2048)),
        {"max_requests": 2},
    )
    assert result.exit_code == 0
    for cell in result.cells:
        metrics = json.loads((cell.folder / "metrics.json").read_text())
        assert metrics["counts"]["truncated"] == 2
        assert metrics["counts"]["contexts"] == 1
        assert 0 <= metrics["score"]["mean"] <= 1
        assert set(metrics["official"]) == {cell.subset}
