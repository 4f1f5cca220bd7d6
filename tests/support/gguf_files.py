"""Small GGUF files, and the models whose weights they hold."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from gguf import GGUFWriter, TokenType
from tokenizers.pre_tokenizers import ByteLevel
from transformers import LlamaConfig, LlamaForCausalLM

TEMPLATE = (
    "{% for m in messages %}<|user|>{{ m['content'] }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|user|>{% endif %}"
)
SPECIAL = ("<|user|>", "<|end|>")
TOKENS = [*SPECIAL, *sorted(ByteLevel.alphabet()), "he"]
_HEADS, _KV_HEADS, _WIDTH, _INNER, _LAYERS = 4, 2, 64, 96, 2
_NAMES = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
}


def llama() -> LlamaForCausalLM:
    """A random model for the tokens of the files."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(TOKENS),
        hidden_size=_WIDTH,
        intermediate_size=_INNER,
        num_hidden_layers=_LAYERS,
        num_attention_heads=_HEADS,
        num_key_value_heads=_KV_HEADS,
        max_position_embeddings=512,
        initializer_range=0.2,
        tie_word_embeddings=True,
    )
    return LlamaForCausalLM(config).eval().requires_grad_(False)


def write_gguf(
    path: Path,
    *,
    architecture: str = "llama",
    tokenizer: bool = True,
    values: Mapping[str, str | int | float] | None = None,
    without: str = "nothing",
    more: tuple[str, ...] = (),
) -> Path:
    """Write the model of ``llama`` as llama.cpp's converter does.

    Args:
        path: of the file.
        architecture: what the file says that the model is.
        tokenizer: whether the file has one.
        values: more metadata; keys without a dot are kept under the architecture's name.
        without: name of a tensor, or a part of it, that is left out.
        more: names of tensors of ones that are added.
    """
    writer = GGUFWriter(path, architecture)
    writer.add_context_length(512)
    writer.add_embedding_length(_WIDTH)
    writer.add_block_count(_LAYERS)
    writer.add_feed_forward_length(_INNER)
    writer.add_head_count(_HEADS)
    writer.add_head_count_kv(_KV_HEADS)
    writer.add_rope_dimension_count(_WIDTH // _HEADS)
    writer.add_rope_freq_base(10000.0)
    writer.add_layer_norm_rms_eps(1e-6)
    if tokenizer:
        _add_tokenizer(writer)
    adders = {str: writer.add_string, int: writer.add_uint32, float: writer.add_float32}
    for key, value in (values or {}).items():
        adders[type(value)](key, value)
    for name, weight in _tensors():
        if without not in name:
            writer.add_tensor(name, weight)
    for name in more:
        writer.add_tensor(name, np.ones(_WIDTH // _HEADS // 2, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _add_tokenizer(writer: GGUFWriter) -> None:
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(TOKENS)
    control = [token in SPECIAL for token in TOKENS]
    writer.add_token_types([TokenType.CONTROL if one else TokenType.NORMAL for one in control])
    writer.add_token_merges(["h e"])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(1)
    writer.add_chat_template(TEMPLATE)


def _tensors() -> list[tuple[str, np.ndarray]]:
    tensors = []
    for name, parameter in llama().named_parameters():
        weight = parameter.numpy()
        if name == "model.embed_tokens.weight":
            tensors.append(("token_embd.weight", weight))
        elif name == "model.norm.weight":
            tensors.append(("output_norm.weight", weight))
        else:
            _, _, layer, part = name.split(".", 3)
            part = _NAMES[part.removesuffix(".weight")]
            if part in ("attn_q", "attn_k"):  # llama.cpp pairs neighbouring channels
                heads = _HEADS if part == "attn_q" else _KV_HEADS
                halves = weight.reshape(heads, 2, -1, _WIDTH)
                weight = np.ascontiguousarray(halves.swapaxes(1, 2)).reshape(-1, _WIDTH)
            tensors.append((f"blk.{layer}.{part}.weight", weight))
    return tensors
