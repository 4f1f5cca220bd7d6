"""What a benchmark is, and what benchmarks that are datasets share."""
