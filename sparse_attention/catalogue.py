"""Classes by name: built in, registered by a program, or offered by installed packages."""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Generic, TypeVar

from sparse_attention.errors import UserError, first_line

Class = TypeVar("Class", bound=type)

_REFERENCE = re.compile(r"[\w.]+:[\w.]+")
_NAME = re.compile(r"[a-z][a-z0-9_]*")


class Catalogue(Mapping[str, Class], Generic[Class]):
    """A mapping that sees what other packages offer through an entry point group.

    Such a package is imported when its name is looked up, never before: ``in``, ``len`` and
    iteration know names alone.  Built-in names cannot be taken.

    Raises:
        UserError: from ``[]``, ``values`` and ``items`` for what a package offers but cannot be
            used: which entry point, what is wrong with it and what is valid.
    """

    def __init__(
        self,
        kind: str,
        group: str,
        built_in: Mapping[str, Class | str],
        problems: Callable[[object], Iterable[str]],
        valid: str,
    ) -> None:
        """Start with what is built in.

        Args:
            kind: what the classes are, for messages: ``method``.
            group: of the entry points, each ``name = "package.module:Class"``.
            built_in: classes, or ``"package.module:Class"`` for those to import when asked for.
            problems: what keeps an object from being such a class, in words.
            valid: what such a class is, in words.
        """
        self.group = group
        self._kind = kind
        self._built_in = built_in
        self._problems = problems
        self._valid = valid
        self._registered: dict[str, Class] = {}
        self._reserved: set[str] = set()

    def reserve(self, names: Iterable[str]) -> None:
        """Names of something else that no class may take."""
        self._reserved |= set(names)

    def register(self, cls: Class) -> Class:
        """Make a class known under its ``name`` in this process.

        A class that is defined again, as in a notebook, takes the place of its former self.

        Raises:
            UserError: if it is no such class, or another one has its name.
        """
        where = f"{cls.__module__}:{cls.__qualname__}"
        problems = [*_name_problems(cls), *self._problems(cls)]
        if problems:
            raise self._unusable(f"{where} cannot be registered as a {self._kind}", problems)
        name: str = cls.name  # type: ignore[attr-defined]
        other = self._registered.get(name)
        others = {entry.value for entry in self._offered().get(name, ())}
        if other is not None:
            others.add(f"{other.__module__}:{other.__qualname__}")
        if self._is_ours(name) or others - {where}:
            raise UserError(f"a {self._kind} named {name!r} exists already; choose another name.")
        self._registered[name] = cls
        return cls

    def usable(self) -> Iterator[tuple[str, Class]]:
        """Name and class of all that can be used; imports them."""
        for name in self:
            with suppress(UserError):
                yield name, self[name]

    def complaints(self) -> list[str]:
        """Of each entry point that cannot be used, why; imports them all."""
        found = []
        for name, entries in self._offered().items():
            try:
                self._load(name, entries)
            except UserError as error:
                found.append(str(error))
        return found

    def __getitem__(self, name: str) -> Class:
        if name in self._built_in:
            built_in = self._built_in[name]
            return _import(built_in) if isinstance(built_in, str) else built_in
        if name in self._registered:
            return self._registered[name]
        return self._load(name, self._offered()[name])

    def __contains__(self, name: object) -> bool:
        return name in self._built_in or name in self._registered or name in self._usable_names()

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys([*self._built_in, *self._registered, *self._usable_names()]))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def _is_ours(self, name: str) -> bool:
        return name in self._built_in or name in self._reserved

    def _usable_names(self) -> list[str]:
        return sorted(name for name in self._offered() if not self._is_ours(name))

    def _offered(self) -> dict[str, list[EntryPoint]]:
        """Entry points by name; more than one where packages disagree."""
        found: dict[str, dict[str, EntryPoint]] = {}
        for entry in entry_points(group=self.group):
            found.setdefault(entry.name, {})[entry.value] = entry
        return {name: list(entries.values()) for name, entries in found.items()}

    def _load(self, name: str, entries: list[EntryPoint]) -> Class:
        which = " and ".join(map(_described, entries))
        which = f"entry point {which} of the group {self.group!r} cannot be used"
        if self._is_ours(name):
            raise self._unusable(which, [f"the name {name!r} is taken by this project"])
        if len(entries) > 1:
            raise self._unusable(which, [f"several packages offer the name {name!r}"])
        (entry,) = entries
        if not _REFERENCE.fullmatch(entry.value):
            raise self._unusable(
                which, [f"{entry.value!r} is not of the form package.module:Class"]
            )
        try:
            cls = entry.load()
        except (Exception, SystemExit) as error:
            problem = f"its import failed: {type(error).__name__}: {first_line(error)}"
            raise self._unusable(which, [problem]) from error
        problems = [*_name_problems(cls, name), *self._problems(cls)]
        if problems:
            raise self._unusable(which, problems)
        return cls

    def _unusable(self, what: str, problems: Iterable[str]) -> UserError:
        return UserError(
            f"{what}: {'; '.join(problems)}. Valid is {self._valid}. "
            "Mend the class, or uninstall the package that offers it."
        )


def _described(entry: EntryPoint) -> str:
    package = f" (package {entry.dist.name})" if entry.dist else ""
    return f"'{entry.name} = {entry.value}'{package}"


def _import(reference: str) -> Any:
    module, _, attribute = reference.partition(":")
    return getattr(importlib.import_module(module), attribute)


def _name_problems(cls: object, wanted: str | None = None) -> Iterator[str]:
    if not isinstance(cls, type):
        yield f"{cls!r:.80} is not a class"
        return
    name = getattr(cls, "name", None)
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        yield (
            f"its name is {name!r:.80} and must be made of lower-case letters, digits and "
            "underscores, a letter first"
        )
    elif wanted not in (None, name):
        yield f"its name is {name!r} and must be that of the entry point, {wanted!r}"
