"""A ratio of its own for every layer."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any

from pydantic import BeforeValidator

from sparse_attention.errors import UserError
from sparse_attention.method import EachLayer
from sparse_attention.model_facts import ModelProfile
from sparse_attention.presses.base import Adjustment, PressCall, Ranking, Ratio, kept_count


def _to_tuple(value: Any) -> Any:
    """JSON has lists only."""
    return tuple(value) if isinstance(value, list) else value


class LayerRatios(Adjustment):
    """Give each layer its own compression ratio, in place of that of the press before.

    Layers differ in what they lose: some attend to the newest tokens alone, others look facts up.
    The mean of the ratios is the share of the memory that is saved, in models whose layers are all
    alike.  Ratios of layers with a sliding window have no effect.

    Cost: that of the press before.

    Fails on another model than the one that the ratios were found for: the number of layers must be
    the same, and says nothing about what they do.

    Source: no paper; ``perf/layer_ratios.py`` shows a search that beats one ratio for all layers.
    """

    name = "layer_ratios"
    sets_budgets = True

    ratios: Annotated[
        tuple[Ratio, ...],
        BeforeValidator(_to_tuple),
        EachLayer(0.0, 0.25, 0.5, 0.75, 0.875, 0.95),
    ] = ()
    """One for each layer of the model, the first layer's first; none leaves the ratio as it is."""

    def for_model(self, profile: ModelProfile) -> LayerRatios:
        """The same, if it has a ratio for each layer of the model."""
        self._check(profile.layers)
        return self

    def adjust(self, call: PressCall, ranking: Ranking) -> Ranking:
        """The ranking with the budget of this layer's own ratio."""
        if not self.ratios:
            return ranking
        self._check(call.layers)
        return replace(ranking, budget=kept_count(call.count, self.ratios[call.layer]))

    def _check(self, layers: int) -> None:
        if self.ratios and len(self.ratios) != layers:
            raise UserError(
                f"layer_ratios: ratios has {len(self.ratios)} values, but the model has {layers} "
                "layers; give one for each"
            )
