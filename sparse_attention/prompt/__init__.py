"""From context, question and answer prefix to tokens: chat template, one BOS, truncation."""

from sparse_attention.prompt.encode import EncodedPrompt, encode_prompt
from sparse_attention.prompt.settings import PromptSettings, PromptSkipped, PromptTooLong
from sparse_attention.prompt.template import end_of_turn, has_template, seam
from sparse_attention.prompt.thinking import Reply, check_prompt_settings, read_reply

__all__ = [
    "EncodedPrompt",
    "PromptSettings",
    "PromptSkipped",
    "PromptTooLong",
    "Reply",
    "check_prompt_settings",
    "encode_prompt",
    "end_of_turn",
    "has_template",
    "read_reply",
    "seam",
]
