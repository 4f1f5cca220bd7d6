"""Questions that a small real model can answer, as it read them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from benchmark.ruler.benchmark import Ruler
from benchmark.suite.base import Sample
from sparse_attention import (
    Answer,
    AttentionConfig,
    Context,
    HuggingFaceAdapter,
    Protocol,
    make_config,
)
from sparse_attention.decode.decoder import Decoder
from sparse_attention.hf.attention import configs_of, forward, our_attention
from sparse_attention.hf.cache import DecoderCache
from sparse_attention.prompt import EncodedPrompt, PromptSettings, encode_prompt

LONGEST_ANSWER = 12  # tokens; a needle's number has seven
LENGTHS = (256, 400)
PRESSES = {
    name: make_config(name, compression_ratio=0.5)
    for name in ("snapkv", "keydiff", "knorm", "expected_attention")
}


@dataclass(frozen=True)
class Case:
    """A question of RULER's about one needle in prose, and its context as the model read it."""

    sample: Sample
    prompt: EncodedPrompt
    context: Context

    @property
    def ids(self) -> torch.Tensor:
        """The whole prompt."""
        return torch.tensor([[*self.prompt.context_ids, *self.prompt.question_ids]])


def read(adapter: HuggingFaceAdapter, length: int, seed: int, folder: Path) -> Case:
    """A case of at most ``length`` tokens."""
    ruler = Ruler(length=length, samples=1, seed=seed, cache_dir=str(folder))
    sample = ruler.samples("niah_single_2", adapter.tokenizer)[0]
    prompt = encode_prompt(
        adapter.tokenizer,
        sample.context,
        sample.question,
        sample.answer_prefix,
        settings=PromptSettings(),
        max_new_tokens=sample.max_new_tokens,
        max_positions=adapter.max_positions,
    )
    return Case(sample, prompt, adapter.prefill(prompt.context_ids, list(PRESSES.values())))


def check_dense(adapter: HuggingFaceAdapter, case: Case, answer: Answer) -> None:
    """Dense attention gives the model's own greedy tokens, and logits within 1e-4."""
    model = adapter.model
    own = model.generate(
        case.ids,
        attention_mask=torch.ones_like(case.ids),
        max_new_tokens=LONGEST_ANSWER,
        do_sample=False,
        return_dict_in_generate=True,
        output_logits=True,
    )
    assert list(answer.token_ids) == own.sequences[0, case.ids.shape[1] :].tolist()
    decoder = Decoder(case.context, [AttentionConfig()], [""], Protocol())
    with torch.inference_mode(), our_attention(configs_of(model)):
        question = torch.tensor([case.prompt.question_ids])
        logits = forward(model, question, DecoderCache(model, decoder))
    torch.testing.assert_close(logits, own.logits[0], atol=1e-4, rtol=1e-4)
