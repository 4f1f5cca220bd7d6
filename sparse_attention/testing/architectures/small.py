"""Small random models of transformers' architectures, made from their configuration classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from transformers import PreTrainedConfig, PreTrainedModel
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from sparse_attention.hf.architecture import auto_class
from sparse_attention.testing.device import DEVICE

VOCABULARY = 97
WINDOW = 24
"""Keys of a sliding window, and tokens of a chunk."""

_SIZES: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "vocab_size_per_layer_input": VOCABULARY,
    "hidden_size_per_layer_input": 8,
    "hidden_size": 64,
    "n_embd": 64,
    "d_model": 64,
    "intermediate_size": 96,
    "ffn_hidden_size": 96,
    "n_inner": 96,
    "d_ff": 96,
    "intermediate_size_mlp": 96,
    "num_hidden_layers": 4,
    "n_layer": 4,
    "n_layers": 4,
    "num_layers": 2,
    "num_attention_heads": 4,
    "n_head": 4,
    "n_heads": 4,
    "num_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "max_position_embeddings": 512,
    "n_positions": 512,
    "model_max_length": 512,
    "sliding_window": WINDOW,
    "attention_chunk_size": WINDOW,
    "floor_scale": 16,
    "initializer_range": 0.2,
    # mixture of experts
    "num_experts": 4,
    "n_routed_experts": 4,
    "num_local_experts": 4,
    "moe_num_experts": 4,
    "num_experts_per_tok": 2,
    "num_experts_per_token": 2,
    "moe_topk": 2,
    "moe_k": 2,
    "top_k_experts": 2,
    "zero_expert_num": 2,
    "n_group": 1,
    "num_expert_group": 1,
    "topk_group": 1,
    "moe_intermediate_size": 32,
    "expert_ffn_hidden_size": 32,
    "shared_expert_intermediate_size": 32,
    "shared_intermediate_size": 32,
    "moe_shared_expert_intermediate_size": 32,
    "first_k_dense_replace": 1,
    # latent attention
    "kv_lora_rank": 24,
    "q_lora_rank": 32,
    "qk_rope_head_dim": 8,
    "qk_nope_head_dim": 16,
    "qk_head_dim": 24,
    "v_head_dim": 12,
    # states
    "mamba_n_heads": 8,
    "mamba_num_heads": 8,
    "mamba_d_head": 16,
    "mamba_head_dim": 16,
    "mamba_headdim": 16,
    "n_mamba_heads": 8,
    "mamba_d_ssm": 128,
    "mamba_d_state": 16,
    "ssm_state_size": 16,
    "state_size": 16,
    "mamba_dt_rank": 8,
    "time_step_rank": 8,
    "mamba_n_groups": 1,
    "mamba_ngroups": 1,
    "n_groups": 2,
    "mamba_chunk_size": 16,
    "chunk_size": 16,
    "block_size": 16,
    "linear_key_head_dim": 16,
    "linear_value_head_dim": 16,
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 4,
    "linear_head_dim": 16,
    "linear_num_heads": 4,
    "lru_width": 64,
    "attention_window_size": WINDOW,
    "num_kv_shared_layers": 2,
    "attn_layer_period": 2,
    "attn_layer_offset": 1,
    "laurel_rank": 8,
    # positions of images
    "image_size": 28,
    "patch_size": 14,
    "depth": 1,
    "out_hidden_size": 64,
    "projection_dim": 64,
}
_ENDS: dict[str, Any] = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
_LARGEST = 100_000_000
"""Parameters of a model that may be built."""
_NEEDED = ("num_key_value_heads", "n_routed_experts", "num_experts_per_tok")
"""What some configurations leave open that no model is without."""

_PARTS_OF_POSITIONS = {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [2, 3, 3]}
_TWO = ["linear_attention", "full_attention"] * 2
OVERRIDES: Mapping[str, Mapping[str, Any]] = {
    "qwen2_vl_text": {"rope_parameters": _PARTS_OF_POSITIONS},
    "qwen2_5_vl_text": {"rope_parameters": _PARTS_OF_POSITIONS},
    "minimax_m3_vl_text": {"layer_types": ["full_attention", "minimax_m3_sparse"] * 2},
    "glm4v_text": {"rope_parameters": _PARTS_OF_POSITIONS},
    "hunyuan_v1_dense": {"head_dim": 16},
    "hunyuan_v1_moe": {"head_dim": 16},
    "ministral": {"head_dim": 16},
    "mamba2": {"head_dim": 32},
    "dots1": {"moe_intermediate_size": 32, "n_shared_experts": 1},
    "zaya": {"num_experts_per_tok": 1},
    "qwen4_exp_text": {
        **{"indexer_n_heads": 2, "indexer_kv_heads": 1, "indexer_head_dim": 16},
        **{"indexer_budget": 16, "indexer_compress_ratio": 4, "hc_lowrank": 8},
    },
    "cohere_compass_text": {
        "layer_types": ["sliding_attention", "full_attention"] * 2,
        "rope_parameters": {"sliding_attention": _PARTS_OF_POSITIONS, "full_attention": None},
    },
    "dbrx": {
        "attn_config": {"kv_n_heads": 2, "rope_theta": 1e4, "clip_qkv": 8.0},
        "ffn_config": {"hidden_size": 64, "ffn_hidden_size": 96, "moe_top_k": 2},
    },
    "gpt_neo": {"attention_types": [[["global", "local"], 1]], "window_size": WINDOW},
    "moshi": {"sliding_window": 512},  # as many as its positions, as usual
    "bamba": {"attn_layer_indices": [1, 3]},
    "granitemoehybrid": {"layer_types": _TWO},
    "lfm2": {"layer_types": ["conv", "full_attention"] * 2},
    "lfm2_moe": {"layer_types": ["conv", "full_attention"] * 2},
}
"""By model type, what else it takes to make it small."""


def small_config(model_type: str) -> PreTrainedConfig:
    """A configuration of a model type with few layers and narrow ones, of each kind that it has."""
    kind: Any = CONFIG_MAPPING[model_type]
    usual = kind()
    text = usual.get_text_config()
    own = dict(OVERRIDES.get(model_type, {}))
    if text is usual:
        return kind(**_sizes(usual) | _ENDS | own)
    parts = {
        name: _part(name, getattr(usual, name))
        for name in usual.sub_configs
        if hasattr(usual, name)
    }
    return kind(**{name: part for name, part in parts.items() if part is not None} | own)


def _part(name: str, usual: Any) -> Any:
    if not isinstance(usual, PreTrainedConfig):
        return None
    sizes = _sizes(usual) | dict(OVERRIDES.get(usual.model_type, {}))
    if "vision" in name or "audio" in name:
        sizes.pop("initializer_range", None)
        return type(usual)(**sizes)
    return type(usual)(**sizes | _ENDS)


def _sizes(usual: PreTrainedConfig) -> dict[str, Any]:
    """The small numbers of what a configuration has, and one layer of each kind or more."""
    stated = usual.to_dict()
    sizes = {
        name: value
        for name, value in _SIZES.items()
        if stated.get(name) is not None or (name in stated and name in _NEEDED)
    }
    if stated.get("num_key_value_heads") == stated.get("num_attention_heads"):
        sizes.pop("num_key_value_heads", None)
        if "num_key_value_heads" in stated:
            sizes["num_key_value_heads"] = sizes.get("num_attention_heads", 4)
    if stated.get("kv_lora_rank") and "head_dim" in sizes:
        sizes["head_dim"] = sizes["qk_rope_head_dim"]
    for name in ("layer_types", "layers_block_type"):
        if stated.get(name):
            sizes[name] = spread(stated[name], sizes.get("num_hidden_layers", 4))
    return sizes


def spread(kinds: Sequence[str], count: int) -> list[str]:
    """So many layers, of all kinds that there are, in turn."""
    distinct = list(dict.fromkeys(kinds))
    return [distinct[place % len(distinct)] for place in range(max(count, len(distinct)))]


def small_model(model_type: str) -> PreTrainedModel:
    """A model of a type with random weights, in float32 and evaluation mode, on ``DEVICE``."""
    config = small_config(model_type)
    torch.manual_seed(0)
    kind = auto_class(config)
    with torch.device("meta"):
        size = sum(parameter.numel() for parameter in kind.from_config(config).parameters())
    if size > _LARGEST:
        raise ValueError(f"{model_type} has {size} parameters where it was to be small")
    model: Any = kind.from_config(config)
    for name, parameter in model.named_parameters():
        if name.endswith(("sinks", "A", ".temp")):
            parameter.data.normal_()
    return model.eval().requires_grad_(False).to(DEVICE)
