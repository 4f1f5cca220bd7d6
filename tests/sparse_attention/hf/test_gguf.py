from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from gguf_files import SPECIAL, TEMPLATE, llama, write_gguf

from benchmark.run.models import find_model
from sparse_attention import HuggingFaceAdapter, UserError, make_config
from sparse_attention.hf import gguf


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_gguf(tmp_path_factory.mktemp("gguf") / "small.gguf")


@pytest.fixture(scope="module")
def adapter(file: Path) -> HuggingFaceAdapter:
    return HuggingFaceAdapter.load(str(file))


def test_weights_are_those_that_were_written(adapter: HuggingFaceAdapter) -> None:
    ids = torch.arange(40)[None] * 7 % 250
    with torch.inference_mode():
        logits, expected = adapter.model(ids).logits, llama()(ids).logits
    assert (logits - expected).abs().max() < 1e-4 * expected.abs().max()


def test_tokenizer_template_and_end_of_turn_come_from_the_file(adapter: HuggingFaceAdapter) -> None:
    tokenizer = adapter.tokenizer
    assert tokenizer.chat_template == TEMPLATE
    assert tokenizer.convert_ids_to_tokens(tokenizer("<|user|>hey<|end|>").input_ids) == [
        *(SPECIAL[0], "he", "y", SPECIAL[1])
    ]
    assert adapter._stop == {1}


def test_answers_of_the_file(adapter: HuggingFaceAdapter) -> None:
    context = adapter.prefill(list(range(10, 90)))
    dense, sparse = adapter.answer(
        context, [5, 6], [make_config("dense"), make_config("sink_local")], max_new_tokens=4
    )
    ids = torch.tensor([[*range(10, 90), 5, 6]])
    own = llama().generate(ids, max_new_tokens=4, do_sample=False, eos_token_id=1, pad_token_id=1)
    assert list(dense.token_ids) == own[0, 82:].tolist()
    assert sparse.density < 1


def test_a_folder_with_one_file_is_that_file_whatever_lies_beside(
    file: Path, tmp_path: Path
) -> None:
    same = tmp_path / "another name.gguf"
    same.write_bytes(file.read_bytes())
    (tmp_path / "tokenizer.json").write_text("{}")
    (tmp_path / "tokenizer_config.json").write_text('{"chat_template": "other"}')
    by_folder, by_file = find_model(str(tmp_path)), find_model(str(file))
    assert by_folder.location == str(same)
    assert by_folder.identity == by_file.identity
    assert by_folder.tokenizer.chat_template == TEMPLATE
    assert by_folder.max_positions == 512
    write_gguf(same, values={"general.name": "changed"})
    assert find_model(str(same)).identity != by_file.identity


def test_safetensors_come_before_gguf_in_a_folder(file: Path, tmp_path: Path) -> None:
    (tmp_path / "small.gguf").write_bytes(file.read_bytes())
    (tmp_path / "model.safetensors").touch()
    assert gguf.find_gguf(str(tmp_path)) is None


def _cut(part: float) -> Callable[[Path], Path]:
    def cut(path: Path) -> Path:
        content = write_gguf(path).read_bytes()
        path.write_bytes(content[: int(len(content) * part)])
        return path

    return cut


def _written(**settings: object) -> Callable[[Path], Path]:
    return lambda path: write_gguf(path, **settings)


def _several(path: Path) -> Path:
    path.touch()
    path.with_name("b.gguf").touch()
    return path.parent


def _bytes(content: bytes) -> Callable[[Path], Path]:
    def write(path: Path) -> Path:
        path.write_bytes(content)
        return path

    return write


@pytest.mark.parametrize(
    ("make", "words"),
    [
        pytest.param(_cut(0.99), "cut off", id="weights-cut-off"),
        pytest.param(_cut(0.002), "its metadata", id="metadata-cut-off"),
        pytest.param(_bytes(b"GGUF\x03\0\0\0"), "its header", id="header-cut-off"),
        pytest.param(_bytes(b""), "cannot be read as a GGUF file", id="empty"),
        pytest.param(_bytes(b"PK\3\4" + bytes(99)), "does not begin with GGUF", id="other-format"),
        pytest.param(
            _bytes(b"GGUF\x03\0\0\0" + b"\xff" * 60), "cut off or damaged", id="endless-counts"
        ),
        pytest.param(_bytes(b"GGUF\0\0\0\x03" + bytes(60)), "little-endian", id="big-endian"),
        pytest.param(_written(architecture="hal9000"), "architecture hal9000", id="architecture"),
        pytest.param(_written(tokenizer=False), "holds no tokenizer", id="no-tokenizer"),
        pytest.param(_written(values={"split.count": 3}), "one of 3 parts", id="one-part"),
        pytest.param(_several, "holds 2 GGUF files (a.gguf, b.gguf)", id="several"),
        pytest.param(_written(without="ffn_up"), "does not find 2 tensors", id="tensors-missing"),
        pytest.param(
            _written(more=("rope_freqs.weight",)), "positions are stretched", id="frequencies"
        ),
        pytest.param(
            _written(values={"llama.rope.scaling.type": "yarn", "llama.rope.scaling.factor": 4.0}),
            "positions are stretched",
            id="yarn",
        ),
        pytest.param(
            _written(values={"llama.attention.sliding_window": 128}), "128 tokens", id="window"
        ),
    ],
)
def test_files_that_cannot_be_used_are_said_to_be(
    make: Callable[[Path], Path], words: str, tmp_path: Path
) -> None:
    place = str(make(tmp_path / "a.gguf"))
    with pytest.raises(UserError) as error:
        HuggingFaceAdapter.load(place)
    assert words in str(error.value)
    assert "\n" not in str(error.value)


def test_without_the_packages_the_extra_is_named(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "accelerate" else there(name)
    )
    with pytest.raises(UserError, match=r"package accelerate: pip install 'sparse-bench\[gguf\]'"):
        find_model(str(file))


def test_of_the_hub_the_file_that_was_downloaded_is_taken(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path / "models--some--model"
    (cache / "refs").mkdir(parents=True)
    (cache / "refs" / "main").write_text("a" * 40)
    snapshot = cache / "snapshots" / ("a" * 40)
    (cache / "blobs").mkdir()
    snapshot.mkdir(parents=True)
    (cache / "blobs" / "0123").write_bytes(file.read_bytes())
    (snapshot / "x.gguf").symlink_to(cache / "blobs" / "0123")
    monkeypatch.setattr(gguf, "try_to_load_from_cache", _from(tmp_path))
    monkeypatch.setattr(gguf, "HfApi", _NoHub)
    assert gguf.find_gguf("some/model:x.gguf") == snapshot / "x.gguf"
    found = find_model("some/model:x.gguf")
    assert (found.name, found.identity) == ("some/model:x.gguf", find_model(str(file)).identity)
    with pytest.raises(UserError, match=r"unknown model 'some/model:y\.gguf'.*no network"):
        find_model("some/model:y.gguf")
    with pytest.raises(UserError, match="cannot read"):
        find_model("nowhere.gguf")


class _NoHub:
    def model_info(self, *_: object, **__: object) -> object:
        raise ConnectionError("no network")


def _from(cache: Path) -> Callable[..., object]:
    from huggingface_hub import try_to_load_from_cache

    def load(repository: str, file: str, revision: str | None) -> object:
        return try_to_load_from_cache(repository, file, cache_dir=cache, revision=revision)

    return load
