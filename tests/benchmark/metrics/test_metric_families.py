"""Normalisation, F1, edit similarity and short answers: known values and properties."""

from __future__ import annotations

import sys
import warnings

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmark.metrics.answers import class_share, number_share
from benchmark.metrics.edit_similarity import edit_similarity
from benchmark.metrics.libraries import optional_library
from benchmark.metrics.normalize import chinese_words, normalize_chinese, normalize_english
from benchmark.metrics.overlap import (
    best_of,
    chinese_character_f1,
    chinese_word_f1,
    english_f1,
    geometric_mean,
    token_f1,
)
from benchmark.metrics.rouge_pltrdy import rouge_l
from sparse_attention.errors import UserError

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # about the missing python-Levenshtein
    from fuzzywuzzy import fuzz

words = st.lists(st.sampled_from("abcdef"), max_size=30)


@pytest.mark.parametrize(
    ("text", "normalised"),
    [
        ("U.S.A", "usa"),
        ("a-b the A.B c’s", "ab ab c’s"),
        ("The  cat,\tan apple", "cat apple"),
        ("there", "there"),
        ("", ""),
    ],
)
def test_english_normalisation(text, normalised):
    assert normalize_english(text) == normalised


def test_chinese_normalisation_deletes_the_75_marks_and_no_others():
    assert normalize_chinese("A，b 《c》.") == "ab《c"
    kept = "《〈〉·‚．"
    assert normalize_chinese(kept) == kept
    deleted = [
        code
        for code in range(0x80, 0x10000)
        if normalize_chinese(chr(code)) == "" and not chr(code).isspace()
    ]
    assert len(deleted) == 74  # and the full stop, which is ASCII
    assert {0x2019, 0x3002, 0x300B, 0xFF0C, 0xFF5B} <= set(deleted)


@given(words, words)
def test_token_f1_is_the_overlap_of_multisets(ours, theirs):
    common = sum(min(ours.count(word), theirs.count(word)) for word in set(ours))
    expected = 2 * common / (len(ours) + len(theirs)) if common else 0.0
    assert token_f1(ours, theirs) == pytest.approx(expected)
    assert token_f1(ours, theirs) == token_f1(sorted(ours), theirs)
    assert token_f1(ours, ours) == (1 if ours else 0)


def test_known_f1_values():
    assert english_f1("The answer is: Paris!", "paris") == 2 * (1 / 3) * 1 / (1 / 3 + 1)
    assert chinese_word_f1("他在北京大学学习。", "北京大学") == 0.4
    assert chinese_character_f1("北京 大学。", "北京大学") == 1.0
    segmented = (
        " ".join(chinese_words(text)) for text in ("他在北京大学学习。", "他 在 清华大学学习。")
    )
    assert rouge_l(*segmented).f == pytest.approx(0.799999995, abs=5e-10)
    assert best_of(english_f1, "paris", ["london", "paris"]) == 1.0
    assert best_of(english_f1, "paris", []) == 0.0


def test_means():
    assert geometric_mean([2.0, 8.0]) == 4.0
    assert geometric_mean([0.722222, 0.333333, 0.722222]) == pytest.approx(0.558136, abs=1e-6)
    with pytest.raises(ValueError, match="no numbers"):
        geometric_mean([])


PAIRS = [
    ("    return x + 1", "    return x - 1", 94, 94),
    ("for i in range(10):", "for j in range(len(a)):", 76, 76),
    ("self.assertEqual(foo(a, b), bar(c))", "self.assertTrue(bar(c) == foo(b, a))", 56, 68),
    ("import numpy as np", "from numpy import *", 38, 49),
    ("a" * 250 + "b", "b" + "a" * 250, 0, 100),
    (
        "public static void main(String[] args) {" * 6,
        "private static int main(String args) {" * 6,
        0,
        79,
    ),
    ("", "", 100, 100),
    ("", "a", 0, 0),
    ("  x = 1", "x = 1", 83, 83),
]


@pytest.mark.parametrize(("prediction", "reference", "blocks", "indel"), PAIRS)
def test_known_edit_similarities(prediction, reference, blocks, indel):
    assert edit_similarity(prediction, reference) == blocks / 100
    assert edit_similarity(prediction, reference, "indel") == indel / 100


@given(st.text("abc (", max_size=300), st.text("abc (", max_size=300))
def test_edit_similarity_is_that_of_the_packages(prediction, reference):
    from rapidfuzz import fuzz as rapid

    assert edit_similarity(prediction, reference) == fuzz.ratio(prediction, reference) / 100
    expected = round(rapid.ratio(prediction, reference)) / 100
    if prediction or reference:
        assert edit_similarity(prediction, reference, "indel") == expected


@given(st.text("ab", max_size=5), st.integers(100, 3000))
def test_a_prediction_too_long_to_be_alike_is_not_searched(reference, length):
    prediction = "ab" * length
    assert edit_similarity(prediction, reference) == fuzz.ratio(prediction, reference) / 100


def test_known_short_answers():
    assert number_share("There are 5 unique of 5, or 7", "5") == 2 / 3
    assert number_share("12 and 13", "12") == 0.5
    assert number_share("none", "5") == 0.0
    assert number_share("9" * 5000, "9") == 0.0
    classes = ["Food", "Food item", "Food item thing", "Other"]
    assert class_share("Food item thing", "Food item thing", classes) == 0.5
    assert class_share("Food item", "Food", classes) == 0.5
    assert class_share("Food", "Food item", classes) == 0.0


@pytest.mark.parametrize(
    "text",
    ["x" * 60_000, "the a " * 10_000, "\ud800\x00" * 10_000, "9" * 5000, "北京大学" * 6_000],
)
def test_absurd_texts_are_scored(text):
    for metric in (english_f1, chinese_character_f1, chinese_word_f1):
        assert 0 <= metric(text, "北京大学 a mat") <= 1
    reference = "x = foo(bar)[0] + 1"
    assert 0 <= edit_similarity(text, reference) <= 1
    assert 0 <= edit_similarity(text, reference, "indel") <= 1
    assert 0 <= number_share(text, "9") <= 1


def test_a_missing_library_is_named_with_the_way_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "jieba", None)
    with pytest.raises(UserError, match=r"needs the library jieba.*sparse-bench\[longbench\]"):
        optional_library("jieba", "segmentation", "longbench")
