"""LongBench-v2 (arXiv:2412.15204)."""

from benchmark.longbenchv2.benchmark import LongBenchV2

__all__ = ["LongBenchV2"]
