"""Loading models and tokenizers with transformers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from huggingface_hub import HfApi, try_to_load_from_cache
from transformers import (
    AutoConfig,
    AutoTokenizer,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.quantizers.auto import AutoHfQuantizer

from sparse_attention.errors import UserError, first_line
from sparse_attention.hf.architecture import auto_class
from sparse_attention.hf.check import check_architecture
from sparse_attention.hf.gguf import find_gguf, opened_gguf
from sparse_attention.hf.quiet import quiet

_DTYPES = ("auto", "float32", "bfloat16", "float16")


def load_config(
    name: str, *, revision: str | None = None, trust_remote_code: bool = False
) -> PreTrainedConfig:
    """The configuration of a model.

    Args:
        name: a folder, a GGUF file, ``repo:file`` or a name on the hub.
        revision: of a model on the hub.
        trust_remote_code: whether code that comes with the model may run.

    Raises:
        UserError: if a GGUF file cannot be used.
        OSError, ValueError, KeyError: as transformers raises them for others.
    """
    gguf = find_gguf(name, revision)
    if gguf is None:
        config: PreTrainedConfig = AutoConfig.from_pretrained(
            name, revision=revision, trust_remote_code=trust_remote_code
        )
        return config
    with opened_gguf(gguf) as file:
        return file.config()


def load_tokenizer(
    name: str, *, revision: str | None = None, trust_remote_code: bool = False
) -> PreTrainedTokenizerBase:
    """The tokenizer of a model; arguments and errors are those of ``load_config``."""
    gguf = find_gguf(name, revision)
    if gguf is None:
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
            name, revision=revision, trust_remote_code=trust_remote_code
        )
        return tokenizer
    with opened_gguf(gguf) as file:
        return file.tokenizer()


def load_model(
    name: str, *, device: str, dtype: str, revision: str | None, trust_remote_code: bool
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Model (safetensors or GGUF, in evaluation mode, on ``device``) and tokenizer.

    Raises:
        UserError: if the name, device or dtype is not usable or the architecture cannot work.
    """
    if dtype not in _DTYPES:
        raise UserError(f"unknown dtype {dtype!r}. Valid: {', '.join(_DTYPES)}.")
    _check_device(device)
    if dtype == "auto" and torch.device(device).type == "cpu":
        dtype = "float32"  # half precision is slower than float32 on most processors
    common: dict[str, Any] = {"revision": revision, "trust_remote_code": trust_remote_code}
    gguf, packed = find_gguf(name, revision), False
    model: Any
    try:
        if gguf is not None:
            with opened_gguf(gguf) as file:
                tokenizer, model = file.tokenizer(), file.model(dtype)
        else:
            _find(name, revision)
            with quiet():
                tokenizer = load_tokenizer(name, **common)
                config = load_config(name, **common)
                packed = _is_packed(config)
                model = auto_class(config).from_pretrained(
                    name,
                    dtype=dtype,
                    use_safetensors=True,
                    device_map={"": device} if packed else None,
                    **common,
                )
    except UserError:
        raise
    except (OSError, ValueError, KeyError, ImportError) as error:
        where = "folder" if Path(name).exists() else "name"
        raise UserError(
            f"cannot load a causal language model from the {where} {name!r}: "
            f"{first_line(error)} Give a folder with config.json, safetensors and a tokenizer, a "
            "GGUF file, or a name on the Hugging Face hub (which needs network or an earlier "
            "download). If its weights are quantised, their library has to be installed."
        ) from error
    model = (model if packed else model.to(device)).eval()
    model.requires_grad_(False)
    check_architecture(model)
    return model, tokenizer


def _is_packed(config: PreTrainedConfig) -> bool:
    """Whether weights are stored by a quantising library, which cannot always be moved.

    Raises:
        ValueError: if it is one that transformers does not know, and would not heed.
    """
    stated = getattr(config, "quantization_config", None)
    if isinstance(stated, dict) and not AutoHfQuantizer.supports_quant_method(stated):
        raise ValueError(f"transformers does not know {stated['quant_method']!r} weights.")
    return stated is not None


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
    if kind.type == "meta":
        raise UserError("the device 'meta' holds no numbers and computes none. Try 'cpu'.")
    if kind.type == "cuda" and (kind.index or 0) >= count:
        raise UserError(f"there is no device {device!r} here: {count} CUDA devices. Try 'cpu'.")
