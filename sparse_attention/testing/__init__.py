"""What every method must do, as test suites for the tests of any package; they need pytest.

A class of tests that derives from ``MaskerContract`` or ``PressContract`` and names methods runs
the whole suite on them::

    class TestMine(MaskerContract):
        methods = {"mine": Mine(share=0.1)}
        full = {"mine": Mine(share=1.0)}
"""

import pytest

# Before the modules are imported: their assertions then say what the values were.
pytest.register_assert_rewrite(f"{__name__}.maskers", f"{__name__}.presses", f"{__name__}.suite")

from sparse_attention.testing.maskers import MaskerContract  # noqa: E402
from sparse_attention.testing.presses import PressContract  # noqa: E402

__all__ = ["MaskerContract", "PressContract"]
