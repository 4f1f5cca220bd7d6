"""Small random models of several architectures, and a tokenizer for them."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import (
    Gemma2Config,
    Gemma2ForCausalLM,
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    GptOssConfig,
    GptOssForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    Phi3Config,
    Phi3ForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from sparse_attention.testing.device import DEVICE

VOCABULARY = 97
COMMON = {
    "vocab_size": VOCABULARY,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
    "bos_token_id": None,
    "eos_token_id": None,
    "pad_token_id": None,
    "initializer_range": 0.2,
}
WINDOWED = {"sliding_window": 24, "layer_types": ["sliding_attention", "full_attention"] * 2}

ARCHITECTURES: dict[str, tuple[type[PreTrainedModel], object]] = {
    "llama": (LlamaForCausalLM, LlamaConfig(**COMMON)),
    "llama_mha": (LlamaForCausalLM, LlamaConfig(**COMMON | {"num_key_value_heads": 4})),
    "llama_mqa": (LlamaForCausalLM, LlamaConfig(**COMMON | {"num_key_value_heads": 1})),
    "mistral": (MistralForCausalLM, MistralConfig(**COMMON, sliding_window=24)),
    "mistral_full": (MistralForCausalLM, MistralConfig(**COMMON, sliding_window=None)),
    "qwen2": (Qwen2ForCausalLM, Qwen2Config(**COMMON)),
    "qwen2_window": (
        Qwen2ForCausalLM,
        Qwen2Config(**COMMON, use_sliding_window=True, sliding_window=24, max_window_layers=2),
    ),
    "qwen3": (Qwen3ForCausalLM, Qwen3Config(**COMMON, head_dim=16)),
    "phi3": (Phi3ForCausalLM, Phi3Config(**COMMON)),
    "gemma2": (Gemma2ForCausalLM, Gemma2Config(**COMMON, **WINDOWED, head_dim=16)),
    "gemma3": (Gemma3ForCausalLM, Gemma3TextConfig(**COMMON, **WINDOWED, head_dim=16)),
    "gpt_oss": (
        GptOssForCausalLM,
        GptOssConfig(**COMMON, **WINDOWED, head_dim=16, num_local_experts=4, num_experts_per_tok=2),
    ),
}


def random_model(name: str) -> PreTrainedModel:
    """A model of an architecture with random weights, in float32."""
    kind, config = ARCHITECTURES[name]
    torch.manual_seed(0)
    # A copy, because models that share a configuration share its attention implementation.
    model = kind(copy.deepcopy(config)).eval().requires_grad_(False)
    for parameter_name, parameter in model.named_parameters():
        if parameter_name.endswith("sinks"):
            parameter.normal_()
    return model.to(DEVICE)


@contextlib.contextmanager
def failing(model: PreTrainedModel) -> Iterator[None]:
    """Inside, forwards end with an IndexError in the last layer.

    A token that does not exist would do on a processor, but a GPU is of no use afterwards.
    """

    def fail(*_: object) -> None:
        raise IndexError("in the middle")

    hook = model.get_decoder().layers[-1].register_forward_pre_hook(fail)
    try:
        yield
    finally:
        hook.remove()


def word_tokenizer(bos: bool = True) -> PreTrainedTokenizerFast:
    """Words w0 ... w94 as tokens; <s> in front if ``bos``."""
    words = {f"w{index}": index for index in range(VOCABULARY - 2)}
    words |= {"<s>": VOCABULARY - 2, "</s>": VOCABULARY - 1}
    backend = Tokenizer(models.WordLevel(words, unk_token="w0"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    backend.add_special_tokens(["<s>", "</s>"])
    if bos:
        backend.post_processor = processors.TemplateProcessing(
            single="<s> $A", special_tokens=[("<s>", VOCABULARY - 2)]
        )
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, bos_token="<s>", eos_token="</s>", model_max_length=512
    )


def tokens(count: int, seed: int) -> list[int]:
    """Random tokens."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, VOCABULARY - 2, (count,), generator=generator).tolist()
