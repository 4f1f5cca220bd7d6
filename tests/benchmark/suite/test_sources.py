"""Where the samples of dataset benchmarks come from, and what happens to bad data."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.client import IncompleteRead
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sample_frames import BENCHMARKS

from benchmark.longbench import LongBench
from benchmark.longbenchv2 import LongBenchV2
from benchmark.suite.base import Sample
from benchmark.suite.builder import FILE_NAME, main, write_parquet
from benchmark.suite.dataset import DatasetBenchmark
from benchmark.suite.registry import benchmark_class, get_benchmark
from benchmark.zero_scrolls import ZeroScrolls
from sparse_attention.errors import UserError

DATASETS = [name for name in BENCHMARKS if issubclass(benchmark_class(name), DatasetBenchmark)]


def without_limit(samples: list[Sample]) -> list[tuple]:
    """Samples without what the mark of the sample data changes."""
    return [(s.id, s.context, s.question, s.answer_prefix, s.answers, s.extra) for s in samples]


@pytest.mark.parametrize("name", DATASETS)
def test_from_raw_files_to_parquet_and_back(name, tmp_path, capsys):
    cls = benchmark_class(name)
    raw = tmp_path / "raw"
    shutil.copytree(cls.sample_folder, raw)
    subsets = [subset for subset in cls.subsets if not subset.endswith("_e")]
    out = tmp_path / "out"
    arguments = ["--source", str(raw), "--output", str(out), "--subsets", *subsets]
    assert main(cls, arguments) == 0
    assert len(capsys.readouterr().out.splitlines()) == len(subsets)
    raw_benchmark, again = get_benchmark(name, source=str(raw)), get_benchmark(name, source=out)
    samples = get_benchmark(name, source="samples")
    for subset in subsets:
        expected = raw_benchmark.read(subset)
        assert again.read(subset) == expected
        assert without_limit(samples.read(subset)) == without_limit(expected)
        record = json.loads((out / subset / "provenance.json").read_text())
        assert record["options"]["source"] == str(raw)
        file = out / subset / FILE_NAME
        assert get_benchmark(name, source=str(file)).read(subset) == expected
        columns = set(pq.read_schema(file).names)
        assert {"context", "question", "answer_prefix", "answer", "max_new_tokens", "task"} <= (
            columns
        )
    assert not again.sample_data


@pytest.mark.parametrize("name", DATASETS)
def test_a_dataset_made_of_the_sample_data_stays_marked(name, tmp_path, capsys):
    cls = benchmark_class(name)
    subset = cls.subsets[0]
    arguments = ["--source", "samples", "--output", str(tmp_path), "--subsets", subset]
    assert main(cls, arguments) == 0
    for source in (tmp_path, Path(capsys.readouterr().out.strip())):
        again = get_benchmark(name, source=str(source))
        assert again.sample_data
        assert again.provenance(subset, None)["sample_data"] is True
        assert again.read(subset) == get_benchmark(name, source="samples").read(subset)


def test_the_builder_explains_bad_input(tmp_path, capsys):
    folder = str(tmp_path / "out")
    for arguments in (
        ["--source", "/no/such/place", "--output", folder],
        ["--source", "samples", "--output", folder, "--subsets", "qaspar"],
        ["--source", "samples", "--output", folder, "--option", "edit_backend"],
        ["--source", "samples", "--output", folder, "--option", "edit_backend=magic"],
    ):
        assert main(LongBench, arguments) == 2
        assert "error: " in capsys.readouterr().err
        assert not Path(folder).exists()


def test_raw_prompts_join_to_the_template():
    files = LongBench.sample_folder
    prompts = json.loads((files / "dataset2prompt.json").read_text())
    benchmark = LongBench(source="samples")
    for task, template in prompts.items():
        rows = [json.loads(line) for line in (files / f"{task}.jsonl").read_text().splitlines()]
        whole = [template.format(context=row["context"], input=row["input"]) for row in rows]
        joined = [s.context + s.question + s.answer_prefix for s in benchmark.read(task)]
        assert sorted(joined) == sorted(whole)
        assert all(s.answer_prefix for s in benchmark.read(task)) == (task != "lsht")


def test_prompt_policies():
    benchmark = LongBench()
    for task in ("trec", "triviaqa", "samsum", "lsht", "lcc", "repobench-p", "lcc_e"):
        assert benchmark.prompt_settings(task).chat_template == "never"
    assert benchmark.prompt_settings("qasper").chat_template == "auto"
    assert LongBenchV2.prompt.max_prompt_tokens == 120_000
    assert ZeroScrolls.prompt.truncation == "right"


def test_placeholders_in_a_document_are_filled_as_upstream(tmp_path):
    records = json.loads((LongBenchV2.sample_folder / "data.json").read_text())
    records[0]["context"] = " Where it says $Q$ or $C_B$. $DOC$ "
    records[0]["question"] = "What is $DOC$?"
    (tmp_path / "data.json").write_text(json.dumps(records[:1]))
    shutil.copytree(LongBenchV2.sample_folder / "prompts", tmp_path / "prompts")
    (sample,) = LongBenchV2(source=str(tmp_path)).read("0shot")
    assert "it says What is $DOC$? or To pay for oil. $DOC$\n" in sample.context
    assert "Question: What is $DOC$?" in sample.question


@pytest.fixture
def longbench(tmp_path: Path) -> Path:
    shutil.copytree(LongBench.sample_folder, tmp_path / "raw")
    return tmp_path / "raw"


def edit(path: Path, row: int, **changes: object) -> None:
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    rows[row] = {k: v for k, v in {**rows[row], **changes}.items() if v != "drop"}
    path.write_text("".join(json.dumps(r) + "\n" for r in rows))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"context": "drop"}, r"qasper\.jsonl, row 2: the field 'context' is missing"),
        ({"input": 5}, r"row 2: the field 'input' is 5 \(int\), not a text"),
        ({"answers": "drop"}, r"row 2: the field 'answers' is missing"),
        ({"answers": []}, r"row 2: the field 'answer' is empty: there is no reference"),
        ({"answers": [1]}, r"row 2: the field 'answers' holds 1 \(int\)"),
        ({"length": "long"}, r"row 2: the field 'length' is 'long' \(str\), not an integer"),
    ],
)
def test_a_bad_row_is_named(longbench, changes, message):
    edit(longbench / "qasper.jsonl", 1, **changes)
    with pytest.raises(UserError, match=message):
        LongBench(source=str(longbench)).read("qasper")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"input": ', r"row 1: not JSON"),
        (b"[1]\n", r"row 1: a JSON object"),
        (b"[" * 100_000, r"row 1: not JSON"),
        (b"\xff\xfe\x00", "not UTF-8"),
        (b"", "no sample of qasper"),
    ],
)
def test_a_bad_file_is_named(longbench, content, message):
    (longbench / "qasper.jsonl").write_bytes(content)
    with pytest.raises(UserError, match=message):
        LongBench(source=str(longbench)).read("qasper")


def test_missing_and_bad_prompt_files(longbench):
    with pytest.raises(UserError, match=r"qasper_e\.jsonl"):
        LongBench(source=str(longbench)).read("qasper_e")
    prompts = json.loads((longbench / "dataset2prompt.json").read_text())
    for template, message in (
        ("no place", "must be there once"),
        ("{context} {query}", "unknown slots query; valid are context, input"),
        (7, "no text named 'qasper'"),
    ):
        changed = {**prompts, "qasper": template}
        (longbench / "dataset2prompt.json").write_text(json.dumps(changed))
        with pytest.raises(UserError, match=message):
            LongBench(source=str(longbench)).read("qasper")
    (longbench / "dataset2prompt.json").unlink()
    with pytest.raises(UserError, match="option prompts"):
        LongBench(source=str(longbench)).read("qasper")
    own = LongBench(source=str(longbench), prompts=str(LongBench.sample_folder))
    assert own.read("qasper")


GOOD = {
    "context": "c",
    "question": "q",
    "answer_prefix": "",
    "answer": ["a"],
    "max_new_tokens": 3,
    "task": "qasper",
}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"context": "drop"}, r"row 2: the field 'context' is missing"),
        ({"question": 3}, r"row 2: the field 'question' is 3"),
        ({"max_new_tokens": 0}, r"row 2: the field 'max_new_tokens' is 0"),
        ({"max_new_tokens": "3"}, r"not an integer"),
        ({"answer": []}, r"no reference"),
        ({"answer": None}, r"'answer' is None"),
        ({"task": "qaspar"}, r"row 1: the field 'task' is 'qaspar': unknown"),
        ({"task": None}, r"row 1: the field 'task' is None: unknown"),
        ({"task": "drop"}, r"lacks the column 'task'"),
        ({"length": "x"}, r"'length' is 'x'"),
    ],
)
def test_bad_parquet_rows_are_named(tmp_path, changes, message):
    bad = {k: v for k, v in {**GOOD, **changes}.items() if v != "drop"}
    # A row of another task comes first, so that the number is that of the file.
    other = bad if "task" in changes else {**bad, "task": "musique"}
    pq.write_table(pa.Table.from_pylist([other, bad]), tmp_path / "x.parquet")
    with pytest.raises(UserError, match=message) as error:
        LongBench(source=str(tmp_path)).read("qasper")
    assert "x.parquet" in str(error.value)


def test_a_folder_of_a_subset_holds_that_subset(tmp_path):
    """Other tools' files may lack a task; one of another task is an error."""
    for subset in ("0shot", "qasper"):
        (tmp_path / subset).mkdir()
    row = {name: value for name, value in GOOD.items() if name != "task"}
    pq.write_table(pa.Table.from_pylist([row]), tmp_path / "0shot" / "x.parquet")
    assert LongBenchV2(source=str(tmp_path)).read("0shot")[0].task == "0shot"
    pq.write_table(
        pa.Table.from_pylist([{**GOOD, "task": "musique"}]), tmp_path / "qasper" / "x.parquet"
    )
    message = r"x\.parquet, row 1: the field 'task' is wrong: unknown task 'musique'"
    with pytest.raises(UserError, match=message):
        ZeroScrolls(source=str(tmp_path)).read("qasper")


@pytest.mark.parametrize("content", [b"", b"PAR1", b"no parquet " * 50])
@pytest.mark.parametrize("name", DATASETS)
def test_a_parquet_file_that_is_none(tmp_path, content, name):
    path = tmp_path / "x.parquet"
    path.write_bytes(content)
    benchmark = get_benchmark(name, source=str(path))
    with pytest.raises(UserError, match=r"x\.parquet is not a readable parquet file"):
        benchmark.read(benchmark.subsets[0])


def test_a_split_without_references(tmp_path):
    folder = tmp_path / "qasper"
    folder.mkdir()
    row = json.loads(
        (ZeroScrolls.sample_folder / "qasper" / "validation.jsonl").read_text().splitlines()[0]
    )
    for split in ("validation", "test"):
        (folder / f"{split}.jsonl").write_text(json.dumps({**row, "output": None}) + "\n")
    with pytest.raises(UserError, match=r"validation\.jsonl, row 1: the field 'output' is None"):
        ZeroScrolls(source=str(tmp_path)).read("qasper")
    (sample,) = ZeroScrolls(source=str(tmp_path), split="test").read("qasper")
    assert sample.answers == ()


def test_rows_of_one_id_are_one_sample_with_several_references():
    samples = ZeroScrolls(source="samples").read("squality")
    assert [len(sample.answers) for sample in samples] == [2, 1]
    folder = ZeroScrolls.sample_folder
    for task in ZeroScrolls.subsets:
        lines = (folder / task / "validation.jsonl").read_text().splitlines()
        inputs = {json.loads(line)["input"] for line in lines}
        assert inputs == {
            s.context + s.question + s.answer_prefix
            for s in ZeroScrolls(source="samples").read(task)
        }


@pytest.mark.parametrize("end", [-1, 10**6, 3.5])
def test_offsets_outside_the_input(tmp_path, end):
    lines = (ZeroScrolls.sample_folder / "qasper" / "validation.jsonl").read_text().splitlines()
    row = {**json.loads(lines[0]), "query_start_index": end, "document_end_index": end}
    (tmp_path / "x.jsonl").write_text(json.dumps(row) + "\n")
    with pytest.raises(UserError, match="index"):
        ZeroScrolls(source=str(tmp_path / "x.jsonl")).read("qasper")


@pytest.mark.parametrize("name", ["document_end_index", "query_start_index", "query_end_index"])
def test_no_index_may_be_negative(tmp_path, name):
    lines = (ZeroScrolls.sample_folder / "qasper" / "validation.jsonl").read_text().splitlines()
    (tmp_path / "x.jsonl").write_text(json.dumps({**json.loads(lines[0]), name: -5}) + "\n")
    with pytest.raises(UserError, match=f"x.jsonl, row 1: the field '{name}' is -5"):
        ZeroScrolls(source=str(tmp_path / "x.jsonl")).read("qasper")


def test_upstreams_archives(tmp_path):
    shutil.make_archive(str(tmp_path / "qasper"), "zip", ZeroScrolls.sample_folder, "qasper")
    read = ZeroScrolls(source=str(tmp_path)).read("qasper")
    assert without_limit(read) == without_limit(ZeroScrolls(source="samples").read("qasper"))
    archive = tmp_path / "qasper.zip"
    archive.write_bytes(archive.read_bytes()[:-40])
    with pytest.raises(UserError, match=r"qasper\.zip"):
        ZeroScrolls(source=str(tmp_path)).read("qasper")


def test_prepared_datasets_of_the_hub(monkeypatch):
    """With the columns that they have, and the hub itself replaced."""
    asked = []
    zero_scrolls = [
        json.loads(line)
        for task in ZeroScrolls.subsets
        for line in (ZeroScrolls.sample_folder / task / "validation.jsonl").read_text().splitlines()
    ]
    tables = {
        "Xnhyacinth/LongBench": [
            {**GOOD, "answers": ["a", "b"], "_id": "x", "answer": "drop", "task": "qasper"}
        ],
        "someone/else": [{**GOOD, "task": "drop", "answer": "B", "length": "short"}],
        "simonjegou/zero_scrolls": [
            {**row, "task": task, "answer": "", "output": None}
            for row, task in zip(zero_scrolls, ("qasper", "quality", "qasper"), strict=False)
        ],
    }

    def load_dataset(name, config, split):
        asked.append((name, config, split))
        rows = [{k: v for k, v in row.items() if v != "drop"} for row in tables[name]]
        return datasets.Dataset.from_list(rows)

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    (sample,) = LongBench().read("qasper_e")
    assert sample.answers == ("a", "b")
    (sample,) = LongBenchV2(source="someone/else").read("cot")
    assert sample.answers == ("B",)
    samples = ZeroScrolls(split="test").read("qasper")
    assert [sample.answers for sample in samples] == [(), ()]
    assert samples[0].truncation_notice
    assert asked == [
        ("Xnhyacinth/LongBench", "qasper_e", "test"),
        ("someone/else", "cot", "test"),
        ("simonjegou/zero_scrolls", None, "test"),
    ]
    with pytest.raises(UserError, match="has no subset no_context"):
        LongBenchV2().read("no_context")


@pytest.mark.parametrize(
    "error",
    [
        ConnectionError("the peer closed the connection\nmore"),
        IncompleteRead(b"half", 1000),
        OSError(28, "No space left on device"),
        ValueError("bad config"),
        KeyError(),
    ],
)
def test_a_download_that_fails(monkeypatch, error):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr(datasets, "load_dataset", fail)
    with pytest.raises(UserError, match=r"cannot load Xnhyacinth/LongBench \(qasper\)"):
        LongBench().read("qasper")


class HalfFile(BaseHTTPRequestHandler):
    """A hub whose connection breaks in the middle of a file."""

    sent = 0

    def _head(self, length: int) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(length))
        self.send_header("ETag", '"0123456789abcdef0123456789abcdef01234567"')
        self.send_header("X-Repo-Commit", "0" * 40)
        self.end_headers()

    def do_HEAD(self) -> None:
        self._head(1000)

    def do_GET(self) -> None:
        self._head(1000)
        self.wfile.write(b"x" * 400)
        self.wfile.flush()
        self.connection.close()
        HalfFile.sent += 1

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def broken_hub() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), HalfFile)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_download_that_breaks_half_way(broken_hub, tmp_path):
    command = [*(sys.executable, "-m", "benchmark.zero_scrolls.create_huggingface_dataset")]
    command += ["--source", "hub", "--output", str(tmp_path / "out"), "--subsets", "qasper"]
    environment = os.environ | {
        "HF_ENDPOINT": broken_hub,
        "HF_HOME": str(tmp_path / "home"),
        "HF_HUB_DISABLE_XET": "1",
    }
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr
    assert "cannot load tau/zero_scrolls/qasper.zip from the hub" in done.stderr
    assert HalfFile.sent, "the download never began"
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()
    assert not list((tmp_path / "home").rglob("qasper.zip"))


FULL_DISK = """
import resource, sys
from benchmark.suite.builder import main
from benchmark.longbench import LongBench
resource.setrlimit(resource.RLIMIT_FSIZE, (3000, 3000))
sys.exit(main(LongBench, ["--source", "samples", "--output", sys.argv[1], "--subsets", "qasper"]))
"""


def test_a_full_disk_leaves_nothing_half_written(tmp_path):
    out = tmp_path / "out"
    command = [sys.executable, "-c", FULL_DISK, str(out)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr
    assert "cannot write to" in done.stderr
    assert "Traceback" not in done.stderr
    assert {path.name for path in out.rglob("*") if path.is_file()} <= {"provenance.json"}


def test_surrogates_do_not_stop_the_builder(tmp_path):
    sample = Sample("x", "c\ud800", "q", "", ("\udfff",), 3, "qasper")
    path = write_parquet(tmp_path, [sample], LongBench.columns, {})
    assert pq.read_table(path)["context"].to_pylist() == ["c?"]
