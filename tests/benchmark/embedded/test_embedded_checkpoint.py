from itertools import pairwise
from random import Random

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from benchmark.embedded import MODEL_PATH
from benchmark.embedded.vocabulary import KEYS, filler_sentence, number
from benchmark.embedded_training.calibrate import calibration_text
from benchmark.embedded_training.questions import (
    ask_chain,
    ask_number,
    ask_numbers,
    ask_votes,
    prompts,
)
from benchmark.embedded_training.tokenizer import build_tokenizer
from benchmark.embedded_training.votes import CONTEXT, vote_list
from sparse_attention import HuggingFaceAdapter, make_config

LIMIT_MB = 6


@pytest.fixture(scope="module")
def tokenizer():
    return AutoTokenizer.from_pretrained(MODEL_PATH)


@pytest.fixture(scope="module")
def model():
    torch.set_num_threads(1)
    return AutoModelForCausalLM.from_pretrained(MODEL_PATH, dtype=torch.float32).eval()


def accuracy(model, tokenizer, samples):
    """Share of samples that are answered exactly, the stop included."""
    right = 0
    for context, question in samples:
        ((prompt, answer),) = question.segments
        ids = tokenizer(context + prompt, return_tensors="pt").input_ids
        output = model.generate(ids, do_sample=False, max_new_tokens=48)[0, ids.shape[1] :]
        right += tokenizer.decode(output) == answer
    return right / len(samples)


def haystack(facts, rng, sentences=60):
    """Context with the facts, in order, between filler sentences."""
    slots = sorted(rng.sample(range(sentences), len(facts)))
    texts = [filler_sentence(rng) for _ in range(sentences)]
    for slot, fact in zip(slots, facts, strict=True):
        texts[slot] = fact
    return " ".join(texts)


def needle_samples(rng, count, ask):
    samples = []
    for _ in range(count):
        pairs = [(key, number(rng)) for key in rng.sample(KEYS, 4)]
        text = prompts().text
        facts = [text("niah.needle", type="number", key=k, value=v) for k, v in pairs]
        context = text("niah.single.context", types="numbers", haystack=haystack(facts, rng))
        samples.append((context, ask(pairs)))
    return samples


def test_files_are_small_and_safe():
    files = {file.name: file.stat().st_size for file in MODEL_PATH.iterdir()}
    assert sum(files.values()) <= LIMIT_MB * 10**6
    assert {*files} == {
        "config.json",
        "double_sparsity.safetensors",
        "generation_config.json",
        "hash_attention.safetensors",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    }


def test_calibration_files_are_those_of_the_weights():
    adapter = HuggingFaceAdapter.load(str(MODEL_PATH))
    for name in ("double_sparsity", "hash_attention"):
        make_config(name).for_model(adapter.profile)


def test_calibration_text_is_reproducible_and_has_questions():
    text = calibration_text(3, 256, seed=0)
    assert text == calibration_text(3, 256, seed=0)
    assert text != calibration_text(3, 256, seed=1)
    assert text.count("Answer:") >= 3


def test_shipped_tokenizer_is_the_one_of_the_source(tokenizer):
    built = build_tokenizer(tokenizer.model_max_length)
    assert tokenizer.get_vocab() == built.get_vocab()
    text = "Question: What is the magic number for apple?\nAnswer: Ünknown 123."
    assert tokenizer(text)["input_ids"] == built(text)["input_ids"]


def test_answers_single_questions(model, tokenizer):
    samples = needle_samples(Random(0), 8, lambda pairs: ask_number(*pairs[1], "multi_key"))
    assert accuracy(model, tokenizer, samples) >= 7 / 8


def test_answers_several_keys_in_order(model, tokenizer):
    assert accuracy(model, tokenizer, needle_samples(Random(1), 8, ask_numbers)) >= 7 / 8


def test_tracks_variables(model, tokenizer):
    rng = Random(2)
    text = prompts().text
    samples = []
    for _ in range(8):
        chain, value = rng.sample(KEYS, 5), number(rng)
        facts = [text("vt.assign", value=value, variable=chain[0])]
        facts += [text("vt.copy", source=a, target=b) for a, b in pairwise(chain)]
        noise = [text("noise")] * 16
        for fact, slot in zip(facts, (2, 6, 9, 13, 18), strict=True):
            noise.insert(slot, fact)
        samples.append((text("vt.context", haystack=" ".join(noise)), ask_chain(chain, value)))
    assert accuracy(model, tokenizer, samples) >= 6 / 8


def test_counts_votes_better_than_chance(model, tokenizer):
    rng = Random(3)
    samples = []
    for _ in range(12):
        drawn = vote_list(100, 4, 4, 0.5, rng)
        voter = rng.choice(sorted(drawn.winners))
        context = CONTEXT.format(votes=" ".join(drawn.votes))
        samples.append((context, ask_votes(voter, drawn.winners[voter])))
    assert accuracy(model, tokenizer, samples) >= 9 / 12
