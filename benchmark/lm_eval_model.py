"""The model ``sparse-bench`` of lm-evaluation-harness: its ``hf`` under any configuration."""

from __future__ import annotations

from typing import Any, Literal

from lm_eval.__main__ import cli_evaluate
from lm_eval.api.registry import model_registry
from lm_eval.models.huggingface import HFLM

from benchmark.named_models import named_model
from sparse_attention.config_types import as_config
from sparse_attention.errors import UserError
from sparse_attention.hf.check import check_architecture
from sparse_attention.hf.facts import layer_count, model_profile
from sparse_attention.hf.generation import sparse_generation
from sparse_attention.hf.likelihood import likelihoods
from sparse_attention.protocol import Protocol

NAME = "sparse-bench"
_Tokens = list[int]
_Request = tuple[Any, _Tokens, _Tokens]
"""Texts (None: of a window of a longer text), tokens before the answer, tokens of the answer."""


class SparseBenchLM(HFLM):
    """Loads, cuts into tokens, truncates and stops as ``hf`` does; attention alone is ours.

    Dense attention is the model's own, with the numbers of ``hf``.  Otherwise all of a request but
    its question is read once and densely, and its answer, written or given, a token at a time.
    """

    def __init__(
        self,
        pretrained: Any,
        config: str = "dense",
        *,
        sparse_from: Literal["question", "generation"] = "generation",
        question_tokens: int = 1,
        press_sees_question: bool = False,
        **settings: Any,
    ) -> None:
        """As ``hf``, and:

        Args:
            pretrained: also a name of ours, such as ``embedded``.
            config: a config type, or a JSON file with one configuration.
            sparse_from: see ``Protocol``.
            question_tokens: how many tokens at the end of a request are its question; lm-eval does
                not tell them from the context.
            press_sees_question: see ``Protocol``.
            settings: of ``hf``.
        """
        if question_tokens < 1:
            raise UserError(f"question_tokens must be at least 1, got {question_tokens}")
        path = named_model(pretrained) if isinstance(pretrained, str) else None
        if path is not None and path.is_file():
            pretrained, settings = str(path.parent), {"gguf_file": path.name, **settings}
        elif path is not None:
            pretrained = str(path)
        methods = as_config(config)
        protocol = Protocol(sparse_from=sparse_from, press_sees_question=press_sees_question)
        super().__init__(pretrained, **settings)
        self._protocol, self._question_tokens = protocol, question_tokens
        self._methods = methods
        if methods.methods:
            check_architecture(self.model)
            protocol.check_layers(layer_count(self.model))
            name = self.model.name_or_path or ""
            self._methods = methods.for_model(model_profile(name, self.model.config, self.model))

    def _model_generate(self, context: Any, max_length: int, stop: list[str], **given: Any) -> Any:
        if not self._methods.methods:
            return super()._model_generate(context, max_length, stop, **given)
        with sparse_generation(
            self.model,
            self._methods,
            protocol=self._protocol,
            question_tokens=self._question_tokens,
        ):
            return super()._model_generate(context, max_length, stop, **given)

    def _loglikelihood_tokens(
        self,
        requests: list[_Request],
        disable_tqdm: bool = False,
        override_bs: int | None = None,
    ) -> list[tuple[float, bool]]:
        if not self._methods.methods:
            return super()._loglikelihood_tokens(requests, disable_tqdm, override_bs)
        together: dict[tuple[int, ...], list[int]] = {}
        for place, (_, before, answer) in enumerate(requests):
            # What does not fit is cut from the beginning; the last token is never read.
            room = self.max_length + 1 - len(answer)
            together.setdefault(tuple(before[-room:]), []).append(place)
        found: dict[int, tuple[float, bool]] = {}
        for prompt, places in together.items():
            scored = likelihoods(
                self.model,
                prompt,
                [requests[place][2] for place in places],
                self._methods,
                protocol=self._protocol,
                question_tokens=self._question_tokens,
            )
            for place, one in zip(places, scored, strict=True):
                found[place] = (one.log_probability, one.is_greedy)
                if requests[place][0] is not None:
                    self.cache_hook.add_partial("loglikelihood", requests[place][0], found[place])
        return [found[place] for place in range(len(requests))]


def main() -> None:
    """lm-eval's own command, which knows the model ``sparse-bench`` here.

    The command of lm-eval itself knows it from the version on that looks for entry points, which
    0.4.13 does not.
    """
    if NAME not in model_registry:
        model_registry.register(NAME, target=SparseBenchLM)
    cli_evaluate()
