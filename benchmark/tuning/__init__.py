"""The search for the best settings of a config type: its parts, from objective to cache."""
