"""Kernels that choose keys, on a GPU or in Triton's interpreter, against NumPy."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sparse_attention.testing.device import DEVICE

pytest.importorskip("triton")
from sparse_attention.numerics import choosing_kernels as kernels


@pytest.mark.parametrize("long", [150, 250])
@pytest.mark.parametrize(
    ("kind", "counts"),
    [
        ("normal", [[5]]),
        ("few", [[40], [40], [39]]),
        ("negative", [[1], [0], [200]]),
        ("closed", [[30], [9], [9]]),
        ("far", [[5], [100], [199]]),
        ("infinite", [[2], [5], [7]]),
        ("normal", [[3, 4]]),
        ("few", [[3, 4], [200, 7], [0, 1]]),
    ],
)
def test_the_largest_are_taken_and_of_equal_ones_the_first(kind, counts, long, monkeypatch):
    monkeypatch.setattr(kernels, "_BLOCK", 128)
    monkeypatch.setattr(kernels, "_LONG", long)
    random = np.random.default_rng(0)
    values = random.normal(size=(3, 2, 1, 200)).astype(np.float32)
    if kind == "few":  # whole numbers from -2 to 2, with both zeros
        values = values.round()
    elif kind == "negative":
        values = -np.abs(values) * 1e30
    elif kind == "closed":
        values[random.random(values.shape) < 0.9] = -np.inf
    elif kind == "far":  # over all of what a float32 can be
        values = (np.sign(values) * 10.0 ** random.uniform(-44, 38, values.shape)).astype(
            np.float32
        )
    elif kind == "infinite":
        values[random.random(values.shape) < 0.02] = np.inf
    wanted = torch.tensor(counts)[:, :, None, None].to(DEVICE)
    rows = len(counts)
    # Heads come first in memory, as those of scores do.
    given = torch.from_numpy(values[:rows].swapaxes(0, 1).copy()).to(DEVICE).transpose(0, 1)
    places, found = kernels.heaviest(given, wanted, max(map(max, counts)), 7)
    marked = kernels.largest(given, wanted)
    assert places.shape == (rows, 2, 1, max(map(max, counts)))
    assert found.shape == (rows, 2, 1, 1)
    for row in range(rows):
        for line in range(2):
            own = values[row, line, 0] + 0.0  # no negative zero
            order = np.argsort(-own, kind="stable")
            most = counts[row][line % len(counts[row])]
            expected = sorted(place for place in order[:most] if own[place] > -np.inf)
            count = int(found[row, line, 0])
            assert count == len(expected)
            assert (places[row, line, 0, :count] - 7).tolist() == expected
            assert (places[row, line, 0, count:] == 7).all()
            assert marked[row, line, 0].nonzero()[:, 0].tolist() == expected


def test_true_entries_are_listed(monkeypatch):
    monkeypatch.setattr(kernels, "_BLOCK", 32)
    mask = torch.rand(2, 3, 150, generator=torch.Generator().manual_seed(0)) < 0.3
    mask[0, 1], mask[1, 2] = False, True
    places = kernels.true_places(mask.to(DEVICE), 150)
    for own, listed in zip(mask.flatten(0, 1), places.flatten(0, 1), strict=True):
        expected = own.nonzero()[:, 0].tolist()
        assert listed.tolist() == expected + [0] * (150 - len(expected))
