"""Bit-parallel subsequences against the plain table."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from benchmark.metrics.lcs import lcs_length, lcs_path

texts = st.lists(st.sampled_from("abcde"), max_size=40)


def table(x, y):
    cells = [[0] * (len(y) + 1) for _ in range(len(x) + 1)]
    for i, a in enumerate(x, 1):
        for j, b in enumerate(y, 1):
            cells[i][j] = (
                cells[i - 1][j - 1] + 1 if a == b else max(cells[i - 1][j], cells[i][j - 1])
            )
    return cells


def walk(x, y):
    cells, i, j, path = table(x, y), len(x), len(y), []
    while i and j:
        if x[i - 1] == y[j - 1]:
            i, j = i - 1, j - 1
            path.append((i, j))
        elif cells[i - 1][j] > cells[i][j - 1]:
            i -= 1
        else:
            j -= 1
    return path[::-1]


@given(texts, texts)
def test_length_and_path_are_those_of_the_table(x, y):
    assert lcs_length(x, y) == table(x, y)[-1][-1]
    assert lcs_path(x, y) == walk(x, y)


@given(texts, texts)
def test_elements_of_y_that_x_lacks_do_not_change_the_path(x, y):
    kept = [place for place, element in enumerate(y) if element in x]
    thinned = [(i, kept[j]) for i, j in lcs_path(x, [y[place] for place in kept])]
    assert thinned == lcs_path(x, y)
