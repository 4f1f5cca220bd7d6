"""How likely given answers are, under the attention that writes answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import PreTrainedModel

from sparse_attention.config import AttentionConfig
from sparse_attention.decode.decoder import Decoder
from sparse_attention.errors import UserError
from sparse_attention.hf.attention import configs_of, forward, our_attention
from sparse_attention.hf.cache import DecoderCache
from sparse_attention.hf.prefill import prefill
from sparse_attention.hf.windows import rotated_for
from sparse_attention.protocol import Protocol

_PREFILL_CHUNK = 8192


@dataclass(frozen=True)
class Likelihood:
    """Of one answer."""

    log_probability: float
    """Natural logarithm, summed over the answer's tokens."""
    is_greedy: bool
    """Whether greedy decoding would have written it."""


@torch.inference_mode()
def likelihoods(
    model: PreTrainedModel,
    prompt: Sequence[int],
    answers: Sequence[Sequence[int]],
    config: AttentionConfig,
    *,
    protocol: Protocol = Protocol(sparse_from="generation"),
    question_tokens: int = 1,
    sample_key: str = "",
    max_rows: int = 32,
) -> list[Likelihood]:
    """How likely answers to one prompt are, of which all but the question is read once.

    The answers are read a token at a time, each as if it had just been generated: sparsely, from
    the protocol's first sparse token on.  The first token of an answer follows from what reads the
    question, which is dense unless attention is sparse from the question on.

    A prompt of one token has no context before its question; then the first token of an answer
    follows from the prompt alone, and is itself the question of what comes after it.

    Args:
        model: in evaluation mode, of an architecture that the library can use.
        prompt: tokens, at least one.
        answers: tokens of each, at least one.
        config: for the model (``AttentionConfig.for_model``).
        protocol: where attention is sparse.
        question_tokens: length of the question at the prompt's end; at least one token of the
            prompt is context, if it has two.
        sample_key: as in ``HuggingFaceAdapter.answer``.
        max_rows: answers that are read together.
    """
    if not prompt or question_tokens < 1 or not all(answers):
        raise UserError("a prompt, a question and each answer need at least one token")
    if len(prompt) == 1:
        return _after_one_token(model, prompt, answers, config, protocol, sample_key)
    split = len(prompt) - min(question_tokens, len(prompt) - 1)
    length = len(prompt) + max(map(len, answers)) - 1
    context = prefill(model, prompt[:split], _PREFILL_CHUNK, config.needs, length)
    found: list[Likelihood] = []
    for first in range(0, len(answers), max_rows):
        rows = answers[first : first + max_rows]
        decoder = Decoder(context, [config] * len(rows), [sample_key] * len(rows), protocol)
        with our_attention(configs_of(model)), rotated_for(model, length):
            found += _read(model, decoder, prompt[split:], rows)
        context.trim()
    return found


def _read(
    model: PreTrainedModel,
    decoder: Decoder,
    question: Sequence[int],
    answers: Sequence[Sequence[int]],
) -> list[Likelihood]:
    cache = DecoderCache(model, decoder)
    ids = torch.tensor([list(question)], device=model.device)
    with decoder.question():
        logits = forward(model, ids.expand(decoder.asked_rows, -1), cache)
    running = list(range(len(answers)))
    logits = logits.expand(len(running), -1)
    sums, greedy = [0.0] * len(answers), [True] * len(answers)
    for step in range(max(map(len, answers))):
        tokens = torch.tensor([answers[row][step] for row in running], device=model.device)
        for row, (value, best) in zip(running, _scored(logits, tokens), strict=True):
            sums[row] += value
            greedy[row] &= best
        kept = [place for place, row in enumerate(running) if step + 1 < len(answers[row])]
        if not kept:
            break
        if len(kept) < len(running):
            cache.keep_rows(kept)
            running, tokens = [running[place] for place in kept], tokens[kept]
        logits = forward(model, tokens[:, None], cache)
        decoder.end_step()
    return [Likelihood(*pair) for pair in zip(sums, greedy, strict=True)]


def _after_one_token(
    model: PreTrainedModel,
    prompt: Sequence[int],
    answers: Sequence[Sequence[int]],
    config: AttentionConfig,
    protocol: Protocol,
    sample_key: str,
) -> list[Likelihood]:
    """Of one token attention reads all that there is, whatever chooses: its own."""
    logits = model(torch.tensor([list(prompt)], device=model.device)).logits[:, -1].float()
    found = []
    for answer in answers:
        first = torch.tensor([answer[0]], device=model.device)
        [(value, best)] = _scored(logits, first)
        if len(answer) > 1:
            longer = [*prompt, answer[0]]
            [rest] = likelihoods(
                model, longer, [answer[1:]], config, protocol=protocol, sample_key=sample_key
            )
            value, best = value + rest.log_probability, best and rest.is_greedy
        found.append(Likelihood(value, best))
    return found


def _scored(logits: Tensor, tokens: Tensor) -> list[tuple[float, bool]]:
    """Log-probability of a token for each row of logits, and whether it is the greatest."""
    values = logits.log_softmax(-1).gather(1, tokens[:, None])[:, 0]
    return list(zip(values.tolist(), (logits.argmax(-1) == tokens).tolist(), strict=True))
