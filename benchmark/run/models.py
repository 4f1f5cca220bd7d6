"""From the name of a model that a user gives to what is loaded, and to what identifies it.

Nothing here loads weights: a finished matrix is recognised from these facts alone.
"""

from __future__ import annotations

import hashlib
import logging
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi
from transformers import AutoConfig, PretrainedConfig, PreTrainedTokenizerBase

from benchmark.files import file_sha256
from benchmark.named_models import is_path, named_model, no_folder, unknown_model
from sparse_attention.errors import UserError
from sparse_attention.hf.architecture import check_configuration
from sparse_attention.hf.gguf import find_gguf
from sparse_attention.hf.loading import load_config, load_tokenizer
from sparse_attention.hf.windows import max_positions
from sparse_attention.reading import user_path

logger = logging.getLogger(__name__)

_WEIGHT_SUFFIXES = (".safetensors", ".bin", ".json", ".model", ".txt", ".jinja")


@dataclass(frozen=True)
class ModelSource:
    """A model that was found, but not loaded."""

    name: str
    """As the user wrote it."""
    location: str
    """A folder, a GGUF file, or a name on the hub."""
    revision: str | None
    """Commit on the hub; None for what lies here."""
    trust_remote_code: bool = False

    @cached_property
    def config(self) -> PretrainedConfig:
        """The model's configuration."""
        return load_config(
            self.location, revision=self.revision, trust_remote_code=self.trust_remote_code
        )

    @cached_property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """The model's tokenizer; raises ``UserError`` if there is none."""
        tokenizer = load_tokenizer(
            self.location, revision=self.revision, trust_remote_code=self.trust_remote_code
        )
        # Benchmarks count tokens of whole documents; lengths are checked where prompts are made.
        tokenizer.model_max_length = sys.maxsize
        return tokenizer

    @property
    def max_positions(self) -> int | None:
        """Longest sequence in tokens that the model was made for; None if it does not say."""
        return max_positions(self.config)

    @cached_property
    def identity(self) -> dict[str, Any]:
        """What tells this model from every other one, as JSON values.

        A hub model is identified by its commit, a file by its SHA-256, a folder by the SHA-256 over
        its files.
        """
        if self.revision is not None:
            origin = {"name": self.location, "revision": self.revision}
        elif Path(self.location).is_file():
            origin = {"file_sha256": file_sha256(Path(self.location))}
        else:
            origin = {"files_sha256": _folder_fingerprint(Path(self.location))}
        return {**origin, "architecture": list(self.config.architectures or [])}


def find_model(
    name: str, *, revision: str | None = None, trust_remote_code: bool = False
) -> ModelSource:
    """Find a model: one of ``NAMED_MODELS``, a folder, a GGUF file, or a name on the hub.

    Raises ``UserError`` if there is no such model, the hub cannot be reached, or its architecture
    cannot work.
    """
    named = named_model(name)
    location = str(named or name)
    gguf = find_gguf(location, revision)
    path = user_path(location, "model")
    if gguf is None and not path.is_dir():
        if named or is_path(name) or path.exists():
            raise no_folder(name)
        return _find_on_hub(name, revision, trust_remote_code)
    if gguf is None and not (path / "config.json").is_file():
        raise UserError(f"folder {name!r} holds no model: it has no config.json, and no GGUF file.")
    source = ModelSource(name, str(gguf or path.resolve()), None, trust_remote_code)
    check_configuration(source.config)
    return source


def find_models(
    names: Iterable[str], *, revision: str | None = None, trust_remote_code: bool = False
) -> list[ModelSource]:
    """``find_model`` for several; one that has two names is taken once, under the first one."""
    found: dict[tuple[str, str | None], ModelSource] = {}
    for name in names:
        model = find_model(name, revision=revision, trust_remote_code=trust_remote_code)
        first = found.setdefault((model.location, model.revision), model)
        if first.name != name:
            logger.warning("models %r and %r are the same; it is run once", first.name, name)
    return list(found.values())


def _find_on_hub(name: str, revision: str | None, trust_remote_code: bool) -> ModelSource:
    offline: Exception | None = None
    try:
        # Asked first, because loading retries an unreachable hub for half a minute.
        revision = HfApi().model_info(name, revision=revision, timeout=10).sha or revision
    except Exception as error:
        # Whatever it is (no network, no such name, no permission): a downloaded model will do.
        offline = error
    try:
        config = AutoConfig.from_pretrained(
            name,
            revision=revision,
            trust_remote_code=trust_remote_code,
            local_files_only=offline is not None,
        )
    except Exception as error:  # whatever transformers says to files that it does not expect
        raise unknown_model(name, offline or error) from error
    check_configuration(config)
    commit = getattr(config, "_commit_hash", None)
    return ModelSource(name, name, commit or revision or "unknown", trust_remote_code)


def _folder_fingerprint(folder: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        if path.is_file() and path.suffix in _WEIGHT_SUFFIXES:
            digest.update(f"{path.name} {file_sha256(path)}\n".encode())
    return digest.hexdigest()
