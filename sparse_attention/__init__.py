"""Sparse attention for Hugging Face causal language models: every method is a selection of keys."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sparse_attention.answer import Answer as Answer
    from sparse_attention.attention.selection import Selection as Selection
    from sparse_attention.cache.context import Context as Context
    from sparse_attention.config import AttentionConfig as AttentionConfig
    from sparse_attention.config import load_config as load_config
    from sparse_attention.config import load_configs as load_configs
    from sparse_attention.config_types import CONFIG_TYPES as CONFIG_TYPES
    from sparse_attention.config_types import ConfigType as ConfigType
    from sparse_attention.config_types import make_config as make_config
    from sparse_attention.errors import UserError as UserError
    from sparse_attention.hf.adapter import HuggingFaceAdapter as HuggingFaceAdapter
    from sparse_attention.hf.generation import PromptReport as PromptReport
    from sparse_attention.hf.generation import SparseGeneration as SparseGeneration
    from sparse_attention.hf.generation import sparse_generation as sparse_generation
    from sparse_attention.maskers import Masker as Masker
    from sparse_attention.presses import Press as Press
    from sparse_attention.protocol import Protocol as Protocol
    from sparse_attention.registry import register_method as register_method

_HOME = {
    "CONFIG_TYPES": "config_types",
    "Answer": "answer",
    "AttentionConfig": "config",
    "ConfigType": "config_types",
    "Context": "cache.context",
    "HuggingFaceAdapter": "hf.adapter",
    "Masker": "maskers",
    "Press": "presses",
    "PromptReport": "hf.generation",
    "Protocol": "protocol",
    "Selection": "attention.selection",
    "SparseGeneration": "hf.generation",
    "UserError": "errors",
    "as_config": "config_types",
    "load_config": "config",
    "load_configs": "config",
    "make_config": "config_types",
    "register_method": "registry",
    "sparse_generation": "hf.generation",
}
__all__ = list(_HOME)


def __getattr__(name: str) -> Any:
    # Only when it is used: torch and transformers take seconds, which a help text need not.
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
