"""What models hold of their past: latents that are key and value at once, and states."""

from __future__ import annotations

import pytest
import torch
from models import tokens, word_tokenizer
from transformers import DynamicCache

from sparse_attention import AttentionConfig, HuggingFaceAdapter, make_config
from sparse_attention.attention.geometry import Geometry
from sparse_attention.hf.states import goes_on_at_once
from sparse_attention.testing.architectures.small import small_model


def adapter_of(name: str) -> HuggingFaceAdapter:
    return HuggingFaceAdapter(small_model(name), word_tokenizer(), name)


def own_cache(adapter: HuggingFaceAdapter, context: list[int]) -> DynamicCache:
    cache = DynamicCache(config=adapter.model.config)
    with torch.inference_mode():
        adapter.model(torch.tensor([context]), past_key_values=cache, use_cache=True)
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
