"""The forms that everything takes on a GPU, also where there is none."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from sparse_attention.testing.device import DEVICE

ROOT = Path(__file__).parents[2]
FOLDERS = ["attention", "decode", "maskers"]


@pytest.mark.skipif(DEVICE.type != "cpu", reason="the other tests run these forms")
def test_methods_pass_their_tests_in_the_forms_for_a_gpu():
    plugins = ["-p", "no:cacheprovider", "-p", "pretended_gpu"]
    folders = [f"tests/sparse_attention/{name}" for name in FOLDERS]
    environment = {**os.environ, "PYTHONPATH": "tests/support"}
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", *plugins, *folders],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout[-4000:] + ran.stderr[-1000:]
    kernels = ("attend", "count_reads", "heaviest", "largest", "mark_meetings", "pack_signs")
    for name in kernels:
        assert f"instead of {name}" in ran.stdout, name
