"""What a model thinks before it answers: asked for, told apart from the answer."""

from __future__ import annotations

import pytest
from models import word_tokenizer
from prompt_tokenizers import trained
from transformers import PreTrainedTokenizerBase

from sparse_attention.errors import UserError
from sparse_attention.prompt import (
    EncodedPrompt,
    PromptSettings,
    Reply,
    check_prompt_settings,
    encode_prompt,
    read_reply,
)

TEMPLATES = {
    "switch": "{% for m in messages %}<|user|>{{ m.content }}<|end|>{% endfor %}<|bot|>"
    "{% if not enable_thinking %}<think></think>{% endif %}",
    "other switch": "{% if thinking %}Think. {% endif %}<|user|>{{ messages[0].content }}<|bot|>",
    "always": "<|user|>{{ messages[0].content }}<|end|><|bot|><think>{{ '\\n' }}",
}


def chat(template: str | None, *special: str) -> PreTrainedTokenizerBase:
    tokenizer = trained.__wrapped__("gpt-2")
    tokenizer.chat_template = template
    tokenizer.add_special_tokens({"additional_special_tokens": list(special)})
    return tokenizer


def encode(tokenizer: PreTrainedTokenizerBase, **settings: str) -> EncodedPrompt:
    return encode_prompt(
        tokenizer,
        "The door was ",
        "open?",
        "It",
        settings=PromptSettings(**settings),
        max_new_tokens=9,
        max_positions=200,
    )


@pytest.mark.parametrize(
    ("template", "thinking", "question", "begun"),
    [
        ("switch", "auto", " open?<|end|><|bot|><think></think>It", False),
        ("switch", "off", " open?<|end|><|bot|><think></think>It", False),
        ("switch", "on", " open?It<|end|><|bot|>", False),
        ("other switch", "off", " open?<|bot|>It", False),
        ("always", "auto", " open?It<|end|><|bot|><think>\n", True),
    ],
)
def test_the_template_is_told_whether_to_think(
    template: str, thinking: str, question: str, begun: bool
) -> None:
    tokenizer = chat(TEMPLATES[template])
    prompt = encode(tokenizer, thinking=thinking)
    assert tokenizer.decode(prompt.question_ids) == question
    assert prompt.opens_thinking is begun


def test_both_names_of_the_switch() -> None:
    tokenizer = chat(TEMPLATES["other switch"])
    assert tokenizer.decode(encode(tokenizer, thinking="on").context_ids).startswith("<s>Think. ")


@pytest.mark.parametrize("thinking", ["on", "off"])
@pytest.mark.parametrize(
    ("template", "chat_template", "reason"),
    [
        ("always", "auto", "does not know it: it writes the same"),
        ("switch", "never", "have no chat template"),
        (None, "auto", "have no chat template"),
    ],
)
def test_a_template_that_cannot_be_told_is_an_error(
    thinking: str, template: str | None, chat_template: str, reason: str
) -> None:
    tokenizer = chat(template and TEMPLATES[template])
    with pytest.raises(UserError, match=f"thinking '{thinking}', but .*{reason}.*'auto'"):
        check_prompt_settings(
            tokenizer, PromptSettings(thinking=thinking, chat_template=chat_template)
        )
    check_prompt_settings(tokenizer, PromptSettings(chat_template=chat_template))
    check_prompt_settings(chat(TEMPLATES["switch"]), PromptSettings(thinking=thinking))


@pytest.mark.parametrize(
    ("text", "begun", "expected"),
    [
        ("It is open.", False, None),
        ("<think>\nA door?\n</think>\n\nIt is open.", False, Reply("It is open.", "\nA door?\n")),
        ("A door?</think> It is open.", True, Reply("It is open.", "A door?")),
        ("A door?</think> It is open.", False, Reply("It is open.", "A door?")),
        ("A door? It is", True, Reply("", "A door? It is")),
        ("<think>A door? It is", False, Reply("", "A door? It is")),
        ("Yes <think>or no</think>indeed <think>a", False, Reply("Yes indeed ", "or noa")),
        ("", True, Reply("", "")),
    ],
)
def test_thoughts_are_no_answer(text: str, begun: bool, expected: Reply | None) -> None:
    tokenizer = chat(TEMPLATES["switch"])
    tokens = tokenizer(text, add_special_tokens=False).input_ids
    assert read_reply(tokenizer, tokens, begun) == expected


@pytest.mark.parametrize(
    ("special", "text", "expected"),
    [
        (["[THINK]", "[/THINK]"], "[THINK]A?[/THINK]It is</s>", Reply("It is", "A?")),
        (
            ["<|channel|>", "<|message|>", "<|end|>"],
            "<|channel|>analysis<|message|>A?<|end|><|channel|>final<|message|>It is",
            Reply("It is", "A?"),
        ),
        (
            ["<|channel|>", "<|message|>"],
            "<|channel|>final<|message|>It is",
            Reply("It is", ""),
        ),
    ],
)
def test_marks_of_special_tokens(special: list[str], text: str, expected: Reply) -> None:
    tokenizer = chat("{{ messages[0].content }}<|channel|>final<|message|>", *special)
    tokens = tokenizer(text, add_special_tokens=False).input_ids
    assert read_reply(tokenizer, tokens, begun=False) == expected


def test_a_model_without_marks_may_write_them() -> None:
    tokenizer = chat("<|user|>{{ messages[0].content }}")
    tokens = tokenizer("<think>a</think>b", add_special_tokens=False).input_ids
    assert read_reply(tokenizer, tokens, begun=False) is None
    assert read_reply(word_tokenizer(), [1, 2], begun=False) is None
