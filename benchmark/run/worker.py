"""What a worker does: it keeps a model on one device and answers requests with it."""

from __future__ import annotations

import torch

from benchmark.executor_config import AdapterConfig
from benchmark.run.evaluator import Evaluator
from benchmark.run.failures import describe_error
from benchmark.run.memory import Footprint, MemoryPlan
from benchmark.run.requests import ContextResult, ModelFailure, Request
from sparse_attention.errors import UserError
from sparse_attention.hf.adapter import HuggingFaceAdapter


class EvaluationWorker:
    """Keeps the model of its last request, with its prefills."""

    def __init__(self, settings: AdapterConfig, device: str, threads: int) -> None:
        """Load nothing yet.

        Args:
            settings: how models are loaded and run.
            device: as torch names it; ``auto``: all GPUs that are visible.
            threads: on the CPU.
        """
        torch.set_num_threads(threads)
        self._settings = settings
        self._device = device
        self._loaded: tuple[str, str | None] | None = None
        self._evaluator: Evaluator | None = None

    def load(self, request: Request) -> ModelFailure | None:
        """Load the model of a request where it is not the last one; why it cannot be."""
        wanted = (request.model, request.revision)
        if self._evaluator is not None and self._loaded == wanted:
            return None
        # The old model must be gone before the new one comes.
        self._evaluator, self._loaded = None, None
        try:
            self._evaluator = self._load(request)
        except UserError as error:
            return ModelFailure(str(error), by_user=True)
        except Exception as error:
            return ModelFailure(describe_error(error), by_user=False)
        self._loaded = wanted
        return None

    def evaluate(self, request: Request) -> ContextResult:
        """Answer a request, loading its model first."""
        failure = self.load(request)
        if failure is not None or self._evaluator is None:
            return ContextResult(model_failure=failure)
        return self._evaluator.evaluate(
            *(request.samples, request.configs, request.prompt, request.scope, request.shown),
            max_rows=request.max_rows,
        )

    def _load(self, request: Request) -> Evaluator:
        adapter = HuggingFaceAdapter.load(
            request.model,
            device=self._device,
            dtype=self._settings.dtype,
            revision=request.revision,
            trust_remote_code=self._settings.trust_remote_code,
            max_positions=self._settings.max_positions,
        )
        device = adapter.model.device
        plan = MemoryPlan(Footprint.of(adapter), device)
        return Evaluator(adapter, self._settings, str(device), plan)
