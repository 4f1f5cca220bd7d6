"""Reading a context with the model's own dense attention, and what can be seen of it meanwhile.

The model's own attention runs; a function in its place looks on and hands over what
``cache.statistics`` collects.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from transformers import (
    DynamicCache,
    PreTrainedModel,
)
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from sparse_attention.cache.context import Context, ContextLayer, Segment
from sparse_attention.cache.statistics import NOTHING, PrefillStatistics, StatisticsRequest
from sparse_attention.errors import NotFinite
from sparse_attention.hf.architecture import unsupported
from sparse_attention.hf.attention import attention_settings
from sparse_attention.hf.projection import output_weight
from sparse_attention.hf.rotary import rotary_layers
from sparse_attention.hf.unmasked import unmasked
from sparse_attention.hf.windows import rotated_for
from sparse_attention.model_facts import LayerFacts, Rotary


@torch.inference_mode()
def prefill(
    model: PreTrainedModel,
    tokens: Sequence[int],
    chunk: int,
    request: StatisticsRequest = NOTHING,
    length: int = 0,
) -> Context:
    """Read a context with the model's own dense attention, ``chunk`` tokens at a time.

    Runs the decoder stack without the head, because no logits of the context are needed.  What is
    requested is collected on the way; keys and values are the same with and without.  They are
    those of a sequence of ``length`` tokens, if that is more; see ``windows``.

    Raises:
        UserError: if the model keeps something else than keys and values of all tokens.
        NotFinite: if some of these are NaN or infinite, whether they would be read or not.
    """
    cache = DynamicCache(config=model.config.get_text_config())
    ids = torch.tensor([list(tokens)], device=model.device)
    statistics = PrefillStatistics(request)
    whole = rotated_for(model, max(length, len(tokens)))
    on_gpu = unmasked(model) if ids.is_cuda else contextlib.nullcontext()
    with whole, on_gpu, observing(model, statistics) as keywords:
        for start in range(0, len(tokens), chunk):
            part = ids[:, start : start + chunk]
            positions = torch.arange(start, start + part.shape[1], device=ids.device)[None]
            model.get_decoder()(
                input_ids=part,
                position_ids=positions,
                past_key_values=cache,
                use_cache=True,
                **keywords,
            )
    layers: list[ContextLayer] = []
    for layer in cache.layers:
        keys, values = getattr(layer, "keys", None), getattr(layer, "values", None)
        if keys is None or values is None:
            raise unsupported(type(model).__name__, "some layers cache no keys and values")
        if not bool(keys.isfinite().all() & values.isfinite().all()):
            raise NotFinite(
                f"keys or values of layer {len(layers)} are NaN or infinite after {len(tokens)} "
                "tokens of context"
            )
        segment = Segment(
            keys[0].contiguous(), values[0].contiguous(), start=len(tokens) - keys.shape[2]
        )
        sliding = bool(getattr(layer, "is_sliding", False))
        layers.append(ContextLayer((segment,), sliding))
    return Context(len(tokens), tuple(layers), statistics=statistics, tokens=tuple(tokens))


@contextlib.contextmanager
def observing(model: PreTrainedModel, statistics: PrefillStatistics) -> Iterator[dict[str, Any]]:
    """Let ``statistics`` see the attention of forwards that get the keywords that this yields.

    The model's own attention function does the work; it is replaced by one that looks on and calls
    it, for the forwards with these keywords only, until the end of the context.
    """
    if not statistics.request:
        yield {}
        return
    name = model.config.get_text_config()._attn_implementation
    rotaries = rotary_layers(model) if statistics.request.rotation else []
    before = ALL_ATTENTION_FUNCTIONS._local_mapping.get(name)
    registered = before or type(ALL_ATTENTION_FUNCTIONS)._global_mapping.get(name)

    def look_on(module: nn.Module, query: Tensor, key: Tensor, *args: Any, **given: Any) -> Any:
        if given.pop("prefill_statistics", None) is statistics:
            _observe(statistics, module, query, key, rotaries, given)
        own = registered or sys.modules[type(module).__module__].eager_attention_forward
        return own(module, query, key, *args, **given)

    ALL_ATTENTION_FUNCTIONS[name] = look_on
    try:
        yield {"prefill_statistics": statistics}
    finally:
        del ALL_ATTENTION_FUNCTIONS[name]
        if before is not None:
            ALL_ATTENTION_FUNCTIONS[name] = before


def _observe(
    statistics: PrefillStatistics,
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    rotaries: Sequence[Rotary | None],
    given: dict[str, Any],
) -> None:
    _, heads, count, width = query.shape
    kv_heads, layer = key.shape[1], module.layer_idx
    assert isinstance(layer, int)
    group = heads // kv_heads
    find_weight = partial(output_weight, module, kv_heads, group, query.new_empty(0))
    facts = LayerFacts(
        attention_settings(kv_heads, group, width, **given),
        rotaries[layer] if rotaries else None,
        find_weight if statistics.request.output_weight else _not_asked_for,
    )
    grouped = query[0].view(kv_heads, group, count, width)
    statistics.observe(layer, grouped, key[0], facts)


def _not_asked_for() -> None:
    return None
