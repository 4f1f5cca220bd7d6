"""Loading models and tokenizers with transformers."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
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
from sparse_attention.reading import read_text, shown

_SPREAD = "auto"
"""The device that stands for all GPUs."""
_DTYPES = ("auto", "float32", "bfloat16", "float16")
_LAYER = re.compile(r"\.([0-9]+)\.").search
_COUNTED = re.compile(r"layer|head|expert")
_MOST = 10_000
"""Layers, heads or experts: something is made for each of them before any weight is read, and no
model has a tenth of it."""
_MOST_TOKENS = 1 << 24
"""No vocabulary has a tenth of it."""


def load_config(
    name: str, *, revision: str | None = None, trust_remote_code: bool = False
) -> PreTrainedConfig:
    """The configuration of a model.

    Args:
        name: a folder, a GGUF file, ``repo:file`` or a name on the hub.
        revision: of a model on the hub.
        trust_remote_code: whether code that comes with the model may run.

    Raises:
        UserError: if there is none, or it cannot be used.
    """
    gguf = find_gguf(name, revision)
    if gguf is None:
        with _whatever_is_wrong(f"the configuration of model {name!r} cannot be read"):
            _check_document(Path(name) / "config.json")
            config: PreTrainedConfig = AutoConfig.from_pretrained(
                name, revision=revision, trust_remote_code=trust_remote_code
            )
            if not isinstance(config.architectures, list | None):
                raise TypeError(f"architectures = {shown(config.architectures)} is no list")
        return config
    with opened_gguf(gguf) as file:
        return file.config()


def load_tokenizer(
    name: str, *, revision: str | None = None, trust_remote_code: bool = False
) -> PreTrainedTokenizerBase:
    """The tokenizer of a model; arguments and errors are those of ``load_config``."""
    gguf = find_gguf(name, revision)
    if gguf is None:
        with _whatever_is_wrong(f"no tokenizer for model {name!r}"):
            tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
                name, revision=revision, trust_remote_code=trust_remote_code
            )
            _check_vocabulary(name, tokenizer)
        return tokenizer
    with opened_gguf(gguf) as file:
        return file.tokenizer()


def load_model(
    name: str, *, device: str, dtype: str, revision: str | None, trust_remote_code: bool
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Model (safetensors or GGUF, in evaluation mode, on ``device``) and tokenizer.

    The device ``auto`` spreads the layers over all GPUs.

    Raises:
        UserError: if the name, device or dtype is not usable or the architecture cannot work.
    """
    if dtype not in _DTYPES:
        raise UserError(f"unknown dtype {dtype!r}. Valid: {', '.join(_DTYPES)}.")
    spread = device == _SPREAD
    if not spread:
        _check_device(device)
    if dtype == "auto" and not spread and torch.device(device).type == "cpu":
        dtype = "float32"  # half precision is slower than float32 on most processors
    common: dict[str, Any] = {"revision": revision, "trust_remote_code": trust_remote_code}
    gguf, packed = find_gguf(name, revision), False
    model: Any
    if gguf is not None and spread:
        raise UserError(
            f"{name!r} is a GGUF file, which is not spread over several GPUs; use one GPU for each "
            "worker, or the model's safetensors."
        )
    if gguf is not None:
        with opened_gguf(gguf) as file:
            tokenizer, model = file.tokenizer(), file.model(dtype)
    else:
        where = "folder" if Path(name).exists() else "name"
        with _whatever_is_wrong(
            f"cannot load a causal language model from the {where} {name!r}",
            "Give a folder with config.json, safetensors and a tokenizer, a GGUF file, or a name "
            "on the Hugging Face hub (which needs network or an earlier download). If its weights "
            "are quantised, their library has to be installed.",
        ):
            _find(name, revision)
            with quiet():
                config = load_config(name, **common)
                tokenizer = load_tokenizer(name, **common)
                packed = _is_packed(config)
                model, found = auto_class(config).from_pretrained(
                    name,
                    dtype=dtype,
                    use_safetensors=True,
                    device_map=_SPREAD if spread else {"": device} if packed else None,
                    output_loading_info=True,
                    **common,
                )
            _check_weights(name, model, found)
    if not (spread or packed):
        model = model.to(device)
    if any(parameter.is_meta for parameter in model.parameters()):
        raise UserError(f"model {name!r} does not fit on the GPUs that are visible; use more.")
    model = model.eval()
    model.requires_grad_(False)
    check_architecture(model)
    return model, tokenizer


@contextmanager
def _whatever_is_wrong(what: str, hint: str = "") -> Iterator[None]:
    """Within the block, whatever transformers says to files that it does not expect: ``UserError``.

    ``what`` cannot be done; ``hint`` says what can.
    """
    try:
        yield
    except (UserError, MemoryError, torch.OutOfMemoryError, torch.AcceleratorError):
        raise
    except Exception as error:
        why = " ".join(str(error).split())
        if "ignore_mismatched_sizes" in why:
            why = "weights have other shapes than its config.json says."
        elif isinstance(error, OSError):
            why = first_line(error)
        elif not isinstance(error, ValueError | ImportError):
            why = f"{type(error).__name__}: {why}"
        why = f"{why[:500].rstrip('.:')}."
        raise UserError(f"{what}: {why}{hint and ' '}{hint}") from error


def _check_document(path: Path) -> None:
    """Refuse a ``config.json`` that asks for more layers, heads or experts than there can be.

    Raises:
        UserError: naming the field.
        ValueError, AttributeError: if it is no JSON object.
    """
    waiting = [json.loads(read_text(path, "model"))] if path.is_file() else []
    while waiting:
        for name, value in waiting.pop().items():
            if isinstance(value, dict):
                waiting.append(value)
            elif isinstance(value, int) and value > _MOST and _COUNTED.search(name):
                raise UserError(
                    f"model: {path}: {name} = {shown(value)} is more than the {_MOST} that a model "
                    "can have; the file is damaged."
                )


def _check_vocabulary(name: str, tokenizer: PreTrainedTokenizerBase) -> None:
    """Refuse a tokenizer with a number so large that a table of all up to it ends the process."""
    token, number = max(tokenizer.get_vocab().items(), key=lambda one: one[1], default=("", 0))
    if number >= _MOST_TOKENS:
        raise UserError(
            f"no tokenizer for model {name!r}: its token {shown(token)} has the number {number}, "
            f"which has to be below {_MOST_TOKENS}; its files are damaged."
        )


def _check_weights(name: str, model: PreTrainedModel, found: Mapping[str, Any]) -> None:
    """Refuse a model whose files do not hold what its configuration says, all of it.

    Raises:
        UserError: if weights are missing, in whose place random ones were put, or there are more
            layers than are used.
    """
    missing = sorted(found["missing_keys"])
    if missing:
        problem = f"lack {len(missing)} weights of it ({_some(missing)}), which would be random"
    elif getattr(model.config.get_text_config(), "num_nextn_predict_layers", None):
        return  # layers that only speculative decoding uses
    else:
        layers = {key[: match.start(1)] for key in model.state_dict() if (match := _LAYER(key))}
        more = sorted(
            key
            for key in found["unexpected_keys"]
            if (match := _LAYER(key)) and key[: match.start(1)] in layers
        )
        if not more:
            return
        problem = f"hold weights of layers that it has not ({_some(more)})"
    raise UserError(
        f"model {name!r} cannot be used: it is a {type(model).__name__}, and its files {problem}. "
        "They are damaged, or config.json is that of another model."
    )


def _some(names: Sequence[str]) -> str:
    return ", ".join([*names[:3], *(["..."] if names[3:] else [])])


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
