"""Sparse attention for Hugging Face causal language models: every method is a selection of keys."""

from .adapter import Answer, HuggingFaceAdapter
from .config import CONFIG_TYPES, AttentionConfig, ConfigType, Protocol, make_config
from .config_file import load_config, load_configs
from .errors import UserError
from .generation import PromptReport, SparseGeneration, sparse_generation
from .kv_cache import Prefix
from .selection import Selection

__all__ = [
    "CONFIG_TYPES",
    "Answer",
    "AttentionConfig",
    "ConfigType",
    "HuggingFaceAdapter",
    "Prefix",
    "PromptReport",
    "Protocol",
    "Selection",
    "SparseGeneration",
    "UserError",
    "load_config",
    "load_configs",
    "make_config",
    "sparse_generation",
]
