"""All methods by name: those of this project and those of other packages.

A package adds a method with an entry point of the group ``sparse_bench.methods``
(``name = "package.module:Class"``), a script or notebook with ``register_method``.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from typing import TypeVar

from pydantic import ValidationError

from sparse_attention.catalogue import Catalogue
from sparse_attention.errors import explain
from sparse_attention.maskers import MASKERS, Masker
from sparse_attention.method import SECTIONS, Method
from sparse_attention.presses import PRESSES, Adjustment, Scorer

MethodClass = TypeVar("MethodClass", bound=type[Method])


def method_problems(cls: object) -> Iterator[str]:
    """What keeps an object from being the class of a method, in words."""
    if not isinstance(cls, type):
        return
    if not issubclass(cls, Masker | Scorer | Adjustment):
        yield "it is not a subclass of Masker, Scorer or Adjustment"
        return
    if inspect.isabstract(cls):
        yield f"it does not implement {', '.join(sorted(cls.__abstractmethods__))}"
    loose = [key for key in ("frozen", "strict") if not cls.model_config.get(key)]
    if cls.model_config.get("extra") != "forbid":
        loose.append('extra="forbid"')
    if loose:
        yield f"its model_config is without {', '.join(loose)}"
    if unknown := sorted(cls.stacked - set(cls.model_fields)):
        yield f"stacked names fields that it has not: {', '.join(unknown)}"
    if _has_readers(cls) and cls.sections() != SECTIONS:
        yield (
            f"its docstring has the sections {', '.join(cls.sections()) or 'none'} and needs "
            f"paragraphs that begin with {', '.join(SECTIONS)}, in this order"
        )
    if required := [key for key, info in cls.model_fields.items() if info.is_required()]:
        yield f"fields have no default: {', '.join(required)}"
    elif not inspect.isabstract(cls):
        try:
            cls()
        except ValidationError as error:
            yield f"its defaults are not valid: {explain(error)}"


def _has_readers(cls: type) -> bool:
    """Whether a class must explain itself: of a script or a notebook all know who run it."""
    of_a_module = cls.__module__ != "__main__" and cls.__module__ in sys.modules
    return of_a_module and sys.flags.optimize < 2  # python -OO drops docstrings


METHODS: Catalogue[type[Method]] = Catalogue(
    "method",
    "sparse_bench.methods",
    {**PRESSES, **MASKERS},
    method_problems,
    "a concrete subclass of Masker, Scorer or Adjustment with a name of its own, frozen and strict "
    "as these are, with a default for every field and a docstring with Cost, Fails and Source (see "
    '"Adding a method" in CONTRIBUTING.md)',
)


def register_method(cls: MethodClass) -> MethodClass:
    """Make a method of a script or notebook known under its ``name``; usable as a decorator.

    From then on it works by that name like those of the project, in this process.  Worker processes
    get configurations as objects: they find the class if they can import its module (the import
    registers it there), and a class of ``__main__``, which a script or notebook defines, is sent
    to them with its code.  What such a class uses of modules that workers cannot import is missing
    there; a package with an entry point has none of these limits.

    Raises:
        UserError: if it is not a method, or another one has its name.
    """
    METHODS.register(cls)
    return cls
