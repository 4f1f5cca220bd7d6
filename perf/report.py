"""What a page over many results costs: 200 configurations with 250 samples each.

``seconds``, ``processor_seconds`` and ``peak_mb`` are of a process that reads the folder and writes
the tables, pictures and page, ``file_mb`` is the page.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from perf.common import fix_environment, report
from perf.made_results import make_results
from sparse_attention.config import AttentionConfig
from sparse_attention.config_types import CONFIG_TYPES, make_config

SUBSETS = ("niah_single_1", "niah_single_2", "niah_multikey_1", "vt", "cwe")
TYPES = ("oracle_top_k", "random_sampling", "knorm", "snapkv", "keydiff", "tova", "lagkv", "quest")


def many_configs(count: int) -> dict[str, AttentionConfig]:
    """Dense attention and settings of several methods."""
    configs = {"dense": AttentionConfig()}
    steps = -(-count // len(TYPES))
    for step in range(steps):
        for name in TYPES:
            field = CONFIG_TYPES[name].make().methods[-1]
            fields = set(type(field).model_fields)
            name_of = next(
                one for one in ("heavy_size", "sampling_rate", "compression_ratio") if one in fields
            )
            value = round(0.9 * (step + 1) / steps, 4)
            configs[f"{name} {value}"] = make_config(name, **{name_of: value})
    return dict(list(configs.items())[:count])


def main() -> None:
    """Make results, write their page, and print what that cost."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--configs", type=int, default=200)
    parser.add_argument("--samples", type=int, default=250, help="of each configuration")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        results, page = Path(folder) / "results", Path(folder) / "report.html"
        make_results(
            results, many_configs(options.configs), SUBSETS, options.samples // len(SUBSETS)
        )
        command = [sys.executable, "-m", "benchmark.console.main", "report", str(results)]
        start = time.perf_counter()
        subprocess.run(
            [*command, "--output", str(page), "--quiet"],
            check=True,
            stdout=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[1])},
        )
        seconds = time.perf_counter() - start
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        processor, peak = used.ru_utime + used.ru_stime, used.ru_maxrss / 1024
        size = page.stat().st_size / (1 << 20)
        print(
            f"{options.configs} configurations: {seconds:.1f} s, {processor:.1f} s of a processor, "
            f"{peak:.0f} MiB, {size:.1f} MiB"
        )
        report(seconds=seconds, processor_seconds=processor, peak_mb=peak, file_mb=size)


if __name__ == "__main__":
    fix_environment()
    main()
