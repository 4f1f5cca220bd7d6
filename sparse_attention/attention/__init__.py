"""One attention operation: what it reads, and the ways to compute it."""
