"""Formats of pictures for papers: a command line names them before what draws is imported."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

FORMATS: Mapping[str, Mapping[str, Any]] = {
    "png": {"Software": None},
    "svg": {"Date": None},
    "pdf": {"CreationDate": None, "Producer": None, "Creator": None},
}
"""With the metadata that matplotlib is told to leave out: without dates and random names a file
depends on the numbers alone."""
