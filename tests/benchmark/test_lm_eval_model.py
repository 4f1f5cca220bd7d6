"""The model for lm-evaluation-harness, with that package itself; skipped where it is missing."""

from __future__ import annotations

import json
import sys
import tomllib
from importlib import import_module
from pathlib import Path

import pytest

pytest.importorskip("lm_eval", reason="the extra lm-eval is not installed")

from lm_eval import simple_evaluate
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks import TaskManager

from benchmark.embedded import MODEL_PATH
from benchmark.lm_eval_model import SparseBenchLM, main
from sparse_attention.errors import UserError

CONTEXT = "the red key is 4 . the blue key is 7 . the green key is 2 . the grass is green . " * 6
FORMS = {
    "choose": {
        "output_type": "multiple_choice",
        "doc_to_choice": ["4 .", "7", "2"],
        "doc_to_target": "{{answer}}",
        "metric_list": [{"metric": "acc"}],
    },
    "write": {
        "output_type": "generate_until",
        "doc_to_target": "7",
        "generation_kwargs": {"until": ["."], "max_gen_toks": 5, "do_sample": False},
        "metric_list": [{"metric": "exact_match"}],
    },
    "roll": {
        "output_type": "loglikelihood_rolling",
        "doc_to_text": "",
        "doc_to_target": "{{text}}",
        "metric_list": [{"metric": "word_perplexity"}],
    },
}
# Everything is read, through the way of answers.
ALL = {"methods": [{"name": "local", "window_size": 100000}]}
FEW = {"methods": [{"name": "sink", "sink_size": 1}, {"name": "local", "window_size": 4}]}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tasks")
    rows = [
        {"text": f"{CONTEXT}the {colour} key is", "answer": place}
        for place, colour in enumerate(("red", "blue"))
    ]
    data = folder / "data.jsonl"
    data.write_text("\n".join(map(json.dumps, rows)))
    for name, form in FORMS.items():
        task = {
            "task": name,
            "dataset_path": "json",
            "dataset_kwargs": {"data_files": {"test": str(data)}},
            "test_split": "test",
            "doc_to_text": "{{text}}",
            **form,
        }
        (folder / f"{name}.yaml").write_text(json.dumps(task))
    return folder


@pytest.fixture(scope="module")
def tasks(folder: Path) -> TaskManager:
    return TaskManager(include_path=str(folder), include_defaults=False)


def _answers(model: HFLM, tasks: TaskManager) -> dict[str, list]:
    found = simple_evaluate(model, tasks=list(FORMS), task_manager=tasks, bootstrap_iters=0)
    return {
        name: [sample["filtered_resps"] for sample in samples]
        for name, samples in found["samples"].items()
    }


def _model(tmp_path: Path, config: dict | str, **settings: object) -> SparseBenchLM:
    if isinstance(config, dict):
        (tmp_path / "best.json").write_text(json.dumps(config))
        config = str(tmp_path / "best.json")
    settings = {"device": "cpu", "dtype": "float32", "batch_size": 2, **settings}
    return SparseBenchLM("embedded", config, **settings)


def _numbers(value: object) -> list[float]:
    if isinstance(value, list | tuple):
        return [number for one in value for number in _numbers(one)]
    return [float(value)] if isinstance(value, int | float) else []


def test_dense_is_hf_to_the_last_digit_and_all_keys_are_as_dense(
    tasks: TaskManager, tmp_path: Path
) -> None:
    own = _answers(HFLM(str(MODEL_PATH), device="cpu", dtype="float32", batch_size=2), tasks)
    assert _answers(_model(tmp_path, "dense"), tasks) == own
    for sparse_from in ("question", "generation"):
        all_keys = _answers(_model(tmp_path, ALL, sparse_from=sparse_from), tasks)
        assert all_keys["write"] == own["write"]
        for name in ("choose", "roll"):
            assert _numbers(all_keys[name]) == pytest.approx(_numbers(own[name]), abs=2e-3)


def test_few_keys_change_likelihoods_and_answers(tasks: TaskManager, tmp_path: Path) -> None:
    few = _answers(_model(tmp_path, FEW, sparse_from="question"), tasks)
    dense = _answers(_model(tmp_path, "dense"), tasks)
    assert _numbers(few["choose"]) != pytest.approx(_numbers(dense["choose"]), abs=1e-2)


def test_an_unknown_config_type_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"unknown config type 'snapvk'.*Did you mean 'snapkv'"):
        _model(tmp_path, "snapvk")


def test_the_entry_point_is_this_class() -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())
    module, name = project["project"]["entry-points"]["lm_eval.models"]["sparse-bench"].split(":")
    assert getattr(import_module(module), name) is SparseBenchLM


def test_the_command_runs_a_task_from_its_first_to_its_last_file(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "few.json").write_text(json.dumps(FEW))
    settings = f"pretrained=embedded,config={tmp_path / 'few.json'},dtype=float32"
    words = ["run", "--model", "sparse-bench", "--model_args", settings, "--device", "cpu"]
    words += ["--tasks", "choose", "--include_path", str(folder), "--output_path", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", ["sparse-bench-lm-eval", *words])
    main()
    (path,) = tmp_path.rglob("results_*.json")
    found = json.loads(path.read_text())
    assert found["config"]["model"] == "sparse-bench"
    assert found["n-samples"]["choose"] == {"original": 2, "effective": 2}
    assert found["results"]["choose"]["acc,none"] in (0, 0.5, 1)
