"""HashAttention against its formula, its codes, and its weights on disk."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sparse_attention.learned.hash_networks import load_networks
from sparse_attention.maskers import HashAttention
from sparse_attention.numerics.bit_codes import count_bits_in_parallel, hamming, pack_signs
from sparse_attention.testing.calls import calibrated_model, make_operation, shortened
from sparse_attention.testing.device import DEVICE


@given(st.integers(1, 300), st.integers(0, 99))
def test_packed_codes_differ_in_as_many_bits_as_the_signs(bits, seed):
    torch.manual_seed(seed)
    asked, kept = torch.randn(2, 3, bits).to(DEVICE), torch.randn(2, 5, bits).to(DEVICE)
    asked[0, 0, 0] = 0
    distance = hamming(pack_signs(asked), pack_signs(kept).mT)
    expected = ((asked >= 0)[:, :, None] != (kept >= 0)[:, None]).sum(-1)
    assert torch.equal(distance.long(), expected)


@given(st.integers(-(2**31), 2**31 - 1))
def test_bits_are_counted(word):
    assert (
        int(count_bits_in_parallel(torch.tensor([word], dtype=torch.int32, device=DEVICE))[0])
        == (word & 0xFFFFFFFF).bit_count()
    )


def mlp(network, head, vector):
    """One vector through the network of one head in float64, with silu between layers."""
    for place, (weight, bias) in enumerate(network):
        if place:
            vector = vector / (1 + torch.exp(-vector))
        vector = vector @ weight[head].double() + bias[head].double()
    return vector


@pytest.mark.parametrize("heads", [(4, 1), (2, 3), (1, 4)])
@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("bits", [32, 40, 7])
def test_scores_are_products_of_signs(heads, shared, bits):
    profile = calibrated_model(heads, bits=bits, shared=shared)
    method = HashAttention(weight_file=str(profile.folder / "hash_attention.safetensors"))
    operation = make_operation(method, heads=heads, prefix=20, tail=4, rows=2, queries=2, layer=1)
    call = operation.call
    query_network, key_network = load_networks(Path(method.weight_file), 1, DEVICE)
    scores = method.predict(call)
    for row in range(2):
        for head in range(heads[0]):
            for group in range(heads[1]):
                own = head * heads[1] + group
                asked = mlp(query_network, own, call.queries[row, head, group].double()) >= 0
                kept = operation.keys[row, head].double()
                kept = mlp(key_network, head if shared else own, kept) >= 0
                expected = (asked[:, None] == kept).sum(-1) * 2 - bits
                expected = expected + operation.invisible
                assert torch.equal(scores[row, head, group], expected.float())


def test_codes_extended_step_by_step_equal_recomputed_ones():
    operation = make_operation(HashAttention(), tail=12)
    call, whole = operation.call, operation.call.view
    (method,) = call.methods
    _, network = load_networks(Path(method.weight_file), 0, DEVICE)

    def encode(_, keys):
        return method._codes(network, "silu", (), keys)

    for length in (1, 2, 7, 12):
        call.view = shortened(whole, length)
        _, (prefix,), (tail,) = call.key_features("codes", lambda keys: (), encode)
        (fresh,) = encode((), operation.keys[:, :, : 120 + length])
        assert torch.equal(torch.cat([prefix, tail], -1), fresh)


def test_ties_are_broken_in_favour_of_older_keys_and_the_count_is_exact():
    operation = make_operation(HashAttention(heavy_size=17), queries=3)
    reads = operation.select().reads
    assert (reads.sum(-1) == 17).all()
    scores = operation.call.methods[0].predict(operation.call)
    least = scores.masked_fill(~reads, torch.inf).amin(-1, keepdim=True)
    tied = scores == least
    newest_read = (torch.arange(128, device=DEVICE) * (tied & reads)).amax(-1)
    left = (
        torch.arange(128, device=DEVICE)
        .expand_as(scores)
        .masked_fill(~(tied & ~reads), 999)
        .amin(-1)
    )
    assert (newest_read < left).all()
