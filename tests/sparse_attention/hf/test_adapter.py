"""Many configurations over one prefill."""

from __future__ import annotations

import hashlib
from collections import Counter

import pytest
import torch
from models import random_model, tokens, word_tokenizer

from sparse_attention import (
    CONFIG_TYPES,
    AttentionConfig,
    HuggingFaceAdapter,
    Protocol,
    UserError,
    make_config,
)
from sparse_attention.maskers import Local, OracleTopK, RandomSampling, Sink
from sparse_attention.presses import KNorm, SnapKV
from sparse_attention.testing.calls import calibrated_model

SETTINGS = {
    "sink_masker": {"sink_size": 5},
    "local_masker": {"window_size": 9},
    "sink_local": {"sink_size": 3, "window_size": 7},
    "oracle_top_k": {"sink_size": 3, "window_size": 7, "heavy_size": 0.1},
    "oracle_top_p": {"sink_size": 3, "window_size": 7, "top_p": 0.5},
    "quest": {"sink_size": 3, "window_size": 7, "heavy_size": 0.2, "page_size": 8},
    "double_sparsity": {"sink_size": 3, "window_size": 7, "heavy_size": 0.1},
    "pq_cache": {"sink_size": 3, "window_size": 7, "heavy_size": 0.1, "pq_bits": 4},
    "hash_attention": {"sink_size": 3, "window_size": 7, "heavy_size": 0.1},
    "random_sampling": {"sink_size": 3, "window_size": 7, "sampling_rate": 0.2},
    "magic_pig": {"sink_size": 3, "window_size": 7, "lsh_k": 4, "lsh_l": 20},
    "adaptive_sampling": {"sink_size": 3, "window_size": 7, "base_rate": 0.1, "epsilon": 0.3},
}
EDGES = (Sink(sink_size=3), Local(window_size=7))
CONFIGS = [make_config(name, **SETTINGS.get(name, {})) for name in CONFIG_TYPES] + [
    make_config("magic_pig", sink_size=3, window_size=7, lsh_k=6, lsh_l=40),
    make_config("oracle_top_k", sink_size=3, window_size=7, heavy_size=4),
    make_config("oracle_top_k", sink_size=3, window_size=7, heavy_size=4, group_scores="mean"),
    make_config("quest", sink_size=3, window_size=7, page_size=8, group_scores="max"),
    AttentionConfig((SnapKV(compression_ratio=0.6), *EDGES)),
    AttentionConfig((SnapKV(compression_ratio=0.6), *EDGES, OracleTopK(heavy_size=0.1))),
    AttentionConfig((KNorm(compression_ratio=0.3), *EDGES, RandomSampling(sampling_rate=0.2))),
]


@pytest.fixture(scope="module")
def adapter() -> HuggingFaceAdapter:
    adapter = HuggingFaceAdapter(random_model("llama"), word_tokenizer(), "llama")
    adapter.profile = calibrated_model((2, 2), layers=4)  # files for the methods that need some
    return adapter


@pytest.fixture(scope="module")
def prefix(adapter):
    return adapter.prefill(tokens(120, 3), CONFIGS)


def digest(prefix) -> str:
    total = hashlib.sha256()
    for layer in prefix.layers:
        total.update(layer.segments[0].keys.cpu().numpy().tobytes())
        total.update(layer.segments[0].values.cpu().numpy().tobytes())
    return total.hexdigest()


@pytest.mark.parametrize(("sparse_from", "every"), [("question", 1), ("generation", 3)])
def test_a_row_alone_equals_the_row_in_a_batch(adapter, prefix, sparse_from, every):
    protocol = Protocol(sparse_from=sparse_from)
    options = {"max_new_tokens": 4, "protocol": protocol, "sample_key": "s"}
    together = adapter.answer(prefix, tokens(6, 2), CONFIGS, **options)
    for config, expected in zip(CONFIGS[::every], together[::every], strict=True):
        (alone,) = adapter.answer(prefix, tokens(6, 2), [config], **options)
        assert alone.token_ids == expected.token_ids
        assert alone.density == pytest.approx(expected.density, abs=1e-4)
        assert alone.attention_error == pytest.approx(expected.attention_error, rel=1e-3, abs=1e-9)


def test_a_batch_of_32_rows_equals_single_rows(adapter, prefix):
    configs = [
        make_config("oracle_top_k", sink_size=2, window_size=4, heavy_size=1 + index)
        for index in range(32)
    ]
    together = adapter.answer(prefix, tokens(4, 3), configs, max_new_tokens=4)
    densities = [answer.density for answer in together]
    assert densities == sorted(densities)
    for index in (0, 13, 31):
        (alone,) = adapter.answer(prefix, tokens(4, 3), [configs[index]], max_new_tokens=4)
        assert alone.token_ids == together[index].token_ids
        assert alone.density == pytest.approx(together[index].density, abs=1e-6)


def test_the_prefix_stays_bit_identical_and_serves_several_questions(adapter, prefix):
    before = digest(prefix)
    first = [adapter.answer(prefix, tokens(5, s), CONFIGS, max_new_tokens=3) for s in (4, 5)]
    again = [adapter.answer(prefix, tokens(5, s), CONFIGS, max_new_tokens=3) for s in (5, 4)]
    assert first == again[::-1]
    assert digest(prefix) == before
    fresh = adapter.prefill(tokens(120, 3), CONFIGS)
    assert digest(fresh) == before
    assert adapter.answer(fresh, tokens(5, 4), CONFIGS, max_new_tokens=3) == first[0]


def test_rows_that_end_leave_the_batch(adapter, prefix, monkeypatch):
    monkeypatch.setattr(adapter, "_stop", frozenset())
    free = adapter.answer(prefix, tokens(6, 2), CONFIGS, max_new_tokens=10)
    rows_with = Counter(token for answer in free for token in set(answer.token_ids))
    stop = max((t for t in rows_with if rows_with[t] < len(CONFIGS)), key=rows_with.__getitem__)
    assert rows_with[stop] > 10
    monkeypatch.setattr(adapter, "_stop", frozenset({stop}))
    stopped = adapter.answer(prefix, tokens(6, 2), CONFIGS, max_new_tokens=10)
    for before, after in zip(free, stopped, strict=True):
        ends = stop in before.token_ids
        length = before.token_ids.index(stop) + 1 if ends else 10
        assert after.token_ids == before.token_ids[:length]
        assert after.finish_reason == ("stop" if ends else "length")
    reasons = Counter(answer.finish_reason for answer in stopped)
    assert reasons == {"stop": rows_with[stop], "length": len(CONFIGS) - rows_with[stop]}
    assert len({len(answer.token_ids) for answer in stopped}) > 3  # they leave one after the other


def test_equal_configurations_are_answered_once_and_in_order(adapter, prefix):
    twice = [CONFIGS[2], CONFIGS[0], CONFIGS[2]]
    answers = adapter.answer(prefix, tokens(5, 1), twice, max_new_tokens=3)
    assert answers[0] == answers[2]
    assert answers[1].density == 1


def test_a_sample_has_its_own_random_draws_and_the_same_again(adapter, prefix):
    config = [CONFIGS[list(CONFIG_TYPES).index("random_sampling")]]
    options = {"max_new_tokens": 4}
    one = adapter.answer(prefix, tokens(5, 1), config, sample_key="1", **options)
    other = adapter.answer(prefix, tokens(5, 1), config, sample_key="2", **options)
    again = adapter.answer(prefix, tokens(5, 1), config, sample_key="1", **options)
    assert one == again
    assert one[0].attention_error != other[0].attention_error


def test_protocols(adapter, prefix):
    config = [make_config("sink_local", sink_size=1, window_size=2)]
    question = tokens(10, 9)
    sparse, late, layers = (
        adapter.answer(prefix, question, config, max_new_tokens=4, protocol=protocol)[0]
        for protocol in (
            Protocol(),
            Protocol(sparse_from="generation"),
            Protocol(dense_layers=(0, 1, 2, 3)),
        )
    )
    (dense,) = adapter.answer(prefix, question, [AttentionConfig()], max_new_tokens=4)
    assert late.token_ids[0] == dense.token_ids[0]
    assert layers.token_ids == dense.token_ids
    assert layers.density == 1
    assert layers.attention_error == pytest.approx(0, abs=1e-9)
    half = Protocol(dense_layers=(0, 2))
    (mixed,) = adapter.answer(prefix, question, config, max_new_tokens=4, protocol=half)
    assert mixed.density == pytest.approx((1 + sparse.density) / 2, rel=1e-6)


def test_density_is_keys_read_over_keys_visible(adapter, prefix):
    question, generated = tokens(3, 9), 4
    config = [make_config("sink_local", sink_size=2, window_size=5)]
    (answer,) = adapter.answer(prefix, question, config, max_new_tokens=generated)
    visible = [120 + i + 1 for i in range(3 + generated - 1)]
    assert answer.density == pytest.approx(7 * len(visible) / sum(visible), rel=1e-9)


def test_half_precision_runs(adapter):
    model = random_model("llama").to(torch.bfloat16)
    half = HuggingFaceAdapter(model, word_tokenizer(), "half")
    half.profile = adapter.profile
    prefix = half.prefill(tokens(60, 1), CONFIGS)
    answers = half.answer(prefix, tokens(5, 2), CONFIGS, max_new_tokens=3)
    assert answers[0].attention_error == pytest.approx(0, abs=1e-9)
    assert all(answer.attention_error >= 0 for answer in answers)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda a, p: a.prefill([]), "at least one token"),
        (lambda a, p: a.prefill([1] * 600), "512 positions"),
        (lambda a, p: a.answer(p, [], CONFIGS, max_new_tokens=1), "at least one token"),
        (lambda a, p: a.answer(p, [1], CONFIGS, max_new_tokens=0), "max_new_tokens"),
        (lambda a, p: a.answer(p, [1], CONFIGS, max_new_tokens=400), "512 positions"),
        (
            lambda a, p: a.answer(
                p, [1], CONFIGS, max_new_tokens=1, protocol=Protocol(dense_layers=(4,))
            ),
            "layers 0 to 3",
        ),
        (lambda a, p: HuggingFaceAdapter.load("no/such-model"), "no/such-model"),
        (lambda a, p: HuggingFaceAdapter.load(".", dtype="float8"), "float32"),
        (lambda a, p: HuggingFaceAdapter.load(".", device="tpu9"), "tpu9"),
        (lambda a, p: HuggingFaceAdapter.load(".", device="cuda:7"), "no device"),
    ],
)
def test_bad_input_is_one_clear_error(adapter, prefix, call, message, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(UserError, match=message):
        call(adapter, prefix)


def test_a_count_of_one_beside_a_share_of_one(adapter):
    prefix = adapter.prefill(tokens(40, seed=3))
    configs = [make_config("oracle_top_k", window_size=7, heavy_size=size) for size in (1, 1.0)]
    configs += [make_config("local_masker", window_size=size) for size in (1, 1.0)]
    answers = adapter.answer(prefix, [5, 6], configs, max_new_tokens=2)
    assert [answer.density < 1 for answer in answers] == [True, False, True, False]


def test_a_part_of_layers_and_steps_is_compared_where_every_row_reads_less(adapter):
    config = AttentionConfig((SnapKV(compression_ratio=0.6),))
    prefix = adapter.prefill(tokens(60, seed=3), [config])

    def error(**settings: int) -> float | None:
        (answer,) = adapter.answer(prefix, [5, 6], [config], max_new_tokens=9, **settings)
        return answer.attention_error

    whole, part = error(), error(error_every=3)
    assert whole is not None
    assert part is not None
    assert part != whole
    assert whole / 4 < part < 4 * whole
