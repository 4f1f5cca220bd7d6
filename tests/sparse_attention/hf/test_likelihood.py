"""How likely answers are, beside one forward of the model over prompt and answer."""

from __future__ import annotations

import pytest
import torch
from models import random_model, tokens, word_tokenizer

from sparse_attention import HuggingFaceAdapter, Protocol, UserError, make_config
from sparse_attention.hf.likelihood import likelihoods
from sparse_attention.testing.device import DEVICE

DENSE, PROTOCOL = make_config("dense"), Protocol(sparse_from="generation")
PROMPT, ANSWERS = tokens(30, 1), [tokens(4, 2), tokens(1, 3), tokens(6, 4)]


@pytest.fixture(scope="module")
def model():
    return random_model("llama")


def of_one_forward(model, prompt: list[int], answer: list[int]) -> tuple[float, bool]:
    ids = torch.tensor([[*prompt, *answer]], device=DEVICE)
    with torch.inference_mode():
        logits = model(ids).logits[0, len(prompt) - 1 : -1].float()
    wanted = torch.tensor(answer, device=DEVICE)
    values = logits.log_softmax(-1).gather(1, wanted[:, None])
    return float(values.sum()), bool((logits.argmax(-1) == wanted).all())


@pytest.mark.parametrize("length", [30, 2, 1])
@pytest.mark.parametrize("question", [1, 5])
def test_dense_likelihoods_are_those_of_the_model(model, length: int, question: int) -> None:
    prompt = PROMPT[:length]
    found = likelihoods(model, prompt, ANSWERS, DENSE, question_tokens=question, max_rows=2)
    for likelihood, answer in zip(found, ANSWERS, strict=True):
        value, greedy = of_one_forward(model, prompt, answer)
        assert likelihood.log_probability == pytest.approx(value, abs=1e-4)
        assert likelihood.is_greedy == greedy


def test_what_the_model_writes_is_greedy_under_the_same_configuration(model) -> None:
    config = make_config("sink_local", sink_size=2, window_size=4)
    adapter = HuggingFaceAdapter(model, word_tokenizer(), "llama")
    (answer,) = adapter.answer(
        adapter.prefill(PROMPT[:-1]), PROMPT[-1:], [config], max_new_tokens=5, protocol=PROTOCOL
    )
    written = list(answer.token_ids)
    one, other = likelihoods(model, PROMPT, [written, written[::-1]], config, protocol=PROTOCOL)
    assert one.is_greedy
    assert not other.is_greedy
    assert other.log_probability < one.log_probability < 0


@pytest.mark.parametrize(("prompt", "answers"), [([], [[1]]), ([1], [[]])])
def test_what_has_no_likelihood(model, prompt: list[int], answers: list[list[int]]) -> None:
    with pytest.raises(UserError, match="at least one token"):
        likelihoods(model, prompt, answers, DENSE)
