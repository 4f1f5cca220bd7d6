"""What models hold of their past: latents that are key and value at once, and states."""

from __future__ import annotations

import pytest
import torch
from models import tokens, word_tokenizer
from transformers import DynamicCache
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
from transformers.models.deepseek_v3.modeling_deepseek_v3 import apply_rotary_pos_emb

from sparse_attention import AttentionConfig, HuggingFaceAdapter, UserError, make_config
from sparse_attention.attention.geometry import Geometry
from sparse_attention.hf.check import check_architecture
from sparse_attention.hf.layers import decoder_of
from sparse_attention.hf.projection import output_weight
from sparse_attention.hf.reads import Reads
from sparse_attention.hf.rotary import _keys_at, rotary_layers
from sparse_attention.hf.states import goes_on_at_once
from sparse_attention.presses.compress import compress
from sparse_attention.presses.expected_attention import ExpectedAttention
from sparse_attention.presses.key_rerotation import KeyRerotation
from sparse_attention.presses.streaming_llm import StreamingLLM
from sparse_attention.testing.architectures.small import small_model
from sparse_attention.testing.device import DEVICE


def adapter_of(name: str) -> HuggingFaceAdapter:
    return HuggingFaceAdapter(small_model(name), word_tokenizer(), name)


def own_cache(adapter: HuggingFaceAdapter, context: list[int]) -> DynamicCache:
    cache = DynamicCache(config=adapter.model.config)
    with torch.inference_mode():
        adapter.model(torch.tensor([context], device=DEVICE), past_key_values=cache, use_cache=True)
    return cache


@pytest.fixture(scope="module")
def latent():
    return adapter_of("deepseek_v3")


def test_bytes_of_latent_attention_are_those_that_the_model_holds(latent):
    context = tokens(60, 1)
    own = own_cache(latent, context)
    prefix = latent.prefill(context)
    held = sum(layer.keys.nbytes + layer.values.nbytes for layer in own.layers)
    assert prefix.kv_nbytes == prefix.nbytes == held == 4 * 60 * (24 + 8) * 4
    half = make_config("knorm", compression_ratio=0.5)
    dense, pressed = latent.answer(
        prefix, tokens(4, 2), [AttentionConfig(), half], max_new_tokens=3
    )
    assert dense.kept_share == 1
    assert pressed.kept_share == pytest.approx((30 + 6) / (60 + 6))


def test_presses_that_need_queries_and_projections_act_on_latent_attention(latent):
    configs = [
        make_config("snapkv", observation_window=8),
        AttentionConfig.from_json(
            {"methods": [{"name": "snapkv", "observation_window": 8}, {"name": "criticalkv"}]}
        ),
        make_config("observed_attention"),
    ]
    prefix = latent.prefill(tokens(60, 1), configs)
    answers = latent.answer(prefix, tokens(4, 2), configs, max_new_tokens=3)
    assert all(answer.kept_share < 0.6 for answer in answers)


@pytest.mark.parametrize("name", ["deepseek_v2", "deepseek_v3", "longcat_flash", "llama4_text"])
@torch.inference_mode()
def test_rotations_of_the_last_channels_and_of_neighbours(name):
    """``rotate`` makes of the keys at position 0 those at any other; one Llama 4 layer has none."""
    model = small_model(name)
    turns = rotary_layers(model)
    start, later = (_keys_at(model, Reads(model), position) for position in (0, 37))
    assert len(turns) == len(start) == 4
    for turn, first, moved in zip(turns, start, later, strict=True):
        assert turn is not None
        assert first.abs().max() > 0.01
        positions = torch.full((first.shape[0], 1), 37, device=DEVICE)
        torch.testing.assert_close(turn.rotate(first, positions), moved, rtol=1e-3, atol=1e-4)
        back = turn.unrotate(moved, torch.tensor([37], device=DEVICE))
        torch.testing.assert_close(back, first, rtol=1e-3, atol=1e-4)


def test_latent_keys_are_rotated_again(latent):
    """With one key less all positions move by one, which rotary attention does not see."""
    almost = StreamingLLM(n_sink=0, compression_ratio=1 / 60)
    configs = [AttentionConfig((almost, KeyRerotation())), AttentionConfig((almost,))]
    prefix = latent.prefill(tokens(60, 1), configs)
    moved, left = latent.answer(prefix, tokens(4, 2), configs, max_new_tokens=8)
    assert moved.token_ids == left.token_ids
    assert moved.attention_error == pytest.approx(left.attention_error, rel=1e-3)


def test_attention_expected_of_latent_keys_is_that_of_the_keys_of_heads(latent, monkeypatch):
    """The formula of the press on queries and keys as the first layer expands them."""
    seen = []
    usual = ALL_ATTENTION_FUNCTIONS["sdpa"]

    def look_on(module, query, key, value, *args, **given):
        seen.append((query[0].float(), key[0].float()))
        return usual(module, query, key, value, *args, **given)

    context, press = tokens(60, 1), ExpectedAttention(n_future_positions=8)
    monkeypatch.setitem(ALL_ATTENTION_FUNCTIONS._local_mapping, "sdpa", look_on)
    own = own_cache(latent, context)
    monkeypatch.undo()
    queries, keys = seen[0]
    embedding = latent.model.model.rotary_emb

    def turned(vectors, first, count, sign=1):
        """By the mean of rotations from a position on, or each by its own (``count`` is 0)."""
        places = torch.arange(first, first + (count or vectors.shape[-2]), device=DEVICE)[None]
        cosines, sines = embedding(vectors, places)
        if count:
            cosines, sines = cosines.mean(1, keepdim=True), sines.mean(1, keepdim=True)
        plain, part = vectors.split([16, 8], -1)
        part, _ = apply_rotary_pos_emb(part[None], part[None], cosines, sign * sines)
        return torch.cat([plain, part[0]], -1)

    before = turned(queries, 0, 0, sign=-1)[:, press.n_sink :]
    mean = before.mean(1, keepdim=True)
    spread = turned(before - mean, 60, 8)
    scale = latent.model.model.layers[0].self_attn.scaling
    covariance = spread.mT @ spread / spread.shape[1]
    logits = scale * (turned(mean, 60, 8) @ keys.mT)[:, 0]
    logits += scale**2 / 2 * ((keys @ covariance) * keys).sum(-1)
    expected = logits[:, press.n_sink :].softmax(-1).mean(0)
    expected = expected * own.layers[0].keys[0, 0, press.n_sink :].norm(dim=-1)

    prefix = latent.prefill(context, [AttentionConfig((press,))])
    (segment,) = compress(prefix, (press,)).layers[0].segments
    best = expected.topk(30 - press.n_sink).indices + press.n_sink
    assert segment.places[0].tolist() == [*range(press.n_sink), *sorted(best.tolist())]


def test_states_are_frozen_with_the_prefix_and_counted():
    adapter = adapter_of("qwen3_next")
    context = tokens(60, 1)
    own = own_cache(adapter, context)
    prefix = adapter.prefill(context)
    states = {
        (place, kind, 0): getattr(own.layers[place], kind)[0]
        for place in (0, 2)
        for kind in ("conv_states", "recurrent_states")
    }
    assert prefix.states.keys() == states.keys()
    for name, state in states.items():
        torch.testing.assert_close(prefix.states[name], state)
    assert prefix.nbytes == prefix.kv_nbytes + sum(state.nbytes for state in states.values())
    assert adapter.layers == adapter.profile.layers == 2


def test_a_model_whose_recurrence_begins_anew_reads_token_by_token():
    assert goes_on_at_once(adapter_of("qwen3_next").model)
    assert not goes_on_at_once(adapter_of("jamba").model)


def test_a_query_sees_its_own_chunk():
    geometry = Geometry.of(5, 14, 3, None, torch.device("cpu"), chunk=4)
    seen = [[int(key) for key in geometry.key_positions[row]] for row in geometry.visible]
    assert seen == [[8, 9, 10, 11], [12], [12, 13]]
    alone = Geometry.of(8, 12, 1, None, torch.device("cpu"), chunk=4)
    assert alone.visible is None


def test_a_module_of_several_layers_reads_the_keys_of_each():
    pytest.importorskip("transformers.models.hrm_text")
    model, context, question = small_model("hrm_text"), tokens(40, 1), tokens(5, 2)
    with pytest.raises(UserError, match=r"prompt attend to those after them .*prefix LM"):
        check_architecture(model)
    model.config.prefix_lm = False
    adapter = HuggingFaceAdapter(model, word_tokenizer(), "hrm_text")
    assert adapter.profile.layers == 32  # two cycles: 4 modules three times, and 4 others once
    configs = [AttentionConfig(), make_config("sink_local", sink_size=2, window_size=6)]
    dense, sparse = adapter.answer(adapter.prefill(context), question, configs, max_new_tokens=4)
    assert dense.attention_error < 1e-9 < sparse.attention_error
    assert sparse.density < 0.5


def test_the_stack_of_layers_is_found_where_the_head_is_called_decoder():
    pytest.importorskip("transformers.models.modernbert_decoder")
    model = small_model("modernbert-decoder")
    check_architecture(model)
    assert decoder_of(model) is model.model
    weight = output_weight(model.model.layers[0].attn, 4, 1, torch.empty(0))
    assert weight is not None
    assert weight.shape == (4, 1, 16, 64)
