"""What is collected while a context is read, against what the model's own modules say."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from models import COMMON, WINDOWED, failing, random_model, tokens, word_tokenizer
from transformers import (
    DogeConfig,
    DogeForCausalLM,
    DynamicCache,
    Gemma4ForCausalLM,
    Gemma4TextConfig,
    GPT2Config,
    GPT2LMHeadModel,
    PersimmonConfig,
    PersimmonForCausalLM,
    PhiConfig,
    PhiForCausalLM,
)

from sparse_attention import HuggingFaceAdapter, UserError, make_config
from sparse_attention.cache import causal
from sparse_attention.cache.causal import attention_sums, causal_attention
from sparse_attention.cache.statistics import QueryMoments, StatisticsRequest
from sparse_attention.hf.prefill import prefill
from sparse_attention.hf.projection import output_weight
from sparse_attention.hf.rotary import rotary_layers
from sparse_attention.model_facts import LayerSettings
from sparse_attention.testing.device import DEVICE

CONTEXT = tokens(70, 1)
REQUEST = StatisticsRequest(
    last_queries=5, moments=frozenset({0, 3}), attention_sums=True, rotation=True
)

QUERY_MODULES = {
    "llama": "q_proj",
    "llama_mqa": "q_proj",
    "qwen2": "q_proj",
    "mistral_full": "q_proj",
    "gpt_oss": "q_proj",
    "qwen3": "q_norm",
    "gemma3": "q_norm",
    "phi3": "qkv_proj",
}
"""Where queries come out before they are rotated."""


@torch.inference_mode()
def own_queries(model, name: str) -> dict[int, torch.Tensor]:
    """Queries before rotation, (heads, T, D), from hooks on the model's modules."""
    found = {}
    for module in model.modules():
        if hasattr(module, "layer_idx") and hasattr(module, QUERY_MODULES[name]):
            source = getattr(module, QUERY_MODULES[name])
            source.register_forward_hook(
                lambda _, __, output, layer=module.layer_idx: found.__setitem__(layer, output)
            )
    model(torch.tensor([CONTEXT], device=DEVICE), use_cache=False)
    heads = model.config.num_attention_heads
    width = getattr(model.config, "head_dim", None) or model.config.hidden_size // heads
    shaped = {}
    for layer, output in found.items():
        flat = output[0, :, : heads * width] if output.ndim == 3 else output[0]
        if output.ndim == 3:
            shaped[layer] = flat.reshape(len(CONTEXT), heads, width).transpose(0, 1)
        else:
            shaped[layer] = flat if flat.shape[0] == heads else flat.transpose(0, 1)
    return shaped


@pytest.mark.parametrize("name", QUERY_MODULES)
@pytest.mark.parametrize("chunk", [100, 13])
def test_moments_are_those_of_the_queries_before_rotation(name, chunk):
    model = random_model(name)
    prefix = prefill(model, CONTEXT, chunk, REQUEST)
    queries = own_queries(model, name)
    assert prefix.statistics.layers
    for layer, found in prefix.statistics.layers.items():
        for first in (0, 3):
            plain = queries[layer][:, first:].double().cpu().numpy()
            mean = found.moments[first].mean.flatten(0, 1).double().cpu().numpy()
            covariance = found.moments[first].covariance.flatten(0, 1).double().cpu().numpy()
            np.testing.assert_allclose(mean, plain.mean(1), rtol=1e-3, atol=1e-4)
            for head, own in enumerate(plain):
                np.testing.assert_allclose(
                    covariance[head], np.cov(own.T, bias=True), rtol=1e-3, atol=1e-3
                )


@pytest.mark.parametrize("name", ["llama", "qwen3", "gemma2", "gpt_oss"])
@torch.inference_mode()
def test_column_sums_are_those_of_the_models_own_attention(name):
    model = random_model(name)
    prefix = prefill(model, CONTEXT, 13, REQUEST)
    before = model.config._attn_implementation
    model.set_attn_implementation("eager")
    try:
        weights = model(
            torch.tensor([CONTEXT], device=DEVICE), output_attentions=True, use_cache=False
        ).attentions
    finally:  # models of other tests share the configuration
        model.set_attn_implementation(before)
    assert prefix.statistics.layers
    for layer, found in prefix.statistics.layers.items():
        sums = weights[layer][0].double().sum(1)
        expected = sums.view(*found.attention_sums.shape[:1], -1, len(CONTEXT)).mean(1)
        torch.testing.assert_close(found.attention_sums.double(), expected, rtol=1e-3, atol=1e-4)


def test_layers_with_a_sliding_window_are_left_out():
    prefix = prefill(random_model("gemma3"), CONTEXT, 100, REQUEST)
    assert sorted(prefix.statistics.layers) == [1, 3]
    assert sorted(prefix.statistics.facts) == [0, 1, 2, 3]


@pytest.mark.parametrize("block", [1, 50, 10**6])
def test_blocks_do_not_matter(monkeypatch, block):
    generator = torch.Generator().manual_seed(0)
    queries = torch.randn(2, 3, 20, 8, generator=generator).to(DEVICE)
    keys = torch.randn(2, 31, 8, generator=generator).to(DEVICE)
    settings = LayerSettings(0.3, sink_logits=torch.randn(2, 3, generator=generator).to(DEVICE))
    monkeypatch.setattr(causal, "_BLOCK_ELEMENTS", block)
    positions = torch.arange(31, device=DEVICE)[None]
    expected = causal_attention(queries, keys, positions, 11, settings).sum(2).mean(1)
    torch.testing.assert_close(attention_sums(queries, keys, 11, settings), expected)


@given(st.lists(st.integers(0, 7), min_size=1, max_size=6), st.floats(-50, 50))
def test_moments_in_parts_are_those_of_the_whole(sizes, offset):
    generator = np.random.default_rng(sum(sizes))
    values = generator.normal(size=(sum(sizes), 4)) + offset
    moments = QueryMoments(
        0, torch.zeros(1, 1, 4, device=DEVICE), torch.zeros(1, 1, 4, 4, device=DEVICE)
    )
    start = 0
    for size in sizes:
        part = torch.tensor(values[start : start + size], dtype=torch.float32, device=DEVICE)
        moments = moments.extended(part[None, None])
        start += size
    if not start:
        assert moments.count == 0
        return
    np.testing.assert_allclose(moments.mean[0, 0].cpu(), values.mean(0), atol=1e-4)
    expected = np.cov(values.T, bias=True) if start > 1 else np.zeros((4, 4))
    np.testing.assert_allclose(moments.covariance[0, 0].cpu(), expected, atol=1e-3)


def test_the_models_attention_is_back_after_an_observed_prefill_that_failed():
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    model = random_model("llama")
    before = ALL_ATTENTION_FUNCTIONS["sdpa"]
    with pytest.raises(IndexError), failing(model):
        prefill(model, CONTEXT, 8, REQUEST)
    assert ALL_ATTENTION_FUNCTIONS["sdpa"] is before


def test_a_model_without_rotary_positions():
    config = GPT2Config(vocab_size=97, n_embd=32, n_layer=2, n_head=2, n_positions=128)
    model = GPT2LMHeadModel(config).eval().requires_grad_(False).to(DEVICE)
    adapter = HuggingFaceAdapter(model, word_tokenizer(), "gpt2")
    good = [make_config("snapkv", observation_window=8), make_config("observed_attention")]
    bad = {
        "expected_attention": "no rotation of fixed frequencies",
        "streaming_llm_rerotated": "no rotation of fixed frequencies",
        "criticalkv": "no linear output projection",
    }
    prefix = adapter.prefill(CONTEXT, [*good, *map(make_config, bad)])
    for answer in adapter.answer(prefix, [1, 2], good, max_new_tokens=3):
        assert answer.kept_share < 0.6
    for name, message in bad.items():
        with pytest.raises(UserError, match=message):
            adapter.answer(prefix, [1, 2], [make_config(name)], max_new_tokens=3)


@pytest.mark.parametrize("kind", ["phi", "persimmon", "gemma4"])
@torch.inference_mode()
def test_rotations_of_a_part_of_each_head_and_by_functions_of_one_vector(kind):
    """``rotate`` makes of the keys at position 0 those at any other, in every layer."""
    model = ROTATING[kind]()
    rotary = rotary_layers(model)
    caches = []
    for position in (0, 37):
        cache = DynamicCache(config=model.config)
        at = torch.tensor([[position]], device=DEVICE)
        model.get_decoder()(
            input_ids=torch.tensor([[7]], device=DEVICE), position_ids=at, past_key_values=cache
        )
        caches.append([layer.keys[0] for layer in cache.layers])
    for found, start, later in zip(rotary, *caches, strict=True):
        assert found is not None
        positions = torch.full((start.shape[0], 1), 37, device=DEVICE)
        torch.testing.assert_close(found.rotate(start, positions), later, rtol=1e-3, atol=1e-4)
        back = found.unrotate(later, torch.tensor([37], device=DEVICE))
        torch.testing.assert_close(back, start, rtol=1e-3, atol=1e-4)


def small(kind, config, **more):
    torch.manual_seed(0)
    settings = COMMON | {"num_hidden_layers": 2} | more
    return kind(config(**settings)).eval().requires_grad_(False).to(DEVICE)


ROTATING = {
    "phi": lambda: small(PhiForCausalLM, PhiConfig, num_key_value_heads=4),
    "persimmon": lambda: small(PersimmonForCausalLM, PersimmonConfig),
    "gemma4": lambda: small(
        Gemma4ForCausalLM,
        Gemma4TextConfig,
        **WINDOWED | {"layer_types": ["sliding_attention", "full_attention"]},
        head_dim=16,
        global_head_dim=32,
        hidden_size_per_layer_input=0,
        vocab_size_per_layer_input=97,
    ),
}


def test_only_what_is_asked_for_is_read(monkeypatch):
    def fail(*_):
        raise AssertionError("nobody asked for it")

    model = random_model("llama")
    monkeypatch.setattr("sparse_attention.hf.prefill.rotary_layers", fail)
    monkeypatch.setattr("sparse_attention.hf.prefill.output_weight", fail)
    adapter = HuggingFaceAdapter(model, word_tokenizer(), "x")
    configs = [make_config("snapkv", observation_window=8), make_config("observed_attention")]
    adapter.answer(adapter.prefill(CONTEXT, configs), [1, 2], configs, max_new_tokens=2)
    with pytest.raises(AssertionError, match="nobody asked"):
        adapter.prefill(CONTEXT, [make_config("expected_attention")])


def test_presses_that_watch_are_refused_by_name_where_nothing_can_be_seen():
    model = small(DogeForCausalLM, DogeConfig)
    adapter = HuggingFaceAdapter(model, word_tokenizer(), "doge")
    configs = [make_config(name) for name in ("snapkv", "criticalkv", "streaming_llm")]
    prefix = adapter.prefill(CONTEXT, configs)
    for config in configs[:2]:
        with pytest.raises(UserError, match="snapkv cannot be used with this model"):
            adapter.answer(prefix, [1, 2], [config], max_new_tokens=3)
    assert adapter.answer(prefix, [1, 2], configs[2:], max_new_tokens=3)[0].kept_share < 0.8


class Stored(torch.nn.Linear):
    """A projection with a weight that is stored like those of quantising libraries."""

    def __init__(self, linear: torch.nn.Linear, kind: str) -> None:
        super().__init__(linear.in_features, linear.out_features, bias=False)
        true = linear.weight.detach()
        scale = true.abs().amax(1, keepdim=True) / 100
        self.kind, self.true = kind, (true / scale).round() * scale
        stored = {
            "packed": torch.zeros(true.numel() // 2, 1, dtype=torch.uint8, device=DEVICE),
            "int8": (true / scale).round().to(torch.int8),
            "float8": (true / scale).to(torch.float8_e4m3fn),
        }
        self.weight = torch.nn.Parameter(stored.get(kind, stored["packed"]), requires_grad=False)

    def forward(self, inputs):
        if self.kind == "broken":
            raise RuntimeError("size mismatch, got 4")
        output = torch.nn.functional.linear(inputs, self.true)
        return output.square() if self.kind == "no matrix" else output


@pytest.mark.parametrize("kind", ["packed", "int8", "float8", "no matrix", "broken"])
@torch.inference_mode()
def test_the_output_projection_of_a_quantised_model_is_the_true_one(kind):
    attention = random_model("llama").model.layers[0].self_attn
    attention.o_proj = Stored(attention.o_proj, kind)
    found = output_weight(attention, 2, 2, torch.empty(0, device=DEVICE))
    if kind in ("no matrix", "broken"):
        assert found is None
    else:
        true = attention.o_proj.true.T.reshape(2, 2, 16, 64)
        torch.testing.assert_close(found, true, rtol=1e-5, atol=1e-6)


def test_a_plain_output_projection_is_not_copied():
    attention = random_model("llama").model.layers[0].self_attn
    found = output_weight(attention, 2, 2, torch.empty(0, device=DEVICE))
    assert found.data_ptr() == attention.o_proj.weight.data_ptr()
    torch.testing.assert_close(found, attention.o_proj.weight.T.reshape(2, 2, 16, 64))
