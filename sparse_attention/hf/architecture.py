"""Which architectures can work with our attention, by what their configuration says."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from typing import Any

from transformers import AutoModelForCausalLM, PreTrainedConfig, PreTrainedModel

from sparse_attention.errors import UserError
from sparse_attention.model_facts import HeadShape

_STATE = "keep a state of fixed size in place of the keys and values of all tokens"
_LAYER_TYPES = {
    "full_attention": None,
    "attention": None,
    "sliding_attention": None,
    "chunked_attention": "attend within chunks of the context",
    "linear_attention": _STATE,
    "mamba": _STATE,
    "mamba2": _STATE,
    "recurrent": _STATE,
    "conv": _STATE,
    "hybrid": f"{_STATE}, beside attention",
}
"""What layers of a type do that our attention cannot; None if it can."""
_TYPES_OF_LAYERS = ("layer_types", "layers_block_type", "block_types")
_OF_STATE_SPACES = ("mamba_d_state", "mamba_d_ssm", "ssm_state_size", "state_size", "conv_kernel")


class Unsupported(UserError):
    """A model whose architecture cannot work with our attention."""


def unsupported(name: str, reason: str) -> Unsupported:
    """The error for an architecture, with what it is about it."""
    return Unsupported(
        f"{name} cannot be used: {reason}. Supported are decoder-only models whose attention goes "
        "through transformers' attention interface, with full or sliding-window attention in all "
        "layers (Llama, Mistral, Qwen2, Qwen3, Phi-3, Gemma, ...)."
    )


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
        kind = _causal_class(config)
    stated = (getattr(config, "architectures", None) or [config.model_type])[0]
    reason = next(_reasons(config, kind), None)
    if reason is not None:
        raise unsupported(str(stated) if kind is None else kind.__name__, reason)


def layer_configs(text: PreTrainedConfig) -> Sequence[PreTrainedConfig]:
    """The configuration as each layer sees it."""
    layers = getattr(text, "per_layer_config", None)
    return [text] * int(text.num_hidden_layers) if layers is None else list(layers)


def head_shape(layer: PreTrainedConfig) -> HeadShape:
    """The heads of a layer, of its configuration.

    Raises:
        AttributeError: if it does not say that it has any.
    """
    heads = int(layer.num_attention_heads)
    one = 1 if getattr(layer, "multi_query", False) else heads
    return HeadShape(
        heads,
        int(getattr(layer, "num_key_value_heads", None) or one),
        int(getattr(layer, "head_dim", None) or layer.hidden_size // heads),
    )


def _causal_class(config: PreTrainedConfig) -> type[PreTrainedModel] | None:
    found: Any = AutoModelForCausalLM._model_mapping.get(type(config), None)
    return found[0] if isinstance(found, tuple) else found


def _reasons(config: PreTrainedConfig, kind: type[PreTrainedModel] | None) -> Iterator[str]:
    """What speaks against an architecture, the most telling first."""
    text = config.get_text_config()
    if getattr(config, "is_encoder_decoder", False):
        yield "it has an encoder, and reads the context there"
    if kind is None and not getattr(config, "auto_map", None):
        yield f"transformers has no causal language model of the type {config.model_type!r}"
    yield from _of_layers(text)
    if _has_alibi(text):
        yield "it has biases by distance on its attention scores in place of positions (ALiBi)"
    if getattr(text, "kv_lora_rank", None):
        yield (
            "it has multi-head latent attention (MLA), whose keys and values come from one "
            "compressed vector and are of different width"
        )
    if getattr(text, "num_kv_shared_layers", 0):
        yield (
            f"its last {text.num_kv_shared_layers} layers keep no keys and values of their own but "
            "read those of other layers"
        )
    if kind is not None and not _uses_the_interface(kind):
        yield "its attention does not go through transformers' attention interface"


def _of_layers(text: PreTrainedConfig) -> Iterator[str]:
    types = [one for name in _TYPES_OF_LAYERS for one in getattr(text, name, None) or ()]
    for kind in dict.fromkeys(map(str, types)):
        does = _LAYER_TYPES.get(kind, "are of a type that is not known here")
        if does is not None:
            yield f"layers of the type {kind} {does}"
    # Where types are named, layers without states may be all that there are (Granite 4).
    if not types and any(isinstance(getattr(text, name, None), int) for name in _OF_STATE_SPACES):
        yield f"it has state-space layers, which {_STATE}"
    try:
        shapes = [head_shape(layer) for layer in layer_configs(text)]
    except (AttributeError, TypeError, ZeroDivisionError):
        yield f"it has no attention heads: its layers {_STATE}"
    else:
        if not shapes:
            yield "it has no layers"


def _has_alibi(text: PreTrainedConfig) -> bool:
    inner = getattr(text, "attn_config", None)
    named = [getattr(one, name, False) for one in (text, inner) for name in ("alibi", "use_alibi")]
    return text.model_type == "bloom" or any(found is True for found in named)


def _uses_the_interface(kind: type[PreTrainedModel]) -> bool:
    """Whether a class looks attention functions up there; one of somebody else's may."""
    own = kind.__module__.startswith("transformers.")
    return not own or hasattr(sys.modules[kind.__module__], "ALL_ATTENTION_FUNCTIONS")
