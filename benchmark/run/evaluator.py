"""One model on one device: answers questions about a context under many configurations."""

from __future__ import annotations

import gc
import resource
import time
import traceback
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import torch

from benchmark.executor_config import AdapterConfig
from benchmark.results.records import Cost, Prediction
from benchmark.run.failures import describe_error, is_device_lost, is_out_of_memory, reason_of
from benchmark.run.memory import LARGEST_CHUNK, DoesNotFit, MemoryPlan, Reading
from benchmark.run.outcomes import AnsweredRow, Failure, prediction_of
from benchmark.run.prefill_store import PrefillStore
from benchmark.run.requests import ContextResult, identity
from benchmark.suite.base import Sample
from sparse_attention import Context
from sparse_attention.config import AttentionConfig, joint_needs
from sparse_attention.hf.adapter import HuggingFaceAdapter
from sparse_attention.prompt import EncodedPrompt, PromptSettings, PromptSkipped, encode_prompt


class Evaluator:
    """Answers samples with a loaded model.

    Each context is prefilled once for all its questions and configurations; the configurations
    answer a question as rows of one batch.  What goes wrong with a sample is recorded as its
    status, and the others go on.
    """

    def __init__(
        self,
        adapter: HuggingFaceAdapter,
        settings: AdapterConfig,
        device: str = "cpu",
        memory: MemoryPlan | None = None,
    ) -> None:
        """Answer with a model on a device; without a ``memory`` plan it is only tried what fits."""
        self._adapter = adapter
        self._memory = memory
        self._settings = settings
        self._device = torch.device(device)
        self._prefills: PrefillStore[Context] = PrefillStore(settings.prefill_store_bytes)
        self._max_rows = settings.max_rows
        self._needy: list[AttentionConfig] = []
        self._offload = False

    def evaluate(
        self,
        samples: Sequence[Sample],
        configs: Mapping[str, AttentionConfig],
        prompt: PromptSettings,
        scope: str = "",
        shown: Collection[str] = (),
        max_rows: int | None = None,
    ) -> ContextResult:
        """Answer ``samples``, best those of one context, under all ``configs`` (by label).

        ``prompt`` says how the samples become prompts.  ``scope`` and a sample's id together key
        the random draws of sampling methods.  Of samples whose id is in ``shown`` the whole prompt
        is recorded as text.  ``max_rows`` bounds the batches.  An error of CUDA after which the
        process is of no use is raised, so that its worker is replaced.
        """
        result = ContextResult({label: [] for label in configs}, {label: [] for label in configs})
        self._max_rows = min(self._max_rows, max_rows or self._max_rows)
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
        outcomes: list[AnsweredRow | Failure]
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
            if isinstance(outcome, AnsweredRow):
                decode_seconds, rows = outcome.seconds, outcome.rows
            record = prediction_of(about, outcome, self._adapter.tokenizer, begun)
            result.predictions[label].append(record)
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
            self._make_room(tokens)
            return self._stored_context(tokens)
        except DoesNotFit:
            raise
        except Exception as error:
            if not is_out_of_memory(error):
                raise
        # Outside the except block, where the failed pass's tensors are no longer referenced.
        self._prefills.clear()
        self._free_memory()
        return self._stored_context(tokens)

    def _make_room(self, tokens: tuple[int, ...]) -> None:
        """Plan how a context is read, where it has to be: other contexts go before it is refused.

        Raises:
            DoesNotFit: if it is too large.
        """
        if self._memory is None or self._prefills.holds(tokens):
            return
        reading = self._memory.reading(len(tokens))
        if reading != Reading(LARGEST_CHUNK) and len(self._prefills):
            self._prefills.clear()
            self._free_memory()
            reading = self._memory.reading(len(tokens))
        if reading is None:
            raise self._memory.refusal(len(tokens))
        self._adapter.prefill_chunk = reading.chunk
        self._offload = reading.offload

    def _stored_context(self, tokens: tuple[int, ...]) -> tuple[Context, float]:
        # What the configurations so far need: those to come may need it again.
        request = joint_needs(self._needy)
        return self._prefills.get(
            tokens,
            lambda: self._read_context(tokens),
            lambda context: context.statistics.request.covers(request),
        )

    def _read_context(self, tokens: tuple[int, ...]) -> Context:
        context = self._adapter.prefill(tokens, self._needy, offload=self._offload)
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
    ) -> list[AnsweredRow | Failure]:
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
            if self._memory is not None:
                asked = len(prompt.question_ids)
                fitting = self._memory.rows(
                    context.length, asked, configs, offload=context.is_offloaded
                )
                if fitting < len(configs):
                    parts = (configs[:fitting], configs[fitting:])
                    return [
                        outcome
                        for part in parts
                        for outcome in self._answer(sample, context, prompt, part, scope, result)
                    ]
            answers = self._adapter.answer(
                context,
                prompt.question_ids,
                configs,
                max_new_tokens=sample.max_new_tokens,
                protocol=self._settings.protocol,
                sample_key=f"{scope}/{sample.id}",
                measure_error=self._settings.measure_error,
                error_every=self._settings.error_every,
            )
        except Exception as error:
            if is_device_lost(error):
                raise
            out_of_memory = is_out_of_memory(error)
            if len(configs) == 1:
                return [self._failure(error, result)]
        else:
            seconds = (time.perf_counter() - start) / len(configs)
            return [AnsweredRow(answer, seconds, len(configs)) for answer in answers]
        half = (len(configs) + 1) // 2
        if out_of_memory:
            self._max_rows = half
            self._free_memory()
        return [
            outcome
            for part in (configs[:half], configs[half:])
            for outcome in self._answer(sample, context, prompt, part, scope, result)
        ]

    def _failure(self, error: Exception, result: ContextResult) -> Failure:
        result.tracebacks.append("".join(traceback.format_exception(error)))
        return Failure(reason_of(error), describe_error(error))

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
