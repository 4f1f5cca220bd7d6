"""Methods meet the queries and keys of a pretrained model."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import torch
from needle_cases import LONGEST_ANSWER, PRESSES, Case, check_dense, read

from sparse_attention import (
    Answer,
    AttentionConfig,
    Context,
    HuggingFaceAdapter,
)
from sparse_attention.maskers import AdaptiveSampling, Local, OracleTopK, OracleTopP, Quest
from sparse_attention.presses.compress import compress
from sparse_attention.prompt import PromptSettings, encode_prompt

DENSE = AttentionConfig()
FULL = {
    "local": AttentionConfig((Local(window_size=1.0),)),
    "oracle_top_k": AttentionConfig((OracleTopK(heavy_size=1.0),)),
    "oracle_top_p": AttentionConfig((OracleTopP(top_p=1.0),)),
    "quest": AttentionConfig((Quest(heavy_size=1.0, page_size=16, label_bits=4),)),
    "adaptive_sampling": AttentionConfig((AdaptiveSampling(base_rate=1.0),)),
}
SHORT = 1  # cases, the first ones, on which everything is measured


@pytest.fixture(scope="session")
def answers(adapter: HuggingFaceAdapter, cases: list[Case]) -> list[dict[str, Answer]]:
    """By configuration, for each case; all rows of a case are one batch over its context."""
    found = []
    for index, case in enumerate(cases):
        full = FULL if index < SHORT else {}
        named = {"dense": DENSE, **full, **PRESSES}
        before = _digest(case.context)
        rows = adapter.answer(
            case.context,
            case.prompt.question_ids,
            list(named.values()),
            max_new_tokens=LONGEST_ANSWER,
            measure_error=index < SHORT,
        )
        assert _digest(case.context) == before
        found.append(dict(zip(named, rows, strict=True)))
    return found


def test_it_chats_and_stops(adapter: HuggingFaceAdapter) -> None:
    tokenizer = adapter.tokenizer
    # As the model's own tokenizer splits: each digit alone, blanks before them together.
    assert tokenizer.tokenize("and  12 don't") == ["and", "ĠĠ", "1", "2", "Ġdon", "'t"]
    prompt = encode_prompt(
        tokenizer,
        "You are asked about countries. ",
        "What is the capital of France?",
        "",
        settings=PromptSettings(),
        max_new_tokens=20,
        max_positions=adapter.max_positions,
    )
    assert tokenizer.decode([*prompt.context_ids, *prompt.question_ids]) == (
        "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging "
        "Face<|im_end|>\n<|im_start|>user\nYou are asked about countries. What is the capital of "
        "France?<|im_end|>\n<|im_start|>assistant\n"
    )
    context = adapter.prefill(prompt.context_ids)
    (answer,) = adapter.answer(context, prompt.question_ids, [DENSE], max_new_tokens=20)
    assert "Paris" in answer.text
    assert answer.finish_reason == "stop"
    assert tokenizer.decode(answer.token_ids[-1:]) == "<|im_end|>"


def test_dense_attention_finds_the_needles(
    cases: list[Case], answers: list[dict[str, Answer]]
) -> None:
    for case, row in zip(cases, answers, strict=True):
        assert case.sample.answers[0] in row["dense"].text


def test_dense_attention_gives_the_models_own_tokens_and_logits(
    adapter: HuggingFaceAdapter, cases: list[Case], answers: list[dict[str, Answer]]
) -> None:
    for index in (0, len(cases) - 1):  # the shortest and the longest
        check_dense(adapter, cases[index], answers[index]["dense"])


def test_maskers_that_read_everything_are_dense_attention(answers: list[dict[str, Answer]]) -> None:
    for row in answers[:SHORT]:
        for name in FULL:
            assert row[name].token_ids == row["dense"].token_ids, name
            assert row[name].density == 1, name
            assert row[name].attention_error < 1e-9, name


def test_presses_hold_half_and_answer(cases: list[Case], answers: list[dict[str, Answer]]) -> None:
    shared: dict[str, list[int]] = {name: [] for name in PRESSES}
    for case, row in zip(cases, answers, strict=True):
        question = len(case.prompt.question_ids)
        for name in PRESSES:
            answer = row[name]
            held = question + len(answer.token_ids) - 1  # the last one is not read any more
            kept = case.context.length - round(0.5 * case.context.length)
            whole = case.context.length + held
            assert answer.kept_share == pytest.approx((kept + held) / whole, abs=2e-3), name
            assert answer.finish_reason == "stop", (name, answer.text)
            shared[name].append(_shared(answer.text, case.sample.answers[0]))
    # KeyDiff keeps what stands out, which is the needle; the others do not know the question.
    assert shared["keydiff"] == [7] * len(cases)
    assert sum(shared["knorm"]) > sum(shared["snapkv"])


@pytest.mark.parametrize("name", ["knorm", "keydiff"])
def test_presses_keep_what_their_formula_says(name: str, cases: list[Case]) -> None:
    context = cases[1].context
    kept = compress(context, PRESSES[name].methods)
    for whole, left in zip(context.layers, kept.layers, strict=True):
        keys = whole.segments[0].keys.double()
        unit = keys / keys.norm(dim=-1, keepdim=True)
        mean = unit.mean(1, keepdim=True)
        scores = {
            "knorm": -keys.norm(dim=-1),
            "keydiff": -torch.cosine_similarity(keys, mean, dim=-1),
        }[name]
        count = left.segments[0].keys.shape[1]
        assert count == context.length - round(0.5 * context.length)
        least = scores.topk(count, dim=-1).values[:, -1:]
        # Equal tokens have equal norms in the first layer, and rounding ranks those at will.
        assert (scores.gather(-1, left.segments[0].places) >= least - 1e-5 * least.abs()).all()


@pytest.mark.slow
@pytest.mark.timeout(0)
def test_dense_attention_on_many_prompts(
    adapter: HuggingFaceAdapter, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    count = request.config.getoption("--real-prompts")
    if not count:
        pytest.skip("runs with --real-prompts COUNT: prompts of 200 to 7000 tokens")
    for number in range(count):
        length = 200 + 6800 * number // max(count - 1, 1)
        case = read(adapter, length, number, tmp_path)
        (answer,) = adapter.answer(
            case.context, case.prompt.question_ids, [DENSE], max_new_tokens=LONGEST_ANSWER
        )
        print(number, case.ids.shape[1])  # shown where it fails
        check_dense(adapter, case, answer)


def _digest(context: Context) -> str:
    digest = hashlib.sha256()
    for layer in context.layers:
        for segment in layer.segments:
            digest.update(segment.keys.numpy())
            digest.update(segment.values.numpy())
    return digest.hexdigest()


def _shared(text: str, number: str) -> int:
    """How many leading digits of the number an answer begins with."""
    answer = text.strip()
    return next((i for i, digit in enumerate(number) if answer[i : i + 1] != digit), len(number))
