"""Packages that take seconds to import, which names, summaries and help texts need not wait for."""

from __future__ import annotations

import sys
from importlib.machinery import ModuleSpec
from importlib.util import find_spec, module_from_spec
from types import ModuleType
from typing import Any

HEAVY = ("torch", "numpy", "pandas", "pyarrow")
"""Those that modules of ours import as a whole.  Of others, such as transformers, they import names
where these are used, or for the type checker alone."""


class _PutOff(ModuleType):
    """A package whose code runs when something of it is asked for; then it is as any other.

    ``import package`` asks for nothing; ``from package import name`` and ``import package.part``
    do.  (``importlib.util.LazyLoader`` takes the second ``import package`` for asking.)
    """

    def __init__(self, spec: ModuleSpec) -> None:
        super().__init__(spec.name)
        # What the import system and ``inspect`` look at in every module.
        self.__spec__, self.__file__ = spec, spec.origin

    def __getattr__(self, name: str) -> Any:
        load(self)
        return getattr(self, name)


def put_off_imports() -> None:
    """Let the imports of heavy packages that are not imported yet do nothing for now.

    For one thread: nothing keeps another from a package that is being loaded.
    """
    for name in HEAVY:
        if name not in sys.modules and (spec := find_spec(name)) is not None:
            sys.modules[name] = _PutOff(spec)


def load_imports() -> None:
    """Load what was put off."""
    for name in HEAVY:
        module = sys.modules.get(name)
        if isinstance(module, _PutOff):
            load(module)


def load(module: ModuleType) -> None:
    """Run the code of a package that was put off."""
    spec = module.__spec__
    assert spec is not None
    assert spec.loader is not None
    module.__class__ = ModuleType
    vars(module).update(vars(module_from_spec(spec)))
    try:
        spec.loader.exec_module(module)
    except BaseException:
        sys.modules.pop(spec.name, None)
        raise
