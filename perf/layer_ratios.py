"""A search over the ratios of single layers, against one ratio for all of them.

    python perf/layer_ratios.py
    python perf/layer_ratios.py --model smollm2 --press keydiff --groups 5 --candidates 24

The model answers RULER at 1024 tokens with contexts compressed to a quarter in the mean.  Groups
of neighbouring layers have one ratio each, and every combination of ratios in steps of 1/8 with
this mean is a candidate, or so many drawn from them: all 35 for the embedded model, whose 4 layers
are each a group.  They are answered as rows of shared prefills.  The best on the tuning samples (by
score, then by attention error) is compared with the uniform ratio on samples that were not tuned
on, paired by sample.
"""

from __future__ import annotations

from common import fix_environment, report

fix_environment()

import argparse
import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from random import Random

import torch
from rich.console import Console
from rich.table import Table

from benchmark.embedded import MODEL_NAME, SUPPORTED_TASKS
from benchmark.executor_config import AdapterConfig
from benchmark.named_models import NAMED_MODELS, named_model
from benchmark.results.metrics import score_predictions
from benchmark.results.records import Prediction
from benchmark.results.statistics import mean_interval, paired_difference
from benchmark.run.evaluator import Evaluator
from benchmark.suite.base import Benchmark, Sample
from benchmark.suite.registry import get_benchmark
from sparse_attention import AttentionConfig, HuggingFaceAdapter, make_config
from sparse_attention.presses import LayerRatios

STEPS = 8
NEEDLES = ("niah_single_2", "niah_multikey_1")
NEEDLE_TOKENS = 16
"""Of an answer of SmolLM2: a number has ten, and where it is lost the model goes on for long."""


def candidates(
    press: str, layers: int, groups: int, ratio: float, count: int | None
) -> dict[str, AttentionConfig]:
    """Combinations of the ratios of groups with this mean, by name, the uniform one first."""
    (scorer,) = make_config(press).presses
    total = round(ratio * STEPS * groups)
    every = itertools.product(range(STEPS), repeat=groups)
    fitting = [parts for parts in every if sum(parts) == total]
    uniform = (round(ratio * STEPS),) * groups
    others = [parts for parts in fitting if parts != uniform]
    if count is not None:
        others = Random(0).sample(others, min(count - 1, len(others)))
    found = {}
    for parts in [uniform, *others]:
        ratios = tuple(part / STEPS for part in parts)
        spread = tuple(ratios[layer * groups // layers] for layer in range(layers))
        found[" ".join(map(str, ratios))] = AttentionConfig((scorer, LayerRatios(ratios=spread)))
    return found


def answer(
    evaluator: Evaluator,
    benchmark: Benchmark,
    samples: Sequence[Sample],
    configs: Mapping[str, AttentionConfig],
) -> dict[str, list[Prediction]]:
    """Scored answers, by configuration in the order of the samples."""
    settings = AdapterConfig().prompt_for(benchmark.prompt)
    result = evaluator.evaluate(samples, configs, settings)
    scored = {}
    for label, predictions in result.predictions.items():
        by_id, _ = score_predictions(benchmark, samples, {one.id: one for one in predictions})
        scored[label] = [by_id[sample.id] for sample in samples]
    return scored


def mean(values: Sequence[float | None]) -> float:
    """Of numbers that are all there."""
    known = [value for value in values if value is not None]
    assert len(known) == len(values)
    return math.fsum(known) / len(known)


def main() -> None:
    """Search and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", choices=NAMED_MODELS, default=MODEL_NAME)
    parser.add_argument("--press", default="observed_attention", help="config type of one press")
    parser.add_argument("--ratio", type=float, default=0.75, help="a multiple of 1/8")
    parser.add_argument("--groups", type=int, help="of layers (default: each is one)")
    parser.add_argument("--candidates", type=int, help="so many of them (default: all)")
    parser.add_argument(
        "--tasks", nargs="+", help="of RULER (default: those that the model can do)"
    )
    parser.add_argument("--tuning", type=int, default=8, help="samples of each task to tune on")
    parser.add_argument("--held-out", type=int, default=24, help="samples of each task to judge by")
    options = parser.parse_args()
    torch.set_num_threads(1)

    adapter = HuggingFaceAdapter.load(str(named_model(options.model)))
    evaluator = Evaluator(adapter, AdapterConfig())
    count = options.tuning + options.held_out
    embedded = options.model == MODEL_NAME
    lexicon = {"lexicon": "embedded"} if embedded else {}
    benchmark = get_benchmark("ruler", length=1024, samples=count, **lexicon)
    tuning: list[Sample] = []
    held_out: list[Sample] = []
    for task in options.tasks or (SUPPORTED_TASKS if embedded else NEEDLES):
        samples = benchmark.samples(task, adapter.tokenizer)
        if not embedded:
            samples = [replace(sample, max_new_tokens=NEEDLE_TOKENS) for sample in samples]
        tuning += samples[: options.tuning]
        held_out += samples[options.tuning : count]

    groups = options.groups or adapter.layers
    configs = candidates(options.press, adapter.layers, groups, options.ratio, options.candidates)
    uniform = next(iter(configs))
    tuned = answer(evaluator, benchmark, tuning, configs)
    order = sorted(
        configs,
        key=lambda name: (
            -mean([one.score for one in tuned[name]]),
            mean([one.attention_error for one in tuned[name]]),
        ),
    )
    table = Table("ratios", "tuning score", "attention error")
    for name in dict.fromkeys([*order[:5], uniform, order[-1]]):
        row = tuned[name]
        table.add_row(
            name,
            f"{mean([one.score for one in row]):.3f}",
            f"{mean([one.attention_error for one in row]):.3f}",
        )
    Console().print(table)

    chosen = {"uniform": configs[uniform], "best": configs[order[0]]}
    judged = answer(evaluator, benchmark, held_out, chosen)
    contexts = [one.context for one in judged["best"]]
    scores = {name: [one.score or 0.0 for one in row] for name, row in judged.items()}
    for name, values in scores.items():
        found = mean_interval(values, contexts)
        assert found is not None
        print(
            f"{name}: {found.mean:.3f} [{found.low:.3f}, {found.high:.3f}] on {len(values)} samples"
        )
    difference = paired_difference(scores["best"], scores["uniform"], contexts)
    assert difference is not None
    print(f"difference: {difference.mean:+.3f} [{difference.low:+.3f}, {difference.high:+.3f}]")
    report(
        uniform_score=mean(scores["uniform"]),
        best_score=mean(scores["best"]),
        difference=difference.mean,
        difference_low=difference.low,
        kept_share=mean([one.kept_share for one in judged["best"]]),
        kept_share_uniform=mean([one.kept_share for one in judged["uniform"]]),
    )


if __name__ == "__main__":
    main()
