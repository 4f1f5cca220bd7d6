"""How many bytes a model takes, known from its configuration, before its weights are read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from transformers import PreTrainedConfig

from benchmark.run.models import ModelSource
from sparse_attention.hf.architecture import auto_class
from sparse_attention.hf.facts import model_profile


@dataclass(frozen=True)
class ModelSize:
    """Bytes of a model on its device."""

    weights: int
    token: int
    """Keys and values of one token in all layers."""
    activations: int
    """Of a token that is being read."""


def model_size(model: ModelSource, dtype: str, kind: Literal["cpu", "cuda"]) -> ModelSize | None:
    """The size of a model loaded in ``AdapterConfig.dtype``; None if its class cannot say it."""
    try:
        with torch.device("meta"):
            empty = auto_class(model.config).from_config(
                model.config, trust_remote_code=model.trust_remote_code
            )
    except Exception:  # whatever code of an unknown architecture may raise
        return None
    profile = model_profile(model.name, model.config)
    text = model.config.get_text_config()
    shapes = [profile.shape(layer) for layer in range(profile.layers)]
    size = _element_bytes(model, dtype, kind)
    return ModelSize(
        weights=size * sum(parameter.numel() for parameter in empty.parameters()),
        token=2 * size * sum(shape.kv_heads * shape.head_dim for shape in shapes),
        activations=size * activation_width(text),
    )


def activation_width(text: PreTrainedConfig) -> int:
    """Numbers of a token that a layer holds at once, some as wide as its inner layer."""
    inner = getattr(text, "intermediate_size", None)
    return 8 * text.hidden_size + 3 * (inner if isinstance(inner, int) else 4 * text.hidden_size)


def _element_bytes(model: ModelSource, dtype: str, kind: str) -> int:
    """Bytes of a number; ``auto`` as ``HuggingFaceAdapter.load`` has it."""
    if dtype != "auto":
        return torch.empty(0, dtype=getattr(torch, dtype)).element_size()
    stored = model.config.get_text_config().dtype
    if kind == "cpu" or model.location.endswith(".gguf") or not isinstance(stored, torch.dtype):
        return 4
    return torch.empty(0, dtype=stored).element_size()
