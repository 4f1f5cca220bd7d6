from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from local_pool import LocalPool
from transformers import BloomConfig, MambaConfig

from benchmark.console.main import main
from benchmark.console.selection import benchmarks
from benchmark.embedded import SUPPORTED_TASKS
from benchmark.executor_config import BenchmarkConfig
from benchmark.report.frames.scan import scan_results
from benchmark.report.groups import group_results
from benchmark.run.embedded_defaults import embedded_defaults
from sparse_attention.config import load_configs
from sparse_attention.config_types import make_config


@pytest.fixture(autouse=True)
def _in_a_new_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)


def run(model: Path, *arguments: str) -> int:
    start = ["run", "--quiet", "--gpu-ids"]
    start += [] if "--models" in arguments else ["--models", str(model)]
    start += [] if "--benchmarks" in arguments else ["--benchmarks", "toy"]
    return main([*start, *arguments], LocalPool)


def test_run_and_report(
    tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("mine.json").write_text('{"methods": [{"name": "sink", "sink_size": 3}]}')
    arguments = ["--subsets", "first", "second", "--configs", "dense", "sink_local"]
    arguments += ["--config-file", "mine.json", "--option", "toy.words=90", "--samples", "4"]
    assert run(tiny_model, *arguments) == 0
    shown = capsys.readouterr().out
    assert "mean of 2 subsets, 8 samples" in " ".join(shown.split())
    for label in ("dense", "sink_local", "mine"):
        assert label in shown
    folder = next(Path("results").glob("*/toy"))
    report = (folder / "report.md").read_text()
    assert "| mine |" in report
    assert "| config | keys, by query head | by key-value head | to choose | bytes |" in report
    assert "| dense | 1.000 | 1.000 | 0.000 | 1.000 |" in report
    assert '"words": 90' in report
    assert (folder / "scores.png").read_bytes().startswith(b"\x89PNG")
    (group,) = group_results(scan_results(Path("results"))).groups
    assert group.subsets == ["first", "second"]
    assert [row.label for row in group.rows.values()] == ["dense", "mine", "sink_local"]
    picture = (folder / "scores.png").read_bytes()
    assert main(["report", "results"]) == 0
    assert "mean of 2 subsets" in capsys.readouterr().out
    assert len((folder / "scores.png").read_bytes()) == pytest.approx(len(picture), rel=0.1)


def test_protocols_have_their_own_tables(
    tiny_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for protocol in ("question", "generation"):
        assert run(tiny_model, "--subsets", "first", "--protocol", protocol) == 0
    capsys.readouterr()
    assert main(["report", "results"]) == 0
    shown = capsys.readouterr().out
    assert "sparse from the question on" in shown
    assert "sparse from the generation on" in shown
    assert len(group_results(scan_results(Path("results"))).groups) == 2
    assert len(list(Path("results").glob("*/toy/scores-*.png"))) == 2


def test_damaged_results_are_left_out_of_the_report(
    tiny_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tiny_model, "--subsets", "first", "--configs", "dense", "sink_masker") == 0
    next(Path("results").glob("*/*/*/sink*/metrics.json")).write_text('{"model": "x"}')
    found = group_results(scan_results(Path("results")))
    (group,) = found.groups
    assert [row.label for row in group.rows.values()] == ["dense"]
    assert [one.cell.name[:12] for one in found.damaged] == ["sink_masker-"]
    capsys.readouterr()
    assert main(["report", "results"]) == 1
    shown = capsys.readouterr()
    assert "dense" in shown.out
    assert "sink_masker" not in shown.out
    assert "left out: results/" in shown.err
    assert "damaged: it has no checksum" in shown.err
    (report,) = Path("results").glob("*/toy/report.md")
    assert "- first/sink\_masker-" not in report.read_text()
    assert ": damaged: it has no checksum" in report.read_text()


def test_a_failure_gives_exit_code_1(tiny_model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tiny_model, "--subsets", "broken") == 1
    assert "no metric for broken" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--configs", "magic_pigg"], "Did you mean 'magic_pig'"),
        (["--subsets", "frist"], "Did you mean 'first'"),
        (["--option", "toy.word=1"], "Did you mean 'words'"),
        (["--option", "tory.words=1"], "Did you mean 'toy'"),
        (["--option", "words=1"], "BENCHMARK.NAME=VALUE"),
        (["--truncation", "center"], "truncation"),
        (["--max-rows", "0"], "max_rows"),
        (["--samples", "0"], "max_requests"),
        (["--config-file", "absent.json"], "cannot read"),
        (["--config-file", "bad.json"], "not JSON"),
        (["--config-file", "field.json"], "Did you mean 'sink_size'"),
        (["--config-file", "size.json"], "sink_size"),
        (["--config-file", "twice.json"], "keys twice in one object: ['a']"),
        (["--config-file", "label.json"], r"key '\ud800' holds half a character"),
        (["--config-file", "deep.json"], "nested too deeply"),
        (["--config-file", "long.json"], "not JSON"),
        (["--config-file", "latin.json"], "not UTF-8"),
        (["--config-file", "thesis"], "it is a folder, not a file"),
        (["--dtype", "float15", "--subsets", "first"], "float15"),
        (["--dense-layers", "7", "--subsets", "first"], "layers 0 to 1"),
        (["--results-dir", "thesis"], "not a results folder"),
        (["--benchmarks", "tory"], "Did you mean 'toy'"),
        (["--models", "./nowhere"], "not a folder"),
        (["--models", "a\ud800"], "not text in UTF-8"),
        (["--models", "x" * 300], "too long for a path"),
        (["--models", "~nouser/x"], "cannot be found"),
        (["--results-dir", "/dev/null"], "belongs to the system"),
        (["--results-dir", "/proc/x"], "belongs to the system"),
        (["--results-dir", "bad.json"], "is not a folder"),
        (["--samples", "--"], "'--' is no value"),
        (["--samples", "1", "--max-requests", "2"], "is given twice"),
        (["--samples", "9" * 25], "max_requests"),
        (["--num-workers", "9" * 20], "num_workers must be from 1 to 1024"),
        (["--option", "toy.words=3", "--option", "toy.words=4"], "toy.words is given twice"),
        (["--option", "toy.words=" + "9" * 25], "more than 64 bits"),
        (["--sample", "3"], "Did you mean '--samples'"),
        (["--benchmarks", "ruler", "--option", "ruler.source=/dev/null"], "belongs to the system"),
        (
            [
                "--benchmarks",
                "ruler",
                "--option",
                "ruler.haystack=/dev/zero",
                "--subsets",
                "niah_single_2",
            ],
            "belongs to the system",
        ),
        (["--models", "embeded"], "Did you mean 'embedded'"),
    ],
)
def test_bad_input_is_one_message(
    tiny_model: Path, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("bad.json").write_text("{")
    Path("field.json").write_text('{"methods": [{"name": "sink", "sink_sise": 3}]}')
    Path("size.json").write_text('{"methods": [{"name": "sink", "sink_size": 0}]}')
    Path("twice.json").write_text('{"a": {"methods": []}, "a": {"methods": []}}')
    Path("label.json").write_text('{"\\ud800": {"methods": []}}')
    Path("deep.json").write_text("[" * 100_000)
    Path("long.json").write_text("9" * 5_000)
    Path("latin.json").write_bytes(b'{"\xe4": {"methods": []}}')
    Path("thesis").mkdir()
    Path("thesis/thesis.tex").write_text("x")
    try:
        code = run(tiny_model, *arguments)
    except SystemExit as ended:
        code = ended.code
    assert code == 2
    errors = capsys.readouterr().err
    assert message in errors
    assert "Traceback" not in errors
    assert errors.startswith(("sparse-bench: error: ", "sparse-bench run: error: "))
    assert errors.count("\n") == 1
    assert not list(Path().rglob("predictions.jsonl"))


def test_an_architecture_that_cannot_work_is_one_message(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for config, reason in ((MambaConfig(), "state of fixed size"), (BloomConfig(), "ALiBi")):
        config.save_pretrained(tmp_path / "model")
        assert run(tmp_path / "model") == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert reason in line
    assert not Path("results").exists()


def test_the_window_can_be_set(tiny_model: Path) -> None:
    arguments = ("--subsets", "first", "--samples", "1", "--max-positions")
    assert run(tiny_model, *arguments, "40", "--results-dir", "short") == 0
    assert run(tiny_model, *arguments, "400", "--results-dir", "long") == 0
    statuses = {
        name: json.loads(next(Path(name).glob("*/*/*/*/predictions.jsonl")).read_text())["status"]
        for name in ("short", "long")
    }
    assert statuses == {"short": "truncated", "long": "ok"}


def test_the_command_line_takes_every_form_of_configurations(tiny_model: Path) -> None:
    config = make_config("sink_masker", sink_size=3)
    forms = {
        "single.json": config.to_json(),
        "labels.json": {"one": config.to_json(), "other": make_config("sink_local").to_json()},
        "search.json": {"best": {"config": config.to_json(), "loss": [1.0]}, "format": 1},
    }
    arguments = ["--subsets", "first", "--option", "toy.contexts=1"]
    for name, form in forms.items():
        Path(name).write_text(json.dumps(form))
        arguments += ["--config-file", name]
    assert run(tiny_model, *arguments) == 0
    keys = {path.parent.name[:-9]: path for path in Path("results").glob("*/*/*/*/key.json")}
    assert set(keys) == {"single", "one", "other", "search"}
    for label in ("single", "one", "search"):
        assert json.loads(keys[label].read_text())["config"] == config.to_json()
    # What is written there is one of the forms too.
    key = keys["one"]
    assert load_configs(key) == {"key": config}
    assert run(tiny_model, *arguments[:4], "--config-file", str(key), "--results-dir", "again") == 0
    (again,) = Path("again").glob("*/*/*/key-*/key.json")
    assert again.read_bytes() == key.read_bytes()


@pytest.mark.parametrize("kind", ["benchmarks", "subsets", "methods", "config-types"])
def test_ls(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ls", kind]) == 0
    shown = capsys.readouterr().out
    expected = {
        "benchmarks": "ruler: ",
        "subsets": "niah_single_2",
        "methods": "lsh_k: default 10, an integer >= 1 and <= 62",
        "config-types": "sink_local: ",
    }
    assert expected[kind] in shown


def test_report_of_something_else(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", "nowhere"]) == 2
    assert main(["report", str(tmp_path)]) == 2
    assert capsys.readouterr().err.count("sparse-bench: error: ") == 2


def python(program: str, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **variables}
    command = [sys.executable, "-c", program, *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_help_is_quick_and_teaches() -> None:
    shown = python(
        "import atexit, sys; from benchmark.console.main import main; "
        "atexit.register(lambda: print('torch' in sys.modules)); main(['run', '--help'])"
    )
    assert shown.returncode == 0, shown.stderr
    assert shown.stdout.endswith("False\n")
    for words in ("examples:", "exit codes:", "(default: results)", "sparse-bench ls"):
        assert words in shown.stdout


def test_an_embedded_model_gets_the_tasks_that_it_can_do() -> None:
    (config,) = benchmarks(["ruler"], {"max_requests": 5})
    config = embedded_defaults(config)
    assert config.subsets == SUPPORTED_TASKS
    assert config.options == {"lexicon": "embedded", "length": 1024, "samples": 5}
    (config,) = benchmarks(["ruler"], {"subsets": ["vt"], "option": ["ruler.length=512"]})
    config = embedded_defaults(config)
    assert config.subsets == ("vt",)
    assert config.options == {"lexicon": "embedded", "length": 512}
    assert embedded_defaults(BenchmarkConfig("loogle")).options == {"source": "samples"}
    given = BenchmarkConfig("loogle", None, {"source": "hub"})
    assert embedded_defaults(given) == given


def test_an_unknown_model_name() -> None:
    done = python(
        "from benchmark.console.main import main; import sys; sys.exit(main(sys.argv[1:]))",
        *("run", "--models", "nobody/nothing", "--benchmarks", "ruler"),
        HF_HUB_OFFLINE="1",
    )
    assert done.returncode == 2
    assert "unknown model 'nobody/nothing'" in done.stderr
    assert "Traceback" not in done.stderr
