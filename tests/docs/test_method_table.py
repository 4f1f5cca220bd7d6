"""The picture of all methods has every method."""

from __future__ import annotations

import sys

import pytest
from contributing import ROOT

from sparse_attention.maskers import MASKERS
from sparse_attention.presses import PRESSES


@pytest.fixture
def table(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(ROOT / "perf"))
    monkeypatch.delitem(sys.modules, "method_table", raising=False)
    import method_table

    return method_table


def test_every_method_is_drawn(table):
    curves = (*table.CURVES, *table.PRESS_CURVES)
    assert len({curve.name for curve in curves}) == len(curves)
    drawn = {m.name for curve in curves for config in curve.configs for m in config.methods}
    left_out = {"layer_ratios", "key_rerotation", "decoding"}
    assert drawn == {*MASKERS, *PRESSES} - left_out
    for curve in curves:
        assert len(set(curve.configs)) == len(curve.configs) >= 1


def test_a_curve_comes_from_what_a_search_tries(table):
    (curve,) = table.curves_of(MASKERS["hash_attention"])
    sizes = [config.methods[-1].heavy_size for config in curve.configs]
    assert sizes == list(table.HEAVY)
    (curve,) = table.curves_of(PRESSES["adakv"])
    assert curve.name == "snapkv + adakv"
    assert curve.configs[0].describe() == "snapkv compression_ratio=0.25 + adakv"

    class Own(MASKERS["random_sampling"]):
        name = "own"

    (curve,) = table.curves_of(Own)
    rates = [config.methods[-1].sampling_rate for config in curve.configs]
    assert rates == [0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2]
