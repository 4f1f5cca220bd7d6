"""Double sparsity against its formula, and its state across steps."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from sparse_attention import UserError
from sparse_attention.learned.channels import load_channels
from sparse_attention.maskers import DoubleSparsity, OracleTopK
from sparse_attention.testing.calls import calibrated_model, make_operation, shortened
from sparse_attention.testing.device import DEVICE


def quantise(vector, bits):
    """One vector on ``2^bits`` levels, number by number."""
    low, high = float(vector.min()), float(vector.max())
    step = (high - low) / (2**bits - 1)
    if bits == 16 or step == 0:
        return vector
    return torch.tensor(
        [low + round((float(x) - low) / step) * step for x in vector], device=DEVICE
    ).double()


@pytest.mark.parametrize("heads", [(4, 1), (2, 3), (1, 4)])
@pytest.mark.parametrize(("group_factor", "bits"), [(4, 16), (2, 4), (8, 2)])
@pytest.mark.parametrize("layer", [0, 1])
def test_scores_are_products_over_the_channels_of_the_layer_and_head(
    heads, group_factor, bits, layer
):
    method = DoubleSparsity(group_factor=group_factor, label_bits=bits)
    operation = make_operation(method, heads=heads, prefix=30, layer=layer)
    call = operation.call
    (method,) = call.methods
    order = load_channels(Path(method.channel_file), "qk_proj", layer)
    scores = method.predict(call)
    width = call.queries.shape[-1]
    for head in range(heads[0]):
        for query_head in range(heads[1]):
            chosen = order[head * heads[1] + query_head][: width // group_factor]
            query = quantise(call.queries[0, head, query_head, 0, chosen].double(), bits)
            for key in range(call.shape[-1]):
                label = quantise(operation.keys[0, head, key, chosen].double(), bits)
                expected = float((query * label).sum()) * call.scaling
                got = float(scores[0, head, query_head, 0, key])
                assert got == pytest.approx(expected, abs=1e-5)


def test_layers_have_their_own_channels():
    first = load_channels(
        calibrated_model((2, 2)).folder / "double_sparsity.safetensors", "qk_proj", 0
    )
    second = load_channels(
        calibrated_model((2, 2)).folder / "double_sparsity.safetensors", "qk_proj", 1
    )
    assert not torch.equal(first, second)


def test_all_channels_unrounded_are_oracle_top_k():
    method = DoubleSparsity(heavy_size=13, group_factor=1, label_bits=16)
    ours = make_operation(method, heads=(2, 3), queries=3, softcap=5.0)
    oracle = make_operation(OracleTopK(heavy_size=13), heads=(2, 3), queries=3, softcap=5.0)
    assert torch.equal(ours.select().reads, oracle.select().reads)


def test_labels_extended_step_by_step_equal_recomputed_ones():
    operation = make_operation(DoubleSparsity(group_factor=4), tail=12)
    call, whole = operation.call, operation.call.view
    (method,) = call.methods
    for length in (1, 2, 7, 12):
        call.view = shortened(whole, length)
        fitted, (prefix,), (tail,) = call.key_features(
            "labels", lambda keys: method._fit(call, keys), method._labels
        )
        (fresh,) = method._labels(fitted, operation.keys[:, :, : 120 + length])
        assert torch.equal(torch.cat([prefix, tail], -1), fresh)


def test_group_factor_must_divide_the_channels():
    profile = calibrated_model((2, 2))
    with pytest.raises(UserError, match="group_factor = 3 does not divide the 16 channels"):
        DoubleSparsity(group_factor=3).for_model(profile)
