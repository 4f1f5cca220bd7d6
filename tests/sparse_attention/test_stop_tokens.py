"""Which tokens end an answer."""

from __future__ import annotations

import pytest
from models import random_model
from prompt_tokenizers import trained

from sparse_attention.hf.facts import stop_tokens


@pytest.mark.parametrize(
    ("template", "configured", "expected"),
    [
        ("none", None, {"</s>"}),
        ("none", ["<s>", "<|bot|>"], {"<s>", "<|bot|>"}),
        ("trimmed", ["<s>"], {"<s>", "</s>", "<|end|>"}),
        ("tokens", None, {"</s>", "<|end|>"}),
        ("spelled", ["<s>"], {"<s>", "</s>"}),
    ],
)
def test_answers_end_where_turns_end(template, configured, expected):
    model, tokenizer = random_model("llama"), trained("gpt-2", template)
    model.generation_config.eos_token_id = configured and tokenizer.convert_tokens_to_ids(
        configured
    )
    assert stop_tokens(model, tokenizer) == {*tokenizer.convert_tokens_to_ids(list(expected))}


def test_a_template_that_knows_no_answers():
    tokenizer = trained.__wrapped__("gpt-2", "none")
    tokenizer.chat_template = "{{ raise_exception('no') if messages | length > 1 else 1 }}"
    model = random_model("llama")
    assert stop_tokens(model, tokenizer) == {tokenizer.eos_token_id}
