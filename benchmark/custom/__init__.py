"""Questions of one's own, from one file."""

from benchmark.custom.benchmark import Custom

__all__ = ["Custom"]
