"""RULER (arXiv:2404.06654), generated natively."""

from benchmark.ruler.benchmark import Ruler

__all__ = ["Ruler"]
