"""Any configurations together, on any small architecture, with any protocol."""

from __future__ import annotations

from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st
from models import ARCHITECTURES, random_model, tokens, word_tokenizer

from sparse_attention import (
    CONFIG_TYPES,
    AttentionConfig,
    HuggingFaceAdapter,
    Protocol,
    make_config,
)
from sparse_attention.method import Choices, Method

WITHOUT_FILES = sorted(set(CONFIG_TYPES) - {"double_sparsity", "hash_attention"})


@cache
def adapter_of(architecture: str) -> HuggingFaceAdapter:
    return HuggingFaceAdapter(random_model(architecture), word_tokenizer(), architecture)


@st.composite
def methods_like(draw: st.DrawFn, method: Method) -> Method:
    """The method with other settings of those that a search tries, where they go together."""
    changed = {
        name: draw(st.sampled_from(choices.values))
        for name, info in type(method).model_fields.items()
        for choices in info.metadata
        if isinstance(choices, Choices) and draw(st.booleans())
    }
    try:
        return type(method)(**{**dict(method), **changed})
    except ValueError:
        return method


@st.composite
def configurations(draw: st.DrawFn) -> AttentionConfig:
    config = make_config(draw(st.sampled_from(WITHOUT_FILES)))
    return AttentionConfig(
        tuple(draw(methods_like(method)) for method in (*config.presses, *config.maskers))
    )


PROTOCOLS = st.builds(
    Protocol,
    sparse_from=st.just("question"),
    dense_layers=st.sampled_from([(), (0,), (1, 3)]),
) | st.builds(
    Protocol,
    sparse_from=st.just("generation"),
    dense_layers=st.sampled_from([(), (0,), (1, 3)]),
    press_sees_question=st.booleans(),
)


@given(data=st.data())
def test_a_row_answers_as_it_does_alone(data):
    adapter = adapter_of(data.draw(st.sampled_from(sorted(ARCHITECTURES))))
    configs = data.draw(st.lists(configurations(), min_size=1, max_size=4))
    context = tokens(data.draw(st.sampled_from([1, 2, 20, 60, 130])), 3)
    question = tokens(data.draw(st.sampled_from([1, 2, 5])), 4)
    options = {
        "max_new_tokens": data.draw(st.sampled_from([1, 2, 5])),
        "protocol": data.draw(PROTOCOLS),
        "measure_error": data.draw(st.booleans()),
        "error_every": data.draw(st.sampled_from([1, 2, 5])),
        "sample_key": "sample",
    }
    offload = data.draw(st.booleans())
    prefix, other = (adapter.prefill(context, configs, offload=offload) for _ in range(2))
    together = adapter.answer(prefix, question, configs, **options)
    for found, config in zip(together, configs, strict=True):
        # Of the other prefix, each finds what methods of those before have kept.
        (alone,) = adapter.answer(other, question, [config], **options)
        assert found.token_ids == alone.token_ids
        assert 0 <= found.density <= 1
        assert found.density == pytest.approx(alone.density, abs=2e-3)
        assert (found.attention_error is None) == (alone.attention_error is None)
        if found.attention_error is not None:
            assert found.attention_error == pytest.approx(alone.attention_error, rel=1e-3, abs=1e-3)
