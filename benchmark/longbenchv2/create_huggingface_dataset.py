"""Write LongBench-v2 as parquet from upstream's ``data.json`` and prompt files.

Run ``python -m benchmark.longbenchv2.create_huggingface_dataset --help``.
"""

from __future__ import annotations

import sys

from benchmark.longbenchv2.benchmark import LongBenchV2
from benchmark.suite.builder import main

if __name__ == "__main__":
    sys.exit(main(LongBenchV2))
