"""Write LooGLE as parquet from upstream's JSON lines and prompt files.

Run ``python -m benchmark.loogle.create_huggingface_dataset --help``.
"""

from __future__ import annotations

import sys

from benchmark.dataset_builder import main
from benchmark.loogle.benchmark import LooGLE

if __name__ == "__main__":
    sys.exit(main(LooGLE))
