from __future__ import annotations

from docs.build_column_tables import PAGE, with_tables


def test_the_tables_of_columns_are_those_of_the_frames() -> None:
    page = PAGE.read_text()
    assert with_tables(page) == page, "run docs/build_column_tables.py"
    assert page.count("| `held_out_score` |") == 1
