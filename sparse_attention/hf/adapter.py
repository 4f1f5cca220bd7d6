"""A Hugging Face model as this library uses it: one prefill, answers with many configurations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from sparse_attention.answer import Answer
from sparse_attention.cache.context import Context
from sparse_attention.config import AttentionConfig, joint_needs
from sparse_attention.decode.decoder import Decoder
from sparse_attention.decode.probes import Probe
from sparse_attention.errors import UserError
from sparse_attention.hf import windows
from sparse_attention.hf.architecture import check_configuration
from sparse_attention.hf.attention import configs_of, forward, our_attention
from sparse_attention.hf.cache import DecoderCache
from sparse_attention.hf.facts import check_tokens, layer_count, model_profile, stop_tokens
from sparse_attention.hf.loading import load_model
from sparse_attention.hf.prefill import prefill
from sparse_attention.hf.windows import check_max_positions, rotated_for
from sparse_attention.protocol import Protocol

_UNBOUNDED = 1 << 30
_NO_TOKEN = -1
"""Ends a row whose logits are not finite."""


class HuggingFaceAdapter:
    """One causal language model on one device.

    Greedy decoding.  The prefill of a context is dense and does not depend on the configuration, so
    that one serves all configurations and questions; ``answer`` never changes it.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        name: str,
        *,
        prefill_chunk: int = 8192,
        max_positions: int | None = None,
    ) -> None:
        """Use a model that is loaded already.

        Args:
            model: in evaluation mode.
            tokenizer: of the model.
            name: for results and messages.
            prefill_chunk: tokens of a context that are processed at a time.
            max_positions: longest sequence in tokens, in place of what the model's configuration
                says.

        Raises:
            UserError: if a model of its architecture cannot work, or not with ``max_positions``.
        """
        check_configuration(model.config, type(model))
        if max_positions is not None:
            check_max_positions(model, max_positions)
        self.model, self.tokenizer, self.name = model, tokenizer, name
        self.prefill_chunk = prefill_chunk
        self.max_positions = max_positions or windows.max_positions(model.config) or _UNBOUNDED
        self._switch = windows.switches_at(model.config) or _UNBOUNDED
        self.layers = layer_count(model)
        self.profile = model_profile(name, model.config, model)
        self._stop = stop_tokens(model, tokenizer)

    @classmethod
    def load(
        cls,
        model: str,
        *,
        device: str = "cpu",
        dtype: str = "auto",
        revision: str | None = None,
        trust_remote_code: bool = False,
        max_positions: int | None = None,
    ) -> HuggingFaceAdapter:
        """Load a folder, a GGUF file or a name on the hub.

        Args:
            model: folder, file (also as ``repo:file`` on the hub) or name.
            device: as torch names it.
            dtype: auto (float32 on a CPU and for GGUF, else as stored), float32, bfloat16 or
                float16.
            revision: of a model on the hub.
            trust_remote_code: whether code that comes with the model may run.
            max_positions: longest sequence in tokens, in place of what the model's configuration
                says.

        Raises:
            UserError: if the model cannot be loaded or its architecture cannot work.
        """
        loaded = load_model(
            model,
            device=device,
            dtype=dtype,
            revision=revision,
            trust_remote_code=trust_remote_code,
        )
        return cls(*loaded, model, max_positions=max_positions)

    def prefill(
        self,
        context_ids: Sequence[int],
        configs: Sequence[AttentionConfig] = (),
        *,
        offload: bool = False,
    ) -> Context:
        """Read a context.

        Args:
            context_ids: its tokens.
            configs: that will be used on it; their presses say what to collect on the way.
            offload: whether keys and values wait in the memory of the CPU, from where each layer
                comes to the GPU when it is read: for contexts that the GPU has no room for.
                Answers are the same, every step takes as long as the copy; all configurations
                share it.  Without a GPU it changes nothing.

        Raises:
            UserError: if it is empty, longer than the model's positions or of other tokens.
            NotFinite: if some of its keys or values are NaN or infinite.
        """
        if not context_ids:
            raise UserError("a context needs at least one token")
        self._check_length(len(context_ids))
        check_tokens(self.model, context_ids)
        request = joint_needs(configs)
        return prefill(self.model, context_ids, self.prefill_chunk, request, offload=offload)

    @torch.inference_mode()
    def answer(
        self,
        context: Context,
        question_ids: Sequence[int],
        configs: Sequence[AttentionConfig],
        *,
        max_new_tokens: int,
        protocol: Protocol = Protocol(),
        sample_key: str = "",
        measure_error: bool = True,
        error_every: int = 1,
    ) -> list[Answer]:
        """Answer one question with every configuration; they are rows of one batch.

        Where the model reads all of a sequence in another way when it gets longer (LongRoPE), the
        context is read anew for a question or an answer that crosses that length, and the tokens
        of the answer so far after it.

        Args:
            context: from ``prefill``.
            question_ids: tokens after the context, at least one.
            configs: one per row.
            max_new_tokens: tokens to generate at most.
            protocol: where attention is sparse.
            sample_key: names the sample; random draws depend on it, and on nothing in the batch.
            measure_error: whether to compare attention outputs with dense attention.
            error_every: compare one in so many layers and steps only.

        Returns:
            One answer per configuration, in their order.

        Raises:
            UserError: if the question is empty or of other tokens, a method cannot run on the
                model, a dense layer does not exist, the context lacks what a press needs or the
                sequence would be longer than the model's positions.
        """
        if not question_ids:
            raise UserError("a question needs at least one token")
        if not configs:
            return []
        for name, number in (("max_new_tokens", max_new_tokens), ("error_every", error_every)):
            if number < 1:
                raise UserError(f"{name} must be at least 1, got {number}")
        check_tokens(self.model, question_ids)
        protocol.check_layers(self.layers)
        for config in configs:
            if not context.statistics.request.covers(config.needs):
                raise UserError(
                    f"the prefill did not collect what {config.describe()} needs; name the "
                    "configurations when you prefill: prefill(context_ids, configs)"
                )
        self._check_length(context.length + len(question_ids) + max_new_tokens)
        distinct = sorted(dict.fromkeys(configs), key=lambda config: config.rank)
        answers: dict[AttentionConfig, Answer] = {}

        def decode(rows: Sequence[AttentionConfig], length: int, limit: int) -> None:
            """Answer, in a sequence that is at least so long, with as many tokens at most."""
            read = self._as_read(context, length)
            decoder = Decoder(
                read,
                [config.for_model(self.profile) for config in rows],
                [sample_key] * len(rows),
                protocol,
                measure_error=measure_error,
                error_every=error_every,
            )
            probes = [row.probe for row in decoder.rows]
            begun = [answers[config].token_ids if answers else () for config in rows]
            with our_attention(configs_of(self.model)), rotated_for(self.model, length):
                generated = self._generate(decoder, question_ids, begun, limit)
            read.trim()
            for config, tokens, probe in zip(rows, generated, probes, strict=True):
                answers[config] = self._answer(tokens, probe)

        prompt = context.length + len(question_ids)
        # The last token of an answer is not read any more.
        room = self._switch + 1 - prompt
        decode(distinct, prompt, min(max_new_tokens, room) if room > 0 else max_new_tokens)
        longer = [config for config in distinct if answers[config].finish_reason == "length"]
        if 0 < room < max_new_tokens and longer:
            decode(longer, self._switch + 1, max_new_tokens)
        context.trim()
        return [answers[config] for config in configs]

    def _as_read(self, context: Context, length: int) -> Context:
        """A context as it is read in a sequence of ``length`` tokens."""
        if not context.length <= self._switch < length:
            return context
        request, chunk = context.statistics.request, self.prefill_chunk
        return context.derived.get(
            "longer",
            lambda: prefill(
                *(self.model, context.tokens, chunk, request, length),
                offload=context.is_offloaded,
            ),
        )

    def _check_length(self, tokens: int) -> None:
        if tokens > self.max_positions:
            raise UserError(
                f"{tokens} tokens (context, question and answer) are more than the "
                f"{self.max_positions} positions of {self.name}; shorten or truncate the context"
            )

    def _generate(
        self,
        decoder: Decoder,
        question_ids: Sequence[int],
        begun: Sequence[Sequence[int]],
        max_new_tokens: int,
    ) -> list[list[int]]:
        """Tokens of each row, which go on from ``begun``; rows that have ended leave the batch."""
        cache = DecoderCache(self.model, decoder)
        question = torch.tensor([list(question_ids)], device=self.model.device)
        with decoder.question():
            logits = forward(self.model, question.expand(decoder.asked_rows, -1), cache)
        generated: list[list[int]] = [[] for _ in decoder.rows]
        running = list(range(len(generated)))
        logits = logits.expand(len(running), -1)
        while True:
            finite = logits.isfinite().all(-1)
            tokens = logits.argmax(-1).where(finite, _NO_TOKEN).tolist()
            for row, token in zip(running, tokens, strict=True):
                known = begun[row][len(generated[row]) :]
                generated[row].append(known[0] if known else token)
            tokens = [generated[row][-1] for row in running]
            ends = self._stop | {_NO_TOKEN}
            kept = [i for i, token in enumerate(tokens) if token not in ends]
            if not kept or len(generated[running[kept[0]]]) == max_new_tokens:
                return generated
            if len(kept) < len(running):
                cache.keep_rows(kept)
                running = [running[i] for i in kept]
            following = torch.tensor([[tokens[i]] for i in kept], device=self.model.device)
            logits = forward(self.model, following, cache)
            decoder.end_step()

    def _answer(self, tokens: list[int], probe: Probe) -> Answer:
        finish: Literal["stop", "length", "not_finite"] = "length"
        shown = tokens
        if tokens[-1] == _NO_TOKEN:
            finish, tokens, shown = "not_finite", tokens[:-1], []
        elif tokens[-1] in self._stop:
            finish, shown = "stop", tokens[:-1]
        return Answer(
            text=str(self.tokenizer.decode(shown, skip_special_tokens=True)),
            token_ids=tuple(tokens),
            finish_reason=finish,
            density=probe.density,
            attention_error=probe.attention_error,
            union_density=probe.union_density,
            selection_share=probe.selection_share,
            kept_share=probe.kept_share,
            layer_densities=probe.layer_densities,
            layer_errors=probe.layer_errors,
        )
