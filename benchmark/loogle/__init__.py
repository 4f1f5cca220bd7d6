"""LooGLE (arXiv:2311.04939)."""

from benchmark.loogle.benchmark import LooGLE

__all__ = ["LooGLE"]
