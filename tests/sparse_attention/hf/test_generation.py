"""Configurations inside the user's own ``model.generate``."""

from __future__ import annotations

import gc
import threading

import pytest
import torch
from models import ARCHITECTURES, failing, random_model, tokens, word_tokenizer
from transformers import (
    DynamicCache,
    GenerationConfig,
    LogitsProcessorList,
    TextIteratorStreamer,
    TextStreamer,
)

from sparse_attention import (
    AttentionConfig,
    HuggingFaceAdapter,
    Protocol,
    UserError,
    make_config,
    sparse_generation,
)
from sparse_attention.hf.cache import GenerationCache
from sparse_attention.maskers import MagicPig, Sink
from sparse_attention.presses import (
    AdaKV,
    Decoding,
    KeyRerotation,
    KNorm,
    ObservedAttention,
    SnapKV,
    StreamingLLM,
)
from sparse_attention.testing.architectures.small import small_model
from sparse_attention.testing.device import DEVICE

DENSE = AttentionConfig()
LSH = make_config("magic_pig", sink_size=3, window_size=7, lsh_k=4, lsh_l=20)
TOP = make_config("oracle_top_k", sink_size=3, window_size=7, heavy_size=0.1)
DRAWN = make_config("random_sampling", sink_size=3, window_size=7, sampling_rate=0.2)
EDGES = make_config("sink_local", sink_size=2, window_size=5)
SNAP = SnapKV(compression_ratio=0.5, observation_window=8)
RAGGED = AttentionConfig((SNAP, AdaKV()))
PRESSED = [
    make_config("knorm", compression_ratio=0.75),
    make_config("expected_attention", compression_ratio=0.5),
    RAGGED,
    AttentionConfig((*RAGGED.methods, Sink(sink_size=2), MagicPig(lsh_k=3, lsh_l=20))),
]
ROTATED = AttentionConfig((StreamingLLM(compression_ratio=0.75), KeyRerotation()))
DECODING = AttentionConfig(
    (ObservedAttention(), SNAP, Decoding(interval=3, target_size=30), Sink(), MagicPig(lsh_k=3))
)

PROTOCOLS = {
    "question": Protocol(dense_layers=(1,)),
    "generation": Protocol(sparse_from="generation"),
    "aware": Protocol(sparse_from="generation", press_sees_question=True),
}
NEW = 5
PAD = 96
GREEDY = {"max_new_tokens": NEW, "do_sample": False, "pad_token_id": PAD}


@pytest.fixture(scope="module")
def model():
    return random_model("llama")


def left_padded(*prompts: list[int]) -> dict[str, torch.Tensor]:
    longest = max(map(len, prompts))
    return {
        "input_ids": torch.tensor([[PAD] * (longest - len(p)) + p for p in prompts], device=DEVICE),
        "attention_mask": torch.tensor(
            [[0] * (longest - len(p)) + [1] * len(p) for p in prompts], device=DEVICE
        ),
    }


def generated(model, *prompts: list[int], **options) -> list[list[int]]:
    """The new tokens of each returned sequence."""
    inputs = left_padded(*prompts)
    sequences = model.generate(**inputs, **GREEDY | options)
    return sequences[:, inputs["input_ids"].shape[1] :].tolist()


@pytest.mark.parametrize(("number", "name"), enumerate(ARCHITECTURES))
def test_results_equal_those_of_the_adapter_and_of_plain_generate(number, name):
    model, prompt = random_model(name), tokens(60, 1)
    adapter = HuggingFaceAdapter(model, word_tokenizer(), name)
    with sparse_generation(model, DENSE, measure_error=True) as dense:
        ours = generated(model, prompt)
    assert ours == generated(model, prompt)
    assert dense.reports[0].density == 1
    assert dense.reports[0].attention_error == pytest.approx(0, abs=1e-9)
    ways = (("generation", 1), ("question", 6), ("generation", 6))
    for place, (sparse_from, question) in enumerate(ways):
        config = (LSH, TOP, DRAWN)[(number + place) % 3]  # every one in three architectures
        options = {
            "protocol": Protocol(sparse_from=sparse_from, dense_layers=(1,)),
            "sample_key": "s",
        }
        context = adapter.prefill(prompt[:-question])
        (answer,) = adapter.answer(
            context, prompt[-question:], [config], max_new_tokens=NEW, **options
        )
        options["question_tokens"] = question
        with sparse_generation(model, config, measure_error=True, **options) as sparse:
            ours = generated(model, prompt, eos_token_id=adapter.tokenizer.eos_token_id)
        assert ours == [list(answer.token_ids)]
        (report,) = sparse.reports
        assert report.density == pytest.approx(answer.density, abs=1e-4)
        assert report.attention_error == pytest.approx(answer.attention_error, rel=1e-3)


@pytest.mark.parametrize(
    ("name", "config"),
    [
        ("llama", LSH),
        ("llama", DRAWN),
        ("mistral", LSH),
        ("mistral", EDGES),
        ("gemma3", DENSE),
        ("gemma3", DRAWN),
        ("gpt_oss", LSH),
        ("gpt_oss", EDGES),
    ],
)
def test_a_prompt_gives_the_same_alone_and_in_a_padded_batch(name, config):
    model = random_model(name)
    prompts = [tokens(40, 1), tokens(71, 2), tokens(9, 3), tokens(71, 4)]
    with sparse_generation(model, config, measure_error=True) as sparse:
        together = generated(model, *prompts)
        reports = sparse.reports
        assert len(reports) == 4
        for prompt, expected, report in zip(prompts, together, reports, strict=True):
            assert generated(model, prompt) == [expected]
            (alone,) = sparse.reports
            assert alone.density == pytest.approx(report.density, abs=1e-4)
            assert alone.attention_error == pytest.approx(
                report.attention_error, rel=1e-3, abs=1e-9
            )
            assert alone.cache_bytes == report.cache_bytes
    if config is DENSE:
        assert together == generated(model, *prompts)


def test_sizes_count_from_the_first_visible_token_and_padding_is_never_read(model):
    prompts = [tokens(30, 1), tokens(80, 2)]
    with sparse_generation(model, EDGES) as sparse:
        generated(model, *prompts)
    for prompt, report in zip(prompts, sparse.reports, strict=True):
        visible = [len(prompt) + step + 1 for step in range(NEW - 1)]
        assert report.density == pytest.approx(7 * len(visible) / sum(visible), rel=1e-9)


def test_what_comes_after_the_end_of_an_answer_is_not_counted(model):
    prompts = [tokens(40, 1), tokens(71, 2)]
    free = generated(model, *prompts)
    stop = free[0][3]
    assert stop not in free[1][:6]
    with sparse_generation(model, DENSE, measure_error=True):
        ended = generated(model, *prompts, eos_token_id=stop)
    assert ended == generated(model, *prompts, eos_token_id=stop)
    with sparse_generation(model, EDGES) as sparse:
        first = generated(model, *prompts)[0]
        stop = first[3]
        generated(model, *prompts, eos_token_id=[stop, 95])
        visible = [40 + step + 1 for step in range(first.index(stop))]
        expected = 7 * len(visible) / sum(visible)
        assert sparse.reports[0].density == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(
    "options",
    [
        {"num_beams": 4, "num_return_sequences": 3},
        {"num_beams": 3, "length_penalty": 0.5, "eos_token_id": [3, 17]},
        {"do_sample": True, "num_return_sequences": 3, "top_k": 20},
        {"do_sample": True, "num_beams": 3},
        {"repetition_penalty": 1.5},
        {"prefill_chunk_size": 13},
    ],
    ids=str,
)
def test_every_way_of_generating_is_that_of_plain_generate_when_dense(model, options):
    prompts = [tokens(40, 1), tokens(55, 2), tokens(40, 1)]
    torch.manual_seed(5)
    expected = generated(model, *prompts, **options)
    with sparse_generation(model, DENSE):
        torch.manual_seed(5)
        assert generated(model, *prompts, **options) == expected


@pytest.mark.parametrize(
    ("config", "sample"), [(LSH, True), (DRAWN, False), (PRESSED[3], True), (DECODING, False)]
)
def test_beams_have_the_scores_that_their_tokens_have_alone(model, config, sample):
    """The keys and what methods keep about them follow the beams from row to row."""
    prompts = [tokens(40, 1), tokens(55, 2)]
    inputs = left_padded(*prompts)
    torch.manual_seed(1)
    with sparse_generation(model, config):
        found = model.generate(
            **inputs,
            **GREEDY | {"do_sample": sample, "num_beams": 4, "num_return_sequences": 2},
            return_dict_in_generate=True,
            output_scores=True,
        )
        for row, (sequence, score) in enumerate(
            zip(found.sequences, found.sequences_scores, strict=True)
        ):
            new = sequence[inputs["input_ids"].shape[1] :]
            logits = forced_logits(model, prompts[row // 2], new)
            alone = logits.log_softmax(-1).gather(-1, new[:, None]).mean()
            assert float(score) == pytest.approx(float(alone), abs=1e-4)


def forced_logits(model, prompt: list[int], new: torch.Tensor) -> torch.Tensor:
    """Logits (new, vocabulary) of the model where it is made to say ``new``."""

    def force(sequence: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        token = new[sequence.shape[1] - len(prompt)]
        return torch.full_like(scores, -torch.inf).index_fill_(1, token, 0.0)

    output = model.generate(
        **left_padded(prompt),
        **GREEDY,
        logits_processor=LogitsProcessorList([force]),
        return_dict_in_generate=True,
        output_logits=True,
    )
    assert output.sequences[0, len(prompt) :].tolist() == new.tolist()
    return torch.cat(output.logits)


@pytest.mark.parametrize(
    ("name", "question", "protocol", "configs"),
    [  # every configuration with every protocol
        ("llama", 1, "question", (PRESSED[0], PRESSED[2], ROTATED)),
        ("gemma2", 6, "question", (PRESSED[1], PRESSED[3], DECODING)),
        ("llama", 6, "generation", (PRESSED[1], PRESSED[3], DECODING)),
        ("qwen2_window", 1, "generation", (PRESSED[0], PRESSED[2], ROTATED)),
        ("llama", 6, "aware", (PRESSED[0], PRESSED[1], PRESSED[2])),
        ("gemma2", 1, "aware", (PRESSED[3], ROTATED, DECODING)),
    ],
)
def test_presses_give_what_they_give_in_the_adapter(name, question, protocol, configs):
    protocol = PROTOCOLS[protocol]
    model, prompts = random_model(name), [tokens(90, 1), tokens(64, 2)]
    adapter = HuggingFaceAdapter(model, word_tokenizer(), name)
    stop = adapter.tokenizer.eos_token_id
    for config in configs:
        answers = [
            adapter.answer(
                adapter.prefill(prompt[:-question], [config]),
                prompt[-question:],
                [config],
                max_new_tokens=NEW,
                protocol=protocol,
            )[0]
            for prompt in prompts
        ]
        options = {"protocol": protocol, "question_tokens": question}
        with sparse_generation(model, config, measure_error=True, **options) as sparse:
            both = generated(model, *prompts, eos_token_id=stop)
            reports = sparse.reports
        with sparse_generation(model, config, measure_error=False, **options) as sparse:
            alone = [(generated(model, p, eos_token_id=stop)[0], sparse.reports) for p in prompts]
        for answer, row, report, (single, its) in zip(answers, both, reports, alone, strict=True):
            assert single == list(answer.token_ids)
            assert row[: len(single)] == single
            for one in (report, *its):
                assert one.density == pytest.approx(answer.density, abs=1e-4)
                assert one.kept_share == pytest.approx(answer.kept_share)
            assert report.kept_share < 1
            assert report.attention_error == pytest.approx(answer.attention_error, rel=1e-3)


def test_presses_free_the_memory_of_what_they_remove(model, request):
    """All tensors that are alive while answers are generated, counted apart from our numbers."""
    gc.freeze()  # what was there before is not walked through each time
    request.addfinalizer(gc.unfreeze)
    prompt, alive = tokens(500, 1), []

    def look(sequence: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        if sequence.shape[1] == 500 + NEW - 1:
            alive.append(living_bytes())
        return scores

    def held(config: AttentionConfig, **options: bool) -> tuple[int, int]:
        alive.clear()
        before = living_bytes()
        with sparse_generation(model, config, **options) as sparse:
            generated(model, prompt, logits_processor=LogitsProcessorList([look]))
        assert living_bytes() - before < 1000
        return alive[-1] - before, sparse.reports[0].cache_bytes

    room, token = 64 * 1024, 2 * 4 * 2 * 16 * 4
    noise = 30_000  # input tokens, positions, logits
    full, said = held(DENSE)
    assert said == 499 * token + room
    assert abs(full - said) < noise
    for config in PRESSED[:3]:
        ratio = config.presses[0].compression_ratio
        kept, said = held(config)
        positions = 4 * 2 * 8 * round((1 - ratio) * 499)
        assert said - room - positions == pytest.approx((1 - ratio) * 499 * token, abs=2 * token)
        assert abs(kept - said) < noise
    bounded = AttentionConfig((KNorm(), Decoding(interval=2, target_size=100)))
    kept, said = held(bounded)
    positions = 4 * 2 * 8 * 100
    assert 100 * token <= said - positions <= 100 * token + room
    assert abs(kept - said) < noise
    compared, said = held(PRESSED[0], measure_error=True)
    assert said > full
    assert abs(compared - said) < noise


def living_bytes() -> int:
    gc.collect()
    storages = {
        tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes()
        for tensor in gc.get_objects()
        if isinstance(tensor, torch.Tensor) and tensor.layout == torch.strided
    }
    return sum(storages.values())


def test_sequences_of_one_prompt_share_its_keys(model):
    prompt = tokens(400, 1)
    options = {"max_new_tokens": 3, "num_beams": 8}
    with sparse_generation(model, EDGES) as sparse:
        generated(model, prompt, **options)
        (beams,) = sparse.reports
        generated(model, prompt, max_new_tokens=3)
        (single,) = sparse.reports
        generated(model, prompt, prompt, tokens(400, 2), max_new_tokens=3)
        assert len(sparse.reports) == 2
    token = 2 * 4 * 2 * 16 * 4  # keys and values, layers, heads, width, bytes
    assert beams.dense_cache_bytes == 8 * (399 + 3) * token
    assert single.cache_bytes == (399 + 64) * token
    assert beams.cache_bytes == (399 + 8 * 64) * token


ALL = slice(None)


def test_the_cache_can_be_repeated_and_chosen_from_like_one_of_transformers(model):
    states = torch.randn(3, 2, 5, 16, device=DEVICE)

    def decode(cache: GenerationCache) -> torch.Tensor:
        for layer in range(4):
            cache.update(states[: cache.batch.rows], states[: cache.batch.rows], layer)
        return torch.cat([part.decoder.tails[2].read(ALL, ALL, 0)[0] for part in cache.batch.parts])

    with sparse_generation(model, EDGES):
        caches = [
            model.generate(
                **left_padded(tokens(20, 1), tokens(8, 2), tokens(20, 1)),
                **GREEDY,
                return_dict_in_generate=True,
            ).past_key_values
            for _ in range(2)
        ]
    cache, other = caches
    before = torch.cat([part.decoder.tails[2].read(ALL, ALL, 0)[0] for part in cache.batch.parts])
    order = [row for part in cache.batch.parts for row in part.rows]
    assert order == [0, 2, 1]
    cache.batch_repeat_interleave(2)
    assert [part.rows for part in cache.batch.parts] == [[0, 1, 4, 5], [2, 3]]
    cache.batch_select_indices(torch.tensor([2, 0], device=DEVICE))
    assert [part.rows for part in cache.batch.parts] == [[1], [0]]
    first, second = (part.decoder.tails[2].read(ALL, ALL, 0)[0][0] for part in cache.batch.parts)
    assert torch.equal(first, before[0])
    assert torch.equal(second, before[2])
    assert cache.get_seq_length() == other.get_seq_length() == 20 + NEW - 1
    assert decode(cache).shape == (2, 2, NEW + 5, 16)


def test_streaming(model, capsys):
    tokenizer, prompt = word_tokenizer(), tokens(30, 4)
    with sparse_generation(model, LSH):
        (expected,) = generated(model, prompt)
        model.generate(
            **left_padded(prompt), **GREEDY, streamer=TextStreamer(tokenizer, skip_prompt=True)
        )
        streamed = TextIteratorStreamer(tokenizer, skip_prompt=True, timeout=60)
        thread = threading.Thread(
            target=model.generate,
            kwargs={**left_padded(prompt), **GREEDY, "streamer": streamed},
        )
        thread.start()
        text = "".join(streamed)
        thread.join()
    words = tokenizer.decode(expected)
    assert capsys.readouterr().out.split() == words.split()
    assert text.split() == words.split()


@pytest.mark.parametrize("implementation", ["sdpa", "eager"])
def test_the_model_is_as_before_on_exit_and_on_error(implementation):
    model = random_model("qwen3")
    model.set_attn_implementation(implementation)
    attributes, prompt = dict(vars(model)), tokens(30, 1)
    before = generated(model, prompt)

    def restored() -> bool:
        configs = [module.config for module in model.modules() if hasattr(module, "config")]
        return vars(model) == attributes and all(
            config._attn_implementation == implementation for config in configs
        )

    def fail(*_: object) -> None:
        raise RuntimeError("in the middle")

    with sparse_generation(model, EDGES):
        assert not restored()
        assert generated(model, prompt) != before
        logits = model(torch.tensor([prompt], device=DEVICE)).logits
    assert restored()
    assert torch.equal(logits, model(torch.tensor([prompt], device=DEVICE)).logits)
    with sparse_generation(model, EDGES) as sparse:
        with pytest.raises(RuntimeError, match="middle"):
            generated(model, prompt, logits_processor=LogitsProcessorList([fail]))
        assert sparse.reports[0].density == 1
        with pytest.raises(IndexError), failing(model):
            generated(model, prompt)
        assert sparse.reports == ()
        generated(model, prompt)
    with pytest.raises(RuntimeError, match="middle"), sparse_generation(model, EDGES):
        fail()
    assert restored()
    assert generated(model, prompt) == before


def test_a_generate_of_the_users_own_is_put_back(model):
    model.generate = own = lambda **options: "mine"
    try:
        with sparse_generation(model, DENSE):
            assert model.generate is not own
        assert model.generate is own
    finally:
        del model.generate


def test_half_precision_and_positional_arguments(model):
    half, ids = random_model("llama").to(torch.bfloat16), left_padded(tokens(50, 1))["input_ids"]
    settings = GenerationConfig(**GREEDY)
    with sparse_generation(half, DENSE, measure_error=True) as sparse:
        sequences = half.generate(ids, settings)
    assert sequences.shape == (1, 50 + NEW)
    assert sparse.reports[0].attention_error == pytest.approx(0, abs=1e-9)
    with sparse_generation(model, DENSE):
        assert torch.equal(model.generate(ids, settings), model.generate(ids, **GREEDY))


@pytest.mark.parametrize(
    "config", [DENSE, TOP, AttentionConfig((SNAP,))], ids=["dense", "top", "pressed"]
)
def test_what_attention_gives_can_be_written_to_and_learned_from(model, config):
    def write(_, inputs):
        inputs[0].mul_(1.0)

    hooks = [
        layer.self_attn.o_proj.register_forward_pre_hook(write) for layer in model.model.layers
    ]
    try:
        with sparse_generation(model, config):
            found = model.generate(
                **left_padded(tokens(40, 1)),
                **GREEDY,
                return_dict_in_generate=True,
                output_hidden_states=True,
            )
    finally:
        for hook in hooks:
            hook.remove()
    hidden = found.hidden_states[-1][-1]
    probe = torch.nn.Linear(hidden.shape[-1], 1, device=DEVICE)
    probe(hidden).sum().backward()
    assert probe.weight.grad.abs().sum() > 0


def test_nested_and_reentrant_use(model):
    prompt, other = tokens(30, 1), random_model("qwen2")

    def again(*_: object) -> None:
        generated(model, prompt)

    with sparse_generation(model, EDGES):
        expected = generated(model, prompt)
        with pytest.raises(UserError, match="already"), sparse_generation(model, DENSE):
            pass
        with pytest.raises(UserError, match="running already"):
            generated(model, prompt, logits_processor=LogitsProcessorList([again]))
        with sparse_generation(other, DENSE):
            generated(other, prompt)
            assert generated(model, prompt) == expected
        assert generated(model, prompt) == expected
    with sparse_generation(model, EDGES):
        assert generated(model, prompt) == expected


@pytest.mark.parametrize(
    "saved", [{"use_cache": False}, {"cache_implementation": "static"}, {"output_attentions": True}]
)
def test_what_a_checkpoint_was_saved_with_is_not_what_the_caller_asked_for(saved):
    model, prompt = random_model("llama"), tokens(30, 1)
    expected = generated(model, prompt)
    model.config.use_cache = saved.get("use_cache", True)
    for name, value in saved.items():
        setattr(model.generation_config, name, value)
    for options in ({}, {"generation_config": GenerationConfig(eos_token_id=None)}):
        with sparse_generation(model, DENSE):
            assert generated(model, prompt, **options) == expected
    (name,) = saved
    assert getattr(model.generation_config, name) == saved[name]
    with (
        sparse_generation(model, DENSE),
        pytest.raises(UserError, match=name),
    ):
        generated(model, prompt, **saved)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"past_key_values": DynamicCache()}, "past_key_values"),
        ({"position_ids": torch.arange(30, device=DEVICE)[None]}, "position_ids"),
        ({"inputs_embeds": torch.zeros(1, 30, 64, device=DEVICE)}, "inputs_embeds"),
        ({"use_cache": False}, "use_cache"),
        ({"cache_implementation": "static"}, "static"),
        ({"generation_config": GenerationConfig(cache_implementation="quantized")}, "quantized"),
        ({"prompt_lookup_num_tokens": 3}, "assisted_generation"),
        ({"assistant_model": random_model("llama_mqa")}, "assisted_generation"),
        ({"output_attentions": True, "return_dict_in_generate": True}, "output_attentions"),
        ({"guidance_scale": 2.0}, "guidance_scale"),
    ],
    ids=str,
)
def test_a_generate_that_cannot_work_is_one_clear_error(model, options, message):
    with sparse_generation(model, EDGES):
        with pytest.raises(UserError, match=message):
            generated(model, tokens(30, 1), **options)
        generated(model, tokens(30, 1))


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        ([[1] * 28 + [0, 0]], "left"),
        ([[1] * 10 + [0] * 10 + [1] * 10], "left"),
        ([[0] * 29 + [1]], "too short"),
        ([[0] * 30], "too short"),
    ],
    ids=["right", "hole", "one", "none"],
)
def test_padding_that_cannot_work_is_one_clear_error(model, mask, message):
    inputs = {
        "input_ids": torch.tensor([tokens(30, 1)], device=DEVICE),
        "attention_mask": torch.tensor(mask, device=DEVICE),
    }
    with sparse_generation(model, EDGES), pytest.raises(UserError, match=message):
        model.generate(**inputs, **GREEDY)


def test_a_name_or_a_document_is_a_configuration(model):
    for name in ("snapkv", "sink_local"):
        answers = []
        for config in (make_config(name), name, make_config(name).to_json()):
            with sparse_generation(model, config, question_tokens=2) as sparse:
                answers.append((generated(model, tokens(60, 1)), sparse.reports))
        assert answers[0] == answers[1] == answers[2]


def test_what_is_not_a_usable_model_or_setting_is_one_clear_error(model):
    for arguments, options, message in (
        ((torch.nn.Linear(2, 2), DENSE), {}, "Linear"),
        ((random_model("llama").train(), DENSE), {}, "eval"),
        ((small_model("mamba"), DENSE), {}, "no attention layer"),
        ((model, DENSE), {"question_tokens": 0}, "question_tokens"),
        ((model, DENSE), {"question_tokens": True}, "question_tokens"),
        ((model, DENSE), {"question_tokens": "5"}, "question_tokens"),
        ((model, {"method": []}), {}, "a configuration is"),
        ((model, "snapvk"), {}, "snapkv"),
        ((model, 3), {}, "AttentionConfig"),
        ((model, DENSE), {"protocol": Protocol(dense_layers=(4,))}, "layers 0 to 3"),
        ((model, "no/such/file.json"), {}, "no/such/file"),
    ):
        with pytest.raises(UserError, match=message), sparse_generation(*arguments, **options):
            pass
    generated(model, tokens(5, 1))


@pytest.mark.parametrize("name", ["jamba", "gemma3n_text", "deepseek_v3"])
def test_states_latents_and_shared_keys_go_with_the_rows_of_a_batch(name):
    small = small_model(name)
    small.generation_config.eos_token_id = None
    prompts = [tokens(40, 1), tokens(29, 2), tokens(40, 1)]
    expected = [generated(small, prompt)[0] for prompt in prompts]
    beams = {"num_beams": 3, "num_return_sequences": 2, "max_new_tokens": 5}
    expected_beams = generated(small, prompts[0], **beams)
    with sparse_generation(small, DENSE, question_tokens=3):
        assert generated(small, *prompts) == expected
        assert generated(small, prompts[0], **beams) == expected_beams
