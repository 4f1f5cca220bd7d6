"""Files of tensors: published hash weights and what calibration programs write."""

from __future__ import annotations

import pytest
import torch
from fuzzing import TEXTS, VALUES, damaged, must_end_well
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save

from sparse_attention.calibration import convert_hash_weights
from sparse_attention.learned import channels, hash_networks
from sparse_attention.maskers import DoubleSparsity, HashAttention
from sparse_attention.program import run_program
from sparse_attention.testing.calls import calibrated_model

fuzz = settings.get_profile("fuzz")


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
