"""The two parts of a prompt are what the model's tokenizer gives for the joined text."""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from prompt_tokenizers import KINDS, SPECIALS, TEMPLATES, trained

from sparse_attention.prompt import PromptSettings, encode_prompt

PIECES = ["The door", " was", "open", "doors", ".", "?", ":", "\n", "\n\n", " ", "    ", "\t", "1"]
UNICODE = ["é", "e", "\u0301", "数字", "🙂", "\u2028", "\xa0", "ﬁ"]
plain_texts = st.lists(st.sampled_from(PIECES + UNICODE), max_size=8).map("".join)
any_texts = st.lists(st.sampled_from(PIECES + SPECIALS), max_size=8).map("".join)
kinds = st.sampled_from([*KINDS, "bytes"])
templates = st.sampled_from(list(TEMPLATES))


def encode(tokenizer, context, question, prefix, **settings):
    prompt = encode_prompt(
        tokenizer,
        context,
        question,
        prefix,
        settings=PromptSettings(**{"separator": ""} | settings),
        max_new_tokens=1,
        max_positions=4000,
    )
    assert prompt.context_ids
    assert prompt.question_ids
    return prompt


def ids(prompt):
    return [*prompt.context_ids, *prompt.question_ids]


def joined(tokenizer, text, prefix):
    """What the model's own tokenizer gives, but for the end of the text."""
    if tokenizer.chat_template:
        message = [{"role": "user", "content": text}]
        text = tokenizer.apply_chat_template(message, tokenize=False, add_generation_prompt=True)
        found = tokenizer(text + prefix, add_special_tokens=False).input_ids
        bos = tokenizer("a").input_ids[:1] if tokenizer.is_fast else []
        return found if found[:1] == bos else bos + found
    found = tokenizer(text + prefix).input_ids
    return found[:-1] if found[-1:] == [tokenizer.eos_token_id] else found


@given(kinds, templates, plain_texts, plain_texts, plain_texts)
def test_tokens_are_those_of_the_joined_text(kind, template, context, question, prefix):
    tokenizer = trained(kind, template)
    expected = joined(tokenizer, context + question, prefix)
    assume(len(expected) > 1)
    assert ids(encode(tokenizer, context, question, prefix)) == expected


@given(kinds, templates, any_texts, any_texts, any_texts)
def test_special_tokens_that_are_spelled_out_are_text(kind, template, context, question, prefix):
    tokenizer = trained(kind, template)
    special = {*tokenizer.convert_tokens_to_ids(SPECIALS)} - {tokenizer.unk_token_id}
    written = [token for token in joined(tokenizer, "open?", "") if token in special]
    question += "??"
    found = ids(encode(tokenizer, context, question, prefix))
    assert [token for token in found if token in special] == written
    if kind in ("gpt-2", "llama-3", "bytes"):  # nothing is lost there
        text = context + question
        if template == "none":
            text = tokenizer.decode(written) + text
        else:
            message = [{"role": "user", "content": text}]
            text = tokenizer.apply_chat_template(
                message, tokenize=False, add_generation_prompt=True
            )
            text = text if text.startswith("<s>") or kind == "bytes" else "<s>" + text
        assert tokenizer.decode(found, clean_up_tokenization_spaces=False) == text + prefix
    if template == "none" and kind in ("gpt-2", "llama-3", "always", "first", "never", "legacy"):
        own = tokenizer(context + question + prefix, split_special_tokens=True)
        assert found == own.input_ids


@given(st.sampled_from(["gpt-2", "llama-3", "bytes"]), any_texts, any_texts)
def test_the_context_has_nothing_of_the_question(kind, context, question):
    tokenizer = trained(kind)
    assume(context.strip() and question.strip())
    prompt = encode(tokenizer, context, question, "")
    text = tokenizer.decode(prompt.context_ids, clean_up_tokenization_spaces=False)
    start = "" if kind == "bytes" else "<s>"
    assert (start + context.rstrip()).startswith(text)


@pytest.mark.parametrize("template", TEMPLATES)
@pytest.mark.parametrize("kind", [*KINDS, "bytes"])
@pytest.mark.parametrize("end", ["", "\n", "\n\n", " \n"])
def test_questions_share_their_context(kind, template, end):
    tokenizer = trained(kind, template)
    begin = "" if end else "\n"
    questions = ("What was open?", "door?", "1 + 1", "(The) door", "def f(x):")
    contexts = {
        encode(tokenizer, f"The door was open.{end}", begin + question, "").context_ids
        for question in questions
    }
    assert len(contexts) == 1
    assert len(contexts.pop()) > 4


def test_white_space_before_a_word_goes_to_the_question():
    tokenizer = trained("gpt-2")
    prompt = encode(tokenizer, "The door was open.\n\n", "What?", "")
    assert tokenizer.decode(prompt.context_ids) == "<s>The door was open."
    assert tokenizer.decode(prompt.question_ids) == "\n\nWhat?"


def test_a_token_that_spans_the_border_goes_to_the_question():
    tokenizer = trained("llama-3")
    prompt = encode(tokenizer, "The door was op", "en", "")
    assert tokenizer.decode(prompt.context_ids) == "<s>The door was"
    assert tokenizer.decode(prompt.question_ids) == " open"
    whole = encode(tokenizer, "op", "en", "", separator="")
    assert ids(whole) == tokenizer("open").input_ids


def test_several_tokens_in_front_and_a_bos_without_a_name_stay():
    tokenizer = trained.__wrapped__("gpt-2", "none")
    expected = tokenizer("The door").input_ids
    tokenizer.bos_token = None
    assert ids(encode(tokenizer, "The", " door", "")) == expected
    backend = tokenizer.backend_tokenizer
    pair = [(name, backend.token_to_id(name)) for name in ("<|bot|>", "<s>")]
    backend.post_processor = type(backend.post_processor)(
        single="<|bot|> <s> $A", special_tokens=pair
    )
    assert ids(encode(tokenizer, "The", " door", "")) == [pair[0][1], *expected]
    tokenizer.chat_template = "<|bot|><s>{{ messages[0].content }}"
    assert ids(encode(tokenizer, "The", " door", "")) == [pair[0][1], *expected]
