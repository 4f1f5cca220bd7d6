"""Every kind of file that is read before anything is computed, changed or damaged."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from fuzzing import MODEL, RULER, VALUES, changed, damaged, must_end_well, no_workers, write
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmark.console.main import main as sparse_bench
from benchmark.ruler import create_huggingface_dataset as ruler_builder
from benchmark.suite import builder
from benchmark.suite.registry import benchmark_class
from benchmark.zero_scrolls import submission
from sparse_attention.config_types import CONFIG_TYPES

fuzz = settings.get_profile("fuzz")


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


STUDY = {
    "command": "run",
    "models": "embedded",
    "benchmarks": ["ruler"],
    "subsets": ["vt"],
    "configs": ["dense", "quest"],
    "limit": 1,
    "option": ["ruler.length=256"],
    "quiet": True,
}
ODD_YAML = [
    "models: &a [*a]",
    "models: !!python/object/apply:os.system [x]",
    "? [models]\n: x",
    "models: !!binary eA==",
    "models: 2024-01-01",
    "limit: 0x1_0",
    "<<: {models: x}",
    "%YAML 9.9\n---\nmodels: x",
    "models: x\n---\nmodels: y",
    "models: {x: y}",
    "models: |\n  x\n  y",
    "1: 2",
    "models: .nan",
    "limit: .inf",
    "{" * 5000,
    "- " * 5000,
]


@settings(fuzz)
@given(data=st.data())
def test_studies(tmp_path, data):
    path = tmp_path / "study.yaml"
    good = yaml.safe_dump(STUDY).encode()
    match data.draw(st.sampled_from(["change", "damage", "odd"])):
        case "change":
            path.write_text(yaml.safe_dump(data.draw(changed(STUDY))))
        case "damage":
            path.write_bytes(data.draw(damaged(good)))
        case _:
            path.write_bytes(good + data.draw(st.sampled_from(ODD_YAML)).encode())
    command = data.draw(st.sampled_from(["validate", "run"]))
    must_end_well(lambda: sparse_bench([command, str(path)], no_workers))


DATA = ("custom", "longbench", "longbenchv2", "loogle", "infinite_bench", "zero_scrolls")


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


@settings(fuzz)
@given(data=st.data())
def test_submissions(tmp_path, data):
    path = tmp_path / "submission.csv"
    path.write_bytes(data.draw(damaged(b'"Task","ID","Prediction"\n"qasper","x","y"\n')))
    must_end_well(lambda: submission.main(["verify", str(path), "--source", "samples"]))
