"""Configurations, benchmarks and models in plain forms."""

from __future__ import annotations

import json

import pytest
from local_pool import LocalPool

from benchmark.executor import BenchmarkExecutor
from benchmark.executor_config import BenchmarkConfig
from benchmark.run.given import benchmark_configs, model_names, named_configs
from sparse_attention import AttentionConfig, UserError, as_config, make_config
from sparse_attention.maskers import Local, Sink

QUEST = make_config("quest")


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("quest", {"quest": QUEST}),
        (["quest", "dense"], {"quest": QUEST, "dense": AttentionConfig()}),
        ([("a", None), "quest"], {"a": AttentionConfig(), "quest": QUEST}),
        ({"mine": QUEST, "b": "quest"}, {"mine": QUEST, "b": QUEST}),
        ([("edges", [Sink(), Local()])], {"edges": AttentionConfig((Sink(), Local()))}),
        ([("sink", Sink())], {"sink": AttentionConfig((Sink(),))}),
        ([("json", QUEST.to_json())], {"json": QUEST}),
    ],
)
def test_configurations(given, expected):
    assert named_configs(given) == expected


def test_a_file_is_a_configuration(tmp_path):
    file = tmp_path / "mine.json"
    file.write_text(json.dumps(QUEST.to_json()))
    assert as_config(file) == as_config(str(file)) == QUEST


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([("a", None), ("a", None)], "given twice"),
        ([], "no configuration is given"),
        (["qest"], "quest"),
        ([("a", 3)], "a configuration is an AttentionConfig"),
        ([3], "configurations are names"),
        (3, "configurations are names"),
        ([("a", ["quest"])], "made of methods"),
        ([("a", "no/such.json")], "no/such.json"),
    ],
)
def test_what_is_no_configuration(given, message):
    with pytest.raises(UserError, match=message):
        named_configs(given)


RULER = BenchmarkConfig("ruler", ["vt"])


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("ruler", [BenchmarkConfig("ruler")]),
        (["ruler", ("ruler", ["vt"])], [BenchmarkConfig("ruler"), RULER]),
        (("ruler", ("ruler", "vt")), [BenchmarkConfig("ruler"), RULER]),
        ([("ruler", ["vt"], {"length": 9})], [BenchmarkConfig("ruler", ["vt"], {"length": 9})]),
        ({"benchmark_name": "ruler", "subsets": ["vt"]}, [RULER]),
        (RULER, [RULER]),
        (("ruler", ["vt"]), [RULER]),
        (("ruler", None, {"length": 9}), [BenchmarkConfig("ruler", None, {"length": 9})]),
    ],
)
def test_benchmarks(given, expected):
    assert benchmark_configs(given) == expected


@pytest.mark.parametrize("given", [3, [3], [("ruler", 3)], [{"name": "ruler"}], [()]])
def test_what_is_no_benchmark(given):
    with pytest.raises(UserError, match="a benchmark is its name"):
        benchmark_configs(given)


def test_models():
    assert model_names("embedded") == model_names(["embedded"]) == ["embedded"]
    with pytest.raises(UserError, match="a name or a list of names"):
        model_names([3])


def test_a_matrix_in_plain_words(tmp_path):
    executor = BenchmarkExecutor([], tmp_path, quiet=True, pool=LocalPool)
    result = executor.run_benchmark_matrix(
        "embedded", ["dense"], [("ruler", "vt")], request_kwargs={"max_requests": 1}
    )
    assert result.exit_code == 0
