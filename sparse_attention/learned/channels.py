"""The order of channels that double sparsity reads: files, their checks, and the published layout.

Our files have a tensor ``layers.{i}.{kind}``, int16 (heads, head_dim), for each layer: for each
query head (or key-value head) the channels, the most important first.  Published files are JSON
objects ``{"model.layers.{i}.self_attn.{kind}": [[channel, ...] for each head]}`` with kinds
``q_proj``, ``k_proj`` and ``qk_proj``; they do not say for which model they were made.
"""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import torch
from pydantic import Field, TypeAdapter

from sparse_attention.errors import UserError, unknown_name
from sparse_attention.learned.files import CalibrationFile, check_model, read_file
from sparse_attention.model_facts import ModelProfile
from sparse_attention.reading import read_json, validated

if TYPE_CHECKING:
    from torch import Tensor

METHOD = "double_sparsity"
DEFAULT_NAME = "double_sparsity.safetensors"
_ORDERS: TypeAdapter[dict[str, list[list[int]]]] = TypeAdapter(
    Annotated[
        dict[
            str,
            Annotated[
                list[list[Annotated[int, Field(strict=True, ge=0, lt=2**15)]]], Field(min_length=1)
            ],
        ],
        Field(min_length=1),
    ]
)
_PUBLISHED = re.compile(r"model\.layers\.(\d{1,4})\.self_attn\.(\w+)")


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
        if order.ndim != 2 or order.shape[0] not in (shape.heads, shape.kv_heads):
            raise UserError(
                f"{METHOD}: layer {layer} of {path} has channels of shape {tuple(order.shape)}; "
                f"the model has {shape.heads} query heads and {shape.kv_heads} key-value heads"
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
    what = f"{METHOD}: channels by layer"
    document = validated(_ORDERS, read_json(path, what), f"{METHOD}: {path}")
    tensors = {}
    for name, heads in document.items():
        match = _PUBLISHED.fullmatch(name)
        if match is None:
            raise UserError(
                f"{METHOD}: {path} has the key {name!r}; expected model.layers.0.self_attn.q_proj"
            )
        if any(len(head) != len(heads[0]) for head in heads):
            raise UserError(f"{METHOD}: {name} in {path} has heads with unequally many channels")
        tensors[f"layers.{match[1]}.{match[2]}"] = torch.tensor(heads, dtype=torch.int16)
    return CalibrationFile(path, tensors, {}, None)
