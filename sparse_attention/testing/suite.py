"""What the suites have in common: tests that run on every method of a table."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from sparse_attention.method import Method
from sparse_attention.registry import method_problems


class Suite:
    """Runs a test that asks for one of ``labels`` once for each label of it."""

    def labels(self) -> Mapping[str, list[str]]:
        """Labels of methods by the name of the argument that gets them."""
        raise NotImplementedError

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Called by pytest."""
        for argument, labels in self.labels().items():
            if argument in metafunc.fixturenames:
                metafunc.parametrize(argument, labels)


def check_class(method: Method) -> None:
    """See that the class of a method is one that can be registered, and says what its fields are.

    Raises:
        AssertionError: naming what is wrong.
    """
    problems = list(method_problems(type(method)))
    assert not problems, f"{method.name}: {'; '.join(problems)}"
    for field, info in type(method).model_fields.items():
        assert info.description, f"{method.name}.{field} has no docstring"
    assert method.summary() != method.name
    document = method.to_json()
    assert document.pop("name") == method.name
    assert type(method)(**document) == method
