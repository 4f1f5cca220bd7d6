from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import toy_benchmark
from hypothesis import given
from hypothesis import strategies as st

from benchmark.executor_config import AdapterConfig, BenchmarkConfig, RequestConfig
from benchmark.run import devices
from benchmark.run.devices import choose_devices
from benchmark.run.jobs import Chosen, Job
from benchmark.run.models import find_model
from benchmark.run.plan import plan_jobs, plan_tasks, select_samples
from benchmark.run.task import Task
from benchmark.suite import registry
from benchmark.suite.base import Sample, by_context
from benchmark.suite.registry import benchmark_names, get_benchmark, register_benchmark
from sparse_attention.config import AttentionConfig
from sparse_attention.config_types import make_config
from sparse_attention.errors import UserError
from sparse_attention.prompt import PromptSettings
from sparse_attention.protocol import Protocol


def plan(model: Path, folder: Path, **changes: Any) -> list[Job]:
    configs = changes.get("configs", {"dense": AttentionConfig()})
    chosen = {label: Chosen(config) for label, config in configs.items()}
    return plan_jobs(tasks(model, **changes), lambda *_: chosen, folder)


def tasks(model: Path, **changes: Any) -> list[Task]:
    return plan_tasks(
        [find_model(str(model))],
        changes.get("benchmarks", [changes.get("benchmark", BenchmarkConfig("toy", ["first"]))]),
        changes.get("settings", AdapterConfig()),
        changes.get("requests", RequestConfig()),
        changes.get("device", "cpu"),
    )


def samples_of(contexts: list[int]) -> list[Sample]:
    return [
        Sample(str(number), f"context {context}", "?", "", (), 1, "task")
        for number, context in enumerate(sorted(contexts))
    ]


@given(st.lists(st.integers(0, 5), min_size=1, max_size=30), st.data())
def test_selections_are_nested_and_ordered(contexts: list[int], data: st.DataObject) -> None:
    samples = samples_of(contexts)
    large = data.draw(st.integers(1, len(samples)))
    small = data.draw(st.integers(1, large))
    chosen = select_samples(samples, large, "s")
    assert len(chosen) == large
    assert [s.id for s in chosen] == sorted((s.id for s in chosen), key=int)
    assert {s.id for s in select_samples(samples, small, "s")} <= {s.id for s in chosen}
    cut = [
        group
        for group in by_context(chosen)
        if len(group) < sum(s.context == group[0].context for s in samples)
    ]
    assert len(cut) <= 1, "contexts are whole but for one"
    assert select_samples(samples, None, "s") == samples


def test_a_selection_is_not_the_head() -> None:
    samples = samples_of(list(range(100)))
    chosen = [int(sample.id) for sample in select_samples(samples, 10, "s")]
    assert max(chosen) > 40
    assert chosen != [int(sample.id) for sample in select_samples(samples, 10, "t")]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"settings": AdapterConfig(protocol=Protocol(sparse_from="generation"))}, "protocol"),
        ({"settings": AdapterConfig(prompt=PromptSettings(truncation="left"))}, "prompt"),
        ({"settings": AdapterConfig(dtype="float32")}, "model"),
        ({"settings": AdapterConfig(max_positions=100)}, "max_positions"),
        ({"settings": AdapterConfig(max_new_tokens=7)}, "generation"),
        ({"benchmark": BenchmarkConfig("toy", ["first"], {"words": 41})}, "benchmark"),
        ({"requests": RequestConfig(max_requests=3)}, "benchmark"),
        ({"configs": {"dense": make_config("sink_masker")}}, "config"),
        ({"device": "cuda"}, "device_type"),
    ],
)
def test_every_setting_is_in_the_key(
    tiny_model: Path, tmp_path: Path, change: dict, field: str
) -> None:
    (before,) = plan(tiny_model, tmp_path)
    (after,) = plan(tiny_model, tmp_path, **change)
    old, new = before.cells[0].files, after.cells[0].files
    assert old.scope != new.scope
    assert old.key[field] != new.key[field]
    assert plan(tiny_model, tmp_path)[0].cells[0].files.key == old.key


def test_longer_answers_and_no_switch_for_thinking(tiny_model: Path) -> None:
    (task,) = tasks(tiny_model, settings=AdapterConfig(max_new_tokens=7))
    assert {sample.max_new_tokens for sample in task.samples} == {7}
    switched = AdapterConfig(prompt=PromptSettings(thinking="on"))
    with pytest.raises(UserError, match=r"model .*tiny.*thinking 'on', but prompts have no chat"):
        tasks(tiny_model, settings=switched)


def test_rows_and_memory_are_not_in_the_key(tiny_model: Path, tmp_path: Path) -> None:
    (one,) = plan(tiny_model, tmp_path)
    (other,) = plan(tiny_model, tmp_path, settings=AdapterConfig(max_rows=1, prefill_store_bytes=5))
    assert one.cells[0].files.key == other.cells[0].files.key


def test_a_changed_model_is_another_one(tmp_path: Path) -> None:
    toy_benchmark.save_tiny_model(tmp_path / "m")
    before = tasks(tmp_path / "m")[0].key
    weights = tmp_path / "m" / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    assert tasks(tmp_path / "m")[0].key["model"] != before["model"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"benchmark": BenchmarkConfig("toi")}, "Did you mean 'toy'"),
        ({"benchmark": BenchmarkConfig("toy", ["frist"])}, "Did you mean 'first'"),
        ({"benchmark": BenchmarkConfig("toy", None, {"word": 3})}, "Did you mean 'words'"),
        ({"benchmark": BenchmarkConfig("toy", ["first"], {"contexts": 0})}, "at least 1"),
        ({"benchmark": BenchmarkConfig("toy", ["first"], {"questions": 0})}, "no samples"),
        (
            {
                "settings": AdapterConfig(prompt=PromptSettings(truncation="error")),
                "benchmark": BenchmarkConfig("toy", ["first"], {"words": 1000}),
            },
            "sample first-0-0",
        ),
    ],
)
def test_bad_input(tiny_model: Path, tmp_path: Path, change: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        plan(tiny_model, tmp_path / "results", **change)
    assert not (tmp_path / "results").exists()


def test_models_that_are_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match=r"no config\.json"):
        find_model(str(tmp_path))
    with pytest.raises(UserError, match="not a folder"):
        find_model("./nowhere")
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(UserError, match="cannot be read"):
        find_model(str(tmp_path))


@pytest.fixture
def clean_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    registered = dict(registry.BENCHMARKS._registered)
    monkeypatch.setattr(registry.BENCHMARKS, "_registered", registered)


@pytest.mark.usefixtures("clean_registry")
def test_registry() -> None:
    assert {"ruler", "toy"} <= set(benchmark_names())
    assert get_benchmark("toy", words=5).options["words"] == 5
    assert register_benchmark(toy_benchmark.Toy) is toy_benchmark.Toy
    other = type("Other", (toy_benchmark.Toy,), {"name": "toy"})
    with pytest.raises(UserError, match="exists already"):
        register_benchmark(other)
    other.name = "ruler"
    with pytest.raises(UserError, match="exists already"):
        register_benchmark(other)


def test_benchmark_config_is_made_by_position() -> None:
    config = BenchmarkConfig("loogle", ["shortdep_qa"])
    assert (config.benchmark_name, config.subsets, config.options) == (
        "loogle",
        ("shortdep_qa",),
        {},
    )


def test_devices(caplog: pytest.LogCaptureFixture) -> None:
    assert choose_devices([], 3).visible == ("", "", "")
    with pytest.raises(UserError, match="num_workers"):
        choose_devices(None, 0)
    with pytest.raises(UserError, match="different numbers"):
        choose_devices([0, 0], None)
    assert choose_devices([98, 99], None).kind == "cpu"
    assert caplog.text.count("were asked for") == 1


@pytest.mark.parametrize(("limit", "threads"), [("3", 3), ("2,1", 2), ("", 8), ("odd", 8)])
def test_threads_are_bounded_from_outside(limit, threads, monkeypatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", limit)
    monkeypatch.setattr(devices, "cpu_count", lambda: 16)
    assert choose_devices([], 2).threads == threads
    assert choose_devices([], 16).threads == 1


def test_a_method_that_cannot_run_on_the_model_stops_the_run(
    tiny_model: Path, tmp_path: Path
) -> None:
    configs = {"hashes": make_config("hash_attention")}
    with pytest.raises(UserError, match=r"configuration 'hashes': hash_attention needs a file"):
        plan(tiny_model, tmp_path, configs=configs)


def test_what_is_named_twice_is_one_task(tiny_model: Path) -> None:
    first, second = BenchmarkConfig("toy", ["first"]), BenchmarkConfig("toy", ["second", "first"])
    longer = BenchmarkConfig("toy", ["first"], {"words": 41})
    found = tasks(tiny_model, benchmarks=[first, first, second, longer])
    assert [task.scope for task in found] == ["toy/first", "toy/second", "toy/first"]
    assert len({task.id for task in found}) == 3, "other options, another task"


def test_files_of_a_method_are_in_the_key_by_their_content(
    tiny_model: Path, tmp_path: Path
) -> None:
    (task,) = tasks(tiny_model)
    path = tmp_path / "channels.json"
    config = make_config("double_sparsity", channel_file=str(path))
    keys = []
    for content in ("{}", "[]", "{}"):
        path.write_text(content)
        keys.append(task.key_of(config))
    assert keys[0] == keys[2] != keys[1]
    assert "files_sha256" not in task.key_of(make_config("sink_local"))["config"]
