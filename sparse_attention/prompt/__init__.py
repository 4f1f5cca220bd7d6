"""From context, question and answer prefix to tokens: chat template, one BOS, truncation."""

from sparse_attention.prompt.encode import EncodedPrompt, encode_prompt
from sparse_attention.prompt.settings import PromptSettings, PromptSkipped, PromptTooLong
from sparse_attention.prompt.template import end_of_turn, has_template, seam

__all__ = [
    "EncodedPrompt",
    "PromptSettings",
    "PromptSkipped",
    "PromptTooLong",
    "encode_prompt",
    "end_of_turn",
    "has_template",
    "seam",
]
