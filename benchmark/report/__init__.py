"""Reports: what result files say, as frames, tables, pictures and a page.  Reads files only."""

from benchmark.report.frames.load import load_results

__all__ = ["load_results"]
