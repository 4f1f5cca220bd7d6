"""A context that is read in chunks has the keys of one that is read at once."""

from __future__ import annotations

from itertools import product

import pytest
import torch
from models import random_model, tokens
from transformers import LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM

from sparse_attention.cache.statistics import StatisticsRequest
from sparse_attention.hf import chunks
from sparse_attention.hf.prefill import prefill
from sparse_attention.testing.device import DEVICE

SHAPE = {
    "vocab_size": 64,
    "hidden_size": 32,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "initializer_range": 0.3,
}
TOKENS = [(13 * place + place * place) % 64 for place in range(45)]


def model(dtype: torch.dtype = torch.float32, windowed: bool = False, name: str = "sdpa"):
    torch.manual_seed(0)
    if windowed:
        layers = ["full_attention", "sliding_attention"]
        config = Qwen2Config(**SHAPE, use_sliding_window=True, sliding_window=6, layer_types=layers)
        made = Qwen2ForCausalLM(config)
    else:
        made = LlamaForCausalLM(LlamaConfig(**SHAPE))
    made.set_attn_implementation(name)
    return made.to(DEVICE, dtype).eval().requires_grad_(False)


@pytest.mark.parametrize(
    ("dtype", "tolerance"),
    [(torch.float64, 1e-6), (torch.float32, 1e-5), (torch.bfloat16, 0.05)],
)
def test_chunks_read_what_a_whole_context_is(dtype: torch.dtype, tolerance: float) -> None:
    read = model(dtype)
    whole = prefill(read, TOKENS, len(TOKENS)).layers[1].segments[0]
    for chunk in (7, 44):
        part = prefill(read, TOKENS, chunk).layers[1].segments[0]
        for one, other in ((whole.keys, part.keys), (whole.values, part.values)):
            assert (one - other).abs().max() <= tolerance * one.abs().max()


@pytest.mark.parametrize(("windowed", "masks"), [(False, 0), (True, 7)])
def test_only_windows_have_masks(
    windowed: bool, masks: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[int, ...]] = []
    attention = chunks.ALL_ATTENTION_FUNCTIONS["sdpa"]

    def watching(module, query, key, value, attention_mask, **named):
        if attention_mask is not None:
            seen.append(tuple(attention_mask.shape))
        return attention(module, query, key, value, attention_mask, **named)

    read = model(windowed=windowed)
    whole = prefill(read, TOKENS, len(TOKENS))
    with monkeypatch.context() as patch:
        patch.setitem(chunks.ALL_ATTENTION_FUNCTIONS._local_mapping, "sdpa", watching)
        parts = prefill(read, TOKENS, 7)
    assert len(seen) == masks
    assert all(shape[-1] < 14 for shape in seen), "no wider than window and chunk"
    for one, other in zip(whole.layers, parts.layers, strict=True):
        count = other.segments[0].keys.shape[1]
        assert torch.allclose(one.segments[0].keys[:, -count:], other.segments[0].keys, atol=1e-5)


def test_other_attention_is_left_alone() -> None:
    eager = model(name="eager")
    whole, part = (prefill(eager, TOKENS, chunk).layers[1].segments[0] for chunk in (45, 7))
    assert torch.allclose(whole.keys, part.keys, atol=1e-5)


@pytest.mark.parametrize(("heads", "width"), product((1, 4), (8, 5)))
def test_chunks_attend_as_under_a_mask(heads: int, width: int) -> None:
    """Also where the widths of keys and values differ, so that there is a mask after all."""
    torch.manual_seed(1)
    query = torch.randn(1, 4, 6, 8, dtype=torch.float64).to(DEVICE)
    key, value = (torch.randn(1, heads, 17, w, dtype=torch.float64).to(DEVICE) for w in (8, width))
    module = torch.nn.Module()
    module.num_key_value_groups = 4 // heads  # type: ignore[assignment]
    with chunks.chunks_without_masks(model()):
        attend = chunks.ALL_ATTENTION_FUNCTIONS["sdpa"]
        found, _ = attend(module, query, key, value, None, scaling=0.3)
    mask = torch.ones(6, 17, dtype=torch.bool, device=DEVICE).tril(11)
    repeated = (each.repeat_interleave(4 // heads, 1) for each in (key, value))
    expected = torch.nn.functional.scaled_dot_product_attention(
        query, *repeated, attn_mask=mask, scale=0.3
    )
    assert torch.allclose(found, expected.transpose(1, 2), atol=1e-12)


@pytest.mark.parametrize("name", ["llama", "llama_mha", "qwen3", "gemma2"])
def test_what_looks_on_sees_the_same(name: str) -> None:
    read, request = random_model(name), StatisticsRequest(attention_sums=True)
    whole, parts = (prefill(read, tokens(70, 1), chunk, request) for chunk in (100, 13))
    assert whole.statistics.layers
    for layer, statistics in whole.statistics.layers.items():
        sums = parts.statistics.layers[layer].attention_sums
        torch.testing.assert_close(sums, statistics.attention_sums, atol=1e-4, rtol=1e-4)
