"""The harness: long-context benchmarks, tuning, the benchmark matrix and its reports."""
