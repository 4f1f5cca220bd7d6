"""What every benchmark must keep, as a test suite for the tests of any package; it needs pytest.

A class of tests that derives from ``BenchmarkContract`` and names benchmarks runs the whole suite
on the sample data that ships with them::

    class TestMine(BenchmarkContract):
        names = ("mine",)
"""

from __future__ import annotations

import inspect
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import pytest
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from benchmark.embedded import MODEL_PATH
from benchmark.suite.base import Benchmark, Sample, by_context, frame_of
from benchmark.suite.fingerprints import samples_fingerprint
from benchmark.suite.registry import benchmark_class, get_benchmark
from sparse_attention.errors import UserError

ABSURD = [
    "",
    " \n\t",
    "word " * 8000,
    "x" * 40_000,
    "\n" * 40_000,
    "9" * 5000,
    "9" * 40_000,
    "1 " * 20_000,
    " ".join(f"word{n}" for n in range(2000)),
    "文" * 20_000,
    "{" * 20_000,
    "{'a': " * 3000,
    "\ud800\udfff lone \udc80",
    "\0" * 1000 + "A\0B",
    "def f(x):\n    return x\n" * 4000,
    "The answer is: A B C D 12.5% 1, 2, 3",
]
"""Answers that no scorer expects."""

_PROGRAM = """
import importlib
import sys
from functools import reduce

module, name = sys.argv[1:]
suite = reduce(getattr, name.split("."), importlib.import_module(module))()
for line in suite.everything():
    print(line)
"""


@cache
def tokenizer() -> PreTrainedTokenizerBase:
    """That of the model that ships with the project, which samples are read with."""
    return AutoTokenizer.from_pretrained(MODEL_PATH)


class BenchmarkContract:
    """The suite; every test runs on every benchmark, most on each of its subsets."""

    names: ClassVar[Sequence[str]]
    """Registered names, by an entry point or ``register_benchmark``."""
    options: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    """By name: options beside ``source``, for small samples."""
    _known: ClassVar[dict[str, dict[tuple[str, str], list[Sample]]]] = {}

    def perfect(self, name: str, sample: Sample) -> str:
        """An answer that deserves full marks; the first reference unless a subclass knows more."""
        return sample.answers[0]

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Called by pytest: a test that asks for a subset runs on all of them."""
        if "subset" in metafunc.fixturenames:
            metafunc.parametrize(("name", "subset"), self.subsets())
        elif "name" in metafunc.fixturenames:
            metafunc.parametrize("name", self.names)

    def subsets(self) -> list[tuple[str, str]]:
        """Benchmark and subset of all."""
        return [(name, subset) for name in self.names for subset in benchmark_class(name).subsets]

    def benchmark(self, name: str, **options: Any) -> Benchmark:
        """A benchmark with its sample data."""
        return get_benchmark(name, **{"source": "samples", **self.options.get(name, {}), **options})

    def samples(self, name: str, subset: str) -> list[Sample]:
        """The sample data of a subset, which is read once."""
        known = self._known.setdefault(type(self).__qualname__, {})
        if (name, subset) not in known:
            known[name, subset] = self.benchmark(name).samples(subset, tokenizer())
        return known[name, subset]

    def answered(self, name: str, subset: str, answer: Callable[[Sample], Any]) -> pd.DataFrame:
        """The frame of a subset with ``answer(sample)`` as the predictions."""
        samples = self.samples(name, subset)
        frame = frame_of(samples)
        frame["predicted_answer"] = pd.Series([answer(sample) for sample in samples], dtype=object)
        return frame

    def perfect_frame(self, name: str, subset: str) -> pd.DataFrame:
        """The frame of a subset with answers that deserve full marks."""
        return self.answered(name, subset, lambda sample: self.perfect(name, sample))

    def everything(self) -> list[str]:
        """All samples and scores, to be compared between processes."""
        lines = []
        for name, subset in self.subsets():
            benchmark = self.benchmark(name)
            perfect = self.perfect_frame(name, subset)
            start = self.answered(name, subset, lambda sample: sample.context[:300])
            end = self.answered(name, subset, lambda sample: sample.context[-300:])
            lines += [
                samples_fingerprint(self.samples(name, subset)),
                str(benchmark.sample_scores(perfect).tolist()),
                str(benchmark.sample_scores(start).tolist()),
                str(benchmark.calculate_metrics(end)),
            ]
        return lines

    def test_folder_and_sample_mark(self, name: str) -> None:
        """The usual files are there, and results on sample data say that they are."""
        folder = Path(inspect.getfile(benchmark_class(name))).parent
        for file in ("README.md", "calculate_metrics.py", "create_huggingface_dataset.py"):
            assert (folder / file).is_file()
        benchmark = self.benchmark(name)
        assert benchmark.sample_data
        assert benchmark.options["source"] == "samples"
        assert benchmark.provenance(benchmark.subsets[0], tokenizer())["sample_data"] is True
        assert not benchmark_class(name)().sample_data

    def test_samples(self, name: str, subset: str) -> None:
        """Samples are complete, of the right types, distinct, and the same each time."""
        samples = self.samples(name, subset)
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
        assert self.benchmark(name).samples(subset, tokenizer()) == samples
        needed = {"id", "context", "question", "answer_prefix", "answer", "max_new_tokens", "task"}
        assert needed <= set(frame_of(samples).columns)

    def test_perfect_answers_get_full_marks(self, name: str, subset: str) -> None:
        """Each scores 1, and the official metric gives numbers."""
        benchmark = self.benchmark(name)
        frame = self.perfect_frame(name, subset)
        scores = benchmark.sample_scores(frame)
        assert scores.dtype == np.float64
        # A text against itself has 0.999999995 in the package ``rouge``.
        np.testing.assert_allclose(scores, np.ones(len(frame)), atol=1e-6)
        assert numbers_in(benchmark.calculate_metrics(frame))

    @pytest.mark.timeout(240)
    def test_absurd_predictions_are_scored(self, name: str, subset: str) -> None:
        """No answer stops the scorer, or takes it minutes; scores stay in their range."""
        benchmark = self.benchmark(name)
        row = self.answered(name, subset, lambda sample: "").iloc[[0]]
        frame = pd.concat([row] * len(ABSURD), ignore_index=True)
        frame["predicted_answer"] = pd.Series(ABSURD, dtype=object)
        scores = benchmark.sample_scores(frame)
        assert scores.shape == (len(ABSURD),)
        assert ((scores >= 0) & (scores <= 1)).all()
        assert scores[0] == 0
        short = frame[frame["predicted_answer"].str.len() < 10_000]
        metrics = numbers_in(benchmark.calculate_metrics(short))
        assert all(0 <= number <= 100 for number in metrics)

    def test_missing_predictions_count_as_empty(self, name: str, subset: str) -> None:
        """They score 0."""
        benchmark = self.benchmark(name)
        for nothing in (None, float("nan")):
            frame = self.answered(name, subset, lambda _, value=nothing: value)  # type: ignore[misc]
            assert not benchmark.sample_scores(frame).any()

    def test_metrics_do_not_depend_on_the_order(self, name: str) -> None:
        """Shuffled rows have the same metrics to the bit, and their own scores."""
        benchmark = self.benchmark(name)
        texts = [
            "",
            "A",
            "The correct answer is (B)",
            "the 12 of 60%, 2, 1, 3",
            "Paragraph 4\nx = 1",
        ]
        frames = []
        for subset in benchmark.subsets:
            frames.append(self.perfect_frame(name, subset))
            for text in texts:
                frames.append(self.answered(name, subset, lambda _, t=text: t))  # type: ignore[misc]  # noqa: PERF401
        frame = pd.concat(frames, ignore_index=True)
        shuffled = frame.sample(frac=1, random_state=3)
        metrics = benchmark.calculate_metrics(frame)
        assert benchmark.calculate_metrics(shuffled) == metrics
        assert json.dumps(benchmark.calculate_metrics(shuffled)) == json.dumps(metrics)
        scores = pd.Series(benchmark.sample_scores(frame))
        np.testing.assert_array_equal(
            benchmark.sample_scores(shuffled), scores.loc[shuffled.index].to_numpy()
        )

    def test_lists_and_arrays_score_alike(self, name: str) -> None:
        """Columns of lists come back as arrays from parquet."""
        benchmark = self.benchmark(name)
        for subset in benchmark.subsets:
            frame = self.perfect_frame(name, subset)
            expected = benchmark.calculate_metrics(frame)
            for column in frame.columns:
                frame[column] = frame[column].map(
                    lambda value: (
                        np.array(value, dtype=object) if isinstance(value, list) else value
                    )
                )
            assert benchmark.calculate_metrics(frame) == expected

    def test_frames_without_a_column_or_rows(self, name: str) -> None:
        """A missing column is an error that names it; no rows have no scores."""
        benchmark = self.benchmark(name)
        frame = self.perfect_frame(name, benchmark.subsets[0])
        for column in ("answer", "predicted_answer"):
            with pytest.raises(UserError, match=column):
                benchmark.calculate_metrics(frame.drop(columns=column))
        assert not numbers_in(benchmark.calculate_metrics(frame.iloc[:0]))
        assert benchmark.sample_scores(frame.iloc[:0]).shape == (0,)

    def test_nothing_depends_on_the_process(self) -> None:
        """A process with another hash seed has the same samples, scores and metrics."""
        environment = os.environ | {
            "PYTHONHASHSEED": "4321",
            "PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path),
        }
        cls = type(self)
        command = [sys.executable, "-c", _PROGRAM, cls.__module__, cls.__qualname__]
        there = subprocess.check_output(command, env=environment, text=True).splitlines()
        assert there == self.everything()
        assert len(there) == 4 * len(self.subsets()) > 0

    def test_unknown_names(self, name: str) -> None:
        """An unknown subset, option or source is an error that says what is valid."""
        benchmark = self.benchmark(name)
        subset = benchmark.subsets[0]
        with pytest.raises(UserError, match="Valid"):
            benchmark.samples("no such subset", tokenizer())
        with pytest.raises(UserError, match="option"):
            self.benchmark(name, no_such_option=1)
        with pytest.raises(UserError, match="no/such/place"):
            self.benchmark(name, source="/no/such/place").samples(subset, tokenizer())
        assert samples_fingerprint(benchmark.samples(subset, tokenizer()))


def numbers_in(value: Any) -> list[float]:
    """All numbers of a nested document that JSON can hold."""
    document = json.loads(json.dumps(value, allow_nan=False))
    if isinstance(document, dict):
        return [number for inner in document.values() for number in numbers_in(inner)]
    return [document] if isinstance(document, int | float) else []
