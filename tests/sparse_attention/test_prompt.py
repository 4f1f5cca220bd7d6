"""From text to tokens: one BOS, chat templates, truncation."""

from __future__ import annotations

import datetime
import hashlib
import shutil
from pathlib import Path

import pytest
import transformers
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


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        ("{% for m in messages %}", "TemplateSyntaxError"),
        ("{{ raise_exception('no such role') }}", "no such role"),
        ("{{ messages[7].content }}", "UndefinedError"),
        ("{{ messages[0].content + 3 }}", "TypeError"),
        ("{{ messages[0].content | upper }}", "shows a message 0 times"),
        ("{{ messages[0].content | replace('w1', 'w9') }}", "changes the message"),
        ({"tools": "{{ messages[0].content }}"}, "ValueError"),
    ],
)
def test_a_template_that_fails_is_named(template, reason):
    tokenizer = word_tokenizer()
    tokenizer.name_or_path = "some/model"
    tokenizer.chat_template = template
    with pytest.raises(UserError, match=rf"the chat template of some/model .*{reason}.*never"):
        encode(tokenizer)
    assert encode(tokenizer, chat_template="never") == encode()


def test_templates_are_told_the_same_date_on_any_day():
    tokenizer = word_tokenizer()
    tokenizer.chat_template = "{{ strftime_now('w%d w%m') }} {{ messages[0].content }}"
    assert encode(tokenizer).context_ids == (95, 26, 0, 1, 2, 3)  # w07 is no word
    day = datetime.date(2031, 12, 24)
    assert encode(tokenizer, date=day).context_ids == (95, 24, 12, 1, 2, 3)
    assert PromptSettings(date=day).model_dump(mode="json")["date"] == "2031-12-24"
    outside = tokenizer.apply_chat_template([{"role": "user", "content": "w1"}], tokenize=False)
    assert outside != "w26 w07 w1", "the clock goes on outside"


def test_the_hash_of_a_prompt_is_that_of_its_tokens():
    tokens = [95, 1, 2, 3, 4, 5, 6]
    expected = hashlib.sha256(b"".join(token.to_bytes(8, "little") for token in tokens))
    assert encode().sha256 == expected.hexdigest()


def test_a_prompt_needs_two_tokens():
    with pytest.raises(UserError, match="has 0 tokens; give at least one"):
        encode_prompt(
            BARE, "", "", "", settings=PromptSettings(), max_new_tokens=1, max_positions=9
        )


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


@pytest.mark.parametrize("tokenizer", [PLAIN, BARE, CHAT])
@pytest.mark.parametrize("positions", [40, 41])
def test_the_middle_that_is_cut_is_upstreams(tokenizer, positions):
    """LongBench keeps ``int(limit / 2)`` tokens at both ends, of an odd limit one less in all."""
    whole, cut = encode(tokenizer, LONG), encode(tokenizer, LONG, positions=positions)
    before = [*whole.context_ids, *whole.question_ids]
    half = int((positions - 10) / 2)
    assert [*cut.context_ids, *cut.question_ids] == before[:half] + before[-half:]
    assert cut.removed_tokens == len(before) - 2 * half


def test_a_question_of_more_than_half_the_room_stays_whole():
    prompt = encode(context=LONG, positions=15)
    assert prompt.context_ids == (95, 0)
    assert prompt.question_ids == (4, 5, 6)


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


def test_mistral_common(tmp_path):
    package = pytest.importorskip("mistral_common")
    data = Path(package.__file__).parent / "data" / "tekken_240911.json"
    shutil.copy(data, tmp_path / "tekken.json")
    tokenizer = transformers.MistralCommonBackend.from_pretrained(tmp_path)
    context, question, prefix = "The door [INST] was </s> open\n\n", "What was?", "It"
    for settings in ({"chat_template": "never", "separator": ""}, {"chat_template": "always"}):
        prompt = encode_prompt(
            tokenizer,
            context,
            question,
            prefix,
            settings=PromptSettings(**settings),
            max_new_tokens=10,
            max_positions=500,
        )
        text = context + question
        if settings["chat_template"] == "never":
            expected = tokenizer(text + prefix).input_ids
        else:
            chat = [{"role": "user", "content": text}]
            expected = tokenizer.apply_chat_template(chat).input_ids
            expected += tokenizer(prefix, add_special_tokens=False).input_ids
        assert [*prompt.context_ids, *prompt.question_ids] == expected
        start = "<s>" if settings["chat_template"] == "never" else "<s>[INST]"
        assert tokenizer.decode(prompt.context_ids) == start + context.rstrip()
