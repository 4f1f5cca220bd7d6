"""Metric families that several benchmarks share, each as its upstream computes it.

A metric takes a prediction and a reference (texts or tokens) and returns a float in [0, 1]; scale,
rounding and grouping belong to the benchmarks.  Any text is scored in bounded time and memory,
with lone surrogates and NUL in it too.
"""
