"""The order of channels that double sparsity reads: files, their checks, and the published layout.

Our files have a tensor ``layers.{i}.{kind}``, int16 (heads, head_dim), for each layer: for each
query head (or key-value head) the channels, the most important first.  Published files are JSON
objects ``{"model.layers.{i}.self_attn.{kind}": [[channel, ...] for each head]}`` with kinds
``q_proj``, ``k_proj`` and ``qk_proj``; they do not say for which model they were made.
"""

from __future__ import annotations

import json
import re
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sparse_attention.errors import UserError, unknown_name
from sparse_attention.learned.files import CalibrationFile, check_model, read_file
from sparse_attention.model_facts import ModelProfile

METHOD = "double_sparsity"
DEFAULT_NAME = "double_sparsity.safetensors"
_PUBLISHED = re.compile(r"model\.layers\.(\d+)\.self_attn\.(\w+)")


def load_channels(path: Path, kind: str, layer: int) -> Tensor:
    """The order of channels of one layer, int64 (heads, head_dim).

    Raises:
        UserError: if the file is not one, or has no such layer or kind.
    """
    tensors = _read(path).tensors
    name = f"layers.{layer}.{kind}"
    if name not in tensors:
        kinds = sorted({key.rsplit(".", 1)[1] for key in tensors})
        if kind not in kinds:
            raise unknown_name(f"kind of channels in {path}", kind, kinds)
        raise UserError(f"{METHOD}: {path} has no channels of layer {layer}")
    return tensors[name].long()


@lru_cache(maxsize=64)
def check_channels(path: Path, kind: str, profile: ModelProfile) -> None:
    """Check that a file fits a model in all layers.

    Raises:
        UserError: naming the layer and what is wrong.
    """
    check_model(_read(path), METHOD, profile)
    for layer in range(profile.layers):
        order, shape = load_channels(path, kind, layer), profile.shape(layer)
        if order.shape[0] not in (shape.heads, shape.kv_heads):
            raise UserError(
                f"{METHOD}: layer {layer} of {path} has channels of {order.shape[0]} heads; the "
                f"model has {shape.heads} query heads and {shape.kv_heads} key-value heads"
            )
        if order.sort(-1).values.tolist() != [list(range(shape.head_dim))] * order.shape[0]:
            raise UserError(
                f"{METHOD}: layer {layer} of {path} does not order the channels 0 to "
                f"{shape.head_dim - 1} of every head"
            )


@lru_cache(maxsize=16)
def _read(path: Path) -> CalibrationFile:
    if path.suffix != ".json":
        return read_file(path, METHOD)
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{METHOD}: {path} is not JSON: {error}") from error
    if not isinstance(document, dict) or not document:
        raise UserError(f"{METHOD}: {path} is not a JSON object of channels by layer")
    tensors = {}
    for name, heads in document.items():
        match = _PUBLISHED.fullmatch(name)
        if match is None:
            raise UserError(
                f"{METHOD}: {path} has the key {name!r}; expected model.layers.0.self_attn.q_proj"
            )
        tensors[f"layers.{match[1]}.{match[2]}"] = _order(path, name, heads)
    return CalibrationFile(path, tensors, {}, None)


def _order(path: Path, name: str, heads: Any) -> Tensor:
    if (
        not isinstance(heads, list)
        or not heads
        or not all(
            isinstance(head, list)
            and len(head) == len(heads[0])
            and all(type(channel) is int and 0 <= channel < 2**15 for channel in head)
            for head in heads
        )
    ):
        raise UserError(
            f"{METHOD}: {name} in {path} is not a list of channel numbers for each head"
        )
    return torch.tensor(heads, dtype=torch.int16)
