"""One model on one device: answers questions about a context under many configurations."""

from __future__ import annotations

import gc
import math
import resource
import time
import traceback
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from benchmark.executor_config import AdapterConfig
from benchmark.results.records import Cost, Prediction, Reason, six_digits
from benchmark.run.failures import describe_error, is_device_lost, is_out_of_memory, reason_of
from benchmark.run.prefill_store import PrefillStore
from benchmark.run.requests import ContextResult, identity
from benchmark.suite.base import Sample
from sparse_attention import Context
from sparse_attention.config import AttentionConfig, joint_needs
from sparse_attention.hf.adapter import Answer, HuggingFaceAdapter
from sparse_attention.prompt import (
    EncodedPrompt,
    PromptSettings,
    PromptSkipped,
    Reply,
    encode_prompt,
    read_reply,
)


@dataclass(frozen=True)
class _Failure:
    reason: Reason
    detail: str


@dataclass(frozen=True)
class _Row:
    """An answer with its share of the time of its batch."""

    answer: Answer
    seconds: float
    rows: int


class Evaluator:
    """Answers samples with a loaded model.

    Each context is prefilled once for all its questions and configurations; the configurations
    answer a question as rows of one batch.  What goes wrong with a sample is recorded as its
    status, and the others go on.
    """

    def __init__(
        self, adapter: HuggingFaceAdapter, settings: AdapterConfig, device: str = "cpu"
    ) -> None:
        self._adapter = adapter
        self._settings = settings
        self._device = torch.device(device)
        self._prefills: PrefillStore[Context] = PrefillStore(settings.prefill_store_bytes)
        self._max_rows = settings.max_rows
        self._needy: list[AttentionConfig] = []

    def evaluate(
        self,
        samples: Sequence[Sample],
        configs: Mapping[str, AttentionConfig],
        prompt: PromptSettings,
        scope: str = "",
        shown: Collection[str] = (),
    ) -> ContextResult:
        """Answer ``samples``, best those of one context, under all ``configs`` (by label).

        ``prompt`` says how the samples become prompts.  ``scope`` and a sample's id together key
        the random draws of sampling methods.  Of samples whose id is in ``shown`` the whole prompt
        is recorded as text.  An error of CUDA after which the process is of no
        use is raised, so that its worker is replaced.
        """
        result = ContextResult({label: [] for label in configs}, {label: [] for label in configs})
        for sample in samples:
            self._evaluate_sample(sample, configs, prompt, scope, result, sample.id in shown)
        return result

    def _evaluate_sample(
        self,
        sample: Sample,
        configs: Mapping[str, AttentionConfig],
        settings: PromptSettings,
        scope: str,
        result: ContextResult,
        shown: bool,
    ) -> None:
        self._reset_peak_memory()
        about: dict[str, Any] = identity(sample)
        prefill_seconds = 0.0
        outcomes: list[_Row | _Failure]
        begun = False
        try:
            prompt = self._encode(sample, settings)
            about["prompt_tokens"] = len(prompt.context_ids) + len(prompt.question_ids)
            about["removed_tokens"] = prompt.removed_tokens
            about["prompt_sha256"] = prompt.sha256
            begun = prompt.opens_thinking
            ids = [*prompt.context_ids, *prompt.question_ids]
            about["prompt"] = self._adapter.tokenizer.decode(ids) if shown else None
            context, prefill_seconds = self._prefill(prompt.context_ids, list(configs.values()))
        except PromptSkipped as skipped:
            for label in configs:
                result.predictions[label].append(
                    Prediction.unanswered("skipped", "prompt_too_long", str(skipped), **about)
                )
                result.costs[label].append(self._cost(sample, 0.0, 0.0, len(configs)))
            return
        except Exception as error:
            if is_device_lost(error):
                raise
            outcomes = [self._failure(error, result)] * len(configs)
        else:
            outcomes = self._answer(sample, context, prompt, list(configs.values()), scope, result)
        for label, outcome in zip(configs, outcomes, strict=True):
            decode_seconds, rows = 0.0, len(configs)
            if isinstance(outcome, _Row):
                decode_seconds, rows = outcome.seconds, outcome.rows
            result.predictions[label].append(self._prediction(about, outcome, begun))
            result.costs[label].append(self._cost(sample, prefill_seconds, decode_seconds, rows))

    def _encode(self, sample: Sample, settings: PromptSettings) -> EncodedPrompt:
        return encode_prompt(
            self._adapter.tokenizer,
            sample.context,
            sample.question,
            sample.answer_prefix,
            truncation_notice=sample.truncation_notice,
            settings=settings,
            max_new_tokens=sample.max_new_tokens,
            max_positions=self._adapter.max_positions,
        )

    def _prefill(
        self, tokens: tuple[int, ...], configs: Sequence[AttentionConfig]
    ) -> tuple[Context, float]:
        self._needy += [
            config for config in configs if not joint_needs(self._needy).covers(config.needs)
        ]
        try:
            return self._stored_context(tokens)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
        # Outside the except block, where the failed pass's tensors are no longer referenced.
        self._prefills.clear()
        self._free_memory()
        return self._stored_context(tokens)

    def _stored_context(self, tokens: tuple[int, ...]) -> tuple[Context, float]:
        # What the configurations so far need: those to come may need it again.
        request = joint_needs(self._needy)
        return self._prefills.get(
            tokens,
            lambda: self._read_context(tokens),
            lambda context: context.statistics.request.covers(request),
        )

    def _read_context(self, tokens: tuple[int, ...]) -> Context:
        context = self._adapter.prefill(tokens, self._needy)
        if self._device.type == "cuda":
            # A GPU works behind the program's back; the time would go to the decoding.
            torch.cuda.synchronize(self._device)
        return context

    def _answer(
        self,
        sample: Sample,
        context: Context,
        prompt: EncodedPrompt,
        configs: Sequence[AttentionConfig],
        scope: str,
        result: ContextResult,
    ) -> list[_Row | _Failure]:
        """An outcome for each configuration.

        A batch that fails is tried again in halves, so that it takes few enough rows for the
        memory, and so that a configuration that cannot work fails alone.
        """
        if len(configs) > self._max_rows:
            head = self._answer(sample, context, prompt, configs[: self._max_rows], scope, result)
            # The limit may have sunk meanwhile, but these rows are done.
            tail = configs[len(head) :]
            return head + self._answer(sample, context, prompt, tail, scope, result)
        start = time.perf_counter()
        try:
            answers = self._adapter.answer(
                context,
                prompt.question_ids,
                configs,
                max_new_tokens=sample.max_new_tokens,
                protocol=self._settings.protocol,
                sample_key=f"{scope}/{sample.id}",
                measure_error=self._settings.measure_error,
            )
        except Exception as error:
            if is_device_lost(error):
                raise
            out_of_memory = is_out_of_memory(error)
            if len(configs) == 1:
                return [self._failure(error, result)]
        else:
            seconds = (time.perf_counter() - start) / len(configs)
            return [_Row(answer, seconds, len(configs)) for answer in answers]
        half = (len(configs) + 1) // 2
        if out_of_memory:
            self._max_rows = half
            self._free_memory()
        return [
            outcome
            for part in (configs[:half], configs[half:])
            for outcome in self._answer(sample, context, prompt, part, scope, result)
        ]

    def _failure(self, error: Exception, result: ContextResult) -> _Failure:
        result.tracebacks.append("".join(traceback.format_exception(error)))
        return _Failure(reason_of(error), describe_error(error))

    def _prediction(
        self, about: Mapping[str, Any], outcome: _Row | _Failure, begun: bool
    ) -> Prediction:
        """The record of an outcome; ``about`` are its fields that every outcome has."""
        if isinstance(outcome, _Failure):
            return Prediction.unanswered("failed", outcome.reason, outcome.detail, **about)
        answer = outcome.answer
        if answer.finish_reason == "not_finite":
            detail = (
                f"logits after {len(answer.token_ids)} tokens of the answer are NaN or infinite"
            )
            return Prediction.unanswered("failed", "not_finite", detail, **about)
        measured: dict[str, Any] = {
            name: six_digits(getattr(answer, name))
            for name in (
                "density",
                "attention_error",
                "union_density",
                "selection_share",
                "kept_share",
            )
        }
        if not all(value is None or math.isfinite(value) for value in measured.values()):
            detail = ", ".join(f"{name} {value}" for name, value in measured.items())
            return Prediction.unanswered("failed", "not_finite", detail, **about)
        tokenizer = self._adapter.tokenizer
        reply = read_reply(tokenizer, answer.token_ids, begun) or Reply(answer.text, None)
        thought = reply.thought or ""
        return Prediction(
            **about,
            status="truncated" if about["removed_tokens"] else "ok",
            reason="",
            detail="",
            predicted_answer=reply.text,
            thought=reply.thought,
            thought_tokens=len(tokenizer.encode(thought, add_special_tokens=False))
            if thought
            else 0,
            answer_tokens=len(answer.token_ids),
            finish_reason=answer.finish_reason,
            **measured,
            score=None,
        )

    def _cost(
        self, sample: Sample, prefill_seconds: float, decode_seconds: float, rows: int
    ) -> Cost:
        if self._device.type == "cuda":
            peak = torch.cuda.max_memory_allocated(self._device)
            device = torch.cuda.get_device_name(self._device)
        else:
            # Linux counts in KiB.
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
            device = "cpu"
        return Cost(
            id=sample.id,
            prefill_seconds=round(prefill_seconds, 6),
            decode_seconds=round(decode_seconds, 6),
            rows=rows,
            peak_memory_bytes=peak,
            device=device,
        )

    def _reset_peak_memory(self) -> None:
        if self._device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self._device)

    def _free_memory(self) -> None:
        gc.collect()
        if self._device.type == "cuda":
            torch.cuda.empty_cache()
