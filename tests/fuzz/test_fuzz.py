"""Every command, kind of file and calibration program, with input that nobody would give.

``pytest tests/fuzz --fuzz-examples 5000`` runs it long; ``make test`` takes a few of each.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from fuzzing import TEXTS, VALUES, changed, damaged, must_end_well
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save

from benchmark.console.main import main as sparse_bench
from benchmark.console.parser import build_parser
from benchmark.embedded import MODEL_PATH
from benchmark.embedded_training import train
from benchmark.ruler import create_huggingface_dataset as ruler_builder
from benchmark.scripts import demo_optimized_benchmarks as demo
from benchmark.scripts import get_cached_config, run_optimized_benchmarks
from benchmark.suite import builder
from benchmark.suite.registry import benchmark_class
from benchmark.zero_scrolls import submission
from sparse_attention.calibration import convert_hash_weights, double_sparsity, hash_attention
from sparse_attention.config_types import CONFIG_TYPES
from sparse_attention.errors import UserError
from sparse_attention.learned import channels, hash_networks
from sparse_attention.maskers import DoubleSparsity, HashAttention
from sparse_attention.program import run_program
from sparse_attention.testing.calls import calibrated_model

fuzz = settings.get_profile("fuzz")
Main = Callable[[list[str]], int]


def no_workers(*_: object) -> object:
    raise UserError("this is as far as it goes here")


@pytest.fixture(autouse=True)
def _nothing_is_started(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("SPARSE_BENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("benchmark.hyperparameter_optimization.hold_ray", no_workers)
    monkeypatch.setattr("benchmark.optimizer.optimized_executor.hold_ray", no_workers)
    monkeypatch.setattr("benchmark.run.ray_session.hold_ray", no_workers)
    monkeypatch.setattr("benchmark.embedded_training.train.build_tokenizer", no_workers)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))


def _options(parser: argparse.ArgumentParser) -> list[str]:
    return [name for action in parser._actions for name in action.option_strings if name[1] == "-"]


def _command_parser(name: str) -> argparse.ArgumentParser:
    (commands,) = build_parser()._subparsers._group_actions  # type: ignore[union-attr]
    return commands.choices[name]  # type: ignore[index]


RULER = ["--benchmarks", "ruler", "--option", "ruler.length=256", "--option", "ruler.samples=1"]
MODEL = ["--models", "embedded"]
TEXT = ["--model", "MODEL", "--text", "text.txt", "--output", "out.safetensors"]
COMMANDS: dict[str, tuple[Main, list[str], list[str]]] = {
    "run": (
        lambda a: sparse_bench(a, no_workers),
        ["run", *MODEL, *RULER, "--subsets", "vt"],
        _options(_command_parser("run")),
    ),
    "tune": (
        lambda a: sparse_bench(a, no_workers),
        ["tune", *MODEL, *RULER, "--subsets", "vt", "--configs", "magic_pig"],
        _options(_command_parser("tune")),
    ),
    "best": (sparse_bench, ["best"], _options(_command_parser("best"))),
    "ls": (sparse_bench, ["ls"], []),
    "report": (sparse_bench, ["report"], []),
    "optimized": (
        lambda a: run_optimized_benchmarks.main(a, no_workers),
        [*MODEL, *RULER, "--subsets", "vt", "--configs", "magic_pig"],
        _options(run_optimized_benchmarks.build_parser()),
    ),
    "cached": (get_cached_config.main, [], _options(get_cached_config.build_parser())),
    "demo": (demo.main, [], _options(demo.build_parser())),
    "longbench": (
        lambda a: builder.main(benchmark_class("longbench"), a),
        ["--source", "samples", "--output", "out", "--subsets", "qasper"],
        ["--source", "--output", "--subsets", "--option"],
    ),
    "ruler": (
        ruler_builder.main,
        ["--tokenizer", "embedded", "--lengths", "256", "--output", "out", "--tasks", "vt"],
        _options(ruler_builder._parser()),
    ),
    "submission": (submission.main, ["verify"], ["--source"]),
    "convert": (convert_hash_weights.main, [], ["--activation"]),
    "channels": (double_sparsity.main, TEXT, ["--device", "--dtype", "--length", "--blocks"]),
    "hashes": (
        hash_attention.main,
        TEXT,
        [
            "--device",
            "--dtype",
            "--length",
            "--blocks",
            "--bits",
            "--hidden",
            "--depth",
            "--activation",
            "--share",
        ],
    ),
    "train": (
        train.main,
        ["--output", "out"],
        ["--seed", "--steps", "--workers", "--batch-tokens", "--max-length", "--decay-share"],
    ),
}


@st.composite
def arguments(draw: st.DrawFn, base: list[str], options: list[str]) -> list[str]:
    """A good command line with one to three things changed."""
    given_arguments = list(base)
    for _ in range(draw(st.integers(1, 3))):
        text = draw(st.sampled_from(TEXTS) | st.text(max_size=8))
        what = draw(st.sampled_from(["option", "option", "option", "word", "replace"]))
        if what == "option" and options:
            name = draw(st.sampled_from(options))
            if name in given_arguments:
                given_arguments[given_arguments.index(name) + 1 :][:1] = [text]
            given_arguments += [name, text]
        elif what == "replace" and given_arguments:
            given_arguments[draw(st.integers(0, len(given_arguments) - 1))] = text
        else:
            given_arguments.append(text)
    return [str(MODEL_PATH) if one == "MODEL" else one for one in given_arguments]


@pytest.mark.parametrize("command", COMMANDS)
@settings(fuzz)
@given(data=st.data())
def test_command_lines(command, tmp_path, data):
    main, base, options = COMMANDS[command]
    (tmp_path / "text.txt").write_text("One two three. " * 300)
    found = data.draw(arguments(base, options))
    must_end_well(lambda: main(found))


def write(path: Path, content: object) -> None:
    try:
        path.write_text(json.dumps(content))
    except UnicodeEncodeError:
        path.write_bytes(json.dumps(content).encode("utf-8", "surrogatepass"))


@settings(fuzz)
@given(data=st.data())
def test_configuration_files(tmp_path, data):
    path = tmp_path / "config.json"
    kind = data.draw(st.sampled_from(sorted(CONFIG_TYPES)))
    document = CONFIG_TYPES[kind].make().to_json()
    form = data.draw(st.sampled_from(["plain", "label", "best"]))
    if form != "plain":
        document = {"a": document} if form == "label" else {"best": {"config": document}}
    if data.draw(st.booleans()):
        write(path, data.draw(changed(document)))
    else:
        path.write_bytes(data.draw(damaged(json.dumps(document).encode())))
    call = ["run", *MODEL, *RULER, "--subsets", "vt", "--config-file", str(path)]
    must_end_well(lambda: sparse_bench(call, no_workers))


DATA = ("longbench", "longbenchv2", "loogle", "infinite_bench", "zero_scrolls")


@pytest.mark.parametrize("name", DATA)
@settings(fuzz)
@given(data=st.data())
def test_data_files(name, tmp_path, data):
    cls = benchmark_class(name)
    raw, out = tmp_path / "raw", tmp_path / "out"
    shutil.copytree(cls.sample_folder, raw, dirs_exist_ok=True)
    files = [path for path in sorted(raw.rglob("*")) if path.is_file() and path.suffix != ".md"]
    path = data.draw(st.sampled_from(files))
    how = data.draw(st.sampled_from(["change", "change", "damage", "pipe", "folder"]))
    if how == "damage" or path.suffix not in (".json", ".jsonl"):
        path.write_bytes(data.draw(damaged(path.read_bytes())))
    elif how == "change" and path.suffix == ".jsonl":
        first, *rest = path.read_text().splitlines()
        write(path, data.draw(changed(json.loads(first))))
        path.write_text("\n".join([path.read_text(errors="replace"), *rest]))
    elif how == "change":
        write(path, data.draw(changed(json.loads(path.read_text()))))
    else:
        path.unlink()
        (os.mkfifo if how == "pipe" else os.mkdir)(path)
    source = data.draw(st.sampled_from([raw, path]))
    subset = path.stem if path.stem in cls.subsets else path.parent.name
    if subset not in cls.subsets:
        subset = data.draw(st.sampled_from(cls.subsets))
    call = ["--source", str(source), "--output", str(out), "--subsets", subset]
    must_end_well(lambda: builder.main(cls, call))
    shutil.rmtree(raw)


GOOD = {
    "context": "c",
    "question": "q",
    "answer_prefix": "",
    "answer": ["A"],
    "max_new_tokens": 3,
    "length": 5,
}


@pytest.mark.parametrize("name", [*DATA, "ruler"])
@settings(fuzz)
@given(data=st.data())
def test_prepared_files(name, tmp_path, data):
    cls = benchmark_class(name)
    row = {**GOOD, "task": cls.subsets[0]}
    if name == "longbench":
        row["answers"] = ["A"]
    row[data.draw(st.sampled_from([*row, "example_id", "all_classes", "needle_depths"]))] = (
        data.draw(st.sampled_from(VALUES))
    )
    path = tmp_path / "x.parquet"
    try:
        table = pa.Table.from_pylist([row])
    except (pa.ArrowException, OverflowError, UnicodeEncodeError, ValueError):
        return  # no table can hold it
    try:
        pq.write_table(table, path)
    except pa.ArrowException:
        return
    if data.draw(st.booleans()):
        path.write_bytes(data.draw(damaged(path.read_bytes())))
    call = ["run", *MODEL, "--benchmarks", name, "--subsets", cls.subsets[0]]
    call += ["--option", f"{name}.source={path}"]
    must_end_well(lambda: sparse_bench(call, no_workers))


RULER_FOLDER = Path(ruler_builder.__file__).parent
RULER_FILES = {
    "--haystack": ("niah_single_2", {"text": "One is here. Two are there. Who knows? " * 20}),
    "--prompts": ("vt", json.loads((RULER_FOLDER / "prompts.json").read_text())),
    "--squad-file": ("qa_1", json.loads((RULER_FOLDER / "sample_data/qa_1.json").read_text())),
    "--hotpotqa-file": ("qa_2", json.loads((RULER_FOLDER / "sample_data/qa_2.json").read_text())),
}


@pytest.mark.parametrize("option", RULER_FILES)
@settings(fuzz)
@given(data=st.data())
def test_files_of_ruler(option, tmp_path, data):
    task, document = RULER_FILES[option]
    path = tmp_path / data.draw(st.sampled_from(["x.json", "x.json", "x.txt"]))
    match data.draw(st.sampled_from(["change", "damage", "long"])):
        case "change":
            write(path, data.draw(changed(document)))
        case "damage":
            path.write_bytes(data.draw(damaged(json.dumps(document).encode())))
        case _:
            unit = data.draw(
                st.sampled_from(["a", "a ", "a. A ", "Mr. A ", "..", "é", " ", "A.\n"])
            )
            path.write_text(unit * data.draw(st.sampled_from([1, 1000, 10**5, 10**7])))
    call = ["--tokenizer", "embedded", "--lexicon", "wonderwords", "--lengths", "512"]
    call += ["--samples", "1", "--output", str(tmp_path / "out"), "--tasks", task]
    must_end_well(lambda: ruler_builder.main([*call, option, str(path)]))


def odd_tensors() -> st.SearchStrategy[torch.Tensor]:
    return st.sampled_from(
        [
            torch.tensor(1.0),
            torch.zeros(0),
            torch.zeros(3, 0, 5),
            torch.full((12, 16), torch.nan),
            torch.ones(12, 16, dtype=torch.int8),
            torch.ones(12, 16, dtype=torch.complex64),
            torch.ones(12, 16, dtype=torch.bool),
            torch.ones(12, 16, dtype=torch.float64),
            torch.ones(12, 16, dtype=torch.float8_e4m3fn),
            torch.ones(1).expand(2**20, 2**20),
            torch.eye(12, 16).to_sparse(),
            torch.empty(12, 16, device="meta"),
            torch.ones(2, 12, 16)[0].T,
        ]
    )


@settings(fuzz)
@given(data=st.data())
def test_published_hash_weights(tmp_path, data):
    sizes = {0: (12, 16), 2: (32, 12)}
    document: dict[object, object] = {
        f"0.learning_to_hash_transformation_{side}.{head}.{place}.{kind}": torch.ones(
            shape if kind == "weight" else shape[:1]
        )
        for side in "qk"
        for head in range(2)
        for place, shape in sizes.items()
        for kind in ("weight", "bias")
    }
    if data.draw(st.booleans()):
        names = ("query_matrix", "query_bias", "key_matrix", "key_bias")
        document = {0: {name: [torch.ones(2, 16, 16)] * 2 for name in names}}
    for _ in range(data.draw(st.integers(0, 2))):
        value = data.draw(odd_tensors() | st.sampled_from(VALUES) | st.just([torch.ones(2)]))
        document[data.draw(st.sampled_from([*document, 1, "x", "0.a"]))] = value
    path = tmp_path / "weights.pt"
    torch.save(document, path)
    if data.draw(st.booleans()):
        path.write_bytes(data.draw(damaged(path.read_bytes())))
    call = [str(path), str(tmp_path / "out.safetensors")]
    must_end_well(lambda: convert_hash_weights.main(call))


@pytest.mark.parametrize("kind", [HashAttention, DoubleSparsity])
@settings(fuzz)
@given(data=st.data())
def test_calibration_files(kind, tmp_path, data):
    profile = calibrated_model((2, 2))
    path = tmp_path / "x.safetensors"
    default = hash_networks.DEFAULT_NAME if kind is HashAttention else channels.DEFAULT_NAME
    content = (profile.folder / default).read_bytes()
    if data.draw(st.booleans()):
        about = {"format": "sparse_attention calibration 1", "method": kind.name}
        about |= {"settings": '{"activation": "silu"}', "model": "null"}
        about[data.draw(st.sampled_from([*about, "x"]))] = data.draw(
            st.sampled_from([text for text in TEXTS if text.isprintable()])
        )
        name = data.draw(st.sampled_from(["layers.0.query.0.weight", "layers.0.qk_proj", "x"]))
        tensors = {name: data.draw(odd_tensors())}
        if tensors[name].numel() > 10**6 or tensors[name].is_sparse or tensors[name].is_meta:
            return
        tensors[name] = tensors[name].contiguous()
        tensors[name.replace("weight", "bias")] = torch.zeros(3)
        content = save(tensors, about)
    else:
        content = data.draw(damaged(content))
    path.write_bytes(content)
    for read in (hash_networks.read_file, hash_networks.load_networks, channels._read):
        read.cache_clear()
    field = "channel_file" if kind is DoubleSparsity else "weight_file"

    def use() -> int:
        kind(**{field: str(path)}).for_model(profile)
        return 0

    must_end_well(lambda: run_program("method", use))
    path.unlink()


@settings(fuzz)
@given(data=st.data())
def test_submissions(tmp_path, data):
    path = tmp_path / "submission.csv"
    path.write_bytes(data.draw(damaged(b'"Task","ID","Prediction"\n"qasper","x","y"\n')))
    must_end_well(lambda: submission.main(["verify", str(path), "--source", "samples"]))
