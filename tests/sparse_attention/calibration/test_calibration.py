"""Calibration programs on real small models, and files that must be refused."""

from __future__ import annotations

import json
import pickle
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from models import random_model, tokens, word_tokenizer
from pydantic import ValidationError
from safetensors.torch import save_file
from transformers import DynamicCache

from sparse_attention import AttentionConfig, HuggingFaceAdapter, UserError, make_config
from sparse_attention.calibration import convert_hash_weights, double_sparsity, hash_attention
from sparse_attention.calibration.hash_attention import Training, examples, train
from sparse_attention.calibration.recording import record, token_blocks
from sparse_attention.learned.channels import load_channels
from sparse_attention.learned.files import read_file, write_file
from sparse_attention.learned.hash_networks import load_networks
from sparse_attention.maskers import DoubleSparsity, HashAttention
from sparse_attention.testing.calls import calibrated_model
from sparse_attention.testing.device import DEVICE

QUICK = ["--length", "64", "--blocks", "6"]


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory):
    """A Llama with grouped queries on disk, with a text."""
    folder = tmp_path_factory.mktemp("model")
    random_model("llama").save_pretrained(folder)
    word_tokenizer().save_pretrained(folder)
    (folder / "text.txt").write_text(" ".join(f"w{token}" for token in tokens(500, seed=1)))
    return folder


@pytest.fixture(scope="module")
def calibrated(model_folder):
    """The same after both programs have run."""
    common = ["--model", str(model_folder), "--text", str(model_folder / "text.txt"), *QUICK]
    output = str(model_folder / "double_sparsity.safetensors")
    assert double_sparsity.main([*common, "--output", output]) == 0
    output = str(model_folder / "hash_attention.safetensors")
    assert hash_attention.main([*common, "--output", output, "--steps", "20", "--hidden", "8"]) == 0
    return model_folder


@pytest.mark.parametrize("architecture", ["llama", "qwen3", "gemma2", "gpt_oss", "phi3"])
def test_recorded_queries_and_keys_give_the_models_attention(architecture):
    """The keys are those of the model's own cache, in all layers, and queries fit them."""
    adapter = HuggingFaceAdapter(random_model(architecture), word_tokenizer(), architecture)
    block = tokens(20, seed=3)
    seen = {}
    record(adapter, block, lambda layer, q, k, s: seen.setdefault(layer, (q.clone(), k.clone())))
    cache = DynamicCache(config=adapter.model.config)
    with torch.inference_mode():
        adapter.model(torch.tensor([block], device=DEVICE), past_key_values=cache)
    assert len(seen) == adapter.layers
    for layer, (queries, keys) in seen.items():
        torch.testing.assert_close(keys, cache.layers[layer].keys[0], atol=1e-4, rtol=1e-4)
        assert queries.shape[2] == 19
        assert queries.shape[0] == keys.shape[0]


def test_channels_are_ordered_by_their_mean_product(calibrated):
    adapter = HuggingFaceAdapter.load(str(calibrated))
    text = (calibrated / "text.txt").read_text()
    blocks = token_blocks(adapter.tokenizer, text, 64, 6)
    sums = 0
    for block in blocks:
        seen = {}
        record(adapter, block, lambda layer, q, k, s: seen.setdefault(layer, (q, k)))  # noqa: B023
        queries, keys = (tensor.double() for tensor in seen[2])
        for token in range(63):
            sums = sums + (queries[:, :, token] * keys[:, None, token + 1]).abs()
    order = load_channels(calibrated / "double_sparsity.safetensors", "qk_proj", 2)
    means = sums.flatten(0, 1).gather(-1, order)
    assert (means[:, :-1] >= means[:, 1:] * (1 - 1e-6)).all()


def test_calibrated_methods_run_on_their_model(calibrated):
    adapter = HuggingFaceAdapter.load(str(calibrated))
    prefix = adapter.prefill(tokens(100, seed=4))
    configs = [
        make_config("double_sparsity", window_size=4, heavy_size=0.2),
        make_config("hash_attention", window_size=4, heavy_size=0.2, group_scores="mean"),
        make_config("pq_cache", window_size=4, heavy_size=1.0),
    ]
    answers = adapter.answer(prefix, tokens(5, seed=5), configs, max_new_tokens=4)
    assert 0.2 < answers[0].density < 0.4
    assert 0.2 < answers[1].density < 0.4
    assert answers[2].attention_error < 1e-9


def test_hashes_learn(model_folder):
    adapter = HuggingFaceAdapter.load(str(model_folder))
    blocks = token_blocks(adapter.tokenizer, (model_folder / "text.txt").read_text(), 64, 7)
    how = Training(steps=80, hidden=32, depth=2, share=0.1)
    _, recall = train(adapter, blocks, how)
    assert len(recall) == 4
    for before, after in recall.values():
        assert before < 0.3
        assert after > before + 0.1
    first, again = (train(adapter, blocks, replace(how, steps=5))[0] for _ in range(2))
    assert first
    assert all(torch.equal(first[name], again[name]) for name in first)


def test_training_examples_mark_the_highest_visible_scores():
    adapter = HuggingFaceAdapter(
        random_model("gemma2"), word_tokenizer(), "gemma2"
    )  # windows of 24
    found = examples(adapter, tokens(60, seed=6), 0.1, torch.Generator().manual_seed(0))
    assert sorted(found) == [0, 1, 2, 3]
    for example in found.values():
        group = example.queries.shape[0] // example.keys.shape[0]
        keys = example.keys.repeat_interleave(group, 0).double()
        scores = (example.queries.double() @ keys.mT).masked_fill(~example.visible, -torch.inf)
        count = (example.visible.sum(-1) * 0.1).long().clamp(min=1)
        assert torch.equal(example.heavy.sum(-1), count.expand(example.heavy.shape[:2]))
        least = scores.masked_fill(~example.heavy, torch.inf).amin(-1)
        assert (scores.masked_fill(example.heavy, -torch.inf).amax(-1) <= least + 1e-5).all()
    assert int(found[0].visible.sum(-1).max()) == 24
    assert int(found[1].visible.sum(-1).max()) > 24


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--text", "nowhere.txt"], "cannot read nowhere.txt"),
        (["--length", "3"], "argument --length: must be a whole number from 16"),
        (["--length", "510"], "the text has 500 tokens"),
        (["--output", "channels.pt"], "end in .safetensors"),
        (["--model", "/nowhere"], "cannot load a causal language model"),
    ],
)
def test_bad_options_are_errors_with_exit_code_2(
    model_folder, tmp_path, capsys, arguments, message
):
    given = {"--model": model_folder, "--text": model_folder / "text.txt"}
    given |= {"--output": tmp_path / "out.safetensors", **dict([arguments])}
    try:
        code = double_sparsity.main([str(text) for pair in given.items() for text in pair])
    except SystemExit as ended:
        code = ended.code
    assert code == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


TOO_MUCH = str(10**9)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        *(
            (["--" + name, TOO_MUCH], f"--{name}: must be a whole number from 1 to")
            for name in ("bits", "depth", "steps", "hidden", "blocks")
        ),
        (["--seed", "-1"], "--seed: must be a whole number from 0 to"),
        (["--share", "nan"], "--share: must be a number from"),
        (["--steps", "5" * 5000], "--steps: must be a whole number"),
        (["--hidden", "4096", "--depth", "16"], "lower --hidden, --depth or --bits"),
        (["--length", "8000"], "--length is 8000, and the model has 512 positions"),
        (["--steps", "--"], "'--' is no value"),
        (["--share", "2"], "--share: must be a number from 1e-06 to 0.999999, got '2'"),
        (["--steps", "1", "--steps", "2"], "--steps is given twice"),
        (["--step", "1"], "unknown argument '--step'. Did you mean '--steps'?"),
        (["--activation", "silo"], "unknown --activation 'silo'. Did you mean 'silu'?"),
    ],
)
def test_what_would_never_end_is_refused(model_folder, tmp_path, capsys, arguments, message):
    common = ["--model", str(model_folder), "--text", str(model_folder / "text.txt")]
    output = ["--output", str(tmp_path / "out.safetensors")]
    length = [] if "--length" in arguments else ["--length", "64"]
    try:
        code = hash_attention.main([*common, *output, *length, *arguments])
    except SystemExit as ended:
        code = ended.code
    assert code == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


# -------------------------------------------------------------------------------------------------
# Files that are refused


@pytest.mark.parametrize("kind", [DoubleSparsity, HashAttention])
@pytest.mark.parametrize("name", ["weights.pt", "x.pkl", "x.bin"])
def test_pickles_are_refused_when_a_method_is_made(kind, name):
    field = "channel_file" if kind is DoubleSparsity else "weight_file"
    with pytest.raises(ValidationError, match="a pickle can run code"):
        kind(**{field: name})
    with pytest.raises(UserError, match=f"{field} = '{name}'"):
        AttentionConfig.from_json({"methods": [{"name": kind.name, field: name}]})


@pytest.mark.parametrize("kind", [DoubleSparsity, HashAttention])
def test_a_pickle_under_another_name_is_refused(kind, tmp_path):
    path = tmp_path / "disguised.safetensors"
    path.write_bytes(pickle.dumps({"layers.0.qk_proj": [1, 2]}))
    with pytest.raises(UserError, match="is not a calibration file"):
        bound(kind, path)


def bound(kind, path, profile=None):
    field = "channel_file" if kind is DoubleSparsity else "weight_file"
    return kind(**{field: str(path)}).for_model(profile or calibrated_model((2, 2)))


@pytest.mark.parametrize("kind", [DoubleSparsity, HashAttention])
def test_a_missing_file_says_how_to_make_it(kind, tmp_path):
    make = f"python -m sparse_attention.calibration.{kind.name} --model random --text TEXT"
    with pytest.raises(UserError, match=make):
        bound(kind, tmp_path / "none.safetensors")
    with pytest.raises(UserError, match=make):
        kind().for_model(replace(calibrated_model((2, 2)), folder=tmp_path))


@pytest.mark.parametrize("kind", [DoubleSparsity, HashAttention])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"layers": 3}, "layers is 2 there and 3 here"),
        ({"heads": 8}, "heads is 4 there and 8 here"),
        ({"head_dim": 32}, "head_dim is 16 there and 32 here"),
    ],
)
def test_files_of_another_model_are_refused(kind, change, message):
    profile = replace(calibrated_model((2, 2)), **change)
    with pytest.raises(UserError, match=f"another model than 'random': {message}"):
        kind().for_model(profile)


def test_a_model_of_the_same_shape_with_other_weights_is_another_one(calibrated):
    torch.manual_seed(1)
    model = type(random_model("llama"))(random_model("llama").config).eval()
    adapter = HuggingFaceAdapter(model, word_tokenizer(), "twin")
    path = str(calibrated / "hash_attention.safetensors")
    with pytest.raises(UserError, match="another model than 'twin': the weights differ"):
        adapter.answer(
            adapter.prefill([1, 2, 3]),
            [4],
            [make_config("hash_attention", weight_file=path)],
            max_new_tokens=1,
        )


def test_half_precision_is_the_same_model(calibrated):
    for dtype in ("float32", "bfloat16", "float16"):
        adapter = HuggingFaceAdapter.load(str(calibrated), dtype=dtype)
        make_config("double_sparsity").for_model(adapter.profile)


@pytest.mark.parametrize("kind", [DoubleSparsity, HashAttention])
def test_files_of_another_method_or_format_are_refused(kind, tmp_path):
    other = HashAttention if kind is DoubleSparsity else DoubleSparsity
    folder = calibrated_model((2, 2)).folder
    with pytest.raises(UserError, match=f"is for the method '{other.name}'"):
        bound(kind, folder / f"{other.name}.safetensors")
    save_file({"x": torch.zeros(1)}, tmp_path / "plain.safetensors")
    with pytest.raises(UserError, match="is not a calibration file of this library"):
        bound(kind, tmp_path / "plain.safetensors")


def tampered(name, tmp_path, change):
    """The calibration file of a method, with its tensors changed."""
    source = read_file(calibrated_model((2, 2)).folder / f"{name}.safetensors", name)
    tensors = {key: tensor.clone() for key, tensor in source.tensors.items()}
    change(tensors)
    path = tmp_path / f"{name}.safetensors"
    write_file(path, name, tensors, source.settings, None)
    return path


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.pop("layers.1.qk_proj"), "no channels of layer 1"),
        (
            lambda t: t.update({"layers.1.qk_proj": t["layers.1.qk_proj"][:3]}),
            r"of shape \(3, 16\)",
        ),
        (lambda t: t["layers.0.qk_proj"].fill_(1), "does not order the channels 0 to 15"),
        (lambda t: t.update({"layers.0.qk_proj": t["layers.0.qk_proj"][:, :9]}), "does not order"),
    ],
)
def test_damaged_channels_are_refused(change, message, tmp_path):
    with pytest.raises(UserError, match=message):
        bound(DoubleSparsity, tampered("double_sparsity", tmp_path, change))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda t: [t.pop(name) for name in list(t) if name.startswith("layers.1.key")],
            "no key network of layer 1",
        ),
        (lambda t: t.pop("layers.0.query.1.bias"), "no layers.0.query.1.bias"),
        (
            lambda t: t.update({"layers.0.query.0.weight": t["layers.0.query.0.weight"][:3]}),
            "layers.0.query.0.weight .* is for 3 heads; random needs 4",
        ),
        (
            lambda t: t.update({"layers.0.key.1.weight": t["layers.0.key.1.weight"][:, :5]}),
            r"layers.0.key.1.weight .* has shape \(2, 5, 32\), not \(2, 12, any\)",
        ),
        (
            lambda t: t.update({"layers.1.key.0.bias": torch.zeros(2, 3)}),
            r"layers.1.key.0.bias .* has shape \(2, 3\), not \(2, 12\)",
        ),
        (
            lambda t: t.update(
                {
                    "layers.1.key.1.weight": torch.zeros(2, 12, 8),
                    "layers.1.key.1.bias": torch.zeros(2, 8),
                }
            ),
            "maps queries to 32 bits and keys to 8",
        ),
    ],
)
def test_damaged_networks_are_refused(change, message, tmp_path):
    with pytest.raises(UserError, match=message):
        bound(HashAttention, tampered("hash_attention", tmp_path, change))


def test_an_unknown_activation_is_refused(tmp_path):
    source = read_file(
        calibrated_model((2, 2)).folder / "hash_attention.safetensors", "hash_attention"
    )
    path = tmp_path / "odd.safetensors"
    write_file(path, "hash_attention", source.tensors, {"activation": "sine"}, None)
    with pytest.raises(UserError, match=r"unknown activation .* 'sine'.*gelu, relu, silu, tanh"):
        bound(HashAttention, path)


# -------------------------------------------------------------------------------------------------
# Published files


def published(layers=2, heads=4, kind="q_proj", width=16):
    torch.manual_seed(0)
    return {
        f"model.layers.{layer}.self_attn.{kind}": torch.rand(heads, width).argsort(-1).tolist()
        for layer in range(layers)
    }


@pytest.mark.parametrize("heads", [4, 2])
def test_published_channels_are_read(heads, tmp_path):
    path = tmp_path / "channels.json"
    path.write_text(json.dumps(published(heads=heads)))
    method = DoubleSparsity(channel_file=str(path), channels="q_proj")
    method.for_model(calibrated_model((2, 2)))
    assert load_channels(path, "q_proj", 1).shape == (heads, 16)


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ("[]", "should be a valid dictionary|valid dict"),
        ("{", "not JSON"),
        ('{"layers.0": [[0]]}', "has the key 'layers.0'"),
        ('{"model.layers.0.self_attn.q_proj": 3}', "q_proj is 3: Input should be a valid list"),
        ('{"model.layers.0.self_attn.q_proj": [[0, "1"]]}', "valid integer"),
        ('{"model.layers.0.self_attn.q_proj": [[0, 1], [0]]}', "unequally many channels"),
        (json.dumps(published(layers=1)), "no channels of layer 1"),
        (json.dumps(published(heads=3)), r"of shape \(3, 16\)"),
        (json.dumps(published(width=8)), "does not order the channels"),
        (json.dumps(published(kind="k_proj")), "unknown kind of channels .*'q_proj'.*k_proj"),
    ],
)
def test_bad_published_channels_are_refused(document, message, tmp_path):
    path = tmp_path / "channels.json"
    path.write_text(document)
    with pytest.raises(UserError, match=message):
        DoubleSparsity(channel_file=str(path), channels="q_proj").for_model(
            calibrated_model((2, 2))
        )


def trained_weights(layers=2, heads=4, width=16):
    torch.manual_seed(0)
    sizes = {0: (12, width), 2: (12, 12), 4: (32, 12)}
    return {
        f"{layer}.learning_to_hash_transformation_{side}.{head}.{place}.{kind}": torch.randn(
            shape if kind == "weight" else shape[:1]
        )
        for layer in range(layers)
        for side in "qk"
        for head in range(heads)
        for place, shape in sizes.items()
        for kind in ("weight", "bias")
    }


def test_published_hash_weights_are_converted(tmp_path):
    weights = trained_weights()
    torch.save(weights, tmp_path / "weights.pt")
    output = tmp_path / "weights.safetensors"
    assert convert_hash_weights.main([str(tmp_path / "weights.pt"), str(output)]) == 0
    HashAttention(weight_file=str(output)).for_model(calibrated_model((2, 2)))
    query, key = load_networks(output, 1)
    start = "1.learning_to_hash_transformation"
    assert torch.equal(query[2][0][3], weights[f"{start}_q.3.4.weight"].T)
    assert torch.equal(key[0][1][1], weights[f"{start}_k.1.0.bias"])

    matrices = {
        layer: {
            f"{side}_{part}": [pair[index] for pair in network]
            for side, network in zip(("query", "key"), load_networks(output, layer), strict=True)
            for index, part in enumerate(("matrix", "bias"))
        }
        for layer in range(2)
    }
    torch.save(matrices, tmp_path / "matrices.pt")
    again = tmp_path / "again.safetensors"
    assert convert_hash_weights.main([str(tmp_path / "matrices.pt"), str(again)]) == 0
    ours, theirs = (read_file(path, "hash_attention").tensors for path in (output, again))
    assert set(ours) == set(theirs)
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_weights_that_share_memory_are_converted(tmp_path):
    """One tensor of all heads, of which each head has a view, and biases that are the same."""
    weights = trained_weights()
    whole = torch.randn(4, 12, 16)
    bias = torch.zeros(12).expand(12)
    for head in range(4):
        weights[f"0.learning_to_hash_transformation_q.{head}.0.weight"] = whole[head]
        weights[f"0.learning_to_hash_transformation_q.{head}.0.bias"] = bias
    matrices = {
        layer: {
            f"{side}_{part}": [tensor] * 2
            for side in ("query", "key")
            for part, tensor in (("matrix", torch.ones(4, 16, 16)), ("bias", torch.ones(4, 16)))
        }
        for layer in range(2)
    }
    for name, document in (("trained", weights), ("matrices", matrices)):
        torch.save(document, tmp_path / f"{name}.pt")
        output = tmp_path / f"{name}.safetensors"
        assert convert_hash_weights.main([str(tmp_path / f"{name}.pt"), str(output)]) == 0
        HashAttention(weight_file=str(output)).for_model(calibrated_model((2, 2)))
    query, _ = load_networks(tmp_path / "trained.safetensors", 0)
    assert torch.equal(query[0][0][2], whole[2].T)


@pytest.mark.parametrize(
    ("odd", "message"),
    [
        (torch.eye(12, 16).to_sparse(), "is sparse"),
        (torch.empty(12, 16, device="meta"), "no numbers, only a shape"),
        (torch.full((12, 16), torch.nan), "not finite"),
        (torch.ones(12, 16, dtype=torch.int64), "floating-point"),
        (torch.ones(1).expand(2**20, 2**20), "more than 1073741824 numbers"),
    ],
)
def test_tensors_that_are_no_weights_are_named(odd, message, tmp_path, capsys):
    name = "1.learning_to_hash_transformation_k.2.0.weight"
    torch.save({**trained_weights(), name: odd}, tmp_path / "odd.pt")
    output = str(tmp_path / "o.safetensors")
    assert convert_hash_weights.main([str(tmp_path / "odd.pt"), output]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert name in error
    assert not Path(output).exists()


def test_damaged_weights_are_one_line(tmp_path, capsys):
    torch.save(trained_weights(), tmp_path / "whole.pt")
    content = (tmp_path / "whole.pt").read_bytes()
    path = tmp_path / "damaged.pt"
    for damaged in (content[:-100], content[:3000], content.replace(b"storage", b"sturage"), b""):
        path.write_bytes(damaged)
        assert convert_hash_weights.main([str(path), str(tmp_path / "o.safetensors")]) == 2
        assert capsys.readouterr().err.count("\n") == 1


def test_networks_without_numbers_are_refused(tmp_path):
    for value in (torch.nan, torch.inf):
        path = tampered(
            "hash_attention", tmp_path, lambda t, v=value: [one.fill_(v) for one in t.values()]
        )
        read_file.cache_clear(), load_networks.cache_clear()
        with pytest.raises(UserError, match="not finite"):
            bound(HashAttention, path)


class Hostile:
    def __reduce__(self):
        return (open, ("hostile-code-ran", "w"))


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_code_in_published_weights_does_not_run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for name, save in (
        ("a.pt", torch.save),
        ("b.pkl", lambda x, p: p.write_bytes(pickle.dumps(x))),
    ):
        save({"0": Hostile()}, tmp_path / name)
        assert convert_hash_weights.main([name, "out.safetensors"]) == 2
        assert "could run code" in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.pt", "b.pkl"]


@pytest.mark.parametrize(
    "document",
    [
        [1, 2],
        {},
        {"0": {"query_matrix": [torch.zeros(1)]}},
        {
            k: v
            for k, v in trained_weights().items()
            if k != "0.learning_to_hash_transformation_q.1.2.bias"
        },
    ],
)
def test_odd_published_weights_are_refused(document, tmp_path, capsys):
    torch.save(document, tmp_path / "odd.pt")
    assert (
        convert_hash_weights.main([str(tmp_path / "odd.pt"), str(tmp_path / "o.safetensors")]) == 2
    )
    assert "convert_hash_weights: error: the weights" in capsys.readouterr().err


def test_weights_without_dimensions_are_of_no_layout(tmp_path, capsys):
    scalar = torch.tensor(1.0)
    weights = dict.fromkeys(trained_weights(), scalar)
    matrices = {0: dict.fromkeys(("query_matrix", "query_bias", "key_matrix", "key_bias"), scalar)}
    for document in (weights, matrices):
        torch.save(document, tmp_path / "weights.pt")
        files = tmp_path / "weights.pt", tmp_path / "weights.safetensors"
        assert convert_hash_weights.main([*map(str, files)]) == 2
        assert "neither of the known layouts" in capsys.readouterr().err
