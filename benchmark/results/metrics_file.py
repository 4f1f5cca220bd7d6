"""The fields of ``metrics.json``, checked when it is written and when it is read."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import (
    Field,
    JsonValue,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveInt,
    model_validator,
)

from benchmark.results.records import (
    LayerErrors,
    LayerShares,
    Reason,
    Record,
    Share,
    Text,
    total_read,
)
from benchmark.results.statistics import IntervalMethod

_Mean = Annotated[float, Field(ge=-1, le=1)]


class EstimateRecord(Record):
    """A mean score or difference of scores, with its interval."""

    mean: _Mean
    interval: Annotated[list[_Mean], Field(min_length=2, max_length=2)]
    level: Share
    method: IntervalMethod
    samples: PositiveInt
    contexts: PositiveInt

    @model_validator(mode="after")
    def _is_around_its_mean(self) -> Self:
        low, high = self.interval
        if not low <= self.mean <= high:
            raise ValueError("the mean is not within its interval")
        return self

    @property
    def limits(self) -> tuple[float, float, float]:
        """Mean, lower and upper limit."""
        return self.mean, self.interval[0], self.interval[1]


class Estimates(Record):
    """Of some samples; None where none of them has a score."""

    score: EstimateRecord | None
    dense_difference: EstimateRecord | None


class Tuning(Record):
    """How the settings of a cell were searched."""

    mode: Text
    search: Text
    description: Text


class Counts(Record):
    """Of samples, by what came of them."""

    samples: NonNegativeInt
    contexts: NonNegativeInt
    ok: NonNegativeInt
    truncated: NonNegativeInt
    skipped: NonNegativeInt
    failed: NonNegativeInt
    without_reference: NonNegativeInt
    missing: NonNegativeInt


class TotalCosts(Record):
    """Of all samples; the memory and the rows of the most."""

    samples: NonNegativeInt
    prefill_seconds: NonNegativeFloat
    decode_seconds: NonNegativeFloat
    peak_memory_bytes: NonNegativeInt
    rows: NonNegativeInt
    devices: list[Text]


class Metrics(Estimates):
    """The whole document; ``benchmark.results.metrics`` says what its parts mean."""

    status: Literal["complete", "incomplete"]
    model: Text
    benchmark: Text
    qualifier: Text = ""
    """What a title must say beside the benchmark's name."""
    subset: Text
    config: Text
    """The label."""
    description: Text
    protocol: dict[str, JsonValue]
    tuning: Tuning | None
    attention_layers: PositiveInt | None = None
    """Layers that keep keys: density and errors are over these; None in files of before."""
    layers: PositiveInt | None = None
    """All layers of the model."""
    sample_data: bool
    remarks: list[Text]
    held_out: Estimates | None
    density: Share | None
    attention_error: NonNegativeFloat | None
    union_density: Share | None
    selection_share: NonNegativeFloat | None
    kept_share: NonNegativeFloat | None
    layer_density: LayerShares | None = None
    """By layer, the mean over samples; None in files of before."""
    layer_error: LayerErrors | None = None
    official: dict[str, JsonValue]
    counts: Counts
    failures: dict[Reason, PositiveInt]
    costs: TotalCosts

    @property
    def bytes_read(self) -> float | None:
        """As of a prediction, the mean."""
        return total_read(self.union_density, self.selection_share)
