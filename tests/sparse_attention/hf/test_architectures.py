"""Our attention gives the logits and greedy tokens of the models' own."""

from __future__ import annotations

import pytest
import torch
from models import ARCHITECTURES, random_model, tokens, word_tokenizer
from transformers import GPT2Config, GPT2LMHeadModel, JambaConfig, JambaForCausalLM

from sparse_attention import AttentionConfig, HuggingFaceAdapter, UserError, make_config
from sparse_attention.decode.decoder import Decoder
from sparse_attention.hf.attention import forward, our_attention
from sparse_attention.hf.cache import DecoderCache
from sparse_attention.hf.check import check_architecture
from sparse_attention.protocol import Protocol
from sparse_attention.testing.calls import calibrated_model

EVERY = pytest.mark.parametrize("name", ARCHITECTURES)


def adapter_of(name: str, chunk: int = 8192) -> HuggingFaceAdapter:
    return HuggingFaceAdapter(random_model(name), word_tokenizer(), name, prefill_chunk=chunk)


@torch.inference_mode()
def own_greedy(model, prompt: list[int], count: int) -> tuple[list[int], torch.Tensor]:
    """Greedy tokens by full forwards without any cache, and the logits after the prompt."""
    sequence, first = list(prompt), None
    for _ in range(count):
        logits = model(torch.tensor([sequence]), use_cache=False).logits[0, -1].float()
        first = logits if first is None else first
        sequence.append(int(logits.argmax()))
    return sequence[len(prompt) :], first


@EVERY
@pytest.mark.parametrize("chunk", [8192, 13])
def test_dense_path_gives_the_models_own_tokens_and_logits(name, chunk):
    adapter = adapter_of(name, chunk)
    context, question = tokens(60, 1), tokens(7, 2)
    expected, logits = own_greedy(adapter.model, context + question, 12)
    prefix = adapter.prefill(context)
    decoder = Decoder(prefix, [AttentionConfig()], [""], Protocol())
    with our_attention(adapter.model):
        ours = forward(adapter.model, torch.tensor([question]), DecoderCache(decoder))[0]
    torch.testing.assert_close(ours, logits, atol=1e-4, rtol=1e-4)
    answer = adapter.answer(prefix, question, [AttentionConfig()], max_new_tokens=12)[0]
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
    with pytest.raises(IndexError):
        adapter.answer(prefix, [10**6], [AttentionConfig()], max_new_tokens=2)
    assert adapter.model.config._attn_implementation == before


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (
            lambda: JambaForCausalLM(
                JambaConfig(
                    vocab_size=97,
                    hidden_size=32,
                    intermediate_size=32,
                    num_hidden_layers=4,
                    num_attention_heads=2,
                    num_key_value_heads=2,
                    attn_layer_period=2,
                    attn_layer_offset=1,
                    expert_layer_period=2,
                    num_experts=2,
                    use_mamba_kernels=False,
                    mamba_d_state=4,
                    mamba_dt_rank=4,
                    pad_token_id=0,
                )
            ),
            "JambaForCausalLM cannot be used",
        ),
    ],
)
def test_an_architecture_that_cannot_work_is_refused(model, reason):
    with pytest.raises(UserError, match=reason):
        check_architecture(model().eval())


def test_gpt2_which_has_no_rotary_positions_works_as_well():
    config = GPT2Config(vocab_size=97, n_embd=32, n_layer=2, n_head=2, n_positions=128)
    model = GPT2LMHeadModel(config).eval().requires_grad_(False)
    check_architecture(model)
    adapter = HuggingFaceAdapter(model, word_tokenizer(), "gpt2")
    prefix = adapter.prefill(tokens(60, 1))
    (answer,) = adapter.answer(
        prefix, tokens(4, 2), [make_config("sink_local", window_size=4)], max_new_tokens=3
    )
    assert answer.density < 0.5
