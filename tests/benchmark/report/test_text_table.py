"""Tables fit whatever width there is, and nothing in them is cut."""

from __future__ import annotations

import pytest
from rich.console import Console

from benchmark.report.text_table import TextTable, print_table

NAMES = ("dense", "adaptive_sampling, per task", "streaming_llm_rerotated, default")
INTERVAL = "0.986 [0.90, 1.00]"
DIFFERENCE = "+0.014 [-0.15, +0.10]"
SETTINGS = "sink sink_size=4 + local window_size=64 + oracle_top_k heavy_size=0.05"
TABLE = TextTable(
    "embedded on ruler in our own wording: mean of 3 subsets, 72 samples",
    ("config", "score", "difference to dense", "empty", "held-out score", "density", "settings"),
    tuple(
        (name, INTERVAL, "-" if name == "dense" else DIFFERENCE, "-", INTERVAL, "0.1", SETTINGS)
        for name in NAMES
    ),
    frozenset({"settings"}),
)


def printed(table: TextTable, width: int) -> list[str]:
    console = Console(width=width, record=True, force_terminal=False, legacy_windows=False)
    with console.capture() as captured:
        print_table(table, console)
    return captured.get().splitlines()


@pytest.mark.parametrize("width", [50, 60, 80, 100, 120, 200])
def test_nothing_is_cut_at_any_width(width: int) -> None:
    lines = printed(TABLE, width)
    assert all(len(line) <= width for line in lines)
    text = "\n".join(lines)
    assert "…" not in text
    for row in TABLE.rows:
        for cell in row[:-1]:
            for part in ("0.986", "[0.90, 1.00]") if "[0.9" in cell else (cell.split(" [")[0],):
                assert part in text, (part, width)
        for word in row[-1].split():
            assert word in text
    assert "empty" not in text


def test_the_form_follows_from_the_width() -> None:
    wide, narrow = printed(TABLE, 120), printed(TABLE, 60)
    assert any("config" in line and "density" in line for line in wide)
    assert "0.986" in next(line for line in wide if line.strip().startswith(NAMES[1]))
    assert NAMES[1] in narrow, "each row is a block under its name"
    assert "  density              0.1" in [line.rstrip() for line in narrow]


def test_what_stands_in_a_cell_is_shown_as_it_is() -> None:
    table = TextTable("", ("a", "b"), (("[bold]x[/bold]", "1 [2"), ("\x1b[31mred", "y\nz")))
    text = "\n".join(printed(table, 80))
    assert "[bold]x[/bold]" in text
    assert "\x1b[31m" not in text
