"""Write LooGLE as parquet from upstream's JSON lines and prompt files.

Run ``python -m benchmark.loogle.create_huggingface_dataset --help``.
"""

from __future__ import annotations

import sys

from benchmark.loogle.benchmark import LooGLE
from benchmark.suite.builder import main

if __name__ == "__main__":
    sys.exit(main(LooGLE))
