from __future__ import annotations

import pytest


@pytest.fixture
def kills(request: pytest.FixtureRequest) -> int | None:
    """How many kills were asked for; None: few, 0: all that there are."""
    return request.config.getoption("--kills")
