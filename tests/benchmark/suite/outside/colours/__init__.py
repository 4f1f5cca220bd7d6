"""A benchmark in a package of its own, as another project would offer it."""
