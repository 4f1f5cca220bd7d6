"""LongBench and LongBench-E (arXiv:2308.14508)."""

from benchmark.longbench.benchmark import LongBench

__all__ = ["LongBench"]
