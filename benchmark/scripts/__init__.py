"""Command-line entry points for searches; each is also a module (``python -m``)."""
