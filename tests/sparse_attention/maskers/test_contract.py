"""The contract of all maskers of the project."""

from __future__ import annotations

from methods import FULL, METHODS

from sparse_attention.maskers import MASKERS
from sparse_attention.testing import MaskerContract


class TestContract(MaskerContract):
    methods = METHODS
    full = FULL


def test_every_method_is_in_the_suite():
    assert set(METHODS) == set(FULL)
    for table in (METHODS, FULL):
        assert {method.name for method in table.values()} == set(MASKERS)
