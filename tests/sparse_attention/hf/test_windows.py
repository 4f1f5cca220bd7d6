"""Windows by what a configuration says, and models whose rotation depends on the length."""

from __future__ import annotations

import pytest
import torch
from models import COMMON, tokens, word_tokenizer
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    Phi3Config,
    Phi3ForCausalLM,
)

from sparse_attention import HuggingFaceAdapter, UserError, make_config, sparse_generation
from sparse_attention.hf.windows import max_positions
from sparse_attention.testing.device import DEVICE

ORIGINAL = 64
CROSSINGS = {
    "all of it is long": (100, 7),
    "all of it is short": (40, 5),
    "the question crosses": (60, 10),
    "the answer crosses": (58, 3),
    "the answer crosses with its last token": (50, 4),
    "the last token of the answer is not read": (50, 3),
}
COUNT = 12


@pytest.fixture(scope="module")
def longrope() -> Phi3ForCausalLM:
    torch.manual_seed(0)
    config = Phi3Config(
        **COMMON | {"num_hidden_layers": 2},
        original_max_position_embeddings=ORIGINAL,
        rope_parameters={
            "rope_type": "longrope",
            "rope_theta": 10000.0,
            "short_factor": [1.0 + 0.01 * i for i in range(8)],
            "long_factor": [1.5 + 4.0 * i for i in range(8)],
        },
    )
    return Phi3ForCausalLM(config).eval().requires_grad_(False).to(DEVICE)


def generate(model, *prompts: list[int], **settings) -> list[list[int]]:
    length = max(map(len, prompts))
    ids = [[0] * (length - len(prompt)) + prompt for prompt in prompts]
    mask = [[0] * (length - len(prompt)) + [1] * len(prompt) for prompt in prompts]
    new = model.generate(
        torch.tensor(ids, device=DEVICE),
        attention_mask=torch.tensor(mask, device=DEVICE),
        max_new_tokens=COUNT,
        do_sample=False,
        pad_token_id=0,
        **settings,
    )
    return new[:, length:].tolist()


@pytest.mark.parametrize("chunk", [8192, 48])
@pytest.mark.parametrize("what", CROSSINGS)
def test_tokens_are_the_models_own_wherever_the_length_is_crossed(longrope, what, chunk):
    context, question = (tokens(n, n) for n in CROSSINGS[what])
    own = generate(longrope, context + question)
    adapter = HuggingFaceAdapter(longrope, word_tokenizer(), "phi3", prefill_chunk=chunk)
    adapter._stop = frozenset()
    configs = [make_config("dense"), make_config("sink_local", sink_size=1.0)]
    answers = adapter.answer(adapter.prefill(context), question, configs, max_new_tokens=COUNT)
    for answer in answers:
        assert list(answer.token_ids) == own[0]
        assert answer.attention_error == pytest.approx(0, abs=1e-9)
        assert answer.density == 1
    with sparse_generation(longrope, configs[1], question_tokens=len(question)) as generation:
        assert generate(longrope, context + question, prefill_chunk_size=chunk) == own
    assert generation.reports[0].density == 1


@pytest.mark.parametrize("settings", [{"num_beams": 2}, {}])
def test_a_batch_that_crosses_the_length(longrope, settings):
    prompts = tokens(60, 1), tokens(50, 2)
    own = generate(longrope, *prompts, **settings)
    with sparse_generation(longrope, make_config("dense"), question_tokens=3):
        assert generate(longrope, *prompts, **settings) == own


def test_a_press_acts_on_the_context_as_it_is_read_anew(longrope):
    adapter = HuggingFaceAdapter(longrope, word_tokenizer(), "phi3")
    adapter._stop = frozenset()
    config = make_config("snapkv", observation_window=8)
    context, question = tokens(58, 1), tokens(3, 2)
    prefix = adapter.prefill(context, [config])
    long = adapter.prefill(tokens(ORIGINAL + 1, 1), [config])
    before = prefix.nbytes
    answer = adapter.answer(prefix, question, [config], max_new_tokens=COUNT)[0]
    assert len(answer.token_ids) == COUNT
    assert answer.kept_share < 0.8
    assert prefix.nbytes > before  # what was read anew is kept for the next question, and counted
    again = prefix.derived.get("longer", lambda: pytest.fail("it was not kept"))
    # Keys are turned as in the longer sequence: those of the first layer depend on nothing else.
    ours, theirs = (one.layers[0].segments[0].keys[:, :58] for one in (again, long))
    torch.testing.assert_close(ours, theirs)
    assert not torch.allclose(prefix.layers[0].segments[0].keys, ours, atol=1e-2)


def test_a_rotation_that_cannot_be_set_is_refused(longrope, monkeypatch):
    adapter = HuggingFaceAdapter(longrope, word_tokenizer(), "phi3")
    monkeypatch.setattr(adapter.model, "get_decoder", lambda: torch.nn.Module())
    with pytest.raises(UserError, match="keep context, question and answer within 64 tokens"):
        adapter.prefill(tokens(100, 1))


@pytest.mark.parametrize(
    ("stated", "rope", "window"),
    [
        (512, {"rope_type": "default"}, 512),
        (256, {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 256}, 1024),
        # Qwen3: 40960 stated, 32768 original.
        (40960, {"type": "yarn", "factor": 4, "original_max_position_embeddings": 32768}, 131072),
        # Stretched and stated, as of gpt-oss.
        (4096, {"rope_type": "yarn", "factor": 32, "original_max_position_embeddings": 128}, 4096),
        (256, {"rope_type": "yarn", "factor": 2.0}, 512),
        # Llama 3.2, whose factor says nothing about the window; Gemma 3 and Vicuna.
        (
            131072,
            {
                "rope_type": "llama3",
                "factor": 32.0,
                "original_max_position_embeddings": 8192,
                "low_freq_factor": 1.0,
                "high_freq_factor": 4.0,
            },
            131072,
        ),
        (512, {"rope_type": "linear", "factor": 8.0}, 512),
        (512, {"rope_type": "dynamic", "factor": 8.0}, 512),
    ],
)
def test_windows(stated, rope, window):
    config = LlamaConfig(
        **COMMON | {"max_position_embeddings": stated},
        rope_parameters={"rope_theta": 1e4, **rope},
    )
    assert max_positions(config) == window


def test_a_window_can_be_set():
    model = (
        LlamaForCausalLM(LlamaConfig(**COMMON | {"max_position_embeddings": 64})).eval().to(DEVICE)
    )
    adapter = HuggingFaceAdapter(model, word_tokenizer(), "x", max_positions=100)
    adapter.prefill(tokens(90, 1))
    with pytest.raises(UserError, match="more than the 100 positions"):
        adapter.prefill(tokens(101, 1))


def test_a_window_that_the_model_cannot_have_is_refused():
    learned = GPT2Config(vocab_size=97, n_embd=32, n_layer=2, n_head=2, n_positions=128)
    with pytest.raises(UserError, match="has learned 128 positions"):
        HuggingFaceAdapter(
            GPT2LMHeadModel(learned).eval(), word_tokenizer(), "gpt2", max_positions=129
        )
    rope = {"rope_type": "dynamic", "rope_theta": 1e4, "factor": 2.0}
    growing = LlamaConfig(**COMMON | {"max_position_embeddings": 64}, rope_parameters=rope)
    model = LlamaForCausalLM(growing).eval().to(DEVICE)
    with pytest.raises(UserError, match="dynamic NTK"):
        HuggingFaceAdapter(model, word_tokenizer(), "dynamic", max_positions=65)
    with (
        sparse_generation(model, make_config("dense")),
        pytest.raises(UserError, match="dynamic NTK"),
    ):
        generate(model, tokens(60, 1))
