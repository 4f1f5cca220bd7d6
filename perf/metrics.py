"""How fast predictions are scored, on one core.

    python perf/metrics.py

CPU time of one thread.  ``short_answers_per_second``: rows of a frame with predictions of about 20
words, scored by ``calculate_metrics`` of InfiniteBench and LooGLE and by the metrics of
LongBench's tasks with short answers, all kinds equally often; the table has each kind, and
``slowest_short_answer_per_second`` the slowest.  ``rouge_l_1000_words_per_second``: pairs of texts
of 1000 words without a full stop, scored with LongBench's ROUGE-L.  ``rouge_l_speedup`` and
``rouge_lsum_speedup``: time of the packages ``rouge`` and ``rouge_score`` over ours, side by side,
on texts of 1000 words in sentences of 20.  ``megabyte_seconds``: the slowest metric on a prediction
of a megabyte.
"""

from __future__ import annotations

from common import cpu_seconds, fix_environment, ratios, report, spread

fix_environment()

import argparse
import random
import statistics
from collections.abc import Callable

import pandas as pd
from rich.console import Console
from rich.table import Table
from rouge import Rouge
from rouge_score.rouge_scorer import RougeScorer

from benchmark.infinite_bench.calculate_metrics import calculate_metrics as infinite_bench
from benchmark.loogle.calculate_metrics import calculate_metrics as loogle
from benchmark.metrics.answers import class_share, number_share
from benchmark.metrics.edit_similarity import edit_similarity
from benchmark.metrics.overlap import chinese_word_f1, english_f1
from benchmark.metrics.rouge_google import rouge_lsum
from benchmark.metrics.rouge_pltrdy import rouge_l

Work = Callable[[], object]

_WORDS = [
    "river",
    "Miller",
    "the",
    "a",
    "letter",
    "of",
    "seven",
    "bridge",
    "was",
    "blue",
    "12",
    "B",
]
_CHINESE = ["北京", "大学", "学习", "他", "在", "河", "的", "蓝色", "，", "老师"]


def texts(count: int, words: int, seed: int, vocabulary: list[str], space: str = " ") -> list[str]:
    """Random texts."""
    rng = random.Random(seed)
    return [space.join(rng.choice(vocabulary) for _ in range(words)) for _ in range(count)]


def short_answers(count: int) -> dict[str, Work]:
    """By kind, the scoring of ``count`` predictions of 20 words."""
    predictions = texts(count, 20, 1, _WORDS)
    references = texts(count, 4, 2, _WORDS)
    chinese = texts(count, 20, 3, _CHINESE, ""), texts(count, 4, 4, _CHINESE, "")
    labels = {
        "passkey": [["12"]] * count,
        "kv_retrieval": [["bridge"]] * count,
        "code_run": [["12"]] * count,
        "math_find": [["12"]] * count,
        "longdialogue_qa_eng": [["MILLER"]] * count,
        "longbook_choice_eng": [["the river", "B"]] * count,
        "code_debug": [["bridge", "B"]] * count,
        "longbook_qa_eng": [[reference] for reference in references],
    }
    frames = {
        task: pd.DataFrame({"task": task, "answer": answers, "predicted_answer": predictions})
        for task, answers in labels.items()
    }
    cloze = pd.DataFrame(
        {
            "task": "shortdep_cloze",
            "answer": '{"<mask-0>": "Miller", "<mask-1>": "blue bridge"}',
            "predicted_answer": ["{'<mask-0>': 'Miller', '<mask-1>': 'red bridge'}"] * count,
        }
    )
    classes = [f"{word} {number}" for word in _WORDS for number in range(4)]

    def pairs(metric: Callable[[str, str], float], *sides: list[str]) -> Work:
        return lambda: [metric(*pair) for pair in zip(*sides, strict=True)]

    return {
        **{task: lambda frame=frame: infinite_bench(frame) for task, frame in frames.items()},
        "shortdep_cloze": lambda: loogle(cloze),
        "F1": pairs(english_f1, predictions, references),
        "F1 zh": pairs(chinese_word_f1, *chinese),
        "count": pairs(number_share, predictions, references),
        "edit similarity": pairs(edit_similarity, predictions, references),
        "edit similarity, indel": pairs(
            lambda ours, theirs: edit_similarity(ours, theirs, "indel"), predictions, references
        ),
        "classification": pairs(
            lambda ours, theirs: class_share(ours, theirs, classes), predictions, references
        ),
    }


def long_texts(count: int, sentence: int) -> list[tuple[str, str]]:
    """Pairs of texts of 1000 words, half of them shared, in sentences of so many words."""
    rng = random.Random(5)
    vocabulary = [f"w{number}" for number in range(600)]
    pairs = []
    for _ in range(count):
        reference = [rng.choice(vocabulary) for _ in range(1000)]
        prediction = [word if rng.random() < 0.5 else rng.choice(vocabulary) for word in reference]
        pairs.append((_in_sentences(prediction, sentence), _in_sentences(reference, sentence)))
    return pairs


def _in_sentences(words: list[str], size: int) -> str:
    lines = [" ".join(words[start : start + size]) for start in range(0, len(words), size)]
    return ".\n".join(lines)


def megabytes() -> dict[str, Work]:
    """Predictions of a megabyte, against a reference of 200 lines."""
    reference = "\n".join(f"the word of w{number}. a" for number in range(200))
    words = " ".join(f"the w{number} of" for number in range(80_000))
    lines = words.replace(" of", "\n")
    return {
        "ROUGE-L, no full stop": lambda: rouge_l(words, reference),
        "ROUGE-L, short sentences": lambda: rouge_l(lines.replace("\n", "."), reference),
        "ROUGE-Lsum, short lines": lambda: rouge_lsum(lines, reference),
        "F1": lambda: english_f1(words, reference),
        "F1 zh": lambda: chinese_word_f1("".join(_CHINESE) * 50_000, reference),
        "edit similarity": lambda: edit_similarity(words, reference),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--predictions", type=int, default=2000, help="of each kind")
    parser.add_argument("--long", type=int, default=10, help="pairs of long texts")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    count = options.predictions

    kinds = short_answers(count)
    for work in kinds.values():  # imports and dictionaries are loaded before the clock runs
        work()
    rounds = range(options.rounds)
    seconds = {kind: [cpu_seconds(work) for _ in rounds] for kind, work in kinds.items()}
    table = Table("short answers", "predictions a second")
    for kind, measured in seconds.items():
        table.add_row(kind, spread([count / value for value in measured], 0))
    totals = [sum(measured) for measured in zip(*seconds.values(), strict=True)]
    rates = [count * len(kinds) / total for total in totals]
    table.add_row("all kinds", spread(rates, 0))
    Console().print(table)

    unbroken, broken = long_texts(options.long, 1000), long_texts(options.long, 20)
    package, scorer = Rouge(metrics=["rouge-l"]), RougeScorer(["rougeLsum"])
    sides: dict[str, Work] = {
        "ROUGE-L, no full stop": lambda: [rouge_l(*pair) for pair in unbroken],
        "ROUGE-L": lambda: [rouge_l(*pair) for pair in broken],
        "ROUGE-L, package": lambda: [package.get_scores(*pair) for pair in broken],
        "ROUGE-Lsum": lambda: [rouge_lsum(*pair) for pair in broken],
        "ROUGE-Lsum, package": lambda: [scorer.score(*pair[::-1]) for pair in broken],
    }
    longs: dict[str, list[float]] = {name: [] for name in sides}
    for _ in rounds:
        for name, work in sides.items():
            longs[name].append(cpu_seconds(work) / options.long)
    table = Table("1000 words", "milliseconds a pair")
    for name, measured in longs.items():
        table.add_row(name, spread([1000 * value for value in measured]))
    Console().print(table)

    bounded = {name: cpu_seconds(work) for name, work in megabytes().items()}
    table = Table("a megabyte", "seconds")
    for name, value in bounded.items():
        table.add_row(name, f"{value:.1f}")
    Console().print(table)

    report(
        short_answers_per_second=statistics.median(rates),
        slowest_short_answer_per_second=min(
            count / statistics.median(measured) for measured in seconds.values()
        ),
        rouge_l_1000_words_per_second=1 / statistics.median(longs["ROUGE-L, no full stop"]),
        rouge_l_speedup=statistics.median(ratios(longs["ROUGE-L, package"], longs["ROUGE-L"])),
        rouge_lsum_speedup=statistics.median(
            ratios(longs["ROUGE-Lsum, package"], longs["ROUGE-Lsum"])
        ),
        megabyte_seconds=max(bounded.values()),
    )


if __name__ == "__main__":
    main()
