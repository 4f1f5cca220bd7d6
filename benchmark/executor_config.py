"""Settings of a matrix run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from sparse_attention.prompt import PromptSettings
from sparse_attention.protocol import Protocol

MANY = 10**6
"""Bound of counts that have no other: samples, trials, rungs.  No benchmark has so many."""


class BenchmarkConfig(BaseModel):
    """A benchmark, which of its subsets to run (None: all), and its options.

    ``BenchmarkConfig("ruler", ["vt"], {"length": 4096})``
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    benchmark_name: str
    subsets: tuple[str, ...] | None = None
    options: Mapping[str, Any] = Field(default_factory=dict)

    def __init__(
        self,
        benchmark_name: str,
        subsets: str | Iterable[str] | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(
            benchmark_name=benchmark_name,
            subsets=_names(subsets),
            options=dict(options or {}),
        )


def _names(given: str | Iterable[str] | None) -> tuple[str, ...] | None:
    if given is None or isinstance(given, str):
        return None if given is None else (given,)
    return tuple(given)


class AdapterConfig(BaseModel):
    """How a model is loaded, prompted and run."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """``auto``: float32 on a CPU, else the checkpoint's."""
    revision: str | None = None
    """Branch, tag or commit of a hub model."""
    trust_remote_code: bool = False
    """Run the code that a hub model brings along."""
    max_positions: int | None = Field(default=None, ge=2, le=1 << 30)
    """Longest prompt and answer in tokens, in place of what the model's configuration says."""
    max_new_tokens: int | None = Field(default=None, ge=1, le=1 << 20)
    """Tokens after which an answer is cut off, those of its thinking too, in place of what the
    benchmark says."""
    prompt: PromptSettings = PromptSettings()
    """What is set here replaces the benchmark's own policy (``prompt_for``)."""
    protocol: Protocol = Protocol()
    measure_error: bool = True
    """Compare sparse attention outputs with dense ones; costs a dense pass."""
    error_every: int = Field(default=1, ge=1, le=1 << 20)
    """Compare one in so many layers and steps only, drawn for each sample: an estimate without bias
    at a fraction of the cost."""
    max_rows: int = Field(default=32, ge=1, le=4096)
    """Configurations that are decoded together; halved when memory runs out.  How many rows are
    multiplied at once decides how sums are rounded: the last digits of what is measured, and rarely
    a key on the edge of a selection, depend on it.  The cost of a sample says its ``rows``."""
    prefill_store_bytes: int = Field(default=4 << 30, ge=0, lt=2**63)
    """Bound of the prefills that each worker keeps."""

    def prompt_for(self, own: PromptSettings) -> PromptSettings:
        """A benchmark's ``own`` prompt settings with those that were set explicitly here."""
        given = {name: getattr(self.prompt, name) for name in self.prompt.model_fields_set}
        return own.model_copy(update=given)


class RequestConfig(BaseModel):
    """Which samples are asked."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    max_requests: int | None = Field(default=None, ge=1, le=MANY)
    """Samples of each subset: whole contexts in a fixed random order, the last one cut; None for
    all.  A smaller number gives a part of what a larger one gives."""
