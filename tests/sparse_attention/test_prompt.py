"""From text to tokens: one BOS, chat templates, truncation."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from models import word_tokenizer

from sparse_attention.errors import UserError
from sparse_attention.prompt import PromptSettings, PromptSkipped, PromptTooLong, encode_prompt

TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}w90 {{ m.content | trim }} w91 {% endfor %}"
    "{% if add_generation_prompt %}w92 {% endif %}"
)
PLAIN, BARE, CHAT = word_tokenizer(), word_tokenizer(bos=False), word_tokenizer()
CHAT.chat_template = TEMPLATE


def encode(tokenizer=PLAIN, context="w1 w2 w3", positions=500, new=10, **settings):
    return encode_prompt(
        tokenizer,
        context,
        " w4 w5",
        "w6",
        settings=PromptSettings(**settings),
        max_new_tokens=new,
        max_positions=positions,
    )


def test_plain_prompt():
    prompt = encode()
    assert prompt.context_ids == (95, 1, 2, 3)
    assert prompt.question_ids == (4, 5, 6)
    assert prompt.removed_tokens == 0


def test_no_bos_where_the_tokenizer_adds_none():
    assert encode(BARE).context_ids == (1, 2, 3)


def test_chat_template_is_split_around_the_content_with_one_bos():
    prompt = encode(CHAT)
    assert prompt.context_ids == (95, 90, 1, 2, 3)
    assert prompt.question_ids == (4, 5, 91, 92, 6)
    assert encode(CHAT, chat_template="never") == encode()


def test_the_answer_prefix_may_end_the_users_turn():
    prompt = encode_prompt(
        CHAT,
        "w1 w2 w3",
        " w4 w5 ",
        "w6",
        settings=PromptSettings(answer_prefix_turn="user"),
        max_new_tokens=10,
        max_positions=500,
    )
    assert prompt.question_ids == (4, 5, 6, 91, 92)
    assert encode(answer_prefix_turn="user") == encode()


def test_spelled_out_special_tokens_are_text():
    prompt = encode(CHAT, context="w1 <s> </s> w2")
    assert prompt.context_ids.count(95) == 1
    assert 96 not in prompt.context_ids


def test_a_template_is_needed_if_asked_for():
    with pytest.raises(UserError, match="no chat template"):
        encode(chat_template="always")


def test_a_template_that_repeats_the_message_is_refused():
    tokenizer = word_tokenizer()
    tokenizer.chat_template = "{{ messages[0].content }} {{ messages[0].content }}"
    with pytest.raises(UserError, match="2 times"):
        encode(tokenizer)


LONG = " ".join(f"w{index}" for index in range(60))


@pytest.mark.parametrize(
    ("policy", "kept"),
    [
        ("right", list(range(26))),
        ("left", list(range(34, 60))),
        ("middle", [*range(14), *range(48, 60)]),  # 15 tokens each with BOS and question
    ],
)
def test_truncation(policy, kept):
    prompt = encode(context=LONG, positions=40, truncation=policy)
    assert prompt.context_ids == (95, *kept)
    assert prompt.removed_tokens == 34
    assert len(prompt.context_ids) + len(prompt.question_ids) + 10 == 40


def test_truncation_keeps_the_head_of_the_template():
    prompt = encode(CHAT, context=LONG, positions=40, truncation="left")
    assert prompt.context_ids[:2] == (95, 90)
    assert len(prompt.context_ids) + len(prompt.question_ids) + 10 == 40


def test_a_notice_stands_before_the_question_of_a_cut_context():
    prompt = encode_prompt(
        PLAIN,
        LONG,
        " w4 w5",
        "w6",
        truncation_notice=" w70 w71",
        settings=PromptSettings(truncation="right"),
        max_new_tokens=10,
        max_positions=40,
    )
    assert prompt.context_ids == (95, *range(24))
    assert prompt.question_ids == (70, 71, 4, 5, 6)
    assert encode().question_ids == (4, 5, 6)


def test_error_and_skip():
    with pytest.raises(PromptTooLong, match="60 tokens"):
        encode(context=LONG, positions=40, truncation="error")
    with pytest.raises(PromptSkipped):
        encode(context=LONG, positions=40, truncation="skip")
    with pytest.raises(PromptTooLong, match="question alone"):
        encode(context=LONG, positions=12)


def test_a_limit_of_the_prompt():
    prompt = encode(context=LONG, max_prompt_tokens=20)
    assert len(prompt.context_ids) + len(prompt.question_ids) == 20


@given(
    words=st.integers(1, 80),
    positions=st.integers(16, 120),
    policy=st.sampled_from(["middle", "left", "right"]),
)
def test_any_prompt_fits_and_says_what_was_removed(words, positions, policy):
    context = " ".join(f"w{index}" for index in range(words))
    prompt = encode(context=context, positions=positions, truncation=policy)
    assert len(prompt.context_ids) + len(prompt.question_ids) + 10 <= positions
    assert len(prompt.context_ids) + prompt.removed_tokens == words + 1
    assert prompt.context_ids.count(95) == 1
