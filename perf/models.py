"""The random models that the performance programs run on."""

from __future__ import annotations

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from sparse_attention import HuggingFaceAdapter


def random_llama(positions: int, kv_heads: int) -> LlamaForCausalLM:
    """A Llama of 4 layers, 512 wide, 8 heads of 64, with random weights, in float32."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=4096,
        hidden_size=512,
        intermediate_size=1408,
        num_hidden_layers=4,
        num_attention_heads=8,
        num_key_value_heads=kv_heads,
        max_position_embeddings=positions,
        bos_token_id=None,
        eos_token_id=None,
        pad_token_id=None,
    )
    # Wider weights than usual, so that attention is peaked as in a trained model.
    config.initializer_range = 0.06
    return LlamaForCausalLM(config).eval().requires_grad_(False)


def llama_8b_shape(positions: int, device: torch.device) -> LlamaForCausalLM:
    """A Llama of the shape of Llama 3.1 8B with random weights, in bfloat16, made on a device."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=128256,
        hidden_size=4096,
        intermediate_size=14336,
        num_hidden_layers=32,
        num_attention_heads=32,
        num_key_value_heads=8,
        max_position_embeddings=positions,
        rope_parameters={"rope_type": "default", "rope_theta": 500000.0},
        bos_token_id=None,
        eos_token_id=None,
        pad_token_id=None,
        dtype=torch.bfloat16,
    )
    with device:
        model = LlamaForCausalLM._from_config(config)
    return model.eval().requires_grad_(False)


def random_adapter(positions: int, kv_heads: int) -> HuggingFaceAdapter:
    """The small Llama as an adapter."""
    return as_adapter(random_llama(positions, kv_heads))


def as_adapter(model: LlamaForCausalLM) -> HuggingFaceAdapter:
    """A model with a tokenizer that only turns numbers into words."""
    words = {str(token): token for token in range(4096)}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="0"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer)
    return HuggingFaceAdapter(model, fast, "random")


def random_tokens(count: int, seed: int) -> list[int]:
    """Tokens of the random model."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 4096, (count,), generator=generator).tolist()
