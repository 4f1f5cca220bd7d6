"""Results as runs of experiment trackers, on this machine alone: one file for each tracker."""

TRACKERS = ("tensorboard", "mlflow", "wandb")
"""Each is the name of a module here, and of an extra of this package."""
