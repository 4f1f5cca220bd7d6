"""Write InfiniteBench as parquet from upstream's JSON lines.

Run ``python -m benchmark.infinite_bench.create_huggingface_dataset --help``.
"""

from __future__ import annotations

import sys

from benchmark.infinite_bench.benchmark import InfiniteBench
from benchmark.suite.builder import main

if __name__ == "__main__":
    sys.exit(main(InfiniteBench))
