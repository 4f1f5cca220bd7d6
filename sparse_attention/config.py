"""Configurations: ordered lists of methods, and how they are written to and read from JSON."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from sparse_attention.cache.statistics import StatisticsRequest, joined_requests
from sparse_attention.errors import UserError, explain, unknown_name
from sparse_attention.maskers import Masker
from sparse_attention.method import Method
from sparse_attention.model_facts import ModelProfile
from sparse_attention.presses import Press
from sparse_attention.presses.order import check_order
from sparse_attention.printable import LABELS, is_label
from sparse_attention.reading import shown
from sparse_attention.registry import METHODS
from sparse_attention.yaml_files import read_document

MethodType = TypeVar("MethodType", bound=Method)


@dataclass(frozen=True)
class AttentionConfig:
    """What a row reads: presses, which compress the context, and then maskers, each in order.

    A press sees what the earlier ones kept; a masker adds to what the earlier ones selected among
    the keys that the presses kept.  No masker at all reads all of these, no method at all is dense
    attention.  At most one method may sample, and it comes last.

    Raises:
        UserError: if the methods do not go together.
    """

    methods: tuple[Method, ...] = ()

    def __post_init__(self) -> None:
        for method in self.methods:
            if not isinstance(method, Masker | Press):
                raise UserError(f"a configuration is made of methods, got {method!r}")
        names = [method.name for method in self.methods]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise UserError(f"each method may appear once in a configuration; twice: {twice}")
        if self.presses + self.maskers != self.methods:
            raise UserError(
                f"presses come before maskers, because they compress what maskers read: {names}"
            )
        check_order(self.presses)
        for masker in self.maskers[:-1]:
            if masker.samples:
                raise UserError(
                    f"{masker.name} draws keys at random and must be the last method: the weights "
                    f"of its keys would be wrong if {names[-1]} also read some of them"
                )

    @cached_property
    def presses(self) -> tuple[Press, ...]:
        """What compresses the context."""
        return tuple(method for method in self.methods if isinstance(method, Press))

    @cached_property
    def maskers(self) -> tuple[Masker, ...]:
        """What selects for each query."""
        return tuple(method for method in self.methods if isinstance(method, Masker))

    @property
    def oracle(self) -> bool:
        """Whether a method of it is an oracle; see ``Method.oracle``."""
        return any(method.oracle for method in self.methods)

    @property
    def needs(self) -> StatisticsRequest:
        """What has to be collected in the prefill."""
        return joined_requests([press.needs for press in self.presses])

    @property
    def is_positional(self) -> bool:
        """Whether positions alone decide what is read, so that no scores are needed."""
        return bool(self.maskers) and all(masker.positional for masker in self.maskers)

    @property
    def rank(self) -> tuple[str, bool, tuple[str, ...]]:
        """Sorts configurations so that those that share work in a batch are neighbours.

        Those without presses come first.
        """
        presses = " ".join(press.describe() for press in self.presses)
        return presses, self.is_positional, tuple(masker.name for masker in self.maskers)

    def for_model(self, profile: ModelProfile) -> AttentionConfig:
        """The configuration as it runs on a model; see ``Method.for_model``.

        Raises:
            UserError: if a method cannot run on the model, with the reason.
        """
        return AttentionConfig(tuple(method.for_model(profile) for method in self.methods))

    def to_json(self) -> dict[str, Any]:
        """``{"methods": [{"name": ..., field: value, ...}, ...]}``."""
        return {"methods": [method.to_json() for method in self.methods]}

    @classmethod
    def from_json(cls, document: Any) -> AttentionConfig:
        """The configuration that ``to_json`` wrote; fields that are left out have their defaults.

        Raises:
            UserError: naming the field, its value and what is valid.
        """
        if not isinstance(document, Mapping) or set(document) != {"methods"}:
            raise UserError(f'a configuration is {{"methods": [...]}}, got {shown(document)}')
        if not isinstance(document["methods"], list | tuple):
            raise UserError(f'"methods" must be a list, got {shown(document["methods"])}')
        return cls(tuple(_method_from_json(item) for item in document["methods"]))

    def describe(self) -> str:
        """One line for people."""
        return " + ".join(method.describe() for method in self.methods) or "dense"


def joint_needs(configs: Iterable[AttentionConfig]) -> StatisticsRequest:
    """What has to be collected in a prefill that serves all of them."""
    return joined_requests([config.needs for config in configs])


def _method_from_json(document: Any) -> Method:
    if not isinstance(document, Mapping) or not isinstance(document.get("name"), str):
        raise UserError(f'a method is {{"name": ..., field: value}}, got {shown(document)}')
    fields = dict(document)
    name = fields.pop("name")
    if name not in METHODS:
        raise unknown_name("method", name, METHODS)
    return make_method(METHODS[name], fields)


def make_method(kind: type[MethodType], fields: Mapping[str, Any]) -> MethodType:
    """A method with these settings.

    Raises:
        UserError: naming the field, its value and what is valid.
    """
    for key in fields:
        if key not in kind.model_fields:
            raise unknown_name(f"field of {kind.name}", key, kind.model_fields)
    try:
        return kind(**fields)
    except ValidationError as error:
        raise UserError(f"{kind.name}: {explain(error)}") from None


_FORMS = (
    'Valid is a configuration ({"methods": [...]}, as AttentionConfig.to_json gives it), several '
    "by label ({label: configuration, ...}), the file of a finished search, or key.json of a result"
)


def load_config(path: str | Path) -> AttentionConfig:
    """The only configuration in a JSON file; the forms are those of ``load_configs``.

    Raises:
        UserError: naming the file, if it cannot be read or does not hold just one configuration.
    """
    configs = load_configs(path)
    if len(configs) > 1:
        raise UserError(
            f"{str(path)!r} has {len(configs)} configurations ({', '.join(map(repr, configs))}) "
            "where one is expected: give a file with one, or take one of load_configs."
        )
    (config,) = configs.values()
    return config


def load_configs(path: str | Path) -> dict[str, AttentionConfig]:
    """The configurations in a JSON file by label; at least one.

    The file holds one of

    - what ``AttentionConfig.to_json`` gives;
    - an object of several such by label;
    - what a finished search leaves, with its configuration under ``best`` and ``config``;
    - ``key.json`` of a benchmark result, with its configuration under ``config``.

    The label of a configuration that has none is the file's name without its ending.

    Raises:
        UserError: naming the file, what is wrong with it and what is valid.
    """
    try:
        document = read_document(path, "configuration file")
    except UserError as error:
        raise UserError(f"{error} {_FORMS}.") from None
    try:
        return _configs(document, Path(path).stem)
    except UserError as error:
        raise UserError(f"{str(path)!r} {error}") from None


def _configs(document: Any, stem: str) -> dict[str, AttentionConfig]:
    if not isinstance(document, dict) or not document:
        raise UserError(f"holds no configuration but {shown(document)}. {_FORMS}.")
    single = _single(document)
    configs = {}
    for label, value in (document if single is None else {stem: single}).items():
        if not is_label(label):
            raise UserError(f"has the label {label!r:.80}; {LABELS}.")
        if not isinstance(value, dict) or "methods" not in value:
            raise UserError(f"has under {label!r} no configuration but {shown(value)}. {_FORMS}.")
        try:
            configs[label] = AttentionConfig.from_json(value)
        except UserError as error:
            raise UserError(f"has an invalid configuration {label!r}: {error}") from None
    return configs


def _single(document: Mapping[str, Any]) -> Any:
    """The configuration of a document that holds one without a label; None for other documents."""
    if "methods" in document:
        return document
    best, config = document.get("best"), document.get("config")
    if isinstance(best, dict) and "config" in best:
        return best["config"]
    if isinstance(config, dict) and "methods_sha256" in document:
        return {key: value for key, value in config.items() if not key.endswith("_sha256")}
    return None
