"""Answers over compressed contexts: against transformers' own decoding, alone and in batches."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from models import ARCHITECTURES, random_model, tokens, word_tokenizer
from test_press_contract import STACKS
from transformers import DynamicCache

from sparse_attention import AttentionConfig, HuggingFaceAdapter, Protocol, UserError, make_config
from sparse_attention.cache.context import DerivedContexts, Segment
from sparse_attention.maskers import (
    DoubleSparsity,
    HashAttention,
    Local,
    MagicPig,
    OracleTopK,
    Quest,
    RandomSampling,
    Sink,
)
from sparse_attention.presses import (
    AdaKV,
    Decoding,
    ExpectedAttention,
    KeyRerotation,
    KNorm,
    LayerRatios,
    ObservedAttention,
    PyramidKV,
    SnapKV,
    StreamingLLM,
    Tova,
)
from sparse_attention.presses import compress as compression
from sparse_attention.presses.compress import compress
from sparse_attention.testing.calls import calibrated_model
from sparse_attention.testing.device import DEVICE

CONTEXT, QUESTION = tokens(120, 1), tokens(6, 2)
END = word_tokenizer().eos_token_id
EDGES = (Sink(sink_size=3), Local(window_size=7))
CONFIGS = {
    **{name: AttentionConfig(stack) for name, stack in STACKS.items()},
    "dense": AttentionConfig(),
    "oracle": AttentionConfig((*EDGES, OracleTopK(heavy_size=0.1))),
    "snapkv+edges": AttentionConfig((SnapKV(observation_window=8), *EDGES)),
    "snapkv+sampling": AttentionConfig((SnapKV(observation_window=8), *EDGES, RandomSampling())),
    "adakv+sampling": AttentionConfig((SnapKV(), AdaKV(), *EDGES, RandomSampling())),
    "adakv+magic_pig": AttentionConfig((KNorm(), AdaKV(), *EDGES, MagicPig(lsh_k=4, lsh_l=20))),
    "rerotated": AttentionConfig((StreamingLLM(), KeyRerotation())),
    "rerotated+edges": AttentionConfig((Tova(), KeyRerotation(), *EDGES)),
    "decoding": AttentionConfig((KNorm(), Decoding(interval=4, target_size=50))),
    "decoding+edges": AttentionConfig(
        (
            ObservedAttention(),
            SnapKV(observation_window=4),
            Decoding(interval=3, target_size=40),
            *EDGES,
        )
    ),
    "composed": AttentionConfig((KNorm(compression_ratio=0.3), SnapKV(observation_window=8))),
}
PROTOCOLS = {
    "question": Protocol(),
    "generation": Protocol(sparse_from="generation"),
    "aware": Protocol(sparse_from="generation", press_sees_question=True),
    "dense_layers": Protocol(dense_layers=(1,)),
}


@pytest.fixture(scope="module")
def adapter() -> HuggingFaceAdapter:
    return HuggingFaceAdapter(random_model("llama"), word_tokenizer(), "llama")


@pytest.fixture(scope="module")
def prefix(adapter):
    return adapter.prefill(CONTEXT, list(CONFIGS.values()))


@torch.inference_mode()
def transformers_greedy(model, kept, question, count, position) -> list[int]:
    """Greedy tokens of the model's own attention over a cache of kept keys, equal for all heads."""
    cache = DynamicCache(config=model.config)
    for index, layer in enumerate(kept.layers):
        cache.update(layer.segments[0].keys[None], layer.segments[0].values[None], index)
    following, found = torch.tensor([question], device=DEVICE), []
    for _ in range(count):
        past, new = cache.get_seq_length(), following.shape[1]
        positions = torch.arange(position, position + new, device=DEVICE)[None]
        # Written out, because the number of kept keys is no position.
        mask = torch.ones(new, past + new, device=DEVICE).tril(past)[None, None].log()
        output = model(
            following,
            position_ids=positions,
            past_key_values=cache,
            use_cache=True,
            attention_mask=mask,
        )
        position += new
        following = output.logits[:, -1].argmax(-1, keepdim=True)
        found.append(int(following))
        if found[-1] == END:
            break
    return found


@pytest.mark.parametrize(
    "name",
    [name for name in STACKS if name not in {"adakv", "criticalkv after adakv", "pyramidkv"}],
)
def test_answers_are_those_of_transformers_over_the_kept_keys(adapter, prefix, name):
    kept = compress(prefix, CONFIGS[name].presses)
    expected = transformers_greedy(adapter.model, kept, QUESTION, 8, len(CONTEXT))
    (answer,) = adapter.answer(prefix, QUESTION, [CONFIGS[name]], max_new_tokens=8)
    assert list(answer.token_ids) == expected
    tail = len(QUESTION) + len(expected) - 1
    read, visible = (sum(size + 1 + index for index in range(tail)) for size in (60, 120))
    assert answer.density == pytest.approx(read / visible, rel=1e-9)
    assert answer.kept_share == pytest.approx((60 + tail) / (120 + tail), rel=1e-9)


def test_rerotated_answers_are_those_of_transformers_with_positions_inside_the_cache(
    adapter, prefix
):
    config = CONFIGS["rerotated"]
    kept = compress(prefix, config.presses)
    assert kept.shift == 60
    expected = transformers_greedy(adapter.model, kept, QUESTION, 8, 60)
    (answer,) = adapter.answer(prefix, QUESTION, [config], max_new_tokens=8)
    assert list(answer.token_ids) == expected


def test_ragged_answers_are_those_of_attention_that_leaves_out_the_other_keys(adapter, prefix):
    """Dropped keys get -inf in the model's own attention, head by head."""
    config = AttentionConfig((ExpectedAttention(epsilon=0.01), AdaKV()))
    kept = compress(prefix, config.presses)
    assert all(len(layer.segments) == 2 for layer in kept.layers)
    bar = torch.full((4, 2, 120), -torch.inf, device=DEVICE)
    for index, layer in enumerate(kept.layers):
        for part in layer.segments:
            bar[index, part.heads.start, part.places[0]] = 0

    def attention(module, query, key, value, mask, scaling, **_):
        keys, values = (t.repeat_interleave(2, 1) for t in (key, value))
        scores = query @ keys.mT * scaling
        past, new = key.shape[2] - query.shape[2], query.shape[2]
        scores[..., :120] += bar[module.layer_idx].repeat_interleave(2, 0)[None, :, None]
        scores += torch.ones(new, past + new, device=DEVICE).tril(past).log()
        return (scores.softmax(-1) @ values).transpose(1, 2).contiguous(), None

    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    ALL_ATTENTION_FUNCTIONS["sdpa"] = attention
    try:
        whole = compress(prefix, ())
        expected = transformers_greedy(adapter.model, whole, QUESTION, 8, 120)
    finally:
        del ALL_ATTENTION_FUNCTIONS["sdpa"]
    (answer,) = adapter.answer(prefix, QUESTION, [config], max_new_tokens=8)
    assert list(answer.token_ids) == expected
    assert answer.kept_share == pytest.approx((60 + 13) / (120 + 13), rel=1e-9)


@pytest.mark.parametrize(("number", "protocol"), enumerate(PROTOCOLS))
def test_a_row_alone_equals_the_row_in_a_batch(adapter, prefix, number, protocol):
    options = {"max_new_tokens": 4, "protocol": PROTOCOLS[protocol], "sample_key": "s"}
    configs = list(CONFIGS.values())
    together = adapter.answer(prefix, QUESTION, configs, **options)
    differing = 0
    own = slice(number % 2, None, 2)  # the other half where the question is read in the same way
    for config, expected in zip(configs[own], together[own], strict=True):
        (alone,) = adapter.answer(prefix, QUESTION, [config], **options)
        if DEVICE.type != "cpu" and alone.token_ids != expected.token_ids:
            differing += 1
            continue
        assert alone.token_ids == expected.token_ids
        assert alone.kept_share == expected.kept_share
        assert alone.density == pytest.approx(expected.density, abs=1e-4)
        assert alone.attention_error == pytest.approx(expected.attention_error, rel=1e-3, abs=1e-9)
    # A GPU rounds products of one row and of many in other ways, by which a near tie can tip.
    assert differing <= 1
    unmeasured = adapter.answer(prefix, QUESTION, configs, measure_error=False, **options)
    for one, two in zip(unmeasured, together, strict=True):
        assert one.token_ids == two.token_ids
        assert one.density == pytest.approx(two.density, abs=1e-4)


def test_several_questions_in_any_order_give_the_same_answers(adapter, prefix):
    questions = [tokens(5, seed) for seed in (4, 5, 6)]
    configs = list(CONFIGS.values())
    results = []
    for order in ((0, 1, 2), (2, 1, 0)):
        found = {}
        for index in order:
            found[index] = adapter.answer(prefix, questions[index], configs, max_new_tokens=3)
        results.append([found[index] for index in range(3)])
    assert results[0] == results[1]


def test_a_prefill_in_chunks_gives_the_same_answers(adapter, prefix):
    chunked = HuggingFaceAdapter(adapter.model, adapter.tokenizer, "llama", prefill_chunk=17)
    configs = list(CONFIGS.values())
    other = chunked.prefill(CONTEXT, configs)
    for one, two in zip(
        adapter.answer(prefix, QUESTION, configs, max_new_tokens=6),
        chunked.answer(other, QUESTION, configs, max_new_tokens=6),
        strict=True,
    ):
        assert one.token_ids == two.token_ids
        assert one.kept_share == two.kept_share


def test_statistics_do_not_change_the_prefill(adapter, prefix):
    plain = adapter.prefill(CONTEXT)
    for one, two in zip(plain.layers, prefix.layers, strict=True):
        assert torch.equal(one.segments[0].keys, two.segments[0].keys)
        assert torch.equal(one.segments[0].values, two.segments[0].values)
    with pytest.raises(UserError, match="did not collect what snapkv needs"):
        adapter.answer(plain, QUESTION, [make_config("snapkv")], max_new_tokens=1)
    (answer,) = adapter.answer(plain, QUESTION, [make_config("knorm")], max_new_tokens=1)
    assert answer.kept_share < 0.6


def test_what_is_kept_of_compressed_contexts_is_bounded(adapter):
    configs = [
        AttentionConfig((KNorm(compression_ratio=0.1 + 0.01 * index),)) for index in range(30)
    ]
    prefix = adapter.prefill(CONTEXT)
    adapter.answer(prefix, QUESTION, configs, max_new_tokens=2)
    assert prefix.kv_nbytes < prefix.nbytes <= 2 * prefix.kv_nbytes


def test_maskers_see_the_kept_keys_as_the_context(adapter, prefix):
    """Sink and local after a press read the first and the last of what it kept."""
    both = AttentionConfig((KNorm(), Sink(sink_size=10), Local(window_size=30)))
    (answer,) = adapter.answer(prefix, QUESTION, [both], max_new_tokens=2)
    read = 7 * 40
    visible = sum(120 + 1 + index for index in range(7))
    assert answer.density == pytest.approx(read / visible, rel=1e-9)
    everything = AttentionConfig((KNorm(), Sink(sink_size=1.0)))
    press_alone = AttentionConfig((KNorm(),))
    one, two = adapter.answer(prefix, QUESTION, [everything, press_alone], max_new_tokens=6)
    assert one.token_ids == two.token_ids
    assert one.density == two.density


def test_decoding_holds_exactly_the_target(adapter, prefix):
    config = AttentionConfig((KNorm(), Decoding(interval=4, target_size=50)))
    (answer,) = adapter.answer(prefix, QUESTION, [config], max_new_tokens=12)
    # Read are 6 + 11 tokens: compressed after the question, and after 4 and 8 tokens more.
    assert answer.kept_share == pytest.approx((50 + 3) / (120 + 17), rel=1e-9)
    long = AttentionConfig((KNorm(), Decoding(interval=4, target_size=500)))
    dense = AttentionConfig()
    kept, whole = adapter.answer(prefix, QUESTION, [long, dense], max_new_tokens=12)
    assert kept.token_ids == whole.token_ids
    assert (kept.density, kept.kept_share) == (1, 1)
    assert kept.attention_error == pytest.approx(0, abs=1e-9)


@torch.inference_mode()
def test_decoding_ranks_context_question_and_answer_by_the_last_queries(adapter, prefix):
    """After each step a cache of transformers is cut down by hand, with float64 votes."""
    window, target = 3, 60
    press = SnapKV(observation_window=window, kernel_size=1)
    config = AttentionConfig((press, Decoding(interval=1, target_size=target)))
    (answer,) = adapter.answer(prefix, QUESTION, [config], max_new_tokens=5)
    model, seen = adapter.model, []

    def watch(module, query, key, value, mask, scaling, **_):
        seen.append(query[0])
        keys, values = (t.repeat_interleave(2, 1) for t in (key, value))
        new, total = query.shape[2], key.shape[2]
        scores = query @ keys.mT * scaling
        scores += torch.ones(new, total, device=DEVICE).tril(total - new).log()
        return (scores.softmax(-1) @ values).transpose(1, 2).contiguous(), None

    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    keys = [layer.segments[0].keys.clone() for layer in prefix.layers]
    values = [layer.segments[0].values.clone() for layer in prefix.layers]
    places = [torch.arange(120, device=DEVICE).expand(2, -1) for _ in range(4)]
    recent = [statistics.last_queries for _, statistics in sorted(prefix.statistics.layers.items())]
    recent = [queries.flatten(0, 1)[:, -window:] for queries in recent]
    following, position, found = torch.tensor([QUESTION], device=DEVICE), 120, []
    for _ in range(5):
        cache = DynamicCache(config=model.config)
        for index in range(4):
            cache.update(keys[index][None], values[index][None], index)
        seen.clear()
        ALL_ATTENTION_FUNCTIONS["sdpa"] = watch
        try:
            new = following.shape[1]
            positions = torch.arange(position, position + new, device=DEVICE)[None]
            output = model(following, position_ids=positions, past_key_values=cache, use_cache=True)
        finally:
            del ALL_ATTENTION_FUNCTIONS["sdpa"]
        position += new
        following = output.logits[:, -1].argmax(-1, keepdim=True)
        found.append(int(following))
        for index in range(4):
            recent[index] = torch.cat([recent[index], seen[index]], 1)[:, -window:]
            places[index] = torch.cat([places[index], positions.expand(2, -1)], 1)
            whole_keys, whole_values = cache.layers[index].keys[0], cache.layers[index].values[0]
            kept = []
            for head in range(2):
                votes = torch.zeros(whole_keys.shape[1], dtype=torch.float64, device=DEVICE)
                for group in range(2):
                    for step in range(window):
                        query = recent[index][head * 2 + group, step].double()
                        logits = whole_keys[head].double() @ query / 16**0.5
                        hidden = places[index][head] > position - window + step
                        votes += logits.masked_fill(hidden, -torch.inf).softmax(0)
                votes[places[index][head] >= position - window] = torch.inf
                kept.append(votes.topk(target).indices.sort().values)
            keys[index] = torch.stack([whole_keys[h, kept[h]] for h in range(2)])
            values[index] = torch.stack([whole_values[h, kept[h]] for h in range(2)])
            places[index] = torch.stack([places[index][h, kept[h]] for h in range(2)])
    assert list(answer.token_ids) == found


@torch.inference_mode()
def test_a_press_that_sees_the_question_compresses_the_whole_prompt(adapter, prefix):
    protocol = PROTOCOLS["aware"]
    prompt = adapter.prefill(CONTEXT + QUESTION, list(CONFIGS.values()))
    logits = adapter.model(torch.tensor([CONTEXT + QUESTION], device=DEVICE)).logits[0, -1]
    first = int(logits.argmax())
    names = [
        name for name in STACKS if name not in {"adakv", "criticalkv after adakv", "pyramidkv"}
    ]
    for name in [*names, "rerotated"]:
        kept = compress(prompt, CONFIGS[name].presses)
        position = len(CONTEXT + QUESTION) - kept.shift
        expected = [first, *transformers_greedy(adapter.model, kept, [first], 6, position)]
        (answer,) = adapter.answer(
            prefix, QUESTION, [CONFIGS[name]], max_new_tokens=7, protocol=protocol
        )
        assert list(answer.token_ids) == expected, name
        steps = len(expected) - 1
        assert answer.kept_share == pytest.approx((63 + steps) / (126 + steps), rel=1e-9)


def test_blind_presses_act_after_a_question_that_is_read_densely(adapter, prefix):
    protocol = PROTOCOLS["generation"]
    configs = [CONFIGS[name] for name in ("dense", "knorm", "rerotated")]
    answers = adapter.answer(prefix, QUESTION, configs, max_new_tokens=6, protocol=protocol)
    assert len({answer.token_ids[0] for answer in answers}) == 1
    assert answers[1].kept_share == pytest.approx((60 + 11) / (120 + 11), rel=1e-9)


def test_heads_one_at_a_time_give_the_same_as_together(adapter, prefix, monkeypatch):
    """Ragged layouts handle each head by itself; with equal budgets both ways are there."""
    adapter.profile = calibrated_model((2, 2), layers=4)
    maskers = [
        OracleTopK(heavy_size=0.2),
        Quest(heavy_size=0.2, page_size=4),
        DoubleSparsity(heavy_size=0.2),
        HashAttention(heavy_size=0.2),
        MagicPig(lsh_k=4, lsh_l=20),
    ]
    configs = [AttentionConfig((Tova(compression_ratio=0.3), *EDGES, one)) for one in maskers]
    together = adapter.answer(prefix, QUESTION, configs, max_new_tokens=5)

    def split(call, keep):
        for head in range(keep.shape[0]):
            own = slice(head, head + 1)
            one = replace(
                call, keys=call.keys[own], values=call.values[own], positions=call.positions[own]
            )
            left = one.only(keep[own])
            yield Segment(left.keys, left.values, first_head=head, positions=left.positions)

    monkeypatch.setattr(compression, "_segments", split)
    fresh = replace(prefix, derived=DerivedContexts())
    apart = adapter.answer(fresh, QUESTION, configs, max_new_tokens=5)
    for one, two in zip(together, apart, strict=True):
        assert one.token_ids == two.token_ids
        assert one.density == pytest.approx(two.density, abs=1e-9)
        assert one.union_density == pytest.approx(two.union_density, abs=1e-9)
        assert one.selection_share == pytest.approx(two.selection_share, rel=1e-9)
        assert one.attention_error == pytest.approx(two.attention_error, rel=1e-3)
        assert one.selection_share < 0.71


@pytest.mark.parametrize("sparse_from", ["question", "generation"])
def test_rerotation_of_everything_changes_nothing(adapter, prefix, sparse_from):
    """With one key less, all positions move by one, which rotary attention does not see."""
    identity = AttentionConfig((StreamingLLM(compression_ratio=0), KeyRerotation()))
    almost = StreamingLLM(n_sink=0, compression_ratio=1 / 120)
    protocol = Protocol(sparse_from=sparse_from)
    dense, same, moved, left = adapter.answer(
        prefix,
        QUESTION,
        [
            AttentionConfig(),
            identity,
            AttentionConfig((almost, KeyRerotation())),
            AttentionConfig((almost,)),
        ],
        max_new_tokens=8,
        protocol=protocol,
    )
    assert same.token_ids == dense.token_ids
    assert same.attention_error == pytest.approx(0, abs=1e-9)
    assert moved.token_ids == left.token_ids
    assert moved.attention_error == pytest.approx(left.attention_error, rel=1e-3)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_architecture_runs_with_presses(name):
    adapter = HuggingFaceAdapter(random_model(name), word_tokenizer(), name, prefill_chunk=50)
    configs = [
        CONFIGS[name]
        for name in ("dense", "snapkv", "expected_attention", "observed_attention", "criticalkv")
    ] + [CONFIGS[name] for name in ("adakv+sampling", "rerotated", "decoding+edges")]
    prefix = adapter.prefill(CONTEXT, configs)
    answers = adapter.answer(prefix, QUESTION, configs, max_new_tokens=6)
    everywhere = all(layer.sliding for layer in prefix.layers)
    assert everywhere == (name == "mistral")
    for answer in answers[1:5]:
        assert (answer.kept_share == 1) == everywhere
        assert (answer.attention_error < 1e-9) == everywhere
    nothing = [
        AttentionConfig((press,))
        for press in (SnapKV(compression_ratio=0), Tova(compression_ratio=0))
    ]
    for same in adapter.answer(prefix, QUESTION, nothing, max_new_tokens=6):
        assert (same.token_ids, same.density) == (answers[0].token_ids, 1)
        assert same.attention_error == pytest.approx(0, abs=1e-9)


def test_layer_ratios_keep_what_they_say(adapter, prefix):
    config = AttentionConfig((KNorm(), LayerRatios(ratios=(0.0, 0.5, 0.75, 0.9))))
    kept = compress(prefix, config.presses)
    assert [layer.segments[0].places.shape[1] for layer in kept.layers] == [120, 60, 30, 12]
    wrong = AttentionConfig((KNorm(), LayerRatios(ratios=(0.5, 0.5))))
    with pytest.raises(UserError, match="2 values, but the model has 4 layers"):
        adapter.answer(prefix, QUESTION, [wrong], max_new_tokens=1)
    pyramid = compress(prefix, (PyramidKV(observation_window=4, beta=2),))
    sizes = [layer.segments[0].places.shape[1] for layer in pyramid.layers]
    assert sizes == [90, 70, 50, 30]
