"""Where tests make tensors and models."""

from __future__ import annotations

import os

import torch

DEVICE = torch.device(os.environ.get("SPARSE_BENCH_TEST_DEVICE", "cpu"))
"""What ``SPARSE_BENCH_TEST_DEVICE`` names.  Random numbers are drawn on the processor and moved
there, so that they are the same everywhere."""
