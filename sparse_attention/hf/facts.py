"""What a model's configuration and weights say about it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from transformers import (
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from sparse_attention.errors import UserError
from sparse_attention.hf.architecture import head_shapes
from sparse_attention.hf.layers import key_layers
from sparse_attention.model_facts import ByLayer, ModelProfile
from sparse_attention.prompt import end_of_turn, has_template


def layer_count(model: PreTrainedModel) -> int:
    """Layers that keep keys."""
    return len(key_layers(model.config))


def model_profile(
    name: str, config: PreTrainedConfig, model: PreTrainedModel | None = None
) -> ModelProfile:
    """What methods may need to know of a model that can work; its weights only if it is loaded."""
    shapes = head_shapes(config)
    weights = None
    if model is not None:
        matrices = [p for _, p in sorted(model.named_parameters()) if p.ndim > 1 and not p.is_meta]
        weights = tuple(float(value) for p in matrices for value in p.detach().reshape(-1)[:2])
    folder = Path(config.name_or_path or name)
    return ModelProfile(
        name,
        folder if folder.is_dir() else None,
        layers=len(shapes),
        heads=_by_layer([shape.heads for shape in shapes]),
        kv_heads=_by_layer([shape.kv_heads for shape in shapes]),
        head_dim=_by_layer([shape.head_dim for shape in shapes]),
        weights=weights,
    )


def _by_layer(numbers: list[int]) -> ByLayer:
    return numbers[0] if len(set(numbers)) == 1 else tuple(numbers)


def check_tokens(model: PreTrainedModel, ids: Sequence[int]) -> None:
    """Refuse tokens of a prompt that a model has no embeddings for.

    Raises:
        UserError: naming one; on a GPU it would be the end of the process.
    """
    known = getattr(model.get_input_embeddings(), "num_embeddings", None)
    odd = [token for token in (min(ids), max(ids)) if known and not 0 <= token < known]
    if odd:
        raise UserError(
            f"the model has no embedding for token {odd[0]} of the prompt, only for {known}; its "
            "tokenizer is that of another model, or has tokens added."
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
