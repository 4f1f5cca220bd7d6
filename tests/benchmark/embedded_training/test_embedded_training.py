import json
import os
import subprocess
import sys
from random import Random

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaForCausalLM

from benchmark.embedded_training.curriculum import LENGTHS, MAX_STEPS, MIN_STEPS, Curriculum
from benchmark.embedded_training.model_init import structured_init, tiny_llama_config
from benchmark.embedded_training.muon import Adam, Muon, orthogonalise
from benchmark.embedded_training.tokenizer import build_tokenizer
from benchmark.embedded_training.train import Batches, answer_loss, main, rate_scale
from benchmark.embedded_training.training_text import LABELS


@pytest.fixture(scope="module")
def initial_model():
    torch.manual_seed(0)
    config = tiny_llama_config(900, 0, 1, 2, 512)
    model = LlamaForCausalLM._from_config(config, attn_implementation="eager")
    structured_init(model)
    return model.eval()


@torch.no_grad()
def test_first_layer_looks_back_a_fixed_distance(initial_model):
    tokens = torch.randint(3, 800, (2, 300), generator=torch.Generator().manual_seed(1))
    weights = initial_model(tokens, output_attentions=True).attentions[0]
    for head in range(4):
        diagonal = weights[:, head].diagonal(-(head + 1), dim1=1, dim2=2)
        assert diagonal.mean() > 0.5


@torch.no_grad()
def test_second_layer_finds_the_same_history(initial_model):
    once = torch.randperm(800, generator=torch.Generator().manual_seed(1))[:100] + 3
    tokens = torch.cat([torch.tensor([0]), once, once])[None]
    weights = initial_model(tokens, output_attentions=True).attentions[1][0, 2]
    queries = torch.arange(101, 201)
    after_earlier_occurrence = weights[queries, queries - 99].mean()
    assert after_earlier_occurrence > 3 * weights[queries, 1:101].mean()


def test_orthogonalise_gives_singular_values_near_one():
    matrices = torch.randn(2, 320, 128, generator=torch.Generator().manual_seed(0))
    values = torch.linalg.svdvals(orthogonalise(matrices))
    assert values.min() > 0.5
    assert values.max() < 1.5


@pytest.mark.parametrize("optimizer", [lambda w: Muon(w, 0.02, 0.0), lambda w: Adam(w, 0.01)])
def test_optimisers_descend(optimizer):
    generator = torch.Generator().manual_seed(0)
    weight = torch.nn.Parameter(torch.randn(8, 8, generator=generator))
    start = float(weight.detach().square().sum())
    update = optimizer([weight])
    for _ in range(100):
        weight.grad = 2 * weight.detach()
        update.step(1.0)
    assert float(weight.detach().square().sum()) < 0.3 * start


def test_optimisers_refuse_a_weight_without_gradient():
    with pytest.raises(ValueError, match="gradient"):
        Adam([torch.nn.Parameter(torch.zeros(2))], 0.1).step(1.0)


def test_batches_label_answers_only():
    tokenizer = build_tokenizer(512)
    tokens, labels = Batches(tokenizer, 2048, Random(0)).draw(256)
    assert tokens.shape == labels.shape == (8, 257)
    assert (tokens[:, 0] == tokenizer.bos_token_id).all()
    assert (labels[tokens == tokenizer.pad_token_id] == -1).all()
    assert int(labels.max()) < len(LABELS)
    for row, label in zip(tokens, labels, strict=True):
        ends = label.roll(-1).ne(label) & label.ge(0)
        assert {tokenizer.decode(token) for token in row[ends]} <= {
            "\n",
            *map(_two_digits, range(100)),
        }


def _two_digits(number):
    return f"{number:02d}"


def test_loss_counts_informative_answer_tokens(initial_model):
    tokenizer = build_tokenizer(512)
    model = LlamaForCausalLM(tiny_llama_config(len(tokenizer), 0, 1, 2, 512))
    batches = Batches(tokenizer, 1024, Random(0))
    tokens, labels = batches.draw(128)
    statistics = torch.full((len(LABELS), 3), 7.0, dtype=torch.float64)
    loss = answer_loss(model, tokens, labels, batches.uncounted, statistics)
    counted = (labels >= 0) & ~torch.isin(tokens, batches.uncounted)
    assert statistics[:, 0].sum() == counted.sum() < (labels >= 0).sum()
    assert 5 < float(loss) < 9  # near log(vocabulary) for an untrained model


def test_curriculum_advances_when_ready_or_late_and_stops_at_the_limit():
    quick, slow = Curriculum(96), Curriculum(96)
    for _ in range(MAX_STEPS - 1):
        quick.update(quick.length, 1.0)
        slow.update(slow.length, 0.1)
    assert (quick.length, slow.length) == (96, LENGTHS[0])
    slow.update(slow.length, 0.1)
    assert slow.length == LENGTHS[1]
    for _ in range(3 * MAX_STEPS):
        quick.update(quick.length, 1.0)
    assert quick.length == 96
    assert MIN_STEPS < MAX_STEPS


def test_curriculum_draws_no_length_ahead_of_time():
    curriculum = Curriculum(4096, level=len(LENGTHS) - 1)
    drawn = [curriculum.draw(Random(seed)) for seed in range(2000)]
    assert {*drawn} == {*LENGTHS}
    assert drawn.count(4096) < 300
    early = Curriculum(4096, level=2)
    assert {early.draw(Random(seed)) for seed in range(200)} == {*LENGTHS[:3]}


def test_rate_warms_up_and_decays():
    rates = [rate_scale(step, 1000, 50, 0.35) for step in range(1000)]
    assert rates[0] < 0.05
    assert max(rates) == 1.0
    assert rates[49] == rates[600] == 1.0
    assert rates[-1] == 0.02


def test_training_repeats_and_saves_a_loadable_checkpoint(tmp_path):
    words = ["--steps", "2", "--batch-tokens", "128", "--seed", "5", "--output"]
    assert main([*words, str(tmp_path / "first")]) == 0
    command = [sys.executable, "-m", "benchmark.embedded_training.train", *words]
    environment = {**os.environ, "PYTHONHASHSEED": "1"}
    subprocess.run([*command, str(tmp_path / "second")], check=True, env=environment)
    states = [
        AutoModelForCausalLM.from_pretrained(tmp_path / run, dtype=torch.float32).state_dict()
        for run in ("first", "second")
    ]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert states[0]["model.embed_tokens.weight"].shape[0] % 64 == 0

    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "first")
    generation = json.loads((tmp_path / "first" / "generation_config.json").read_text())
    newline = tokenizer.encode("\n", add_special_tokens=False)
    assert generation["eos_token_id"] == [tokenizer.eos_token_id, *newline]
