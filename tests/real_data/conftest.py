"""The folder with real data of other projects, which does not ship with this one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder named by SPARSE_BENCH_DATA, else ../shared/data beside the project."""
    default = Path(__file__).resolve().parents[2].parent / "shared" / "data"
    folder = Path(os.environ.get("SPARSE_BENCH_DATA", default))
    if not folder.is_dir():
        pytest.skip(f"no folder {folder} with real data; set SPARSE_BENCH_DATA")
    return folder
