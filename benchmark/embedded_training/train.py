"""Train the embedded model from scratch on a CPU: ``python -m benchmark.embedded_training.train``.

Two worker processes with one thread each (faster here than one process with two threads, because
all matrices are small) share the weights in memory.  In each step every worker computes the
gradient of its own batch; after a barrier each of them updates its half of the weights with the
mean gradient; a second barrier ends the step.  The result depends on nothing but the options: a run
with the same seed and number of workers repeats bit for bit on the same machine.

Curriculum: training starts with 48 tokens and moves on to the next length when the accuracy is high
enough or after a number of steps; part of the batches comes from earlier lengths.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
import tempfile
import time
from pathlib import Path
from random import Random

import torch
import torch.multiprocessing as multiprocessing
import torch.nn.functional as F  # noqa: N812
from transformers import GenerationConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from benchmark.embedded_training.curriculum import Curriculum
from benchmark.embedded_training.model_init import structured_init, tiny_llama_config
from benchmark.embedded_training.muon import Adam, Muon
from benchmark.embedded_training.tokenizer import build_tokenizer
from benchmark.embedded_training.training_text import LABELS, training_sequence
from sparse_attention.program import Parser, number_between, run_program
from sparse_attention.reading import user_folder

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # one thread per worker

MAX_POSITIONS = 8192
"""Longest input that the model accepts; it is trained on shorter ones."""
UNCOUNTED = (".", ",", " for", " is", "\n")
"""Answer tokens without information: trained on, but left out of the accuracy."""

log = logging.getLogger(__name__)


class Batches:
    """Random training batches as token tensors."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast, batch_tokens: int, rng: Random) -> None:
        self.tokenizer, self.batch_tokens, self.rng = tokenizer, batch_tokens, rng
        self.backend = tokenizer.backend_tokenizer
        self.uncounted = torch.tensor(
            tokenizer(list(UNCOUNTED), add_special_tokens=False)["input_ids"]
        ).flatten()

    def draw(self, length: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Tokens (batch, length + 1) and labels of the same shape, both int64.

        The label is the index into ``LABELS`` where a token is part of an answer and -1 elsewhere.
        """
        size = max(1, self.batch_tokens // length)
        parts: list[tuple[int, int, str]] = []  # row, label, text
        for row in range(size):
            sequence = training_sequence(length, self.rng)
            parts.append((row, -1, sequence.context))
            for question in sequence.questions:
                label = LABELS.index(question.task)
                for prompt, answer in question.segments:
                    parts += [(row, -1, prompt), (row, label, answer)]
        encoded = self.backend.encode_batch([part[2] for part in parts], add_special_tokens=False)

        tokens = torch.full((size, length + 1), self.tokenizer.pad_token_id)
        labels = torch.full((size, length + 1), -1)
        tokens[:, 0] = self.tokenizer.bos_token_id
        ends = [1] * size
        for (row, label, _), encoding in zip(parts, encoded, strict=True):
            start, ends[row] = ends[row], ends[row] + len(encoding.ids)
            tokens[row, start : ends[row]] = torch.tensor(encoding.ids)
            labels[row, start : ends[row]] = label
        return tokens, labels


class Shared:
    """What the workers share: weights, gradients, statistics and a barrier."""

    def __init__(self, model: LlamaForCausalLM, workers: int) -> None:
        model.share_memory()
        weights = list(model.parameters())
        self.gradients = [
            [torch.zeros_like(weight).share_memory_() for weight in weights] for _ in range(workers)
        ]
        # Per worker and label: counted answer tokens, correct ones, summed loss.
        self.statistics = torch.zeros(workers, len(LABELS), 3, dtype=torch.float64).share_memory_()
        self.barrier = multiprocessing.Barrier(workers)


def answer_loss(
    model: LlamaForCausalLM,
    tokens: torch.Tensor,
    labels: torch.Tensor,
    uncounted: torch.Tensor,
    statistics: torch.Tensor,
) -> torch.Tensor:
    """Mean cross entropy of the answer tokens (batch, length + 1), where ``labels`` is not -1.

    Fills ``statistics`` (labels, 3) with counts, correct predictions and losses per label, leaving
    out the tokens in ``uncounted``.
    """
    inputs, targets, labels = tokens[:, :-1], tokens[:, 1:], labels[:, 1:]
    chosen = labels >= 0
    targets, labels = targets[chosen], labels[chosen]
    with torch.autocast("cpu", torch.bfloat16):
        hidden = model.model(inputs, use_cache=False).last_hidden_state
        logits = model.lm_head(hidden[chosen])
    losses = F.cross_entropy(logits.float(), targets, reduction="none")
    correct = logits.argmax(-1) == targets
    rows = torch.stack([torch.ones_like(losses), correct.float(), losses.detach()], dim=1)
    counted = ~torch.isin(targets, uncounted)
    statistics.zero_().index_add_(0, labels[counted], rows[counted].double())
    return losses.mean()


def make_optimizers(
    model: LlamaForCausalLM, options: argparse.Namespace, rank: int
) -> tuple[Muon, Adam]:
    """Optimisers of the share of the weights that worker ``rank`` updates."""
    matrices: list[torch.nn.Parameter] = []
    others: list[torch.nn.Parameter] = []
    for name, weight in model.named_parameters():
        (matrices if weight.ndim == 2 and "embed" not in name else others).append(weight)
    matrices.sort(key=lambda weight: tuple(weight.shape))  # equal shares of every shape
    return (
        Muon(matrices[rank :: options.workers], options.muon_rate, options.weight_decay),
        Adam(others[rank :: options.workers], options.adam_rate),
    )


def rate_scale(step: int, steps: int, warm_up: int, decay_share: float) -> float:
    """Learning rate schedule: warm up, constant, then linearly down to 2%."""
    left = (1 - step / steps) / decay_share
    return min(1.0, (step + 1) / warm_up) * min(1.0, max(0.02, left))


def work(
    rank: int,
    model: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    shared: Shared,
    options: argparse.Namespace,
) -> None:
    """Run the training loop of one worker; worker 0 also reports."""
    torch.set_num_threads(1)
    weights = list(model.parameters())
    optimizers = make_optimizers(model, options, rank)
    lengths = Random(f"{options.seed} lengths")  # the same numbers in all workers
    rng = Random(f"{options.seed} text {rank}")
    batches = Batches(tokenizer, options.batch_tokens // options.workers, rng)
    curriculum = Curriculum(options.max_length)
    report = Report(options.report_steps)

    for step in range(options.steps):
        length = curriculum.draw(lengths)
        tokens, labels = batches.draw(length)
        for weight in weights:
            weight.grad = None
        loss = answer_loss(model, tokens, labels, batches.uncounted, shared.statistics[rank])
        loss.backward()
        for weight, gradient in zip(weights, shared.gradients[rank], strict=True):
            gradient.copy_(weight.grad)
        shared.barrier.wait()

        statistics = shared.statistics.sum(0)  # (labels, 3)
        for index, weight in enumerate(weights):
            weight.grad = torch.stack([own[index] for own in shared.gradients]).mean(0)
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        scale = rate_scale(step, options.steps, options.warm_up, options.decay_share)
        for optimizer in optimizers:
            optimizer.step(scale)
        shared.barrier.wait()

        accuracy = float(statistics[:, 1].sum() / statistics[:, 0].sum())
        curriculum.update(length, accuracy)
        if rank == 0:
            report.add(step + 1, curriculum, statistics, tokens.shape[0] * length * options.workers)


class Report:
    """Progress lines: speed, loss and accuracy per task since the last line."""

    def __init__(self, every: int) -> None:
        self.every, self.start, self.tokens = every, time.monotonic(), 0
        self.window = torch.zeros(len(LABELS), 3, dtype=torch.float64)

    def add(self, step: int, curriculum: Curriculum, statistics: torch.Tensor, tokens: int) -> None:
        """Count a step; log a line where it is due."""
        self.window += statistics
        self.tokens += tokens
        if step % self.every:
            return
        total, correct, loss = self.window.unbind(1)
        tasks = " ".join(
            f"{label} {correct[index] / total[index]:.3f}"
            for index, label in enumerate(LABELS)
            if total[index]
        )
        seconds = time.monotonic() - self.start
        log.info(
            f"{seconds / 60:5.1f} min  step {step}  length {curriculum.length}"
            f"  loss {loss.sum() / total.sum():.3f}  {tasks}"
            f"  {self.tokens / 1e6:.2f}M tokens, {self.tokens / seconds:.0f}/s"
        )
        self.window.zero_()


def save(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    """Write model (float16) and tokenizer in the Hugging Face format, each file at once.

    The generation configuration lets decoding stop at a newline, the end of every answer.
    """
    folder.mkdir(parents=True, exist_ok=True)
    copy = LlamaForCausalLM(model.config)
    copy.load_state_dict(model.state_dict())
    newline = tokenizer.encode("\n", add_special_tokens=False)
    copy.generation_config = GenerationConfig(
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=[tokenizer.eos_token_id, *newline],
        pad_token_id=tokenizer.pad_token_id,
    )
    with tempfile.TemporaryDirectory(dir=folder) as temporary:
        copy.half().save_pretrained(temporary)
        tokenizer.save_pretrained(temporary)
        for file in Path(temporary).iterdir():
            file.chmod(0o644)
            os.replace(file, folder / file.name)


def parse_options(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = Parser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--output", type=Path, required=True, help="folder of the checkpoint")
    count, share = number_between(1, 10**6), number_between(1e-9, 1.0)
    add("--seed", type=number_between(0, 2**63 - 1), default=0)
    add("--steps", type=count, default=3600, help="optimiser steps")
    add("--workers", type=number_between(1, 64), default=2, help="processes with one thread each")
    add("--batch-tokens", type=count, default=4096, help="tokens per step, all workers together")
    add("--max-length", type=number_between(48, MAX_POSITIONS), default=4096, help="tokens")
    add("--muon-rate", type=share, default=0.015)
    add("--adam-rate", type=share, default=3e-3)
    add("--weight-decay", type=number_between(0.0, 1.0), default=0.002)
    add("--warm-up", type=count, default=60, help="steps of warm-up")
    add("--decay-share", type=share, default=0.35, help="last share of the run, with decay")
    add("--report-steps", type=count, default=100)
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    """Train and save; the exit code."""
    options = parse_options(arguments)
    return run_program("train", lambda: _train(options))


def _train(options: argparse.Namespace) -> int:
    user_folder(options.output, "--output")
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    torch.set_num_threads(1)
    torch.manual_seed(options.seed)
    tokenizer = build_tokenizer(MAX_POSITIONS)
    model = LlamaForCausalLM(
        tiny_llama_config(
            len(tokenizer),
            tokenizer.bos_token_id,
            tokenizer.eos_token_id,
            tokenizer.pad_token_id,
            MAX_POSITIONS,
        )
    )
    structured_init(model)
    model.train()
    log.info("%d parameters", sum(weight.numel() for weight in model.parameters()))
    multiprocessing.start_processes(
        work,
        args=(model, tokenizer, Shared(model, options.workers), options),
        nprocs=options.workers,
        start_method="fork",
    )
    save(model, tokenizer, options.output)
    log.info("saved to %s", options.output)
    return 0


if __name__ == "__main__":
    sys.exit(main())
