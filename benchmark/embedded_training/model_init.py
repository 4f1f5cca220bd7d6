"""A tiny Llama whose attention starts out as a look-up circuit.

From a random start a model of this size needs far more than half an hour on a CPU to find the
two-step circuit behind every retrieval task ("find where my context occurred before, copy what
followed").  The structured start writes a rough version of it into the weights of a
``LlamaForCausalLM``; training sharpens it.  All weights stay trainable.

Layer 0: *look a fixed number of tokens back.*
    Embedding dimension 0 is a constant.  Through it head ``h`` gets constant queries and keys whose
    fast rotary pairs line up exactly when the distance between query and key is ``h + 1``.  Its
    output writes the embedding of that earlier token into a subspace of its own.
Layer 1: *find the place with the same history.*
    Queries and keys project the subspaces written by layer 0 into the slow rotary dimensions,
    where the angle hardly depends on the distance, so that matching works over any distance.
    Head 0: my previous token = the token two before that key; head 1: my token = that one;
    head 2: my token = the token before that key; head 3: my previous token = that one.
    The output copies the attended token into the residual stream, where the tied output
    embedding can read it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM


@dataclass(frozen=True)
class InitScales:
    """Scales of the structured start, found by hand; the model is not very sensitive to them."""

    embedding: float = 0.25
    """Standard deviation of the token embedding."""
    constant: float = 1.8
    """Value of the constant embedding dimension."""
    final_norm: float = 0.3
    """Start of the last norm weight, so that the first logits are small."""
    noise: float = 0.05
    """What remains of the random start in the weights that are set by hand."""
    offset: float = 1.2
    """Strength of the fixed-offset attention of layer 0."""
    offset_pairs: int = 5
    """Fast rotary pairs that the fixed-offset attention uses."""
    offset_output: float = 0.566
    """Scale of the (orthogonal) output of layer 0."""
    match: float = 3.4
    """Strength of the matching of histories."""
    match_raw: float = 0.3
    """The same for raw embeddings, which are larger than the outputs of layer 0."""
    copy: float = 0.5
    """Strength of copying the attended token."""


def tiny_llama_config(
    vocabulary: int, bos: int, eos: int, pad: int, max_length: int
) -> LlamaConfig:
    """Configure the tiny model; the vocabulary is rounded up to a multiple of 64."""
    return LlamaConfig(
        vocab_size=-(-vocabulary // 64) * 64,
        hidden_size=128,
        intermediate_size=320,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=32,
        max_position_embeddings=max_length,
        rms_norm_eps=1e-5,
        rope_parameters={"rope_type": "default", "rope_theta": 1e5},
        tie_word_embeddings=True,
        bos_token_id=bos,
        eos_token_id=eos,
        pad_token_id=pad,
    )


@torch.no_grad()
def structured_init(model: LlamaForCausalLM, scales: InitScales | None = None) -> None:
    """Set all weights: a random start plus the circuit described at the top of this file.

    Draws from torch's global generator; needs at least two layers and four heads.
    """
    scales = scales or InitScales()
    _random_init(model)
    embedding = model.model.embed_tokens.weight
    embedding.mul_(scales.embedding)
    embedding[:, 0] = scales.constant
    model.model.norm.weight.fill_(scales.final_norm)
    _init_offset_layer(model, layer=0, scales=scales)
    _init_matching_layer(model, layer=1, offset_layer=0, scales=scales)


def _random_init(model: LlamaForCausalLM) -> None:
    """Random start: unit-gain matrices and small residual outputs."""
    layers = len(model.model.layers)
    for name, weight in model.named_parameters():
        if weight.ndim < 2:
            nn.init.ones_(weight)
        elif "embed_tokens" in name:
            nn.init.normal_(weight)
        else:
            nn.init.normal_(weight, std=1 / math.sqrt(weight.shape[1]))
            if "o_proj" in name or "down_proj" in name:
                weight.mul_(0.5 / math.sqrt(2 * layers))


def _head_rows(weight: torch.Tensor, head: int, head_dim: int) -> torch.Tensor:
    """Rows of one head in a query, key or value projection: (head_dim, hidden), a view."""
    return weight[head * head_dim : (head + 1) * head_dim]


def _head_columns(weight: torch.Tensor, head: int, head_dim: int) -> torch.Tensor:
    """Columns of one head in an output projection: (hidden, head_dim), a view."""
    return weight[:, head * head_dim : (head + 1) * head_dim]


def _orthogonal_values(attention: Any, groups: int, head_dim: int) -> None:
    """Make the value projections orthogonal and blind to the constant dimension."""
    for group in range(groups):
        rows = torch.empty(head_dim, attention.v_proj.weight.shape[1])
        _head_rows(attention.v_proj.weight, group, head_dim).copy_(nn.init.orthogonal_(rows))
    attention.v_proj.weight[:, 0] = 0


def _init_offset_layer(model: LlamaForCausalLM, layer: int, scales: InitScales) -> None:
    """Let head ``h`` of this layer attend to the token ``h + 1`` positions back."""
    config: Any = model.config
    dim, half = config.head_dim, config.head_dim // 2
    theta = config.rope_parameters["rope_theta"]
    pairs = scales.offset_pairs
    speed = theta ** (-torch.arange(pairs) / half)  # angle per position of the fast rotary pairs
    attention: Any = model.model.layers[layer].self_attn

    attention.k_proj.weight.mul_(scales.noise)
    for group in range(config.num_key_value_heads):
        _head_rows(attention.k_proj.weight, group, dim)[:pairs, 0] = scales.offset
    for head in range(config.num_attention_heads):
        # Turning the query back by `offset` positions makes it equal to the key at that distance.
        offset = head + 1
        query = _head_rows(attention.q_proj.weight, head, dim)
        query.mul_(scales.noise)
        query[:pairs, 0] = scales.offset * torch.cos(speed * offset)
        query[half : half + pairs, 0] = -scales.offset * torch.sin(speed * offset)

    _orthogonal_values(attention, config.num_key_value_heads, dim)
    output = torch.empty_like(attention.o_proj.weight)
    nn.init.orthogonal_(output)
    output[0] = 0  # keep the constant dimension constant
    attention.o_proj.weight.copy_(scales.offset_output * output)


def _init_matching_layer(
    model: LlamaForCausalLM, layer: int, offset_layer: int, scales: InitScales
) -> None:
    """Let the heads of this layer find earlier positions with the same history."""
    config: Any = model.config
    dim, half = config.head_dim, config.head_dim // 2
    source: Any = model.model.layers[offset_layer].self_attn
    attention: Any = model.model.layers[layer].self_attn
    slow = [index for index in range(dim) if index % half >= half // 2]
    project = nn.init.orthogonal_(torch.empty(len(slow), dim))  # one projection for both sides

    # Readers of a token from the residual stream, each (len(slow), hidden).
    previous, before_previous = (
        project @ _head_columns(source.o_proj.weight, head, dim).T for head in (0, 1)
    )
    current = scales.match_raw * project @ _head_rows(source.v_proj.weight, 0, dim)

    def set_rows(weight: torch.Tensor, head: int, reader: torch.Tensor) -> None:
        rows = _head_rows(weight, head, dim)
        rows.mul_(scales.noise)
        rows[slow] = scales.match * reader

    for group, reader in enumerate((before_previous, previous)):
        set_rows(attention.k_proj.weight, group, reader)
    for head, reader in enumerate((previous, current, current, previous)):
        set_rows(attention.q_proj.weight, head, reader)
    _orthogonal_values(attention, config.num_key_value_heads, dim)
    for head in range(config.num_attention_heads):
        _copy_values(attention, head, config, scales.copy)


def _copy_values(attention: Any, head: int, config: Any, strength: float) -> None:
    """Let the output of a head undo its value projection, so that it copies the input."""
    group = head * config.num_key_value_heads // config.num_attention_heads
    values = _head_rows(attention.v_proj.weight, group, config.head_dim)
    _head_columns(attention.o_proj.weight, head, config.head_dim).copy_(strength * values.T)
