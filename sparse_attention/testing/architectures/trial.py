"""What an architecture has to do to count as one that works.

Its small random model is compared with its own attention: the logits after a prompt, and greedy
tokens, of one row and of eight rows over one prefix of which some have ended.  The prefix, with all
its states, must be bit-identical afterwards.  A masker that reads everything must give the same
tokens, one that does not must read less, and a press must hold less.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from sparse_attention.cache.context import Context
from sparse_attention.config import AttentionConfig
from sparse_attention.config_types import make_config
from sparse_attention.decode.decoder import Decoder
from sparse_attention.errors import UserError
from sparse_attention.hf.adapter import HuggingFaceAdapter
from sparse_attention.hf.architecture import Unsupported
from sparse_attention.hf.attention import configs_of, forward, our_attention
from sparse_attention.hf.cache import DecoderCache
from sparse_attention.hf.check import check_architecture
from sparse_attention.protocol import Protocol
from sparse_attention.testing.architectures.small import VOCABULARY, small_model

CONTEXT, QUESTION, ANSWER = 60, 5, 10
"""Tokens."""
TOLERANCE = 1e-4
"""Of logits, absolute and relative."""
DENSE = AttentionConfig()
SPARSE = [make_config("sink_local", sink_size=2, window_size=2 * rows) for rows in range(1, 7)]
FULL = make_config("oracle_top_k", sink_size=1.0, window_size=1.0)
PRESS = make_config("snapkv", observation_window=8)


@dataclass(frozen=True)
class Trial:
    """How an architecture did."""

    model_type: str
    outcome: Literal["works", "refused", "fails"]
    why: str = ""
    """Why it does not work."""
    layers: int = 0
    """Layers that keep keys, which methods choose from."""
    of_layers: int = 0
    """All of its layers."""
    states: bool = False
    """Whether it keeps other states of its past as well."""


def try_architecture(model_type: str) -> Trial:
    """Build a model of a type and try it."""
    try:
        model = small_model(model_type)
    except Exception as error:  # whatever code of an unknown architecture may raise
        return Trial(model_type, "fails", f"no small one can be built ({type(error).__name__})")
    try:
        check_architecture(model)
        return try_model(model, model_type)
    except Unsupported as error:
        return Trial(model_type, "refused", error.reason)
    except (AssertionError, UserError) as error:
        return Trial(model_type, "fails", str(error))


def try_model(model: PreTrainedModel, model_type: str) -> Trial:
    """Try a model that passes its check.

    Raises:
        AssertionError: if it does not do what it has to; the message says what.
    """
    adapter = HuggingFaceAdapter(model, _tokenizer(), model_type, prefill_chunk=24)
    adapter._stop = frozenset()
    context, question = _tokens(CONTEXT, 1), _tokens(QUESTION, 2)
    expected, logits = own_greedy(model, context + question, ANSWER)
    prefix = adapter.prefill(context, [PRESS])
    before = [tensor.clone() for tensor in _frozen(prefix)]
    adapter.prefill(_tokens(CONTEXT, 3))  # what is read of it must not be that of another

    decoder = Decoder(prefix, [DENSE], [""], Protocol())
    with our_attention(configs_of(model)):
        ours = forward(
            model, torch.tensor([question], device=model.device), DecoderCache(model, decoder)
        )[0]
    assert torch.allclose(ours, logits, TOLERANCE, TOLERANCE), (
        f"logits differ by {float((ours - logits).abs().max()):.1e}"
    )

    def answers(configs: Sequence[AttentionConfig]) -> list[tuple[int, ...]]:
        found = adapter.answer(prefix, question, configs, max_new_tokens=ANSWER)
        return [answer.token_ids for answer in found]

    assert answers([DENSE]) == [expected], "other tokens alone"
    rows = [DENSE, FULL, *SPARSE]
    together = answers(rows)
    assert together[:2] == [expected, expected], "other tokens in a batch"
    adapter._stop = frozenset(token for row in together[2:] for token in row[1:4]) - set(expected)
    assert answers(rows)[:2] == [expected, expected], "other tokens after rows have ended"
    sparse, press = adapter.answer(prefix, question, [SPARSE[0], PRESS], max_new_tokens=3)
    assert sparse.density < 1, "a masker reads everything"
    whole = all(layer.sliding for layer in prefix.layers)
    assert whole or press.kept_share < 1, "a press removes nothing"
    same = zip(before, _frozen(prefix), strict=True)
    assert all(torch.equal(old, new) for old, new in same), "the prefix has changed"
    return Trial(
        model_type,
        "works",
        layers=adapter.layers,
        of_layers=int(model.config.get_text_config().num_hidden_layers),
        states=bool(prefix.states),
    )


@torch.inference_mode()
def own_greedy(
    model: PreTrainedModel, prompt: Sequence[int], count: int
) -> tuple[tuple[int, ...], Tensor]:
    """The model's own greedy tokens, by forwards without a cache, and its first logits."""
    sequence, rows = list(prompt), []
    for _ in range(count):
        rows.append(
            model(torch.tensor([sequence], device=model.device), use_cache=False)
            .logits[0, -1]
            .float()
        )
        sequence.append(int(rows[-1].argmax()))
    return tuple(sequence[len(prompt) :]), rows[0]


def _frozen(prefix: Context) -> list[Tensor]:
    segments = [segment for layer in prefix.layers for segment in layer.segments]
    pairs = [tensor for segment in segments for tensor in (segment.keys, segment.values)]
    return [*pairs, *prefix.states.values()]


def _tokens(count: int, seed: int) -> list[int]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, VOCABULARY, (count,), generator=generator).tolist()


def _tokenizer() -> PreTrainedTokenizerFast:
    """Numbers as words."""
    words = {str(token): token for token in range(VOCABULARY)}
    backend = Tokenizer(models.WordLevel(words, unk_token="0"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(tokenizer_object=backend)
