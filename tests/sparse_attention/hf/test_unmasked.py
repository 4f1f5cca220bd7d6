"""Prefills in chunks without masks, against those with."""

from __future__ import annotations

import contextlib

import pytest
import torch
from models import ARCHITECTURES, random_model, tokens

from sparse_attention.cache.statistics import NOTHING, StatisticsRequest
from sparse_attention.hf import prefill as module
from sparse_attention.hf.prefill import prefill
from sparse_attention.hf.unmasked import unmasked

PLAIN = {"llama", "llama_mha", "llama_mqa", "mistral_full", "qwen2", "qwen3", "phi3"}


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_only_models_without_windows_go_without_masks(name):
    model = random_model(name)
    before = model.config._attn_implementation
    with unmasked(model):
        assert (model.config._attn_implementation != before) == (name in PLAIN)
    assert model.config._attn_implementation == before


@pytest.mark.parametrize("name", ["llama", "llama_mha", "qwen3"])
@pytest.mark.parametrize("request_", [NOTHING, StatisticsRequest(attention_sums=True)])
def test_keys_and_values_are_the_same(name, request_, monkeypatch):
    model, context = random_model(name), tokens(70, 1)
    # All in one go, where there is nothing to mask, and by the model's own attention in chunks.
    expected = [prefill(model, context, 100, request_)]
    monkeypatch.setattr(module, "unmasked", lambda _: contextlib.nullcontext())
    expected.append(prefill(model, context, 13, request_))
    with unmasked(model):
        found = prefill(model, context, 13, request_)
    for one in expected:
        for ours, theirs in zip(found.layers, one.layers, strict=True):
            ours, theirs = ours.segments[0], theirs.segments[0]
            torch.testing.assert_close(ours.keys, theirs.keys, atol=1e-4, rtol=1e-4)
            torch.testing.assert_close(ours.values, theirs.values, atol=1e-4, rtol=1e-4)
        for layer, statistics in one.statistics.layers.items():
            sums = found.statistics.layers[layer].attention_sums
            torch.testing.assert_close(sums, statistics.attention_sums, atol=1e-4, rtol=1e-4)
