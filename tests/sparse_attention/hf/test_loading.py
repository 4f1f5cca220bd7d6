"""Models in folders: with images, quantised, and on devices that compute nothing."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from models import tokens, word_tokenizer
from safetensors.torch import load_file, save_file

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


@pytest.fixture(scope="module")
def sound(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "llama"
    small_model("llama").save_pretrained(folder)
    word_tokenizer().save_pretrained(folder)
    return folder


LAST = "model.layers.1.mlp.down_proj.weight"


def weights(change: Callable[[dict], object]) -> Callable[[Path], object]:
    def rewrite(folder: Path) -> None:
        file = folder / "model.safetensors"
        held = load_file(file)
        change(held)
        save_file(held, file, {"format": "pt"})

    return rewrite


def settings(**values: object) -> Callable[[Path], object]:
    def rewrite(folder: Path) -> None:
        file = folder / "config.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | values))

    return rewrite


def text(name: str, content: str) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_text(content)


def numbered(number: int) -> Callable[[Path], object]:
    """The last token of the vocabulary has another number."""

    def rewrite(folder: Path) -> None:
        file = folder / "tokenizer.json"
        document = json.loads(file.read_text())
        words = document["model"]["vocab"]
        words[list(words)[-1]] = number
        file.write_text(json.dumps(document))

    return rewrite


DAMAGES = {
    "a weight is missing": (weights(lambda held: held.pop(LAST)), f"lack 1 weights .*{LAST}"),
    "a weight has another name": (
        weights(lambda held: held.update(other=held.pop(LAST))),
        f"lack 1 weights of it .{LAST}.",
    ),
    "a layer too few": (settings(num_hidden_layers=1), "weights of layers that it has not"),
    "a layer too many": (settings(num_hidden_layers=5), "lack 9 weights"),
    "another shape": (
        weights(lambda held: held.update({LAST: held[LAST][:-1].clone()})),
        "weights have other shapes than its config.json says",
    ),
    "no weights": (text("model.safetensors", ""), "SafetensorError"),
    "layers without number": (settings(num_hidden_layers=10**9), "more than the 10000"),
    "a text for a number": (settings(num_hidden_layers="x"), "num_hidden_layers"),
    "a number for a list": (settings(architectures=3), "architectures = 3 is no list"),
    "no function": (settings(hidden_act="x"), "KeyError: 'x'"),
    "a configuration without fields": (text("config.json", "[]"), "cannot be read"),
    "a configuration without end": (text("config.json", "[" * 10**5), "RecursionError"),
    "a tokenizer without parts": (text("tokenizer.json", "{}"), "no tokenizer for model"),
    "a token far away": (numbered(2**31), "has the number 2147483648"),
    "settings of generation": (text("generation_config.json", "[]"), "cannot load a causal"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_of_a_damaged_folder_nothing_is_guessed(damage, sound, tmp_path):
    change, problem = DAMAGES[damage]
    shutil.copytree(sound, tmp_path / "model")
    change(tmp_path / "model")
    with pytest.raises(UserError, match=problem) as raised:
        HuggingFaceAdapter.load(str(tmp_path / "model"))
    assert "\n" not in str(raised.value)


def test_a_token_without_embedding_is_named(sound):
    adapter = HuggingFaceAdapter.load(str(sound))
    with pytest.raises(UserError, match="no embedding for token 5000 of the prompt, only for 97"):
        adapter.prefill([1, 5000, 2])
    with pytest.raises(UserError, match="no embedding for token -1"):
        adapter.answer(adapter.prefill([1]), [2, -1], [AttentionConfig()], max_new_tokens=1)
