from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from statistics import mean
from typing import Any

import pytest
import torch
from toy_benchmark import Toy

from benchmark.executor_config import AdapterConfig
from benchmark.run.evaluator import Evaluator
from benchmark.run.requests import identity
from benchmark.suite.base import Sample
from sparse_attention import Context
from sparse_attention.answer import Answer
from sparse_attention.config import AttentionConfig
from sparse_attention.config_types import make_config
from sparse_attention.hf.adapter import HuggingFaceAdapter
from sparse_attention.prompt import PromptSettings, encode_prompt

PROMPT = PromptSettings()
CONFIGS = {
    "dense": make_config("dense"),
    "edges": make_config("sink_local", sink_size=2, window_size=4),
    "sampling": make_config("random_sampling", sampling_rate=0.2),
    "oracle": make_config("oracle_top_k", heavy_size=0.1),
}


class LimitedAdapter:
    """A real adapter whose memory takes ``max_rows`` rows, and which one configuration breaks."""

    def __init__(
        self,
        adapter: HuggingFaceAdapter,
        max_rows: int = 100,
        broken: AttentionConfig | None = None,
        failing_prefills: int = 0,
    ) -> None:
        self._adapter = adapter
        self._max_rows = max_rows
        self._broken = broken
        self._failing_prefills = failing_prefills
        self.tokenizer = adapter.tokenizer
        self.max_positions = adapter.max_positions
        self.prefills = 0
        self.batches: list[int] = []

    def prefill(
        self, context_ids: Sequence[int], configs: Sequence[AttentionConfig], *, offload: bool
    ) -> Context:
        self.prefills += 1
        if self.prefills <= self._failing_prefills:
            raise torch.OutOfMemoryError("no room for the prefill")
        return self._adapter.prefill(context_ids, configs, offload=offload)

    def answer(
        self, context: Context, question_ids: Sequence[int], configs: Any, **settings: Any
    ) -> list[Answer]:
        self.batches.append(len(configs))
        if len(configs) > self._max_rows:
            raise torch.OutOfMemoryError("CUDA out of memory")
        if self._broken in configs:
            raise ZeroDivisionError("a bug in bloom")
        return self._adapter.answer(context, question_ids, configs, **settings)


@pytest.fixture
def samples(adapter: HuggingFaceAdapter) -> list[Sample]:
    return Toy(contexts=1, questions=3).samples("first", adapter.tokenizer)


def test_one_prefill_serves_all_questions_and_configurations(
    adapter: HuggingFaceAdapter, samples: list[Sample]
) -> None:
    limited = LimitedAdapter(adapter)
    result = Evaluator(limited, AdapterConfig()).evaluate(samples, CONFIGS, PROMPT, "toy")
    assert limited.prefills == 1
    assert limited.batches == [4, 4, 4]
    for label, predictions in result.predictions.items():
        assert [found.id for found in predictions] == [sample.id for sample in samples]
        assert all(found.status == "ok" for found in predictions)
        assert [cost.prefill_seconds > 0 for cost in result.costs[label]] == [True, False, False]
    assert all(found.density == 1 for found in result.predictions["dense"])
    assert all(found.attention_error == 0 for found in result.predictions["dense"])
    assert all(0 < (found.density or 0) < 0.6 for found in result.predictions["edges"])


def test_a_record_has_the_hash_of_what_the_model_read(
    adapter: HuggingFaceAdapter, samples: list[Sample]
) -> None:
    result = Evaluator(adapter, AdapterConfig()).evaluate(samples, CONFIGS, PROMPT)
    hashes = [found.prompt_sha256 for found in result.predictions["dense"]]
    assert len(set(hashes)) == len(samples)
    assert hashes == [found.prompt_sha256 for found in result.predictions["edges"]]
    for sample, found in zip(samples, hashes, strict=True):
        prompt = encode_prompt(
            adapter.tokenizer,
            sample.context,
            sample.question,
            sample.answer_prefix,
            settings=PROMPT,
            max_new_tokens=sample.max_new_tokens,
            max_positions=adapter.max_positions,
        )
        assert found == prompt.sha256


class Thinker(LimitedAdapter):
    """Its model thinks before it answers, and one configuration never ends."""

    def __init__(self, adapter: HuggingFaceAdapter) -> None:
        super().__init__(adapter)
        self.tokenizer = copy.deepcopy(adapter.tokenizer)
        self.tokenizer.add_tokens(["<think>", "</think>"])

    def answer(self, context: Context, question_ids: Any, configs: Any, **_: Any) -> list[Answer]:
        texts = ["<think> 7 8 </think> 8", "<think> 7", "8"]
        encoded = [self.tokenizer.encode(text, add_special_tokens=False) for text in texts]
        answers = super().answer(context, question_ids, configs, max_new_tokens=1)
        return [
            replace(answer, text=text, token_ids=tuple(tokens))
            for answer, text, tokens in zip(answers, texts, encoded, strict=True)
        ]


def test_what_a_model_thinks_is_recorded_and_not_scored(
    adapter: HuggingFaceAdapter, samples: list[Sample]
) -> None:
    thinker = Thinker(adapter)
    configs = {name: CONFIGS[name] for name in ("dense", "edges", "oracle")}
    result = Evaluator(thinker, AdapterConfig()).evaluate(samples[:1], configs, PROMPT)
    found = [result.predictions[name][0] for name in configs]
    assert [one.predicted_answer for one in found] == ["8", "", "8"]
    assert [one.thought and one.thought.split() for one in found] == [["7", "8"], ["7"], None]
    assert [one.thought_tokens for one in found] == [2, 1, 0]
    assert [one.answer_tokens for one in found] == [5, 2, 1], "marks and all"


def test_a_prefill_without_what_presses_need_is_computed_again(
    adapter: HuggingFaceAdapter, samples: list[Sample]
) -> None:
    limited = LimitedAdapter(adapter)
    evaluator = Evaluator(limited, AdapterConfig())
    evaluator.evaluate(samples, CONFIGS, PROMPT)
    presses = {"snapkv": make_config("snapkv", observation_window=8), **CONFIGS}
    result = evaluator.evaluate(samples, presses, PROMPT)
    evaluator.evaluate(samples, CONFIGS, PROMPT)
    evaluator.evaluate(samples, {"small": make_config("snapkv", observation_window=4)}, PROMPT)
    assert limited.prefills == 2
    assert all(0.3 < (found.kept_share or 0) < 0.8 for found in result.predictions["snapkv"])
    assert all(found.kept_share == 1 for found in result.predictions["oracle"])
    layers = adapter.model.config.num_hidden_layers
    for found in result.predictions["oracle"]:
        assert len(found.layer_density or []) == len(found.layer_error or []) == layers
        assert mean(found.layer_density or []) == pytest.approx(found.density, rel=5e-3)
        assert mean(found.layer_error or []) == pytest.approx(found.attention_error, rel=5e-3)


@pytest.mark.parametrize("max_rows", [1, 2, 3])
def test_rows_do_not_depend_on_the_batch(
    adapter: HuggingFaceAdapter, samples: list[Sample], max_rows: int
) -> None:
    whole = Evaluator(adapter, AdapterConfig()).evaluate(samples, CONFIGS, PROMPT, "toy")
    parts = Evaluator(adapter, AdapterConfig(max_rows=max_rows)).evaluate(
        samples, CONFIGS, PROMPT, "toy"
    )
    for label in CONFIGS:
        for one, other in zip(whole.predictions[label], parts.predictions[label], strict=True):
            assert one.predicted_answer == other.predicted_answer
            assert one.density == other.density
            assert one.attention_error == pytest.approx(other.attention_error, rel=1e-4)
    assert {cost.rows for costs in parts.costs.values() for cost in costs} <= {1, 2, 3}


def test_out_of_memory_halves_the_rows_and_stays_so(
    adapter: HuggingFaceAdapter, samples: list[Sample]
) -> None:
    limited = LimitedAdapter(adapter, max_rows=1)
    result = Evaluator(limited, AdapterConfig()).evaluate(samples, CONFIGS, PROMPT)
    assert limited.batches == [4, 2, 1, 1, 1, 1] + [1] * 8
    assert all(found.status == "ok" for row in result.predictions.values() for found in row)


def test_out_of_memory_of_a_single_row_is_a_failure(
    adapter: HuggingFaceAdapter, samples: list[Sample]
) -> None:
    limited = LimitedAdapter(adapter, max_rows=0)
    result = Evaluator(limited, AdapterConfig()).evaluate(samples[:1], CONFIGS, PROMPT)
    for found in (row[0] for row in result.predictions.values()):
        assert (found.status, found.reason) == ("failed", "out_of_memory")
        assert found.predicted_answer is None
        assert found.density is None


@pytest.mark.parametrize(("failing", "status"), [(1, "ok"), (2, "failed")])
def test_out_of_memory_of_the_prefill(
    adapter: HuggingFaceAdapter, samples: list[Sample], failing: int, status: str
) -> None:
    limited = LimitedAdapter(adapter, failing_prefills=failing)
    result = Evaluator(limited, AdapterConfig()).evaluate(samples[:1], CONFIGS, PROMPT)
    assert {row[0].status for row in result.predictions.values()} == {status}


def test_a_configuration_that_breaks_fails_alone(
    adapter: HuggingFaceAdapter, samples: list[Sample]
) -> None:
    limited = LimitedAdapter(adapter, broken=CONFIGS["sampling"])
    result = Evaluator(limited, AdapterConfig()).evaluate(samples, CONFIGS, PROMPT)
    for label, row in result.predictions.items():
        assert {found.status for found in row} == {"failed" if label == "sampling" else "ok"}
    failed = result.predictions["sampling"][0]
    assert (failed.reason, failed.detail) == ("error", "ZeroDivisionError: a bug in bloom")
    assert "Traceback" in result.tracebacks[0]


@pytest.fixture
def damaged(adapter: HuggingFaceAdapter) -> HuggingFaceAdapter:
    """One with a model of its own, for tests that change weights."""
    return HuggingFaceAdapter(copy.deepcopy(adapter.model), adapter.tokenizer, "damaged")


@pytest.mark.parametrize("measured", [True, False])
@pytest.mark.parametrize(
    ("damage", "detail"),
    [
        # After the last attention, so that everything that is measured is finite.
        (lambda model: model.lm_head.weight[3].fill_(torch.nan), "logits after 0 tokens"),
        (lambda model: model.lm_head.weight[3].fill_(torch.inf), "logits after 0 tokens"),
        (lambda model: model.model.layers[-1].mlp.down_proj.weight.mul_(3e38), "logits after 0"),
        # Of a key in the middle, which one of the configurations does not read.
        (lambda model: model.model.layers[1].self_attn.v_proj.weight.mul_(3e38), "of layer 1"),
    ],
)
def test_what_is_not_finite_is_a_failure_and_no_answer(
    damaged: HuggingFaceAdapter, samples: list[Sample], measured: bool, damage: Any, detail: str
) -> None:
    damage(damaged.model)
    settings = AdapterConfig(measure_error=measured)
    result = Evaluator(damaged, settings).evaluate(samples[:1], CONFIGS, PROMPT)
    for (found,) in result.predictions.values():
        assert (found.status, found.reason) == ("failed", "not_finite")
        assert detail in found.detail
        assert (found.predicted_answer, found.density, found.finish_reason) == (None, None, None)


def test_a_token_without_numbers_fails_the_rows_that_wrote_it(
    damaged: HuggingFaceAdapter,
) -> None:
    samples = Toy(contexts=8, questions=1, words=12).samples("first", damaged.tokenizer)
    for sample in samples:
        before = Evaluator(damaged, AdapterConfig()).evaluate([sample], CONFIGS, PROMPT).predictions
        words = {label: (row[0].predicted_answer or "").split() for label, row in before.items()}
        read = {*sample.context.split(), *sample.question.split(), sample.answer_prefix}
        alone = {*words["edges"][:-1]} - read - {*words["dense"]}
        if alone:
            break
    word = min(alone)
    damaged.model.model.embed_tokens.weight[damaged.tokenizer.convert_tokens_to_ids(word)] = (
        torch.nan
    )
    after = Evaluator(damaged, AdapterConfig()).evaluate([sample], CONFIGS, PROMPT).predictions
    place = words["edges"].index(word) + 1
    assert after["edges"][0].detail.startswith(f"logits after {place} tokens")
    assert after["dense"] == before["dense"]


@pytest.mark.parametrize("call", ["prefill", "answer"])
def test_a_lost_device_is_not_a_failure_of_samples(
    damaged: HuggingFaceAdapter, samples: list[Sample], call: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise torch.AcceleratorError("CUDA error: device-side assert triggered")

    monkeypatch.setattr(damaged, call, fail)
    with pytest.raises(torch.AcceleratorError, match="device-side assert"):
        Evaluator(damaged, AdapterConfig()).evaluate(samples, CONFIGS, PROMPT)


@pytest.mark.parametrize(
    ("policy", "status", "reason"),
    [
        ("middle", "truncated", ""),
        ("skip", "skipped", "prompt_too_long"),
        ("error", "failed", "prompt_too_long"),
    ],
)
def test_prompts_that_are_too_long(
    adapter: HuggingFaceAdapter, samples: list[Sample], policy: Any, status: str, reason: str
) -> None:
    long = replace(samples[0], context=" ".join(["5"] * 1000))
    prompt = PromptSettings(truncation=policy)
    result = Evaluator(adapter, AdapterConfig()).evaluate([long, samples[1]], CONFIGS, prompt)
    for first, second in result.predictions.values():
        assert (first.status, first.reason) == (status, reason)
        assert (first.removed_tokens > 0) == (policy == "middle")
        assert first.answered == (first.prompt_sha256 is not None) == (policy == "middle")
        assert second.status == "ok", "the next sample goes on"


def test_configurations_without_samples(adapter: HuggingFaceAdapter) -> None:
    result = Evaluator(adapter, AdapterConfig()).evaluate([], CONFIGS, PROMPT)
    assert result.predictions == {label: [] for label in CONFIGS}


@pytest.mark.parametrize(
    ("answers", "depth", "excerpt"),
    [
        (("none", "4711"), 0.5, "x" * 120 + "4711" + "y" * 120),
        (("absent",), None, "x" * 240),
        (("xx",), None, "x" * 240),
        (("xxxy",), None, "x" * 240),
        (("xxx",), None, "x" * 123),
    ],
)
def test_where_the_reference_stands(answers, depth, excerpt) -> None:
    context = "x" * 500 + "4711" + "y" * 496
    sample = Sample("a", context, "?", "", answers, 4, "task")
    found = identity(sample)
    assert (found["depth"], found["excerpt"]) == (depth, excerpt)
