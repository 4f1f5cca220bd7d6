"""What transformers' ``generate`` expects of a cache, and how ours gets into it."""

from __future__ import annotations

import contextlib
import functools
import inspect
import threading
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from transformers import GenerationConfig, PreTrainedModel
from transformers.generation import GenerationMode

from sparse_attention.decode.batch import BatchDecoder
from sparse_attention.errors import UserError
from sparse_attention.hf.attention import configs_of, our_attention, reading
from sparse_attention.hf.cache import GenerationCache
from sparse_attention.hf.facts import token_set
from sparse_attention.hf.states import goes_on_at_once
from sparse_attention.hf.windows import attribute, growing_from, rotated_for, switches_at

_BEAMS = {GenerationMode.BEAM_SEARCH, GenerationMode.BEAM_SAMPLE}
_MODES = {GenerationMode.GREEDY_SEARCH, GenerationMode.SAMPLE, *_BEAMS}
_OWN_CACHE = "sparse_generation makes the cache of the whole prompt by itself"
_REFUSED = {
    "past_key_values": f"{_OWN_CACHE}; leave it out and give the whole prompt",
    "inputs_embeds": "equal prompts are told by their tokens; give input_ids",
    "position_ids": "positions are counted from the first token that attention_mask shows",
}
_OURS: dict[str, Any] = {
    "use_cache": True,
    "cache_implementation": None,
    "output_attentions": False,
}
"""Settings that only one value works with."""
_replaced: weakref.WeakSet[PreTrainedModel] = weakref.WeakSet()


class _Forward:
    """The forward of a model during one ``generate``."""

    def __init__(
        self,
        model: PreTrainedModel,
        begin: Callable[[list[list[int]], int], BatchDecoder],
        stop: frozenset[int],
        question_tokens: int,
    ) -> None:
        self.model, self.cache = model, GenerationCache(model)
        self.own: Callable[..., Any] = model.forward
        functools.update_wrapper(self, self.own, updated=())  # generate looks at its parameters
        self.begin, self.stop, self.question_tokens = begin, stop, question_tokens
        self._switch, self._growing = switches_at(model.config), growing_from(model.config)
        self._configs = configs_of(model)
        self._prompt_columns = 0

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if args or (kwargs.get("past_key_values") is not self.cache and not self._anew(kwargs)):
            raise UserError(
                "this generate calls the model without the cache that it was given, so that its "
                "attention would be dense; leave out what needs a second prompt"
            )
        length = self.cache.get_seq_length() + kwargs["input_ids"].shape[1]
        if self._growing is not None and length > self._growing:
            raise UserError(
                f"{length} tokens: above {self._growing} this model turns each new key by other "
                "angles than the keys before (dynamic NTK), which sparse_generation cannot follow; "
                "shorten the prompt or max_new_tokens"
            )
        batch = self.cache.batch
        if batch is None or self._anew(kwargs):
            return self._read(kwargs)
        self._stop_measuring_ended(batch, kwargs["input_ids"])
        return self._step(batch, kwargs)

    def _anew(self, kwargs: dict[str, Any]) -> bool:
        """Whether ``generate`` gives all tokens again without a cache: a model with LongRoPE reads
        them in another way from a length on.
        """
        again = self._switch is not None and kwargs.get("past_key_values") is None
        return again and kwargs["input_ids"].shape[1] > self._switch

    def _forward(self, batch: BatchDecoder, kwargs: dict[str, Any]) -> Any:
        changed: dict[str, Any] = {
            "attention_mask": None,
            "past_key_values": self.cache,
        }
        if any(batch.position_shifts):
            positions = kwargs["position_ids"]
            lower = torch.tensor(batch.position_shifts, device=positions.device)
            changed["position_ids"] = positions - lower[:, None]
        with our_attention(self._configs), reading(self.cache):
            return self.own(**kwargs | changed)

    def _step(self, batch: BatchDecoder, kwargs: dict[str, Any]) -> Any:
        output = self._forward(batch, kwargs)
        batch.end_step()
        return output

    def _read(self, kwargs: dict[str, Any]) -> Any:
        """Read prompts and, where all is read anew, the tokens that were generated after them."""
        tokens, left = kwargs["input_ids"], self.question_tokens
        length = tokens.shape[1]
        self._prompt_columns = prompt = self._prompt_columns or length
        mask = kwargs.get("attention_mask")
        prompts = _without_padding(
            tokens[:, :prompt], None if mask is None else mask[:, :prompt], left
        )

        def columns(first: int, end: int) -> dict[str, Any]:
            part = {"input_ids": tokens[:, first:end]}
            if kwargs.get("position_ids") is not None:
                part["position_ids"] = kwargs["position_ids"][..., first:end]
            return kwargs | part

        batch = self.begin(prompts, length)
        self.cache.begin(batch, prompt - left, batch.states)
        with rotated_for(self.model, length):
            with batch.question():
                step = left if goes_on_at_once(self.model) else 1
                for first in range(prompt - left, prompt, step):
                    output = self._forward(batch, columns(first, first + step))
            for column in range(prompt, length):
                self._stop_measuring_ended(batch, tokens[:, : column + 1])
                output = self._step(batch, columns(column, column + 1))
        return output

    def _stop_measuring_ended(self, batch: BatchDecoder, tokens: Tensor) -> None:
        """``generate`` goes on with padding where a row has ended; that is nobody's answer."""
        for row, token in enumerate(tokens[:, -1].tolist() if self.stop else []):
            if token in self.stop:
                batch.stop_measuring(row)


def _without_padding(tokens: Tensor, mask: Tensor | None, question: int) -> list[list[int]]:
    """The prompts in the rows of ``tokens`` (R, columns), padded on the left."""
    visible = torch.ones_like(tokens, dtype=torch.bool) if mask is None else mask.bool()
    if bool((visible[:, 1:] < visible[:, :-1]).any()):
        raise UserError(
            "attention_mask hides tokens after others that it shows; padding must be on the left: "
            'tokenizer(..., padding=True, padding_side="left")'
        )
    prompts = [row[shown].tolist() for row, shown in zip(tokens, visible, strict=True)]
    shortest = min(len(prompt) for prompt in prompts)
    if shortest <= question:
        raise UserError(
            f"a prompt of {shortest} tokens is too short: at least {question + 1} are needed, one "
            f"for the context and {question} for question_tokens"
        )
    return prompts


@contextlib.contextmanager
def replaced_generate(
    model: PreTrainedModel,
    begin: Callable[[list[list[int]], int, int | None], BatchDecoder],
    end: Callable[[], None],
    *,
    question_tokens: int,
) -> Iterator[None]:
    """Inside, ``model.generate`` decodes with our attention; undone on exit and on error.

    Args:
        model: whose ``generate`` is replaced; its ``forward`` is as well while that runs.
        begin: makes of the prompts of all rows, without padding, of the length of the sequences
            that they begin, and of the length of the chunks in which they are read, what goes on
            from them; it reads all but the questions.
        end: called after each ``generate``, also after one that failed.
        question_tokens: tokens at the end of each prompt that are its question.

    Raises:
        UserError: if this has been done to the model already.
    """
    if model in _replaced:
        raise UserError(
            f"this {type(model).__name__} is inside sparse_generation already; leave that first"
        )
    own: Callable[..., Any] = model.generate
    names, busy = tuple(inspect.signature(own).parameters), threading.Lock()

    @functools.wraps(own)
    def generate(*args: Any, **kwargs: Any) -> Any:
        given = dict(zip(names, args, strict=False)) | kwargs
        given |= _in_place_of_the_models(model, given)
        settings, beams = _settings(model, given)
        chunk = settings.prefill_chunk_size
        if chunk is not None:  # it is for reading the prompts, which ``begin`` does
            given["prefill_chunk_size"] = None
        stop = frozenset() if beams else token_set(settings.eos_token_id)
        if not busy.acquire(blocking=False):
            raise UserError(
                "generate is running already for this model; wait until it has ended, or give it "
                "all prompts as one batch"
            )
        forward = _Forward(
            model, lambda prompts, length: begin(prompts, length, chunk), stop, question_tokens
        )
        with contextlib.ExitStack() as undo:
            undo.callback(busy.release)
            undo.callback(end)
            undo.enter_context(attribute(model, "forward", forward))
            return own(**given, past_key_values=forward.cache)

    _replaced.add(model)
    try:
        with attribute(model, "generate", generate):
            yield
    finally:
        _replaced.discard(model)


def _settings(model: Any, given: dict[str, Any]) -> tuple[GenerationConfig, bool]:
    """All settings of a ``generate``, and whether it searches with beams.

    Raises:
        UserError: if our cache cannot serve it.
    """
    for name, reason in _REFUSED.items():
        if given.get(name) is not None:
            raise UserError(f"{name} cannot be used inside sparse_generation: {reason}")
    settings, _ = model._prepare_generation_config(
        given.get("generation_config"),
        **{key: value for key, value in given.items() if key != "generation_config"},
    )
    mode = settings.get_generation_mode(given.get("assistant_model"))
    if mode not in _MODES:
        raise UserError(
            f"{mode.value} cannot be used inside sparse_generation; valid are greedy search, "
            "sampling and beam search; model.generation_config may ask for it too"
        )
    if settings.guidance_scale not in (None, 1):
        raise UserError(
            f"guidance_scale={settings.guidance_scale} needs a second prompt beside each; set "
            "guidance_scale=None"
        )
    if settings.use_cache is False or settings.cache_implementation is not None:
        raise UserError(
            f"use_cache={settings.use_cache}, cache_implementation="
            f"{settings.cache_implementation!r}: {_OWN_CACHE}; leave both out, of a "
            "generation_config too"
        )
    if settings.output_attentions:
        raise UserError("output_attentions: there are no attention weights of all keys; leave out")
    return settings, mode in _BEAMS


def _in_place_of_the_models(model: Any, given: dict[str, Any]) -> dict[str, Any]:
    """What replaces settings that a checkpoint was saved with and that no caller asked for."""
    places = (given.get("generation_config"), model.generation_config)
    by_caller, by_model = ({name: getattr(one, name, None) for name in _OURS} for one in places)
    return {
        name: ours
        for name, ours in _OURS.items()
        if given.get(name) is None and by_caller[name] is None
        if by_model[name] not in (None, ours)
    }
