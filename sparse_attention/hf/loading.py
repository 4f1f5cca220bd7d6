"""Loading models and tokenizers with transformers."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
import transformers
from huggingface_hub import HfApi, try_to_load_from_cache
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from sparse_attention.errors import UserError, first_line
from sparse_attention.hf.check import check_architecture

_DTYPES = ("auto", "float32", "bfloat16", "float16")


def load_model(
    name: str, *, device: str, dtype: str, revision: str | None, trust_remote_code: bool
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Model (safetensors only, in evaluation mode, on ``device``) and tokenizer.

    Raises:
        UserError: if the name, device or dtype is not usable or the architecture cannot work.
    """
    if dtype not in _DTYPES:
        raise UserError(f"unknown dtype {dtype!r}. Valid: {', '.join(_DTYPES)}.")
    _check_device(device)
    if dtype == "auto" and torch.device(device).type == "cpu":
        dtype = "float32"  # half precision is slower than float32 on most processors
    common: dict[str, Any] = {"revision": revision, "trust_remote_code": trust_remote_code}
    try:
        _find(name, revision)
        with _quiet():
            tokenizer = AutoTokenizer.from_pretrained(name, **common)
            model: Any = AutoModelForCausalLM.from_pretrained(
                name, dtype=dtype, use_safetensors=True, **common
            )
    except (OSError, ValueError, KeyError) as error:
        where = "folder" if Path(name).exists() else "name"
        raise UserError(
            f"cannot load a causal language model from the {where} {name!r}: "
            f"{first_line(error)} Give a folder with config.json, safetensors and a tokenizer, or "
            "a name on the Hugging Face hub (which needs network or an earlier download)."
        ) from error
    model = model.to(device).eval()
    model.requires_grad_(False)
    check_architecture(model)
    return model, tokenizer


def _find(name: str, revision: str | None) -> None:
    """Ask the hub for a model that is not here, once; loading would ask for half a minute.

    Raises:
        OSError: if the hub has no such model or cannot be reached.
        ValueError: if the name cannot be one of a model.
    """
    if Path(name).is_dir() or try_to_load_from_cache(name, "config.json", revision=revision):
        return
    try:
        HfApi().model_info(name, revision=revision, timeout=10)
    except Exception as error:  # whatever it is: no network, no such name, no permission
        raise OSError(f"the hub did not give it ({first_line(error)}).") from error


def _check_device(device: str) -> None:
    try:
        kind = torch.device(device)
    except RuntimeError as error:
        raise UserError(f"unknown device {device!r}. Valid: cpu, cuda, cuda:0, ...") from error
    count = torch.cuda.device_count()
    if kind.type == "cuda" and (kind.index or 0) >= count:
        raise UserError(f"there is no device {device!r} here: {count} CUDA devices. Try 'cpu'.")


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """No progress bars and warnings of transformers inside."""
    log = transformers.utils.logging
    level, bars = log.get_verbosity(), log.is_progress_bar_enabled()
    log.set_verbosity_error()
    log.disable_progress_bar()
    hub = logging.getLogger("huggingface_hub")
    hub_level = hub.level
    hub.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.set_verbosity(level)
        hub.setLevel(hub_level)
        if bars:
            log.enable_progress_bar()
