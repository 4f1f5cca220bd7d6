"""What every benchmark must keep, on the sample data that ships with the project."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sample_frames import (
    BENCHMARKS,
    SUBSETS,
    TOKENIZER,
    answered,
    numbers_in,
    perfect,
    sample_benchmark,
)

from benchmark.suite.base import by_context, frame_of
from benchmark.suite.fingerprints import samples_fingerprint
from benchmark.suite.registry import benchmark_class
from sparse_attention.errors import UserError

ABSURD = [
    "",
    " \n\t",
    "word " * 200_000,
    "x" * 1_000_000,
    "\n" * 1_000_000,
    "9" * 5000,
    "9" * 1_000_000,
    "1 " * 500_000,
    " ".join(f"word{n}" for n in range(2000)),
    "文" * 100_000,
    "{" * 100_000,
    "{'a': " * 3000,
    "\ud800\udfff lone \udc80",
    "\0" * 1000 + "A\0B",
    "def f(x):\n    return x\n" * 20_000,
    "The answer is: A B C D 12.5% 1, 2, 3",
]


def test_the_six_benchmarks_are_registered():
    six = {"infinite_bench", "longbench", "longbenchv2", "loogle", "ruler", "zero_scrolls"}
    assert six <= set(BENCHMARKS)


@pytest.mark.parametrize("name", BENCHMARKS)
def test_folder_and_sample_mark(name):
    folder = Path(sys.modules[benchmark_class(name).__module__].__file__).parent
    for file in ("README.md", "calculate_metrics.py", "create_huggingface_dataset.py"):
        assert (folder / file).is_file()
    benchmark = sample_benchmark(name)
    assert benchmark.sample_data
    assert benchmark.options["source"] == "samples"
    assert benchmark.provenance(benchmark.subsets[0], TOKENIZER)["sample_data"] is True
    assert not benchmark_class(name)().sample_data


@pytest.mark.parametrize(("name", "subset"), SUBSETS)
def test_samples(name, subset):
    samples = sample_benchmark(name).samples(subset, TOKENIZER)
    assert samples
    assert len({sample.id for sample in samples}) == len(samples)
    for sample in samples:
        for text in (sample.id, sample.context, sample.question, sample.answer_prefix):
            assert isinstance(text, str)
        assert sample.context.strip()
        assert sample.answers
        assert all(isinstance(answer, str) for answer in sample.answers)
        assert isinstance(sample.max_new_tokens, int)
        assert sample.max_new_tokens > 0
        assert sample.task == subset
        json.dumps(dict(sample.extra), allow_nan=False)
    assert [s for group in by_context(samples) for s in group] == samples
    assert sample_benchmark(name).samples(subset, TOKENIZER) == samples
    needed = {"id", "context", "question", "answer_prefix", "answer", "max_new_tokens", "task"}
    assert needed <= set(frame_of(samples).columns)


@pytest.mark.parametrize(("name", "subset"), SUBSETS)
def test_perfect_answers_get_full_marks(name, subset):
    benchmark = sample_benchmark(name)
    frame = answered(benchmark, subset, perfect(name))
    scores = benchmark.sample_scores(frame)
    assert scores.dtype == np.float64
    # A text against itself has 0.999999995 in the package ``rouge``.
    np.testing.assert_allclose(scores, np.ones(len(frame)), atol=1e-6)
    assert numbers_in(benchmark.calculate_metrics(frame))


@pytest.mark.timeout(240)
@pytest.mark.parametrize(("name", "subset"), SUBSETS)
def test_absurd_predictions_are_scored(name, subset):
    benchmark = sample_benchmark(name)
    row = answered(benchmark, subset, lambda sample: "").iloc[[0]]
    frame = pd.concat([row] * len(ABSURD), ignore_index=True)
    frame["predicted_answer"] = pd.Series(ABSURD, dtype=object)
    scores = benchmark.sample_scores(frame)
    assert scores.shape == (len(ABSURD),)
    assert ((scores >= 0) & (scores <= 1)).all()
    assert scores[0] == 0
    short = frame[frame["predicted_answer"].str.len() < 10_000]
    metrics = numbers_in(benchmark.calculate_metrics(short))
    assert all(0 <= number <= 100 for number in metrics)


@pytest.mark.parametrize(("name", "subset"), SUBSETS)
def test_missing_predictions_count_as_empty(name, subset):
    benchmark = sample_benchmark(name)
    for nothing in (None, float("nan")):
        assert not benchmark.sample_scores(answered(benchmark, subset, lambda _: nothing)).any()  # noqa: B023


@pytest.mark.parametrize("name", BENCHMARKS)
def test_metrics_do_not_depend_on_the_order(name):
    benchmark = sample_benchmark(name)
    texts = ["", "A", "The correct answer is (B)", "the 12 of 60%, 2, 1, 3", "Paragraph 4\nx = 1"]
    frames = []
    for subset in benchmark.subsets:
        frames.append(answered(benchmark, subset, perfect(name)))
        frames += [answered(benchmark, subset, lambda _, t=text: t) for text in texts]
    frame = pd.concat(frames, ignore_index=True)
    shuffled = frame.sample(frac=1, random_state=3)
    metrics = benchmark.calculate_metrics(frame)
    assert benchmark.calculate_metrics(shuffled) == metrics
    assert json.dumps(benchmark.calculate_metrics(shuffled)) == json.dumps(metrics)
    scores = pd.Series(benchmark.sample_scores(frame))
    np.testing.assert_array_equal(
        benchmark.sample_scores(shuffled), scores.loc[shuffled.index].to_numpy()
    )


@pytest.mark.parametrize("name", BENCHMARKS)
def test_lists_and_arrays_score_alike(name):
    """Columns of lists come back as arrays from parquet."""
    benchmark = sample_benchmark(name)
    for subset in benchmark.subsets:
        frame = answered(benchmark, subset, perfect(name))
        expected = benchmark.calculate_metrics(frame)
        for column in frame.columns:
            frame[column] = frame[column].map(
                lambda value: np.array(value, dtype=object) if isinstance(value, list) else value
            )
        assert benchmark.calculate_metrics(frame) == expected


@pytest.mark.parametrize("name", BENCHMARKS)
def test_frames_without_a_column_or_rows(name):
    benchmark = sample_benchmark(name)
    frame = answered(benchmark, benchmark.subsets[0], perfect(name))
    for column in ("answer", "predicted_answer"):
        with pytest.raises(UserError, match=column):
            benchmark.calculate_metrics(frame.drop(columns=column))
    assert not numbers_in(benchmark.calculate_metrics(frame.iloc[:0]))
    assert benchmark.sample_scores(frame.iloc[:0]).shape == (0,)


PRINT = """
import sys
from sample_frames import SUBSETS, TOKENIZER, answered, perfect, sample_benchmark
from benchmark.suite.fingerprints import samples_fingerprint
for name, subset in SUBSETS:
    benchmark = sample_benchmark(name)
    print(samples_fingerprint(benchmark.samples(subset, TOKENIZER)))
    print(benchmark.sample_scores(answered(benchmark, subset, perfect(name))).tolist())
    print(benchmark.sample_scores(answered(benchmark, subset, lambda s: s.context[:300])).tolist())
    print(benchmark.calculate_metrics(answered(benchmark, subset, lambda s: s.context[-300:])))
"""


def test_nothing_depends_on_the_process():
    outputs = set()
    for seed in ("0", "4321"):
        environment = os.environ | {
            "PYTHONHASHSEED": seed,
            "PYTHONPATH": os.pathsep.join(sys.path),
        }
        command = [sys.executable, "-c", PRINT]
        outputs.add(subprocess.check_output(command, env=environment, text=True))
    assert len(outputs) == 1


@pytest.mark.parametrize("name", BENCHMARKS)
def test_unknown_names(name):
    benchmark = sample_benchmark(name)
    with pytest.raises(UserError, match="Valid"):
        benchmark.samples("no such subset", TOKENIZER)
    with pytest.raises(UserError, match="option"):
        sample_benchmark(name, no_such_option=1)
    with pytest.raises(UserError, match="no/such/place"):
        sample_benchmark(name, source="/no/such/place").samples(benchmark.subsets[0], TOKENIZER)
    assert samples_fingerprint(benchmark.samples(benchmark.subsets[0], TOKENIZER))
