"""``report.html``: one file with everything in it, that works from disk."""

from __future__ import annotations

import html
import json
import time
from collections.abc import Sequence
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import pandas as pd

from benchmark.files import write_atomic
from benchmark.report.facts.caveats import caveats
from benchmark.report.facts.front import TOLERANCE, front, verdict
from benchmark.report.facts.groups import (
    COSTS,
    Configuration,
    GroupFacts,
    group_facts,
    look,
    panels,
    shades,
)
from benchmark.report.facts.needles import needle_facts
from benchmark.report.facts.samples import LARGEST, sample_facts
from benchmark.report.facts.searches import read_searches
from benchmark.report.facts.shown import name, passage
from benchmark.report.frames.load import LEFT_OUT, cell_frame, comparable_part, prediction_frame
from benchmark.report.frames.scan import Scan
from sparse_attention.errors import UserError

PAGE = "report.html"
"""In a results folder, unless it is wanted elsewhere."""
_SCRIPTS = (
    "dom.js",
    "looks.js",
    "tables.js",
    "charts.js",
    "layers.js",
    "searches.js",
    "needles.js",
    "samples.js",
    "page.js",
)
_MOST_NAMED = 200
"""Things left out that a page names."""


def write_page(scan: Scan, caches: Sequence[Path], path: Path) -> None:
    """Write the page of a results folder.

    Args:
        scan: what is in the folder.
        caches: folders of finished searches.
        path: of the page.

    Raises:
        UserError: if it cannot be written.
    """
    content = page_html(page_facts(scan, caches)).encode()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, content)
    except OSError as error:
        raise UserError(f"report: cannot write {path}: {error.strerror}.") from error


def page_html(facts: dict[str, Any]) -> str:
    """The page that shows facts; nothing in these is read as markup or code."""
    from plotly.offline import get_plotlyjs

    parts = {
        "title": html.escape(facts["title"]),
        "style": _asset("style.css"),
        "plotly": get_plotlyjs(),
        # In a script element only "<" can end it or begin a comment.
        "facts": json.dumps(facts, separators=(",", ":")).replace("<", "\\u003c"),
        "scripts": "\n".join(map(_asset, _SCRIPTS)),
    }
    pieces = _asset("page.html").split("@@")
    return "".join(parts[piece] if place % 2 else piece for place, piece in enumerate(pieces))


def page_facts(scan: Scan, caches: Sequence[Path]) -> dict[str, Any]:
    """All that the page shows, as JSON values."""
    cells, predictions = cell_frame(scan), prediction_frame(scan, costs=False)
    keys = {str(cell.path): cell.key for cell in scan.cells}
    by_group = dict(list(predictions.groupby("group", sort=False)))
    groups = []
    found = group_facts(cells, keys)
    budget = LARGEST
    for place, group in enumerate(found):
        share = budget // (len(found) - place)
        samples, left = sample_facts(group, by_group.get(group.id, predictions.iloc[:0]), share)
        budget -= share - left
        own = cells[cells["group"] == group.id]
        key = keys[str(own.iloc[0]["folder"])]
        groups.append(_group(group, own, comparable_part(key)) | {"samples": samples})
    left_out = dict.fromkeys([*cells.attrs[LEFT_OUT], *predictions.attrs[LEFT_OUT]])
    return {
        "title": f"Sparse attention: {name(scan.root.name)}",
        "folder": name(str(scan.root)),
        "created": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        "costs": COSTS,
        "tolerance": TOLERANCE,
        "groups": groups,
        "needles": needle_facts(predictions),
        "searches": read_searches(caches),
        "left_out": [passage(sentence, 400) for sentence in list(left_out)[:_MOST_NAMED]],
        "left_out_count": len(left_out),
    }


def _group(group: GroupFacts, cells: pd.DataFrame, key: dict[str, Any]) -> dict[str, Any]:
    shade = shades(group)
    places = {one.label: place for place, one in enumerate(group.configurations)}
    chosen = verdict(group)
    views = dict(panels(group))
    return {
        "id": group.id,
        "title": group.title,
        "model": group.model,
        "benchmark": group.benchmark,
        "protocol": group.protocol,
        "sample_data": group.sample_data,
        "panels": views,
        "methods": [
            dict(zip(("name", "colour", "marker"), (name(m), *look(m)), strict=True))
            for m in group.methods
        ],
        "configs": [_config(one, group, shade[one.label]) for one in group.configurations],
        "fronts": {
            panel: {
                cost: [places[one.label] for one in front(group, panel, cost)] for cost in COSTS
            }
            for panel in views
        },
        "verdict": None
        if chosen is None
        else {"config": places[chosen.chosen.label], "considered": chosen.considered},
        "caveats": [passage(sentence, 400) for sentence in caveats(group, cells)],
        "key": passage(json.dumps(key, indent=2), 20_000),
    }


def _config(one: Configuration, group: GroupFacts, shade: float) -> dict[str, Any]:
    return {
        "label": one.label,
        "method": group.methods.index(one.method),
        "description": one.description,
        "tuning": one.tuning,
        "oracle": one.oracle,
        "dense": one.is_dense,
        "shade": shade,
        "cells": one.cells,
    }


@cache
def _asset(file: str) -> str:
    return resources.files("benchmark.report.page").joinpath("assets", file).read_text("utf-8")
