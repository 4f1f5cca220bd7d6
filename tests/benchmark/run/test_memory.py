"""What fits is planned, what does not is a failure with numbers, and nothing piles up."""

from __future__ import annotations

import pytest
import torch
from toy_benchmark import Toy

from benchmark.executor_config import AdapterConfig
from benchmark.run.evaluator import Evaluator
from benchmark.run.memory import DoesNotFit, Footprint, MemoryPlan, Reading
from benchmark.run.system_memory import free_memory, total_memory
from sparse_attention.config_types import make_config
from sparse_attention.hf.adapter import HuggingFaceAdapter
from sparse_attention.prompt import PromptSettings

CPU = torch.device("cpu")
DENSE = make_config("dense")
LARGE = Footprint(
    weights=16_000_000_000, token=131_072, layers=32, activations=147_456, heads=32, masked=False
)
"""Of an 8B model in bfloat16."""


def plan(free: float, footprint: Footprint = LARGE) -> MemoryPlan:
    return MemoryPlan(footprint, CPU, lambda _: int(free / 0.9))


def test_a_footprint_counts_the_model(adapter: HuggingFaceAdapter) -> None:
    found = Footprint.of(adapter)
    assert found.weights == sum(p.nbytes for p in adapter.model.parameters())
    context = adapter.prefill([5] * 50)
    assert 50 * found.token == context.kv_nbytes
    assert (found.layers, found.heads, found.masked) == (2, 4, False)


def test_free_memory_is_some_of_all() -> None:
    assert 1 << 26 < free_memory(CPU) < total_memory(CPU) < 1 << 50


@pytest.mark.parametrize(
    ("free", "chunk"),
    [(40e9, 8192), (19.5e9, 8192), (18.9e9, 4096), (18.35e9, 512), (18.2e9, None)],
)
def test_the_chunk_is_what_fits(free: float, chunk: int | None) -> None:
    """128k tokens: 17.2 GB of keys and values, and a layer of them twice."""
    reading = plan(free).reading(131_072)
    assert reading == (None if chunk is None else Reading(chunk))


@pytest.mark.parametrize(
    ("gpu", "cpu", "reading"),
    [
        (40e9, 0.0, Reading(8192)),
        (18.2e9, 17e9, None),
        (18.2e9, 17.2e9, Reading(8192, offload=True)),
        (1.7e9, 20e9, Reading(512, offload=True)),
        (1.6e9, 20e9, None),
    ],
)
def test_what_a_gpu_has_no_room_for_waits_elsewhere(
    gpu: float, cpu: float, reading: Reading | None
) -> None:
    """Three layers of 128k tokens take 1.61 GB."""
    free = {"cuda": gpu, "cpu": cpu}
    found = MemoryPlan(LARGE, torch.device("cuda"), lambda device: int(free[device.type] / 0.9))
    assert found.reading(131_072) == reading


def test_the_rows_of_an_offloaded_context_hold_no_cache() -> None:
    rows = [make_config("snapkv")] * 3
    assert plan(26e9).rows(131_072, 100, rows) == 1
    assert plan(26e9).rows(131_072, 100, rows, offload=True) == 3


def test_the_refusal_has_the_numbers() -> None:
    refusal = str(plan(10e9).refusal(131_072))
    assert "131072 tokens" in refusal
    assert "(16.00 GB): 17.18 GB of keys and values" in refusal
    assert "10.00 GB of cpu are free" in refusal


def test_rows_are_as_many_as_fit() -> None:
    """A row's scores of a question of 100 tokens take 8.4 GB after 128k."""
    rows = [DENSE] * 8
    assert plan(100e9).rows(131_072, 100, rows) == 8
    assert plan(26e9).rows(131_072, 100, rows) == 3
    assert plan(26e9).rows(131_072, 100, [make_config("snapkv")] * 3) == 1, "it keeps a part"
    with pytest.raises(DoesNotFit, match=r"100 tokens after 131072 needs 8\.40 GB"):
        plan(8e9).rows(131_072, 100, rows)


def test_a_sample_that_does_not_fit_fails_alone(adapter: HuggingFaceAdapter) -> None:
    """The context of the second is five times as long."""
    small = Toy(contexts=2, questions=1).samples("first", adapter.tokenizer)
    (large,) = Toy(contexts=1, questions=1, words=200).samples("second", adapter.tokenizer)
    footprint = Footprint.of(adapter)
    room = footprint.prefill(60, 256) + 1
    evaluator = Evaluator(adapter, AdapterConfig(), memory=plan(room, footprint))
    configs = {"dense": DENSE, "edges": make_config("sink_local", sink_size=2, window_size=4)}
    found = evaluator.evaluate([small[0], large, small[1]], configs, PromptSettings())
    for predictions in found.predictions.values():
        assert [one.status for one in predictions] == ["ok", "failed", "ok"]
        assert predictions[1].reason == "out_of_memory"
        assert "a context of 199 tokens needs" in predictions[1].detail
    free = Evaluator(adapter, AdapterConfig())
    expected = free.evaluate(small, configs, PromptSettings()).predictions
    answers = [[p.predicted_answer for p in found.predictions[label][::2]] for label in configs]
    assert answers == [[p.predicted_answer for p in expected[label]] for label in configs]


def test_other_contexts_go_before_one_is_refused(adapter: HuggingFaceAdapter) -> None:
    samples = Toy(contexts=3, questions=1).samples("first", adapter.tokenizer)
    footprint = Footprint.of(adapter)
    evaluator = Evaluator(adapter, AdapterConfig())
    held = footprint.token * 40

    def free(_: torch.device) -> int:
        return int((footprint.prefill(40, 256) + held - evaluator._prefills.nbytes) / 0.9) + 9

    evaluator._memory = MemoryPlan(footprint, CPU, free)
    found = evaluator.evaluate(samples, {"dense": DENSE}, PromptSettings())
    assert [one.status for one in found.predictions["dense"]] == ["ok"] * 3
    assert len(evaluator._prefills) < 3


def test_memory_does_not_grow_with_samples(adapter: HuggingFaceAdapter) -> None:
    """What a worker holds after many contexts is what it held after a few."""
    samples = Toy(contexts=12, questions=1).samples("first", adapter.tokenizer)
    one = adapter.prefill([5] * 41).nbytes
    evaluator = Evaluator(adapter, AdapterConfig(prefill_store_bytes=3 * one))
    for sample in samples:
        evaluator.evaluate([sample], {"dense": DENSE}, PromptSettings())
        assert evaluator._prefills.nbytes <= 3 * one
    assert len(evaluator._prefills) == 3
