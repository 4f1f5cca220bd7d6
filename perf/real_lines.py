"""What ``real_model.py`` compares: config types with settings from dense to sparse."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sparse_attention import AttentionConfig, make_config


@dataclass(frozen=True)
class Line:
    """A config type with several settings: a line of the picture."""

    name: str
    config_type: str
    settings: tuple[dict[str, Any], ...]
    press: bool = False
    """Whether its cost is what it keeps of the cache, not the share of the keys that it reads."""

    @property
    def methods(self) -> list[str]:
        """Names of the methods in its configurations."""
        return [method.name for method in make_config(self.config_type).methods]

    def configs(self, channel_file: str | None = None) -> dict[str, AttentionConfig]:
        """By label; ``channel_file`` is double sparsity's, and None if they are not to be run."""
        found = {}
        for settings in self.settings:
            label = "-".join([self.name, *(f"{value}" for value in settings.values())])
            if self.config_type == "double_sparsity":
                settings = {**settings, "channel_file": channel_file}
            found[label.replace(" ", "_")] = make_config(self.config_type, **settings)
        return found


def _each(field: str, values: Sequence[Any], **others: Any) -> tuple[dict[str, Any], ...]:
    return tuple({field: value, **others} for value in values)


HEAVY = (0.02, 0.05, 0.1, 0.2)
RATIOS = (0.25, 0.5, 0.75)
MASKERS = (
    Line("oracle_top_k", "oracle_top_k", _each("heavy_size", (0.01, 0.02, 0.05, 0.1))),
    Line("oracle_top_p", "oracle_top_p", _each("top_p", (0.7, 0.8, 0.9, 0.95))),
    Line("quest 16", "quest", _each("heavy_size", (0.05, 0.1, 0.2, 0.4), page_size=16)),
    Line("quest 4", "quest", _each("heavy_size", (0.05, 0.1, 0.2, 0.3), page_size=4)),
    Line("double_sparsity 8", "double_sparsity", _each("heavy_size", HEAVY, group_factor=8)),
    Line("double_sparsity 2", "double_sparsity", _each("heavy_size", HEAVY, group_factor=2)),
    Line("pq_cache", "pq_cache", _each("heavy_size", HEAVY)),
    Line(
        "magic_pig",
        "magic_pig",
        tuple(
            {"lsh_k": bits, "lsh_l": tables}
            for bits, tables in ((10, 150), (10, 300), (9, 200), (8, 75), (8, 150), (8, 300))
        ),
    ),
    Line(
        "adaptive_sampling",
        "adaptive_sampling",
        tuple(
            {"base_rate": base, "epsilon": error, "delta": error}
            for base, error in ((0.01, 0.4), (0.02, 0.25), (0.02, 0.1))
        ),
    ),
    Line("random_sampling", "random_sampling", _each("sampling_rate", (0.1, 0.2, 0.4))),
    Line("sink_local", "sink_local", _each("window_size", (0.1, 0.25, 0.5))),
)
PRESSES = tuple(
    Line(name, name, _each("compression_ratio", RATIOS), press=True)
    for name in (
        *("random_press", "streaming_llm", "knorm", "keydiff", "snapkv", "tova"),
        *("expected_attention", "observed_attention", "lagkv", "pyramidkv", "chunkkv"),
        *("adakv", "criticalkv", "ada_expected_attention"),
    )
)
LINES = (*MASKERS, *PRESSES)
