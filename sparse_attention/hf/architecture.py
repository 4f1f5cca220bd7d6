"""Which architectures can work with our attention, by what their configuration says."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

from transformers import (
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    PreTrainedConfig,
    PreTrainedModel,
)

from sparse_attention.errors import UserError
from sparse_attention.hf.layers import key_layers
from sparse_attention.model_facts import HeadShape

_STATE = "keep a state of fixed size in place of the keys and values of all tokens"
_DSA = "choose keys by an indexer of their own that the model was trained with (DSA)"
_OWN_SELECTION = {
    "indexed_attention": _DSA,
    "compressed_sparse_attention": _DSA,
    "minimax_m3_sparse": "choose blocks of keys by an indexer of their own (MSA)",
    "heavily_compressed_attention": "read compressed entries in place of keys",
}
"""What layers do that have sparse attention already, by what transformers calls their type."""


class Unsupported(UserError):
    """A model whose architecture cannot work with our attention."""

    def __init__(self, name: str, reason: str) -> None:
        """For an architecture, with what it is about it."""
        super().__init__(
            f"{name} cannot be used: {reason}. Supported are decoder-only models with attention "
            "layers that go through transformers' attention interface (Llama, Qwen, Mistral, "
            "Gemma, DeepSeek, Granite, ...; docs/models.md has a list)."
        )
        self.reason = reason


def check_configuration(
    config: PreTrainedConfig, kind: type[PreTrainedModel] | None = None
) -> None:
    """Refuse a model by its configuration alone, without its weights.

    Args:
        config: of the model.
        kind: its class; None for the one that transformers has for it.

    Raises:
        Unsupported: if it cannot work, with the reason.
    """
    if kind is None and not getattr(config, "auto_map", None):
        kind = model_class(config)
    stated = (getattr(config, "architectures", None) or [config.model_type])[0]
    reason = next(_reasons(config, kind), None)
    if reason is not None:
        raise Unsupported(str(stated) if kind is None else kind.__name__, reason)


def head_shapes(config: PreTrainedConfig) -> list[HeadShape]:
    """The heads of each layer that keeps keys.

    Raises:
        AttributeError: if a layer does not say that it has any.
    """
    text = config.get_text_config()
    layers = getattr(text, "per_layer_config", None) or [text] * int(text.num_hidden_layers)
    return [_head_shape(layers[place]) for place in key_layers(config).places]


def _head_shape(layer: PreTrainedConfig) -> HeadShape:
    heads = int(layer.num_attention_heads)
    if getattr(layer, "kv_lora_rank", None):  # all heads read one compressed vector for each token
        return HeadShape(heads, 1, int(layer.kv_lora_rank + layer.qk_rope_head_dim))
    one = 1 if getattr(layer, "multi_query", False) else heads
    return HeadShape(
        heads,
        int(getattr(layer, "num_key_value_heads", None) or one),
        int(getattr(layer, "head_dim", None) or layer.hidden_size // heads),
    )


def auto_class(config: PreTrainedConfig) -> Any:
    """What of transformers loads the language model of a configuration.

    Where it has none without other parts, such as an encoder of images, one with them, which reads
    text alone as well.
    """
    kinds = (AutoModelForCausalLM, AutoModelForImageTextToText)
    known = (kind for kind in kinds if type(config) in kind._model_mapping)
    return next(known, AutoModelForCausalLM)


def model_class(config: PreTrainedConfig) -> type[PreTrainedModel] | None:
    """The class of the model of a configuration; None if transformers has no language model."""
    found: Any = auto_class(config)._model_mapping.get(type(config), None)
    return found[0] if isinstance(found, tuple) else found


def _reasons(config: PreTrainedConfig, kind: type[PreTrainedModel] | None) -> Iterator[str]:
    """What speaks against an architecture, the most telling first."""
    text = config.get_text_config()
    if getattr(config, "is_encoder_decoder", False):
        yield "it has an encoder, and reads the context there"
    if is_encoder(text):
        yield "its tokens attend to those after them as well: it is an encoder"
    if getattr(text, "prefix_lm", False):
        yield "tokens of its prompt attend to those after them as well (prefix LM)"
    if kind is None and not getattr(config, "auto_map", None):
        yield f"transformers has no causal language model of the type {config.model_type!r}"
    yield from _of_layers(config)
    if _has_alibi(text):
        yield "it has biases by distance on its attention scores in place of positions (ALiBi)"
    kinds = [kind, model_class(text)]
    if kind is not None and not any(map(_uses_the_interface, filter(None, kinds))):
        yield "its attention does not go through transformers' attention interface"


def _of_layers(config: PreTrainedConfig) -> Iterator[str]:
    text = config.get_text_config()
    types = getattr(text, "layer_types", None) or ()
    for kind in dict.fromkeys(map(str, types)):
        if kind in _OWN_SELECTION:
            yield f"its layers {_OWN_SELECTION[kind]}"
    try:
        kept = key_layers(config)
    except KeyError as error:
        yield f"transformers has no cache for its layers of the type {error}"
        return
    if not kept:
        yield f"it has no attention layer whose keys could be chosen from: its layers {_STATE}"
        return
    try:
        head_shapes(config)
    except (AttributeError, TypeError, ZeroDivisionError):
        yield f"it has no attention heads: its layers {_STATE}"


def is_encoder(text: PreTrainedConfig) -> bool:
    """Whether it is BERT or a relative, which have a language model for those who ask for it."""
    decodes = getattr(text, "is_decoder", True)
    parts = ("add_cross_attention", "cross_attention_hidden_size")
    return not decodes and any(hasattr(text, name) for name in parts)


def _has_alibi(text: PreTrainedConfig) -> bool:
    inner = getattr(text, "attn_config", None)
    named = [getattr(one, name, False) for one in (text, inner) for name in ("alibi", "use_alibi")]
    return text.model_type == "bloom" or any(found is True for found in named)


def _uses_the_interface(kind: type[PreTrainedModel]) -> bool:
    """Whether a class looks attention functions up there; one of somebody else's may."""
    own = kind.__module__.startswith("transformers.")
    return not own or hasattr(sys.modules[kind.__module__], "ALL_ATTENTION_FUNCTIONS")
