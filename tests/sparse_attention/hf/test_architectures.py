"""Our attention gives the logits and greedy tokens of the models' own."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch
from models import ARCHITECTURES, COMMON, WINDOWED, failing, random_model, tokens, word_tokenizer
from transformers import (
    BloomConfig,
    DeepseekV32Config,
    DogeConfig,
    DogeForCausalLM,
    FalconConfig,
    Gemma4ForCausalLM,
    Gemma4TextConfig,
    GPT2Config,
    GPT2LMHeadModel,
    GPTJConfig,
    LlamaForCausalLM,
    MambaConfig,
    MptConfig,
    RwkvConfig,
    T5Config,
    ViTConfig,
)

from sparse_attention import AttentionConfig, HuggingFaceAdapter, UserError, make_config
from sparse_attention.decode.decoder import Decoder
from sparse_attention.hf.architecture import check_configuration
from sparse_attention.hf.attention import configs_of, forward, our_attention
from sparse_attention.hf.cache import DecoderCache
from sparse_attention.hf.check import check_architecture
from sparse_attention.maskers import PQCache
from sparse_attention.protocol import Protocol
from sparse_attention.testing.calls import calibrated_model
from sparse_attention.testing.device import DEVICE

EVERY = pytest.mark.parametrize("name", ARCHITECTURES)


def adapter_of(name: str, chunk: int = 8192) -> HuggingFaceAdapter:
    return HuggingFaceAdapter(random_model(name), word_tokenizer(), name, prefill_chunk=chunk)


@torch.inference_mode()
def own_greedy(model, prompt: list[int], count: int) -> tuple[list[int], torch.Tensor]:
    """Greedy tokens by full forwards without any cache, and the logits after the prompt."""
    sequence, first = list(prompt), None
    for _ in range(count):
        logits = (
            model(torch.tensor([sequence], device=DEVICE), use_cache=False).logits[0, -1].float()
        )
        first = logits if first is None else first
        sequence.append(int(logits.argmax()))
    return sequence[len(prompt) :], first


@EVERY
def test_dense_path_gives_the_models_own_tokens_and_logits(name):
    adapter = adapter_of(name, chunk=13)
    context, question = tokens(60, 1), tokens(7, 2)
    expected, logits = own_greedy(adapter.model, context + question, 8)
    prefix = adapter.prefill(context)
    decoder = Decoder(prefix, [AttentionConfig()], [""], Protocol())
    with our_attention(configs_of(adapter.model)):
        ours = forward(
            adapter.model,
            torch.tensor([question], device=DEVICE),
            DecoderCache(adapter.model, decoder),
        )[0]
    torch.testing.assert_close(ours, logits, atol=1e-4, rtol=1e-4)
    answer = adapter.answer(prefix, question, [AttentionConfig()], max_new_tokens=8)[0]
    assert list(answer.token_ids) == expected
    assert answer.density == 1
    assert answer.attention_error == pytest.approx(0, abs=1e-9)


@EVERY
def test_every_architecture_passes_its_check_and_runs_sparsely(name):
    adapter = adapter_of(name)
    check_architecture(adapter.model)
    prefix = adapter.prefill(tokens(80, 3))
    configs = [
        make_config("sink_local", sink_size=2, window_size=6),
        make_config("magic_pig", sink_size=2, window_size=6, lsh_k=4, lsh_l=20),
        make_config("oracle_top_k", sink_size=1.0, window_size=1.0),
    ]
    sparse, sampled, full = adapter.answer(prefix, tokens(5, 4), configs, max_new_tokens=6)
    assert 0 < sparse.density < 0.5
    assert 0 < sampled.density < 1
    assert sparse.attention_error > 1e-4
    assert full.attention_error < 1e-9
    expected, _ = own_greedy(adapter.model, tokens(80, 3) + tokens(5, 4), 6)
    assert list(full.token_ids) == expected


@EVERY
def test_methods_that_keep_something_about_keys_run_on_every_architecture(name):
    adapter = adapter_of(name)
    profile = adapter.profile
    heads = (profile.kv_heads, profile.heads // profile.kv_heads)
    adapter.profile = calibrated_model(heads, profile.head_dim, profile.layers)
    prefix = adapter.prefill(tokens(80, 3))
    settings = {
        "quest": {"page_size": 8},
        "double_sparsity": {"group_factor": 4},
        "pq_cache": {"pq_bits": 3},
        "hash_attention": {},
    }
    for full in (False, True):
        size = 1.0 if full else 0.1
        configs = [
            make_config(kind, sink_size=2, window_size=4, heavy_size=size, **own)
            for kind, own in settings.items()
        ]
        for answer in adapter.answer(prefix, tokens(5, 4), configs, max_new_tokens=6):
            assert (answer.attention_error < 1e-9) == full
            assert (answer.density == 1) == full


def test_the_models_own_attention_is_back_after_an_error():
    adapter = adapter_of("llama")
    before = adapter.model.config._attn_implementation
    prefix = adapter.prefill(tokens(20, 1))
    with pytest.raises(IndexError), failing(adapter.model):
        adapter.answer(prefix, [1], [AttentionConfig()], max_new_tokens=2)
    assert adapter.model.config._attn_implementation == before


def test_a_model_that_has_passed_is_not_tried_again():
    model = random_model("llama")
    check_architecture(model)
    with failing(model):
        check_architecture(model)
    other = random_model("llama")
    with failing(other), pytest.raises(UserError, match="IndexError"):
        check_architecture(other)
    check_architecture(other)


REFUSED = {
    "mamba": (MambaConfig(), "no attention layer .* keep a state of fixed size"),
    "rwkv": (RwkvConfig(), "no attention heads"),
    "bloom": (BloomConfig(), "biases by distance .*ALiBi"),
    "mpt": (MptConfig(), "biases by distance .*ALiBi"),
    "falcon_alibi": (FalconConfig(alibi=True), "biases by distance .*ALiBi"),
    "falcon": (FalconConfig(), "does not go through transformers' attention interface"),
    "gpt_j": (GPTJConfig(), "does not go through transformers' attention interface"),
    "deepseek_v32": (DeepseekV32Config(), r"choose keys by an indexer .* \(DSA\)"),
    "t5": (T5Config(), "has an encoder"),
    "vit": (ViTConfig(), "no causal language model of the type 'vit'"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_an_architecture_that_cannot_work_is_refused_by_its_configuration(name):
    config, reason = REFUSED[name]
    with pytest.raises(UserError, match=rf"cannot be used: .*{reason}"):
        check_configuration(config)


@pytest.mark.parametrize("config", [config for _, config in ARCHITECTURES.values()])
def test_nothing_is_said_against_an_architecture_that_works(config):
    check_configuration(config)


class Odd(LlamaForCausalLM):
    """Refuses to be read with a cache."""

    def forward(self, *args, past_key_values=None, **kwargs):
        if past_key_values is not None:
            raise RuntimeError("The size of tensor a (4) must match the size of tensor b (8)")
        return super().forward(*args, **kwargs)


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (lambda: Odd(ARCHITECTURES["llama"][1]), r"with our attention fails \(RuntimeError\)"),
        (lambda: doge_that_masks(), "a mask to its attention scores that it computes"),
    ],
)
def test_an_architecture_that_fails_on_a_few_tokens_is_refused_in_words(model, reason):
    with pytest.raises(UserError, match=f"cannot be used: .*{reason}") as refusal:
        check_architecture(model().eval())
    assert "tensor" not in str(refusal.value)


def doge_that_masks():
    torch.manual_seed(0)
    model = DogeForCausalLM(DogeConfig(**COMMON))
    for layer in model.model.layers:
        layer.self_attn.A.data.normal_()  # a model without training has zeros, which mask nothing
    return model


def test_layers_with_heads_of_different_width():
    torch.manual_seed(0)
    config = Gemma4TextConfig(
        **COMMON,
        **WINDOWED,
        head_dim=16,
        global_head_dim=32,
        hidden_size_per_layer_input=0,
        vocab_size_per_layer_input=97,
    )
    model = Gemma4ForCausalLM(config).eval().requires_grad_(False).to(DEVICE)
    check_architecture(model)
    adapter = HuggingFaceAdapter(model, word_tokenizer(), "gemma4")
    assert adapter.profile.head_dim == (16, 32, 16, 32)
    assert (adapter.profile.heads, adapter.profile.kv_heads) == (4, 2)
    document = json.loads(json.dumps(adapter.profile.to_json()))
    assert adapter.profile.difference(document) is None
    narrow = replace(adapter.profile, head_dim=16)
    assert "head_dim" in narrow.difference(document)
    context, question = tokens(60, 1), tokens(7, 2)
    names = ("dense", "oracle_top_k", "quest", "pq_cache", "snapkv")
    full = {"oracle_top_k": {"sink_size": 1.0}, "snapkv": {"observation_window": 8}}
    configs = [make_config(name, **full.get(name, {})) for name in names]
    answers = adapter.answer(adapter.prefill(context, configs), question, configs, max_new_tokens=8)
    expected, _ = own_greedy(model, context + question, 8)
    assert [list(answer.token_ids) for answer in answers[:2]] == [expected, expected]
    with pytest.raises(UserError, match="does not divide the 16 channels"):
        AttentionConfig((PQCache(heavy_size=4, subspaces=32),)).for_model(adapter.profile)


def test_gpt2_which_has_no_rotary_positions_works_as_well():
    config = GPT2Config(vocab_size=97, n_embd=32, n_layer=2, n_head=2, n_positions=128)
    model = GPT2LMHeadModel(config).eval().requires_grad_(False).to(DEVICE)
    check_architecture(model)
    adapter = HuggingFaceAdapter(model, word_tokenizer(), "gpt2")
    prefix = adapter.prefill(tokens(60, 1))
    (answer,) = adapter.answer(
        prefix, tokens(4, 2), [make_config("sink_local", window_size=4)], max_new_tokens=3
    )
    assert answer.density < 0.5
