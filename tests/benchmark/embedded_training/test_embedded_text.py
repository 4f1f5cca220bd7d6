import re
from collections import Counter
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmark.embedded import vocabulary
from benchmark.embedded_training.questions import (
    ask_chain,
    ask_number,
    ask_numbers,
    ask_votes,
    prompts,
)
from benchmark.embedded_training.tokenizer import PUNCTUATION, build_tokenizer, count_tokens
from benchmark.embedded_training.tokenizer import vocabulary_pieces as pieces
from benchmark.embedded_training.training_text import LABELS, training_sequence
from benchmark.embedded_training.votes import vote_list

TOKENIZER = build_tokenizer(8192)
LENGTHS = (48, 64, 96, 128, 192, 256, 512, 1024, 2048, 4096)


def ids_of(text):
    return TOKENIZER(text, add_special_tokens=False)["input_ids"]


def test_sampled_word_classes_share_no_word():
    classes = (
        vocabulary.KEYS,
        vocabulary.NOUNS,
        vocabulary.ADJECTIVES,
        vocabulary.VERBS,
        vocabulary.ADVERBS,
        vocabulary.PREPOSITIONS,
    )
    words = Counter(word for group in classes for word in group)
    assert [word for word, times in words.items() if times > 1] == []
    assert not {*vocabulary.KEYS} & {*vocabulary.TEMPLATE_WORDS}
    assert {*vocabulary.LIST_WORDS} <= {*vocabulary.NOUNS}


def test_there_are_keys_for_a_context_of_needles_only():
    longest = 4096
    needle = count_tokens(" The magic number for apple is 4712.")
    assert len(vocabulary.KEYS) > longest // needle


def test_every_piece_is_one_token():
    for piece in (*pieces(), *PUNCTUATION):
        assert len(ids_of(piece)) == count_tokens(piece) == 1, piece


@pytest.mark.parametrize(
    "key", [key for key in prompts().strings if key.split(".")[0] in ("niah", "vt", "noise", "fwe")]
)
def test_wording_of_the_benchmark_is_in_the_vocabulary(key):
    fields = dict.fromkeys(re.findall(r"{(\w+)}", prompts().strings[key]), "apple")
    text = prompts().text(key, **{**fields, "type": "number", "types": "numbers"})
    known = {*pieces(), *PUNCTUATION, "...", " "}
    tokens = [TOKENIZER.decode([token]) for token in ids_of(text.replace("...", "."))]
    # A field at the start of a string is a word without its space, as nowhere in a prompt.
    assert [token for token in tokens if token not in known] in ([], list("apple"))


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=200))
def test_tokenizer_restores_any_text(text):
    assert TOKENIZER.decode(ids_of(text)) == text


@given(st.integers(0, 9999))
def test_a_number_is_two_tokens(value):
    assert len(ids_of(f" {value:04d}")) == 2


@given(st.integers(0, 2**32))
def test_filler_and_numbers(seed):
    rng = Random(seed)
    sentence = vocabulary.filler_sentence(rng)
    assert sentence.endswith(".")
    assert not sentence.startswith(" ")
    assert len(ids_of(" " + sentence)) == count_tokens(" " + sentence) <= 13
    assert re.fullmatch(r"\d{4}", vocabulary.number(rng))


def test_bos_is_put_in_front_once():
    ids = TOKENIZER("Text: The old river.")["input_ids"]
    assert ids[0] == TOKENIZER.bos_token_id
    assert ids[1:] == ids_of("Text: The old river.")
    assert TOKENIZER.chat_template is None


@pytest.mark.parametrize("length", LENGTHS)
def test_training_sequences_fit_and_are_known_text(length):
    rng = Random(length)
    words = {TOKENIZER.convert_tokens_to_ids(t) for t in TOKENIZER.get_vocab() if len(t) > 1}
    words |= {*ids_of(".,?:\n"), *ids_of("A")}
    for _ in range(max(10, 4000 // length)):
        sequence = training_sequence(length, rng)
        parts = [part for q in sequence.questions for segment in q.segments for part in segment]
        text = sequence.context + "".join(parts)
        ids = ids_of(text)
        assert len(ids) == count_tokens(text)
        assert 0.8 * length < len(ids) <= length
        assert {*ids} <= words
        assert sequence.context.endswith("\n")
        assert {question.task for question in sequence.questions} <= {*LABELS}


@pytest.mark.parametrize("length", [192, 512, 1024])
def test_answers_follow_from_the_context(length):
    rng = Random(length)
    seen = Counter()
    for _ in range(150):
        sequence = training_sequence(length, rng)
        numbers = dict(re.findall(r"number for (\w+) is (\d{4})\.", sequence.context))
        copies = dict(re.findall(r"Copy (\w+) to (\w+)\.", sequence.context))
        starts = dict(re.findall(r"Store (\d{4}) in (\w+)\.", sequence.context))
        choices = Counter(re.findall(r"(\w+) chose (\w+)\.", sequence.context))
        for question in sequence.questions:
            seen[question.task] += 1
            text = "".join(prompt + answer for prompt, answer in question.segments)
            if question.task in ("single", "multi_key", "multi_query"):
                pairs = re.findall(r"for (\w+) is (\d{4})", text)
                assert pairs
                assert all(numbers[key] == value for key, value in pairs)
            elif question.task == "variables":
                value = re.search(r"hold the value (\d{4})", text)[1]
                chain = [starts[value]]
                while chain[-1] in copies:
                    chain.append(copies[chain[-1]])
                assert question.segments[0][1] == f" {', '.join(chain)}.\n"
            elif question.task == "votes":
                voter, winner = re.search(r"often (\w+) chose (\w+)\.", text).groups()
                votes = {c: n for (v, c), n in choices.items() if v == voter}
                assert all(votes[winner] > n for c, n in votes.items() if c != winner)
    assert {"multi_key", "multi_query", "variables", "votes"} <= {*seen}


def test_sequences_depend_on_the_seed_alone():
    first = [training_sequence(256, Random(seed)) for seed in range(5)]
    assert first == [training_sequence(256, Random(seed)) for seed in range(5)]
    assert len({sequence.context for sequence in first}) == 5


@given(
    st.integers(8, 400), st.integers(1, 6), st.integers(2, 6), st.floats(0.2, 0.9), st.integers()
)
def test_votes_have_a_clear_winner(size, voters, choices, share, seed):
    drawn = vote_list(size, voters, choices, share, Random(seed))
    counts = Counter(tuple(vote.rstrip(".").split(" chose ")) for vote in drawn.votes)
    assert sum(counts.values()) == size
    assert len(drawn.winners) == voters
    for voter, winner in drawn.winners.items():
        others = [n for (v, choice), n in counts.items() if v == voter and choice != winner]
        assert all(counts[voter, winner] > other for other in others)


def test_questions_end_where_the_answer_starts():
    questions = (
        ask_number("apple", "0042", "single"),
        ask_numbers([("apple", "0042"), ("river", "1234")]),
        ask_chain(["apple", "river"], "0042"),
        ask_votes("apple", "street"),
    )
    for question in questions:
        ((prompt, answer),) = question.segments
        assert prompt.startswith("Question: ")
        assert not prompt.endswith(" ")
        assert re.fullmatch(r" [\w, ]+\.\n", answer)
