"""SmolLM2-135M-Instruct, a real pretrained model: where methods meet real queries and keys."""

from __future__ import annotations

import pytest
import torch

from benchmark.named_models import named_model
from benchmark.ruler.benchmark import Ruler
from sparse_attention import HuggingFaceAdapter, UserError, make_config
from sparse_attention.prompt import PromptSettings, encode_prompt

TEXT = "The ledger lay on the table of the town library, and nobody had opened it for years. "


@pytest.fixture(scope="module")
def adapter() -> HuggingFaceAdapter:
    try:
        location = named_model("smollm2")
    except UserError as error:
        pytest.skip(str(error))
    return HuggingFaceAdapter.load(str(location), dtype="float32")


def test_dense_answers_are_those_of_transformers(adapter):
    for length in (200, 900):
        ids = adapter.tokenizer(TEXT * 60).input_ids[:length]
        expected = adapter.model.generate(
            torch.tensor([ids]), do_sample=False, max_new_tokens=12, pad_token_id=0
        )[0, length:].tolist()
        context = adapter.prefill(ids[:-20])
        (answer,) = adapter.answer(context, ids[-20:], [make_config("dense")], max_new_tokens=12)
        assert len(answer.token_ids) > 5
        assert list(answer.token_ids) == expected[: len(answer.token_ids)]


def test_methods_on_a_needle(adapter):
    """Dense attention finds it, and so do those that read what matters; edges alone do not."""
    ruler = Ruler(length=768, samples=2)
    names = ("dense", "oracle_top_k", "keydiff", "sink_local")
    configs = [make_config(name) for name in names]
    found = dict.fromkeys(names, 0.0)
    for sample in ruler.samples("niah_single_2", adapter.tokenizer):
        prompt = encode_prompt(
            adapter.tokenizer,
            sample.context,
            sample.question,
            sample.answer_prefix,
            settings=PromptSettings(),
            max_new_tokens=12,
            max_positions=adapter.max_positions,
        )
        context = adapter.prefill(prompt.context_ids, configs)
        before = [segment.keys.clone() for layer in context.layers for segment in layer.segments]
        answers = adapter.answer(context, prompt.question_ids, configs, max_new_tokens=12)
        for name, answer in zip(names, answers, strict=True):
            found[name] += sample.answers[0] in answer.text
        after = [segment.keys for layer in context.layers for segment in layer.segments]
        assert all(torch.equal(one, other) for one, other in zip(before, after, strict=True))
        by_name = dict(zip(names, answers, strict=True))
        assert by_name["dense"].density == 1
        assert by_name["keydiff"].kept_share < 0.6
    assert found["dense"] == found["oracle_top_k"] == found["keydiff"] == 2
    assert found["sink_local"] == 0
