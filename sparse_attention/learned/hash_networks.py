"""The networks that map queries and keys to bits for HashAttention, and their files.

A file has, for layer i and each layer j of its networks, ``layers.{i}.query.{j}.weight`` (heads,
d_in, d_out) and ``.bias`` (heads, d_out), one network per query head, and the same for ``key`` with
one network per query head or per key-value head.  The setting ``activation`` names the function
between the layers; the last has none.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from sparse_attention.errors import UserError, unknown_name
from sparse_attention.learned.files import check_model, read_file
from sparse_attention.model_facts import ModelProfile

if TYPE_CHECKING:
    from torch import Tensor

METHOD = "hash_attention"
DEFAULT_NAME = "hash_attention.safetensors"
ACTIVATIONS = ("relu", "silu", "gelu", "tanh")
"""Functions of ``torch.nn.functional``."""

Network = tuple[tuple["Tensor", "Tensor"], ...]
"""Weights (heads, d_in, d_out) and biases (heads, d_out) of each layer."""


def apply_network(network: Sequence[tuple[Tensor, Tensor]], inputs: Tensor, name: str) -> Tensor:
    """What the networks of all heads make of inputs (heads, n, d): (heads, n, bits).

    ``name`` is that of the activation.
    """
    for place, (weight, bias) in enumerate(network):
        if place:
            inputs = getattr(torch.nn.functional, name)(inputs)
        inputs = torch.baddbmm(bias[:, None], inputs, weight)
    return inputs


def load_activation(path: Path) -> str:
    """Name of the function between the layers of the networks in a file.

    Raises:
        UserError: if the file is not one.
    """
    activation = read_file(path, METHOD).settings.get("activation")
    if activation not in ACTIVATIONS:
        raise unknown_name(f"activation in {path}", activation, ACTIVATIONS)
    return str(activation)


@lru_cache(maxsize=1024)
def load_networks(
    path: Path, layer: int, device: torch.device | None = None
) -> tuple[Network, Network]:
    """Networks for the queries and for the keys of a layer, float32 on a device (None: the CPU).

    Raises:
        UserError: if the file is not one or lacks the layer.
    """
    tensors = read_file(path, METHOD).tensors
    networks = []
    for side in ("query", "key"):
        pairs: list[tuple[Tensor, Tensor]] = []
        while (start := f"layers.{layer}.{side}.{len(pairs)}") + ".weight" in tensors:
            if start + ".bias" not in tensors:
                raise UserError(f"{METHOD}: {path} has no {start}.bias")
            weight, bias = tensors[start + ".weight"], tensors[start + ".bias"]
            if not (weight.is_floating_point() and bias.is_floating_point()):
                raise UserError(f"{METHOD}: {start} in {path} is not of floating-point numbers")
            pairs.append((weight.to(device, torch.float32), bias.to(device, torch.float32)))
        if not pairs:
            raise UserError(f"{METHOD}: {path} has no {side} network of layer {layer}")
        networks.append(tuple(pairs))
    return networks[0], networks[1]


def key_code_shape(path: Path, layer: int) -> tuple[int, int]:
    """Networks for the keys of a layer, and bits of their codes."""
    bias = load_networks(path, layer)[1][-1][1]
    return bias.shape[0], bias.shape[1]


@lru_cache(maxsize=64)
def check_networks(path: Path, profile: ModelProfile) -> None:
    """Check that a file fits a model in all layers.

    Raises:
        UserError: naming the tensor and what is wrong.
    """
    check_model(read_file(path, METHOD), METHOD, profile)
    load_activation(path)
    for layer in range(profile.layers):
        query, key = load_networks(path, layer)
        shape = profile.shape(layer)
        width, either = shape.head_dim, {shape.heads, shape.kv_heads}
        bits = [
            _check_network(f"layers.{layer}.query", query, {shape.heads}, width, path, profile),
            _check_network(f"layers.{layer}.key", key, either, width, path, profile),
        ]
        if bits[0] != bits[1]:
            raise UserError(
                f"{METHOD}: layer {layer} of {path} maps queries to {bits[0]} bits and keys to "
                f"{bits[1]}"
            )


def _check_network(
    name: str, network: Network, heads: set[int], width: int, path: Path, profile: ModelProfile
) -> int:
    """Bits that a network maps to; ``UserError`` if its shapes are wrong."""
    shape = tuple(network[0][0].shape)
    count = shape[0] if shape else 0
    if count not in heads:
        raise UserError(
            f"{METHOD}: {name}.0.weight in {path} is for {count} heads; {profile.name} needs "
            f"{' or '.join(map(str, sorted(heads)))}"
        )
    for place, (weight, bias) in enumerate(network):
        if weight.ndim != 3 or weight.shape[:2] != (count, width):
            raise UserError(
                f"{METHOD}: {name}.{place}.weight in {path} has shape {tuple(weight.shape)}, not "
                f"({count}, {width}, any)"
            )
        width = weight.shape[2]
        if bias.shape != (count, width):
            raise UserError(
                f"{METHOD}: {name}.{place}.bias in {path} has shape {tuple(bias.shape)}, not "
                f"({count}, {width})"
            )
        if not (weight.isfinite().all() and bias.isfinite().all()):
            raise UserError(f"{METHOD}: {name}.{place} in {path} has numbers that are not finite")
    return width


def network_tensors(layer: int, side: str, network: Network) -> dict[str, Tensor]:
    """The tensors of a file for one network, by name."""
    tensors = {}
    for place, (weight, bias) in enumerate(network):
        tensors[f"layers.{layer}.{side}.{place}.weight"] = weight
        tensors[f"layers.{layer}.{side}.{place}.bias"] = bias
    return tensors
