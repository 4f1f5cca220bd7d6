"""Both variants of ROUGE against the packages that upstream uses."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rouge import Rouge
from rouge_score.rouge_scorer import RougeScorer

from benchmark.metrics import rouge_google, rouge_pltrdy
from benchmark.metrics.rouge import RougeScore

words = st.sampled_from(["the", "The", "cat", "dog", "sat", "on", "a", "mat", "x1", "é", "-", "'s"])
marks = st.sampled_from([" ", " ", " ", "\n", ". ", ".", ".\n", "  ", "\t", ".. "])
texts = st.lists(st.tuples(words, marks), max_size=40).map(
    lambda pairs: "".join(word + mark for word, mark in pairs)
)


@given(texts, texts)
def test_pltrdy_is_the_package_to_the_last_bit(prediction, reference):
    ours = [rouge_pltrdy.rouge_n(prediction, reference, n) for n in (1, 2)]
    ours.append(rouge_pltrdy.rouge_l(prediction, reference))
    try:
        theirs = Rouge().get_scores(prediction, reference)[0]
    except ValueError:
        assert not prediction.strip(".") or not reference.strip(".")
        assert ours == [RougeScore(0, 0, 0)] * 3
        return
    expected = [theirs[name] for name in ("rouge-1", "rouge-2", "rouge-l")]
    assert ours == [RougeScore(scores["p"], scores["r"], scores["f"]) for scores in expected]


@given(texts, texts)
def test_google_is_the_package_to_the_last_bit(prediction, reference):
    theirs = RougeScorer(["rouge1", "rouge2", "rougeL", "rougeLsum"]).score(reference, prediction)
    assert rouge_google.rouge_n(prediction, reference, 1) == theirs["rouge1"]
    assert rouge_google.rouge_n(prediction, reference, 2) == theirs["rouge2"]
    assert rouge_google.rouge_l(prediction, reference) == theirs["rougeL"]
    assert rouge_google.rouge_lsum(prediction, reference) == theirs["rougeLsum"]


@pytest.mark.parametrize(
    ("prediction", "reference", "value"),
    [
        ("the cat sat on the mat.", "a cat sat on a mat. ", 0.727272722),
        ("hello world", "hello world", 0.999999995),
        ("x. \ny", "x", 0.666666662),
        (
            "the cat sat on the mat. The dog barked. ",
            "The dog barked at the cat. the mat was red. ",
            0.7368421,
        ),
        ("", "a b", 0.0),
        ("...", "a b", 0.0),
        (" ", "a b", 0.0),
    ],
)
def test_known_values_of_pltrdy(prediction, reference, value):
    assert rouge_pltrdy.rouge_l(prediction, reference).f == pytest.approx(value, abs=5e-8)


def test_recall_and_precision_of_a_known_pair():
    pair = ("the cat sat on the mat.", "a cat sat on a mat. ")
    assert rouge_pltrdy.rouge_n(*pair, 1)[:2] == (0.8, 2 / 3)
    assert rouge_pltrdy.rouge_n(*pair, 2).f == pytest.approx(0.363636359, abs=5e-10)


def test_long_sentences_have_no_limit():
    text = " ".join(f"w{number % 700}" for number in range(3000))
    other = " ".join(f"w{number * 7 % 700}" for number in range(3000))
    assert rouge_pltrdy.rouge_l(text, text).f == pytest.approx(1, abs=1e-8)
    assert 0 < rouge_pltrdy.rouge_l(text, other).f < 1
    assert rouge_google.rouge_l(text, text).f == 1
    assert 0 < rouge_google.rouge_lsum(text, other).f < 1


@pytest.mark.parametrize(
    "prediction",
    [
        "word " * 12_000,
        "a. " * 20_000,
        "a\n" * 30_000,
        " ".join(f"w{number}." for number in range(8_000)),
        "\n".join(f"the w{number} of" for number in range(5_000)),
        ". ".join(f"the w{number} of" for number in range(5_000)),
        "\ud800\x00" * 20_000,
        ". " * 30_000,
    ],
    ids=lambda text: re.sub(r"[^\w ]", "?", text[:12]),
)
def test_a_very_long_text_is_scored(prediction):
    reference = "\n".join(f"the word of w{number}. a" for number in range(20))
    for module in (rouge_pltrdy, rouge_google):
        for score in (
            module.rouge_n(prediction, reference, 2),
            module.rouge_l(prediction, reference),
        ):
            assert all(0 <= value <= 1 for value in score)
    assert 0 <= rouge_google.rouge_lsum(prediction, reference).f <= 1
