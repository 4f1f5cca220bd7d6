"""Two results side by side: what differs in settings and in scores, paired where samples are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from benchmark.report.frames.load import cell_frame, prediction_frame
from benchmark.report.frames.scan import CellFolder, Scan
from benchmark.results.key import differing_fields
from benchmark.results.statistics import Estimate, paired_difference
from sparse_attention.errors import UserError, unknown_name
from sparse_attention.reading import shown

_SAID_ELSEWHERE = ("config.", "data.")
_NAMES = ["model", "benchmark", "subset", "config", "tuning"]


@dataclass(frozen=True)
class Comparison:
    """Two cells."""

    left: Mapping[str, Any]
    """Rows of a frame of cells."""
    right: Mapping[str, Any]
    difference: Estimate | None
    """Of the scores, right minus left, on the samples that both answered; None without any."""
    settings: str
    """What differs in their keys, in words; empty if nothing does."""

    @property
    def significant(self) -> bool:
        """Whether the interval of the difference leaves 0 out."""
        return self.difference is not None and not self.difference.low <= 0 <= self.difference.high


@dataclass(frozen=True)
class Comparisons:
    """Two sides."""

    pairs: Sequence[Comparison]
    only_left: Sequence[str]
    """Cells that have no partner, in words."""
    only_right: Sequence[str]


def compare_results(left: Scan, right: Scan, configs: tuple[str, str] | None = None) -> Comparisons:
    """Compare cells of the same names, or two configurations.

    Models need not have the same name where each side has one; two single cells are compared
    whatever they are called.

    Args:
        left: what was found on one side.
        right: on the other side.
        configs: labels, of the left and of the right side; None for all, by their names.

    Raises:
        UserError: for an unknown label, and if nothing can be compared.
    """
    frames = [cell_frame(side) for side in (left, right)]
    names = list(_NAMES)
    if configs is not None:
        frames = [_labelled(*side) for side in zip(frames, configs, strict=True)]
        names = names[:3]
    if all(frame["model"].nunique() == 1 for frame in frames):
        names.remove("model")
    if all(len(frame) == 1 for frame in frames):
        names = []
    keys = {str(cell.path): cell for side in (left, right) for cell in side.cells}
    rows = [_records(frame) for frame in frames]
    pairs = _pairs(rows[0], rows[1], names, keys)
    if not pairs:
        raise UserError(
            "nothing to compare: no two cells have the same "
            f"{', '.join(names)}. Left: {_some(rows[0])}. Right: {_some(rows[1])}."
        )
    answers = [
        prediction_frame(Scan(side.root, [keys[row["folder"]] for row in own]), costs=False)
        for side, own in zip((left, right), zip(*pairs, strict=True), strict=True)
    ]
    by_cell = [dict(list(frame.groupby("folder"))) for frame in answers]
    used = [{row["folder"] for row in own} for own in zip(*pairs, strict=True)]
    return Comparisons(
        [
            Comparison(
                ours,
                theirs,
                _difference(by_cell[0].get(ours["folder"]), by_cell[1].get(theirs["folder"])),
                _settings(_key(keys, ours), _key(keys, theirs)),
            )
            for ours, theirs in pairs
        ],
        *(
            [_words(row) for row in side if row["folder"] not in taken]
            for side, taken in zip(rows, used, strict=True)
        ),
    )


def _records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(name): value for name, value in row.items()} for row in frame.to_dict("records")]


def _labelled(frame: pd.DataFrame, label: str) -> pd.DataFrame:
    found = frame[frame["config"] == label]
    if found.empty:
        raise unknown_name("configuration", label, frame["config"].unique())
    return found


def _pairs(
    left: Sequence[Mapping[str, Any]],
    right: Sequence[Mapping[str, Any]],
    names: Sequence[str],
    keys: Mapping[str, CellFolder],
) -> list[tuple[Mapping[str, Any], Mapping[str, Any]]]:
    """Cells of both sides with the same names, those first that differ least; each once."""
    candidates = [
        (len(list(differing_fields(_key(keys, ours), _key(keys, theirs)))), at, to)
        for at, ours in enumerate(left)
        for to, theirs in enumerate(right)
        if all(ours[name] == theirs[name] for name in names) and ours["folder"] != theirs["folder"]
    ]
    pairs: dict[int, int] = {}
    for _, at, to in sorted(candidates):
        if at not in pairs and to not in pairs.values():
            pairs[at] = to
    return [(left[at], right[to]) for at, to in sorted(pairs.items())]


def _key(keys: Mapping[str, CellFolder], row: Mapping[str, Any]) -> Mapping[str, Any]:
    return keys[row["folder"]].key


def _settings(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> str:
    """What differs but for the configuration, which has a description, and the samples' hashes."""
    return "; ".join(
        f"{path}: {shown(old)} > {shown(new)}"
        for path, old, new in differing_fields(ours, theirs)
        if not path.startswith(_SAID_ELSEWHERE)
    )


def _difference(ours: pd.DataFrame | None, theirs: pd.DataFrame | None) -> Estimate | None:
    """Of the scores on samples that both have: with the same id, context and question."""
    if ours is None or theirs is None:
        return None
    same = ["id", "context", "question"]
    both = ours.merge(theirs, on=same, suffixes=("", "_theirs"))
    both = both[both["score"].notna() & both["score_theirs"].notna()]
    if both.empty:
        return None
    return paired_difference(
        both["score_theirs"].astype(float).tolist(),
        both["score"].astype(float).tolist(),
        both["context"].tolist(),
    )


def _words(row: Mapping[str, Any]) -> str:
    tuned = f", {row['tuning']}" if row["tuning"] else ""
    return f"{row['model']} {row['benchmark']}/{row['subset']} {row['config']}{tuned}"


def _some(rows: Sequence[Mapping[str, Any]]) -> str:
    shown = "; ".join(_words(row) for row in rows[:3])
    return shown + (f"; and {len(rows) - 3} more" if len(rows) > 3 else "") or "nothing"
