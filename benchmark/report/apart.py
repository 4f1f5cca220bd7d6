"""Points of a picture that would hide each other, set side by side."""

from __future__ import annotations

import math
from collections.abc import Sequence

WIDTH, HEIGHT = 0.032, 0.042
"""Of a marker, as shares of a panel of three inches."""
_STEPS = tuple(sign * step for step in range(1, 9) for sign in (1, -1))


def side_by_side(
    places: Sequence[tuple[float, float]],
    x_limits: tuple[float, float],
    y_limits: tuple[float, float],
) -> list[float]:
    """Where each point is drawn on a logarithmic x axis; most stay where they are.

    A point moves by whole widths of a marker, to the nearest place where it hides none before it.
    """
    left, right = (math.log(limit) for limit in x_limits)
    span, rise = right - left, y_limits[1] - y_limits[0]
    taken: list[tuple[float, float]] = []
    drawn = []
    for x, y in places:
        across, up = (math.log(x) - left) / span, y / rise
        moves = (step * WIDTH for step in (0, *_STEPS))
        free = (move for move in moves if not _hides((across + move, up), taken))
        move = next(free, 0.0)
        taken.append((across + move, up))
        drawn.append(x if move == 0 else math.exp(left + (across + move) * span))
    return drawn


def _hides(place: tuple[float, float], taken: Sequence[tuple[float, float]]) -> bool:
    # A rounding below a whole width is no overlap.
    return any(abs(place[0] - x) < 0.999 * WIDTH and abs(place[1] - y) < HEIGHT for x, y in taken)
