"""What the embedded model can do: the tables of its model card.

    python -m benchmark.embedded_training.measure [--samples 40]

Share of the references that are found (RULER's metric), greedy, float32, sparse from the question
on; besides RULER's tasks the diffuse reading of ``benchmark.embedded.votes``.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from random import Random

import pandas as pd
import torch
from rich.progress import track

from benchmark.embedded import MODEL_PATH, SUPPORTED_TASKS
from benchmark.embedded_training import votes
from benchmark.executor_config import AdapterConfig
from benchmark.results.records import Prediction
from benchmark.ruler.benchmark import Ruler
from benchmark.ruler.calculate_metrics import sample_scores
from benchmark.ruler.lexicon import load_lexicon
from benchmark.run.evaluator import Evaluator
from benchmark.suite.base import Sample, frame_of
from sparse_attention.config import AttentionConfig
from sparse_attention.hf.adapter import HuggingFaceAdapter
from sparse_attention.maskers import (
    AdaptiveSampling,
    Local,
    MagicPig,
    OracleTopK,
    RandomSampling,
    Sink,
)
from sparse_attention.program import Parser, run_program

LENGTHS = (256, 512, 1024, 2048, 4096)
LENGTH = 1024
"""Tokens at which methods are compared."""
SEED = 42
VOTES = "votes"

_EDGES = (Sink(sink_size=4), Local(window_size=32))
DENSE = {"dense": AttentionConfig()}
CONFIGS = DENSE | {
    "sink 4 + local 32": AttentionConfig(_EDGES),
    "top 5%": AttentionConfig((OracleTopK(heavy_size=0.05),)),
    "top 1%": AttentionConfig((OracleTopK(heavy_size=0.01),)),
    "random 10%": AttentionConfig((*_EDGES, RandomSampling(sampling_rate=0.1))),
    "MagicPIG": AttentionConfig((*_EDGES, MagicPig(lsh_k=10, lsh_l=150))),
    "adaptive": AttentionConfig((*_EDGES, OracleTopK(heavy_size=0.02), AdaptiveSampling())),
}


def vote_samples(length: int, count: int) -> list[Sample]:
    """Questions for the favourite of one of four voters in ``length`` tokens of votes."""
    samples = []
    for number in range(count):
        rng = Random(f"{SEED}/{length}/{number}")
        drawn = votes.vote_list((length - 64) // votes.VOTE_TOKENS, 4, 4, 0.5, rng)
        voter = rng.choice(sorted(drawn.winners))
        samples.append(
            Sample(
                f"{VOTES}-{number}",
                votes.CONTEXT.format(votes=" ".join(drawn.votes)),
                votes.QUESTION.format(voter=voter),
                votes.ANSWER_PREFIX.format(voter=voter),
                (drawn.winners[voter],),
                4,
                VOTES,
            )
        )
    return samples


def score(samples: Sequence[Sample], predictions: Sequence[Prediction]) -> float:
    """Mean score; a sample without an answer stops the program."""
    frame = frame_of(list(samples))
    for prediction in predictions:
        if not prediction.answered:
            raise RuntimeError(f"{prediction.id}: {prediction.reason} {prediction.detail}")
    frame["predicted_answer"] = pd.Series([p.predicted_answer for p in predictions], dtype=object)
    return float(sample_scores(frame).mean())


class Measurement:
    """The model with its benchmark."""

    def __init__(self, samples: int) -> None:
        self._adapter = HuggingFaceAdapter.load(str(MODEL_PATH))
        self._evaluator = Evaluator(self._adapter, AdapterConfig(prefill_store_bytes=0))
        self._samples = samples

    def tasks(self) -> list[str]:
        """RULER's tasks that the model has words for, and the votes."""
        served = load_lexicon("embedded").tasks or frozenset()
        return [*SUPPORTED_TASKS, *sorted(served - {*SUPPORTED_TASKS}), VOTES]

    def run(
        self, task: str, length: int, configs: Mapping[str, AttentionConfig]
    ) -> dict[str, tuple[float, float]]:
        """Score and density by configuration."""
        ruler = Ruler(length=length, samples=self._samples, seed=SEED, lexicon="embedded")
        if task == VOTES:
            samples = vote_samples(length, self._samples)
        else:
            samples = ruler.samples(task, self._adapter.tokenizer)
        result = self._evaluator.evaluate(samples, configs, ruler.prompt, f"{task}/{length}")
        densities = {
            label: sum(p.density or 0.0 for p in found) / len(found)
            for label, found in result.predictions.items()
        }
        return {
            label: (score(samples, found), densities[label])
            for label, found in result.predictions.items()
        }


def _line(name: str, values: Sequence[float]) -> str:
    return "| " + " | ".join([name, *(f"{value:.3f}" for value in values)]) + " |"


def main(arguments: Sequence[str] | None = None) -> int:
    """Print both tables in Markdown; the exit code."""
    parser = Parser(
        prog="python -m benchmark.embedded_training.measure",
        description="Measure the embedded model: the tables of its model card.",
    )
    parser.add_argument("--samples", type=int, default=40, help="per cell (%(default)s)")
    options = parser.parse_args(arguments)
    return run_program("measure", lambda: _measure(options.samples))


def _measure(samples: int) -> int:
    torch.set_num_threads(1)
    measurement = Measurement(samples)
    tasks = measurement.tasks()
    lines = [
        _line(task, [measurement.run(task, length, DENSE)["dense"][0] for length in LENGTHS])
        for task in track(tasks, "dense by length")
    ]
    print("\n".join([f"| task | {' | '.join(map(str, LENGTHS))} |", *lines]), "\n")
    found = {
        task: measurement.run(task, LENGTH, CONFIGS) for task in track(tasks, f"{LENGTH} tokens")
    }
    print(f"| task | {' | '.join(CONFIGS)} |")
    for task in tasks:
        print(_line(task, [found[task][label][0] for label in CONFIGS]))
    print(
        _line("density", [sum(found[t][label][1] for t in tasks) / len(tasks) for label in CONFIGS])
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
