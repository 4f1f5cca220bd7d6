"""Any configuration in a user's own ``model.generate``."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

from transformers import PreTrainedModel

from sparse_attention.config import AttentionConfig
from sparse_attention.config_types import ConfigLike, as_config
from sparse_attention.decode.batch import BatchDecoder, PromptRows
from sparse_attention.decode.decoder import Decoder
from sparse_attention.decode.probes import Probe
from sparse_attention.errors import UserError
from sparse_attention.hf.check import check_architecture
from sparse_attention.hf.facts import layer_count, model_profile
from sparse_attention.hf.generate import replaced_generate
from sparse_attention.hf.prefill import prefill
from sparse_attention.protocol import Protocol

_PREFILL_CHUNK = 8192


@dataclass(frozen=True)
class PromptReport:
    """What was read and held for one prompt, over all sequences that go on from it."""

    density: float
    """Keys read / keys that dense attention would read; see ``Probe``."""
    attention_error: float | None
    """Relative squared error of the attention outputs; see ``Probe``.  None if not measured."""
    kept_share: float
    """Bytes of keys and values that a sequence holds at the end / those that dense attention holds;
    1 without a press.  See ``Answer``."""
    cache_bytes: int
    """Bytes held at the end: keys and values, and what the methods keep about them."""
    dense_cache_bytes: int
    """Bytes of keys and values in a cache that has a copy of all of them for each sequence."""


@dataclass
class SparseGeneration:
    """What ``sparse_generation`` gives to the code inside it."""

    reports: tuple[PromptReport, ...] = ()
    """Of the last ``generate``: one for each different prompt, in the order of the batch."""


@contextlib.contextmanager
def sparse_generation(
    model: PreTrainedModel,
    config: ConfigLike,
    *,
    protocol: Protocol = Protocol(sparse_from="generation"),
    question_tokens: int = 1,
    sample_key: str = "",
    measure_error: bool = False,
) -> Iterator[SparseGeneration]:
    """Let ``model.generate`` decode with a configuration; undone on exit and on error.

    Each prompt is split into its context and, at its end, ``question_tokens`` tokens of question.
    The context is read once with the model's own attention, however many sequences go on from it;
    question and generated tokens are processed as ``HuggingFaceAdapter.answer`` does it with the
    same protocol, and with the same result.  By default all of the prompt is read densely.

    Presses free what they remove, before the question or, where that is read densely, after it.
    Positions stay those of the whole prompt, unless keys are re-rotated.

    Greedy search, sampling, beam search and streaming work as usual.  Prompts of a batch are padded
    on the left and told apart from padding by ``attention_mask``; padding is neither kept nor read,
    so that a prompt gives the same result alone and in any batch.  Random draws of methods are
    keyed by ``sample_key``; sequences of the same prompt share them.

    Args:
        model: any causal language model that ``HuggingFaceAdapter`` can use, in evaluation mode.
        config: a configuration, in any form that ``as_config`` takes, such as ``"snapkv"``.
        protocol: where attention is sparse.
        question_tokens: length of the question, at least 1; contexts of at least 1 token remain.
        sample_key: names the sample, as in ``HuggingFaceAdapter.answer``.
        measure_error: whether to compare every attention output with dense attention, which costs
            a dense attention each time, and keeps the whole context.

    Yields:
        The object that has the reports.

    Raises:
        UserError: if the model, the configuration or a setting cannot be used or the model is
            inside another ``sparse_generation``; from ``generate``, if it is called with something
            that cannot work.
    """
    if not isinstance(model, PreTrainedModel):
        raise UserError(
            f"sparse_generation needs a model of transformers, got {type(model).__name__}; of a "
            "wrapper, give what it wraps"
        )
    if model.training:
        raise UserError("the model is in training mode; call model.eval() first")
    if type(question_tokens) is not int or question_tokens < 1:
        raise UserError(f"question_tokens must be an integer above 0, got {question_tokens!r}")
    methods = as_config(config)
    check_architecture(model)
    protocol.check_layers(layer_count(model))
    methods = methods.for_model(model_profile(model.name_or_path or "", model.config, model))
    run = _Run(model, methods, protocol, question_tokens, sample_key, measure_error)
    with replaced_generate(model, run.begin, run.end, question_tokens=question_tokens):
        yield run.generation


class _Run:
    """The settings of a ``sparse_generation``, applied to each ``generate`` inside it."""

    def __init__(
        self,
        model: PreTrainedModel,
        config: AttentionConfig,
        protocol: Protocol,
        question_tokens: int,
        sample_key: str,
        measure_error: bool,
    ) -> None:
        self.model, self.config, self.protocol = model, config, protocol
        self.question_tokens, self.sample_key = question_tokens, sample_key
        self.measure_error = measure_error
        self.generation = SparseGeneration()
        self._prompts: list[tuple[Decoder, Probe]] = []

    def begin(self, prompts: list[list[int]], length: int, chunk: int | None) -> BatchDecoder:
        """Read the contexts of a batch for sequences of ``length``; rows with equal prompts share
        theirs.
        """
        places: dict[tuple[int, ...], list[int]] = {}
        for row, prompt in enumerate(prompts):
            places.setdefault(tuple(prompt), []).append(row)
        parts = [
            PromptRows(self._decoder(prompt, len(rows), length, chunk), rows)
            for prompt, rows in places.items()
        ]
        self._prompts = [(part.decoder, part.decoder.rows[0].probe) for part in parts]
        return BatchDecoder(parts)

    def _decoder(
        self, prompt: tuple[int, ...], rows: int, length: int, chunk: int | None
    ) -> Decoder:
        tokens = prompt[: -self.question_tokens]
        needs = self.config.needs
        context = prefill(self.model, tokens, chunk or _PREFILL_CHUNK, needs, length)
        decoder = Decoder(
            context,
            [self.config] * rows,
            [self.sample_key] * rows,
            self.protocol,
            measure_error=self.measure_error,
            frees=True,
        )
        decoder.share_probe()  # reports are about prompts
        return decoder

    def end(self) -> None:
        """Report on the batch and let go of its caches."""
        self.generation.reports = tuple(_report(decoder, probe) for decoder, probe in self._prompts)
        self._prompts = []


def _report(decoder: Decoder, probe: Probe) -> PromptReport:
    return PromptReport(
        density=probe.density,
        attention_error=probe.attention_error,
        kept_share=probe.kept_share,
        cache_bytes=decoder.nbytes,
        dense_cache_bytes=len(decoder.rows) * decoder.dense_row_nbytes,
    )
