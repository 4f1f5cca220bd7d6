"""Environments of their own for libraries that need other versions than ours."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path


def own_torch() -> str:
    """The requirement for the torch that runs here, whichever build of it pip is set up to find."""
    return f"torch=={version('torch').partition('+')[0]}"


def make_environment(folder: Path, requirements: Sequence[str]) -> Path:
    """A virtual environment with ``requirements``, made once; returns its Python.

    Each requirement is installed by itself, in this order, so that a build of torch that is there
    already is not replaced.
    """
    python = folder / "bin" / "python"
    done = folder / "requirements.txt"
    wanted = "\n".join(requirements) + "\n"
    if done.exists() and done.read_text(encoding="utf-8") == wanted:
        return python
    print(f"making {folder}: {', '.join(requirements)}", file=sys.stderr)
    subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
    for requirement in requirements:
        command = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*command, requirement], check=True)
    done.write_text(wanted, encoding="utf-8")
    return python
