"""What a model's configuration and weights say about it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from transformers import (
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from sparse_attention.errors import UserError
from sparse_attention.model_facts import ModelProfile
from sparse_attention.prompt import end_of_turn, has_template


def layer_count(model: PreTrainedModel) -> int:
    """Layers of the decoder stack."""
    return int(model.config.get_text_config().num_hidden_layers)


def max_positions(model: PreTrainedModel) -> int:
    """The longest sequence that the model's configuration allows, in tokens."""
    return int(getattr(model.config.get_text_config(), "max_position_embeddings", 1 << 30))


def model_profile(
    name: str, config: PreTrainedConfig, model: PreTrainedModel | None = None
) -> ModelProfile:
    """What methods may need to know of a model; its weights only if it is loaded."""
    text = config.get_text_config()
    heads = int(text.num_attention_heads)
    weights = None
    if model is not None:
        matrices = [p for _, p in sorted(model.named_parameters()) if p.ndim > 1 and not p.is_meta]
        weights = tuple(float(value) for p in matrices for value in p.detach().reshape(-1)[:2])
    folder = Path(config.name_or_path or name)
    return ModelProfile(
        name,
        folder if folder.is_dir() else None,
        layers=int(text.num_hidden_layers),
        heads=heads,
        kv_heads=int(getattr(text, "num_key_value_heads", None) or heads),
        head_dim=int(getattr(text, "head_dim", None) or text.hidden_size // heads),
        weights=weights,
    )


def stop_tokens(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> frozenset[int]:
    """Tokens that end an answer: those of the generation configuration, else the tokenizer's.

    With a chat template also the tokenizer's and the one that ends turns there: the generation
    configuration of a chat model may still be that of the base model.
    """
    ids = token_set(model.generation_config.eos_token_id if model.generation_config else None)
    if not ids or has_template(tokenizer):
        ids |= token_set(tokenizer.eos_token_id) | token_set(end_of_turn(tokenizer))
    return ids


def token_set(ids: int | Iterable[int] | None) -> frozenset[int]:
    """Tokens as generation configurations name them: one, several or none."""
    return frozenset([] if ids is None else [ids] if isinstance(ids, int) else ids)


def unsupported(model: PreTrainedModel, reason: str) -> UserError:
    """The error for a model that cannot work with our attention."""
    return UserError(
        f"{type(model).__name__} cannot be used: {reason}. Supported are decoder-only models whose "
        "attention goes through transformers' attention interface, with full or sliding-window "
        "attention in all layers (Llama, Mistral, Qwen2, Qwen3, Phi-3, Gemma, ...)."
    )
