"""SnapKV with larger budgets in lower layers."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from sparse_attention.method import Choices
from sparse_attention.presses.base import PressCall, kept_count
from sparse_attention.presses.snapkv import SnapKV


class PyramidKV(SnapKV):
    """Keep what SnapKV keeps, more of it in lower layers: attention narrows on the way up.

    Of T keys, ``b = T (1 - compression_ratio)`` stay in the mean of the layers.  The top layer
    keeps ``low = b / beta`` and the bottom one ``high = 2 b - low``, the window w included, and the
    others lie on the line between them, each rounded.  If high reaches T - w, it becomes that and
    low becomes ``2 b - high``.  Where these are not in order, ``T >= high >= low >= w``, all layers
    keep b: so in contexts with ``b < beta w``.

    Cost: that of SnapKV.

    Fails where SnapKV does, and on models whose upper layers are those that look facts up.

    Source: Cai et al., PyramidKV: Dynamic KV Cache Compression based on Pyramidal Information
    Funneling (2024).
    """

    name = "pyramidkv"

    beta: Annotated[float, Field(ge=1), Choices(2.0, 5.0, 10.0, 20.0)] = 20.0
    """Mean budget over that of the top layer."""

    def budget(self, call: PressCall) -> int:
        """Keys to keep of each head; it falls evenly from the lowest layer to the top one."""
        total, window = call.count, self.observation_window
        mean = total * (1 - self.compression_ratio)
        low = mean / self.beta
        high = 2 * mean - low
        if high >= total - window:
            high = total - window
            low = 2 * mean - high
        if not total >= high >= low >= window or call.layers == 1:
            return kept_count(total, self.compression_ratio)
        return max(1, round(high - call.layer * (high - low) / (call.layers - 1)))
