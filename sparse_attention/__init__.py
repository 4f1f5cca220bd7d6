"""Sparse attention for Hugging Face causal language models: every method is a selection of keys."""

from sparse_attention.attention.selection import Selection
from sparse_attention.cache.context import Context
from sparse_attention.config import AttentionConfig, load_config, load_configs
from sparse_attention.config_types import CONFIG_TYPES, ConfigType, make_config
from sparse_attention.errors import UserError
from sparse_attention.hf.adapter import Answer, HuggingFaceAdapter
from sparse_attention.hf.generation import PromptReport, SparseGeneration, sparse_generation
from sparse_attention.protocol import Protocol
from sparse_attention.registry import register_method

__all__ = [
    "CONFIG_TYPES",
    "Answer",
    "AttentionConfig",
    "ConfigType",
    "Context",
    "HuggingFaceAdapter",
    "PromptReport",
    "Protocol",
    "Selection",
    "SparseGeneration",
    "UserError",
    "load_config",
    "load_configs",
    "make_config",
    "register_method",
    "sparse_generation",
]
