"""InfiniteBench (arXiv:2402.13718)."""

from benchmark.infinite_bench.benchmark import InfiniteBench

__all__ = ["InfiniteBench"]
