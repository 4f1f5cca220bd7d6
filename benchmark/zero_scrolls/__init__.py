"""ZeroSCROLLS (arXiv:2305.14196)."""

from benchmark.zero_scrolls.benchmark import ZeroScrolls

__all__ = ["ZeroScrolls"]
