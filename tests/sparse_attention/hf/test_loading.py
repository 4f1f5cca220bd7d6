"""Models in folders: with images, quantised, and on devices that compute nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from models import tokens, word_tokenizer

from sparse_attention import AttentionConfig, HuggingFaceAdapter, UserError
from sparse_attention.testing.architectures.small import small_model
from sparse_attention.testing.architectures.trial import own_greedy


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A model that reads images, too."""
    folder = tmp_path_factory.mktemp("models") / "mistral3"
    small_model("mistral3").save_pretrained(folder)
    word_tokenizer().save_pretrained(folder)
    return folder


def test_of_a_model_that_reads_images_the_language_model_is_used(folder):
    adapter = HuggingFaceAdapter.load(str(folder))
    context, question = tokens(30, 1), tokens(4, 2)
    answer = adapter.answer(
        adapter.prefill(context), question, [AttentionConfig()], max_new_tokens=4
    )[0]
    expected, _ = own_greedy(adapter.model, context + question, 4)
    assert answer.token_ids == expected[: len(answer.token_ids)]


@pytest.mark.parametrize(
    ("method", "reason"),
    [("compressed-tensors", "compressed-tensors"), ("gptq", "GPTQ"), ("nothing", "nothing")],
)
def test_quantised_weights_whose_library_is_missing_are_one_clear_error(folder, method, reason):
    file = folder / "config.json"
    before = file.read_text(encoding="utf-8")
    quantised = json.loads(before) | {"quantization_config": {"quant_method": method, "bits": 4}}
    try:
        file.write_text(json.dumps(quantised), encoding="utf-8")
        with pytest.raises(UserError, match=f"cannot load .*{reason}.* quantised"):
            HuggingFaceAdapter.load(str(folder))
    finally:
        file.write_text(before, encoding="utf-8")


def test_the_device_meta_is_refused(folder):
    with pytest.raises(UserError, match="'meta' holds no numbers"):
        HuggingFaceAdapter.load(str(folder), device="meta")
