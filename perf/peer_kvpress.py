"""Our presses beside those of kvpress: kept positions, answers, scores and time.

    python perf/peer_kvpress.py --samples 3

kvpress needs an older transformers, so the program makes an environment for it (``--folder``) and
runs it there, on SmolLM2 saved as a folder, the same tokens and the same ratios.  Reports
``equal_kept_share``, the share of the kept positions that are the same, over all presses that
follow the same formula, and ``speedup``, the time of kvpress over ours for SnapKV, key norm and
expected attention at four ratios together: prefill, compression and answer.
"""

from __future__ import annotations

from common import fix_environment, report

fix_environment()

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from peers.environment import make_environment, own_torch

from benchmark.named_models import SMOLLM2, named_model
from benchmark.ruler.benchmark import Ruler
from benchmark.suite.base import Sample
from sparse_attention import AttentionConfig, Context, HuggingFaceAdapter, make_config
from sparse_attention.hf.facts import stop_tokens
from sparse_attention.presses.compress import compress
from sparse_attention.prompt import EncodedPrompt, encode_prompt

KVPRESS = "kvpress==0.5.5"
TASKS = ("niah_single_2", "niah_multikey_1")
NEW_TOKENS = 16
RATIOS = (0.25, 0.5, 0.75, 0.875)
_MULTIPLE = 8
"""Contexts have a multiple of so many tokens, so that both libraries round all ratios alike."""


@dataclass(frozen=True)
class Pair:
    """One press in both libraries."""

    ours: str
    """Name of a config type."""
    theirs: str
    """Name of a class."""
    ratios: tuple[float, ...] = (0.5,)
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Of ours."""
    arguments: Mapping[str, Any] = field(default_factory=dict)
    """Of theirs, besides the ratio."""
    around: str = ""
    """The class of a press that wraps it there."""
    around_arguments: Mapping[str, Any] = field(default_factory=dict)
    eager: bool = False
    same: bool = True
    """Whether both follow the same formula; if not, ``docs/peers.md`` says why."""

    @property
    def timed(self) -> bool:
        """Whether its time counts."""
        return len(self.ratios) > 1

    def config(self, ratio: float) -> AttentionConfig:
        """Ours."""
        return make_config(self.ours, compression_ratio=ratio, **self.settings)

    def press(self, ratio: float) -> dict[str, Any]:
        """Theirs, as ``kvpress_side.build`` takes it."""
        inner = {
            "class": self.theirs,
            "arguments": {"compression_ratio": ratio, **self.arguments},
            "eager": self.eager,
        }
        if not self.around:
            return inner
        arguments = {"press": inner, **self.around_arguments}
        return {"class": self.around, "arguments": arguments, "eager": self.eager}


PAIRS = (
    Pair("knorm", "KnormPress", RATIOS),
    Pair("snapkv", "SnapKVPress", RATIOS),
    Pair("expected_attention", "ExpectedAttentionPress", RATIOS),
    Pair("streaming_llm", "StreamingLLMPress"),
    Pair("tova", "TOVAPress"),
    Pair("keydiff", "KeyDiffPress"),
    Pair("lagkv", "LagKVPress"),
    Pair("observed_attention", "ObservedAttentionPress", eager=True),
    Pair("pyramidkv", "PyramidKVPress"),
    Pair("adakv", "SnapKVPress", around="AdaKVPress", same=False),
    Pair("criticalkv", "SnapKVPress", around="CriticalKVPress", same=False),
    Pair("chunkkv", "SnapKVPress", around="ChunkKVPress", same=False),
)


def save_model(adapter: HuggingFaceAdapter, folder: Path) -> None:
    """The model as a folder that older versions of transformers read too."""
    if (folder / "config.json").exists():
        return
    adapter.model.generation_config.eos_token_id = sorted(
        stop_tokens(adapter.model, adapter.tokenizer)
    )
    adapter.model.save_pretrained(folder)
    adapter.tokenizer.save_pretrained(folder)


def read_prompts(
    adapter: HuggingFaceAdapter, length: int, samples: int
) -> list[tuple[Sample, EncodedPrompt]]:
    """Samples of all tasks as tokens."""
    ruler = Ruler(length=length, samples=samples)
    found = []
    for task in TASKS:
        for sample in ruler.samples(task, adapter.tokenizer):
            prompt = encode_prompt(
                *(adapter.tokenizer, sample.context, sample.question, sample.answer_prefix),
                settings=ruler.prompt,
                max_new_tokens=NEW_TOKENS,
                max_positions=adapter.max_positions,
            )
            ids = prompt.context_ids
            cut = ids[: len(ids) // _MULTIPLE * _MULTIPLE]
            found.append((sample, EncodedPrompt(cut, prompt.question_ids, 0)))
    return found


def kept_by_us(context: Context, config: AttentionConfig) -> list[np.ndarray]:
    """Which keys of each layer are left: bool (heads, keys)."""
    kept = []
    for layer in compress(context, config.presses).layers:
        rows = []
        for segment in layer.segments:
            places = segment.places
            row = torch.zeros(places.shape[0], context.length, dtype=torch.bool)
            rows.append(row.scatter_(1, places, True))
        kept.append(torch.cat(rows).numpy())
    return kept


def run_ours(
    adapter: HuggingFaceAdapter,
    prompts: Sequence[EncodedPrompt],
    configs: Mapping[str, AttentionConfig],
    timed: Sequence[str],
) -> tuple[dict[tuple[str, int], str], dict[tuple[str, int], list[np.ndarray]], float]:
    """Answers and kept keys by press and prompt, and the seconds that the timed presses took."""
    texts, kept, seconds = {}, {}, 0.0
    for number, prompt in enumerate(prompts):
        for labels in (timed, [label for label in configs if label not in timed]):
            chosen = [configs[label] for label in labels]
            start = time.process_time()
            context = adapter.prefill(prompt.context_ids, chosen)
            answers = adapter.answer(
                *(context, prompt.question_ids, chosen),
                max_new_tokens=NEW_TOKENS,
                measure_error=False,
            )
            seconds += time.process_time() - start if labels is timed else 0.0
            for label, answer, config in zip(labels, answers, chosen, strict=True):
                texts[label, number] = answer.text
                kept[label, number] = kept_by_us(context, config)
    return texts, kept, seconds


def run_theirs(python: Path, job: Mapping[str, Any], folder: Path) -> tuple[list[Any], Any]:
    """Answers and kept keys of kvpress."""
    (folder / "job.json").write_text(json.dumps(job), encoding="utf-8")
    program = Path(__file__).parent / "peers" / "kvpress_side.py"
    subprocess.run([python, program, folder / "job.json", folder], check=True)
    answers = json.loads((folder / "answers.json").read_text(encoding="utf-8"))
    return answers, np.load(folder / "kept.npz")


def shared(ours: np.ndarray, theirs: np.ndarray) -> tuple[int, int]:
    """Positions that both keep, and those that the one that keeps more does."""
    return int((ours & theirs).sum()), int(max(ours.sum(), theirs.sum()))


def main() -> None:
    """Run both and compare."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--folder", type=Path, default=Path("results-peers"), help="what is made")
    parser.add_argument("--length", type=int, default=1024)
    parser.add_argument("--samples", type=int, default=3, help="of each of two tasks (default: 3)")
    parser.add_argument("--pairs", nargs="+", choices=[pair.ours for pair in PAIRS])
    options = parser.parse_args()
    torch.set_num_threads(1)
    folder = options.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    python = make_environment(folder / "kvpress", [own_torch(), KVPRESS])
    adapter = HuggingFaceAdapter.load(str(named_model(SMOLLM2)))
    save_model(adapter, folder / "model")
    chosen = [pair for pair in PAIRS if pair.ours in (options.pairs or [pair.ours])]
    cases = {f"{pair.ours} {ratio}": (pair, ratio) for pair in chosen for ratio in pair.ratios}
    read = read_prompts(adapter, options.length, options.samples)
    prompts = [prompt for _, prompt in read]
    timed = [label for label, (pair, _) in cases.items() if pair.timed]

    job = {
        "model": str(folder / "model"),
        "threads": 1,
        "prompts": [
            {
                "context": prompt.context_ids,
                "question": prompt.question_ids,
                "max_new_tokens": NEW_TOKENS,
            }
            for prompt in prompts
        ],
        "presses": {label: pair.press(ratio) for label, (pair, ratio) in cases.items()},
    }
    answers, kept = run_theirs(python, job, folder)
    texts = {(one["press"], one["prompt"]): one["text"] for one in answers}
    configs = {label: pair.config(ratio) for label, (pair, ratio) in cases.items()}
    own_texts, own_kept, own_seconds = run_ours(adapter, prompts, configs, timed)
    seconds = sum(one["seconds"] for one in answers if one["press"] in timed)

    print("| press | equal kept positions | equal answers | score, ours | score, theirs |")
    print("|---|---:|---:|---:|---:|")
    totals = {True: np.zeros(2), False: np.zeros(2)}
    for label, (pair, _) in cases.items():
        counts = np.zeros(2)
        for number in range(len(prompts)):
            for layer, mine in enumerate(own_kept[label, number]):
                counts += shared(mine, kept[f"{label}/{number}/{layer}"])
        totals[pair.same] += counts
        numbers = range(len(prompts))
        answered = [n for n in numbers if texts[label, n] is not None]
        equal = sum(own_texts[label, n].strip() == texts[label, n].strip() for n in answered)
        scores = [
            f"{sum(read[n][0].answers[0] in found[label, n] for n in among) / len(prompts):.2f}"
            if among
            else "-"
            for found, among in ((own_texts, numbers), (texts, answered))
        ]
        print(
            f"| {label} | {counts[0] / counts[1]:.5f} | {equal} of {len(answered)} "
            f"| {' | '.join(scores)} |"
        )
    print(
        f"\n{len(prompts)} contexts of about {options.length} tokens; timed: {len(timed)} settings"
    )
    print(f"kvpress {seconds:.1f} s, ours {own_seconds:.1f} s", file=sys.stderr)
    report(
        equal_kept_share=float(totals[True][0] / totals[True][1]),
        speedup=seconds / own_seconds if own_seconds else 0.0,
    )


if __name__ == "__main__":
    main()
