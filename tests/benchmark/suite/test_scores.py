"""Scores of LongBench, LongBench-v2, ZeroSCROLLS and RULER, with values computed by upstream."""

from __future__ import annotations

import math
import re

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmark.longbench import LongBench
from benchmark.longbench.calculate_metrics import calculate_metrics as longbench_metrics
from benchmark.longbench.calculate_metrics import sample_scores as longbench_scores
from benchmark.longbench.tasks import TASKS
from benchmark.longbenchv2 import LongBenchV2
from benchmark.longbenchv2.calculate_metrics import calculate_metrics as v2_metrics
from benchmark.longbenchv2.calculate_metrics import extract_answer
from benchmark.ruler.calculate_metrics import averages_over_lengths
from benchmark.zero_scrolls.answers import concordance, exponential_similarity, percentage
from benchmark.zero_scrolls.calculate_metrics import calculate_metrics as zero_scrolls_metrics
from benchmark.zero_scrolls.calculate_metrics import f1
from benchmark.zero_scrolls.calculate_metrics import sample_scores as zero_scrolls_scores
from sparse_attention.errors import UserError


def frame(*rows, **columns):
    made = pd.DataFrame(rows, columns=["task", "predicted_answer", "answer"], dtype=object)
    for name, values in columns.items():
        made[name] = pd.Series(values, dtype=object)
    return made


def longbench(task, prediction, answer, classes=None, **settings):
    rows = frame((task, prediction, [answer]), all_classes=[classes])
    return longbench_scores(rows, **settings)[0]


FOOD = ["Food", "Food item", "Food item thing", "Other"]


@pytest.mark.parametrize(
    ("task", "prediction", "answer", "classes", "score"),
    [
        ("gov_report", "the cat sat on the mat.", "a cat sat on a mat. ", None, 0.727272722),
        ("gov_report", "hello world", "hello world", None, 0.999999995),
        ("gov_report", "x. \ny", "x", None, 0.666666662),
        (
            "gov_report",
            "the cat sat on the mat. The dog barked. ",
            "The dog barked at the cat. the mat was red. ",
            None,
            0.7368421,
        ),
        ("qmsum", "", "a b", None, 0.0),
        ("qmsum", "...", "a b", None, 0.0),
        ("qmsum", " ", "a b", None, 0.0),
        ("multifieldqa_zh", "他在北京大学学习。", "北京大学", None, 0.4),
        ("vcsum", "他在北京大学学习。", "他 在 清华大学学习。", None, 0.799999995),
        ("lcc", "\n# comment\n```\n  x = 1", "x = 1", None, 0.83),
        ("passage_count", "There are 5 unique of 5, or 7", "5", None, 2 / 3),
        ("passage_retrieval_en", "12 and 13", "Paragraph 12", None, 0.5),
        ("passage_retrieval_zh", "段落12，不是13", "段落12", None, 0.5),
        ("trec", "Food item thing", "Food item thing", FOOD, 0.5),
        ("trec", "Food item", "Food", FOOD, 0.5),
        ("trec", "Food", "Food item", FOOD, 0.0),
        ("trec", "ABC", "ABC", ["A", "AB", "ABC"], 0.5),
        ("triviaqa", "\n\nParis\nRome", "Paris", None, 1.0),
        ("qasper", "the Paris\nRome", "Paris", None, 2 / 3),
    ],
)
def test_longbench_vectors(task, prediction, answer, classes, score):
    assert longbench(task, prediction, answer, classes) == pytest.approx(score, abs=5e-8)


@pytest.mark.parametrize(
    ("prediction", "answer", "difflib", "indel"),
    [
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
    ],
)
def test_edit_similarity_names_its_backend(prediction, answer, difflib, indel):
    rows = frame(("lcc", prediction, [answer]))
    assert longbench_metrics(rows) == {"lcc": {"edit_similarity_difflib": difflib}}
    assert longbench_metrics(rows, "indel") == {"lcc": {"edit_similarity_indel": indel}}
    assert LongBench(edit_backend="indel").remarks("lcc") == ("lcc: edit similarity by indel.",)


def test_kvpress_strips_predictions():
    assert longbench("trec", " \nFood item", "Food item", FOOD) == 0
    assert longbench("trec", " \nFood item", "Food item", FOOD, compat="kvpress") == 1
    assert longbench("trec_e", " \nFood item", "Food item", FOOD, compat="kvpress") == 0
    assert longbench("lcc", "    x = 1", "x = 1") == 0.71
    assert longbench("lcc", "    x = 1", "x = 1", compat="kvpress") == 1
    rows = frame(("trec", " \nFood item", ["Food item"]), all_classes=[FOOD])
    assert LongBench(compat="kvpress").sample_scores(rows).tolist() == [1]


def test_longbench_e_by_length():
    rows = frame(
        ("qasper_e", "Paris", ["Paris"]),
        ("qasper_e", "Rome", ["Paris"]),
        ("qasper_e", "Paris", ["Paris"]),
        length=[3999, 4000, 7999],
    )
    assert longbench_metrics(rows) == {"qasper_e": {"f1": {"0-4k": 100, "4-8k": 50, "8k+": None}}}
    rows["length"] = [8000, None, 3]
    with pytest.raises(UserError, match="length"):
        longbench_metrics(rows)


def test_the_averages_of_a_published_row():
    """GPT-3.5-Turbo-16k in upstream's table: its six categories and their mean in English."""
    kinds = {
        "single-document QA": 39.8,
        "multi-document QA": 38.7,
        "summarization": 26.5,
        "few-shot learning": 67.1,
        "code completion": 54.1,
        "synthetic": 37.8,
    }
    rows = []
    for task in TASKS.values():
        # Of 1000 predictions of this task, as many are right as give the published percentage.
        right = round(10 * kinds[task.category])
        answer = {"retrieval_en": "Paragraph 3", "retrieval_zh": "段落3", "count": "3"}.get(
            task.metric, "right"
        )
        rows += [(task.name, answer, [answer])] * right
        rows += [(task.name, "", [answer])] * (1000 - right)
    whole = frame(*rows, all_classes=[["right", "wrong"]] * len(rows))
    averages = longbench_metrics(whole)["average"]
    assert averages["en"] == pytest.approx(44.0, abs=1e-6)
    assert averages["zh"] == pytest.approx(44.0, abs=1e-6)
    assert "average" not in longbench_metrics(whole[whole["task"] != "lcc"])


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (frame(("qaspar", "", ["x"])), "qasper"),
        (frame(("qasper", "", [])), "no reference"),
        (frame(("trec", "Food", ["Food"])), "all_classes"),
        (frame(("passage_retrieval_en", "3", ["third"])), "names no paragraph"),
    ],
)
def test_longbench_explains_bad_frames(rows, message):
    with pytest.raises(UserError, match=message):
        longbench_metrics(rows)


def test_longbench_takes_the_hubs_column():
    rows = frame(("qasper", "Paris", ["Rome", "Paris"])).rename(columns={"answer": "answers"})
    assert longbench_metrics(rows) == {"qasper": {"f1": 100.0}}


@pytest.mark.parametrize(
    ("text", "letter"),
    [
        ("The correct answer is A or The correct answer is (C)", "C"),
        ("The correct answer is: (B)", None),
        ("the correct answer is (B)", None),
        ("**The correct answer is (D)**", "D"),
        ("The correct answer is Bananas", "B"),
        ("The correct answer is (A). No wait, The correct answer is (B)", "A"),
        ("", None),
    ],
)
def test_longbenchv2_extraction(text, letter):
    assert extract_answer(text) == letter


def test_longbenchv2_groups():
    rows = frame(
        ("0shot", "The correct answer is (A)", "A"),
        ("0shot", "The correct answer is (B)", "A"),
        ("0shot", "nothing", ["A"]),
        difficulty=["easy", "hard", "unknown"],
        length=["short", "long", "vast"],
    )
    assert v2_metrics(rows)["0shot"] == {
        "overall": 33.3,
        "easy": 100.0,
        "hard": 0.0,
        "short": 100.0,
        "medium": None,
        "long": 0.0,
    }
    assert v2_metrics(rows, compensated=True)["0shot"]["hard"] == 12.5
    assert LongBenchV2(compensated=True).sample_scores(rows).tolist() == [1, 0, 0.25]


def test_longbenchv2_as_kvpress_counts():
    text = "The correct answer is (A). No wait, The correct answer is (B)"
    rows = frame(("0shot", text, "A"), ("0shot", text, "B"), difficulty="easy", length="short")
    assert LongBenchV2().sample_scores(rows).tolist() == [1, 0]
    assert LongBenchV2(compat="kvpress").sample_scores(rows).tolist() == [1, 1]


def test_space_digest():
    assert 100 * exponential_similarity("45%", "60%") == pytest.approx(35.355, abs=5e-4)
    assert exponential_similarity("0.6", "60%") == 0
    assert exponential_similarity("about 60.0% of them, not 20%", "60%") == 1
    assert exponential_similarity("9" * 5000 + "%", "60%") == 0
    with pytest.raises(UserError, match="no percentage"):
        exponential_similarity("60%", "most")


@given(st.text(alphabet="0159.%x٣", max_size=30))
def test_the_percentage_is_what_the_expression_of_upstream_finds(text):
    found = re.search(r"\d+\.?\d*%", text)
    assert percentage(text) == (float(found[0][:-1]) if found else None)


@pytest.mark.parametrize(
    ("prediction", "gold", "score"),
    [
        ("3,1,2", "1,2,3", 1 / 3),
        ("1, 2, 3", "1,2,3", 1.0),
        ("Order: 3 2 1.", "1,2,3", 0.0),
        ("3 summaries: 1,2,3", "1,2,3", 0.0),
        ("1,2", "1,2,3", 0.0),
        ("1-2-3", "1,2,3", 0.0),
        ("9" * 5000, "1,2,3", 0.0),
        ("", "1,2,3", 0.0),
        ("7", "7", 1.0),
    ],
)
def test_book_sum_sort(prediction, gold, score):
    assert concordance(prediction, gold) == pytest.approx(score)


@given(st.permutations(range(1, 8)), st.permutations(range(1, 8)))
def test_concordance_is_one_minus_the_share_of_inversions(ours, theirs):
    positions = [ours.index(number) for number in theirs]
    inversions = sum(positions[i] > positions[j] for i in range(7) for j in range(i + 1, 7))
    score = concordance(" ".join(map(str, ours)), ",".join(map(str, theirs)))
    assert score == pytest.approx(1 - inversions / 21)


def test_zero_scrolls_words_are_transliterated():
    assert f1("Café, the Zürich", "cafe zurich") == 1
    assert f1("", "") == 0


def test_zero_scrolls_rouge_is_the_geometric_mean_of_the_means():
    """Independent of the code: clipped counts and a longest common subsequence by hand."""
    rows = frame(
        ("gov_report", "the cat sat", ["the cat ran", "a dog"]),
        ("gov_report", "one two", ["one two"]),
    )
    rouge_1, rouge_2, rouge_l = (2 / 3 + 1) / 2, (1 / 2 + 1) / 2, (2 / 3 + 1) / 2
    expected = 100 * (rouge_1 * rouge_2 * rouge_l) ** (1 / 3)
    metrics = zero_scrolls_metrics(rows)
    assert metrics == {"gov_report": {"rouge": pytest.approx(expected, abs=1e-4), "samples": 2}}
    first = (2 / 3 * 1 / 2 * 2 / 3) ** (1 / 3)
    np.testing.assert_allclose(zero_scrolls_scores(rows), [first, 1])


def test_zero_scrolls_without_references_has_no_score():
    rows = frame(("qasper", "x", []), ("qasper", "y", []))
    assert zero_scrolls_metrics(rows) == {"qasper": {"samples": 2}}
    assert all(math.isnan(score) for score in zero_scrolls_scores(rows))


def test_zero_scrolls_average_needs_all_tasks():
    answers = {"quality": "(B) x", "space_digest": "50%", "book_sum_sort": "1,2"}
    from benchmark.zero_scrolls.tasks import TASKS as ZERO

    rows = [
        (task, answers.get(task, "yes it is"), [answers.get(task, "yes it is")]) for task in ZERO
    ]
    assert zero_scrolls_metrics(frame(*rows))["average"] == {"zero_scrolls": 100.0}
    assert "average" not in zero_scrolls_metrics(frame(*rows[1:]))


def test_ruler_over_lengths():
    lengths = [4096, 8192, 16384, 32768, 65536, 131072]
    averages = dict(zip(lengths, [96.5, 95.8, 95.4, 94.8, 88.4, 66.6], strict=True))
    assert averages_over_lengths(averages) == {
        "mean": 89.6,
        "increasing": 85.5,
        "decreasing": 93.7,
    }
