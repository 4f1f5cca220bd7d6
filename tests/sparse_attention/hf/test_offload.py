"""A context that waits in the memory of the CPU gives the answers of one that does not."""

from __future__ import annotations

from dataclasses import replace

import pytest
from models import random_model, tokens, word_tokenizer

from sparse_attention import Answer, Context, HuggingFaceAdapter, Protocol, make_config
from sparse_attention.testing.device import DEVICE

CONFIGS = [
    make_config("dense"),
    make_config("quest", heavy_size=8, page_size=4),
    make_config("magic_pig", lsh_k=4, lsh_l=8),
    make_config("snapkv", compression_ratio=0.5),
    make_config("adakv", compression_ratio=0.5),
    make_config("streaming_llm_rerotated", compression_ratio=0.5),
    make_config("decoding_knorm", target_size=40),
]


@pytest.fixture(scope="module")
def adapter() -> HuggingFaceAdapter:
    return HuggingFaceAdapter(random_model("llama"), word_tokenizer(), "llama")


@pytest.mark.parametrize(
    "protocol",
    [
        Protocol(),
        Protocol(sparse_from="generation"),
        Protocol(sparse_from="generation", press_sees_question=True),
    ],
    ids=["question", "generation", "aware"],
)
def test_answers_are_the_same(adapter: HuggingFaceAdapter, protocol: Protocol) -> None:
    def answers(context: Context) -> list[Answer]:
        question = tokens(5, 4)
        return adapter.answer(context, question, CONFIGS, max_new_tokens=8, protocol=protocol)

    context = tokens(120, 3)
    plain = adapter.prefill(context, CONFIGS)
    asked = adapter.prefill(context, CONFIGS, offload=True)
    assert asked.is_offloaded == (DEVICE.type == "cuda")
    made = adapter.prefill(context, CONFIGS)
    made = replace(made, layers=tuple(layer.offloaded() for layer in made.layers))
    expected = answers(plain)
    assert answers(asked) == answers(made) == expected
    for held in (made, *made.derived._entries.values()):
        for layer in held.layers:
            assert layer.device.type == DEVICE.type
            assert {segment.keys.device.type for segment in layer.segments} == {"cpu"}
