"""GGUF files: which one a name means, and whether transformers can load it as what it is."""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import io
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi, hf_hub_download, try_to_load_from_cache
from tokenizers.pre_tokenizers import ByteLevel, Digits, Sequence
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    GgufConfig,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from sparse_attention.errors import UserError, first_line
from sparse_attention.hf.architecture import check_configuration
from sparse_attention.hf.gguf_header import Header, read_header
from sparse_attention.hf.quiet import quiet
from sparse_attention.hf.windows import attribute, is_stretched
from sparse_attention.reading import user_file, user_path

_SUFFIX = ".gguf"
_NEEDED = ("gguf", "accelerate")
_TOKENS = "tokenizer.ggml.tokens"
_DIGIT_BY_DIGIT = (
    "smollm",
    "starcoder",
    "refact",
    "command-r",
    "codeshell",
    "exaone",
    "minerva-7b",
)
"""Ways to split text, by llama.cpp's names, that part digits from all else, which transformers
takes for GPT-2's. Source: ``llama-vocab.cpp`` there."""


def find_gguf(name: str, revision: str | None = None) -> Path | None:
    """The GGUF file that a model's name means; None if it means something else.

    A file, a folder that holds one and no safetensors, or ``repo:file`` on the hub, which is
    downloaded.

    Args:
        name: as a user wrote it.
        revision: of a repository on the hub.

    Raises:
        UserError: if there is no such file, or several.
    """
    path = user_path(name, "model")
    if path.is_dir():
        files = sorted(path.glob(f"*{_SUFFIX}"))
        if not files or next(path.glob("*.safetensors"), None) is not None:
            return None
        if len(files) > 1:
            shown = ", ".join(file.name for file in files[:10])
            raise UserError(
                f"folder {name!r} holds {len(files)} GGUF files ({shown}); name the one you mean, "
                f"as in {str(Path(name) / files[0].name)!r}."
            )
        return files[0].absolute()
    if not name.lower().endswith(_SUFFIX):
        return None
    repository, _, file = name.partition(":")
    if file and not path.exists():
        return _downloaded(name, repository, file, revision)
    return user_file(name, "model").absolute()


@contextlib.contextmanager
def opened_gguf(path: Path) -> Iterator[OpenedGguf]:
    """A GGUF file for transformers' loader; what goes wrong inside is the file's fault.

    Raises:
        UserError: if the packages that load GGUF are missing, or the file is damaged, is one part
            of several, has no tokenizer or is of a kind that transformers does not read.
    """
    header = _check_header(path)
    with tempfile.TemporaryDirectory(prefix="gguf-") as folder:
        (Path(folder) / path.name).symlink_to(path)
        try:
            # Where it unpacks tensors, a bar is drawn whatever is said about bars.
            with quiet(), contextlib.redirect_stderr(io.StringIO()), _read_once():
                yield OpenedGguf(path, folder, header)
        except (UserError, MemoryError):
            raise
        except Exception as error:  # whatever a loader says to a file that it does not expect
            raise UserError(
                f"{path} cannot be loaded: transformers says: {first_line(error)} Give a GGUF file "
                "of an architecture and quantisation that it reads, or the model's safetensors."
            ) from error


@dataclass(frozen=True)
class OpenedGguf:
    """Loads what a GGUF file holds."""

    path: Path
    folder: str
    """Holds the file and nothing else: transformers takes tokenizers and templates that happen to
    lie beside a file in place of its own, but the same file must be the same model everywhere."""
    header: Header

    def config(self) -> PreTrainedConfig:
        """The configuration."""
        config: PreTrainedConfig = AutoConfig.from_pretrained(self.folder, gguf_file=self.path.name)
        _check_configuration(self.path, self.header, config)
        config.name_or_path = str(self.path.parent)
        return config

    def tokenizer(self) -> PreTrainedTokenizerBase:
        """The tokenizer."""
        tokenizer: PreTrainedTokenizerBase
        tokenizer = AutoTokenizer.from_pretrained(self.folder, gguf_file=self.path.name)
        if self.header.values.get("tokenizer.ggml.pre") in _DIGIT_BY_DIGIT:
            tokenizer.backend_tokenizer.pre_tokenizer = Sequence(
                [Digits(individual_digits=True), ByteLevel(add_prefix_space=False)]
            )
        tokenizer.name_or_path = str(self.path)
        return tokenizer

    def model(self, dtype: str) -> PreTrainedModel:
        """The model, with its weights unpacked."""
        config = self.config()
        check_configuration(config)
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            self.folder,
            gguf_file=self.path.name,
            config=config,
            dtype=dtype,
            quantization_config=GgufConfig(dequantize=True),
            output_loading_info=True,
        )
        model: PreTrainedModel = loaded[0]
        missing = sorted(loaded[1]["missing_keys"])
        if missing:
            raise UserError(
                f"{self.path} cannot be used: transformers does not find {len(missing)} tensors of "
                f"{type(model).__name__} in it ({', '.join(missing[:3])}, ...), and would draw "
                "them at random. Use the model's safetensors."
            )
        model.config.name_or_path = str(self.path.parent)
        return model


@contextlib.contextmanager
def _read_once() -> Iterator[None]:
    """Inside, a file is read once for configuration, tokenizer and weights.

    Loading a model of 135M parameters takes 36 seconds of a core without and 15 with this: reading
    goes token by token through the vocabulary, and the names of tensors are made anew for each
    module.
    """
    import gguf

    with (
        attribute(gguf, "GGUFReader", functools.cache(gguf.GGUFReader)),
        attribute(gguf, "get_tensor_name_map", functools.cache(gguf.get_tensor_name_map)),
    ):
        yield


def _check_header(path: Path) -> Header:
    """The header of a GGUF file that can be loaded, as far as that can be told from it.

    Raises:
        UserError: if the packages that load GGUF are missing, or the file is damaged, is one part
            of several or has no tokenizer.
    """
    missing = [package for package in _NEEDED if importlib.util.find_spec(package) is None]
    if missing:
        raise UserError(
            f"model {str(path)!r} is a GGUF file, which needs the package "
            f"{' and the package '.join(missing)}: pip install 'sparse-bench[gguf]', or "
            f"pip install {' '.join(_NEEDED)}."
        )
    header = read_header(path)
    parts = header.values.get("split.count", 0)
    if isinstance(parts, int) and parts > 1:
        raise UserError(
            f"{path} is one of {parts} parts of a model; join them with llama.cpp's "
            "llama-gguf-split --merge and name the file that it writes."
        )
    if not header.values.get(_TOKENS):
        raise UserError(
            f"{path} holds no tokenizer ({_TOKENS}); name a GGUF file with one, or a folder with "
            "safetensors and a tokenizer."
        )
    return header


def _check_configuration(path: Path, header: Header, config: PreTrainedConfig) -> None:
    """Whether a configuration has what the file says about positions.

    The loader of transformers leaves out for most architectures how rotations are stretched, and
    sliding windows; the model would then be another one on long texts.

    Raises:
        UserError: if something was left out.
    """
    text = config.get_text_config()
    stretched = header.of_architecture("rope.scaling.type") not in (None, "none")
    stretched = stretched and header.of_architecture("rope.scaling.factor") != 1
    factors = any(name.startswith(("rope_freqs", "rope_factors")) for name in header.tensors)
    left_out = []
    if (stretched or factors) and not is_stretched(text):
        left_out.append("how its rotary positions are stretched")
    window = header.of_architecture("attention.sliding_window")
    if window and not getattr(text, "sliding_window", None):
        left_out.append(f"its sliding window of {window} tokens")
    if left_out:
        raise UserError(
            f"{path} cannot be used: transformers does not read {' and '.join(left_out)} from GGUF "
            f"files of the architecture {header.values['general.architecture']!r}, so that the "
            "model would go wrong on long texts. Use the model's safetensors."
        )


def _downloaded(name: str, repository: str, file: str, revision: str | None) -> Path:
    problem: Exception | None = None
    try:
        # Asked first, because downloading asks a hub that cannot be reached for half a minute.
        commit = HfApi().model_info(repository, revision=revision, timeout=10).sha
        return Path(hf_hub_download(repository, file, revision=commit))
    except Exception as error:  # no network, no such file, no permission, no space
        problem = error
    found = None
    with contextlib.suppress(ValueError):  # no repository can have that name
        found = try_to_load_from_cache(repository, file, revision=revision)
    if isinstance(found, str):
        return Path(found)
    raise UserError(
        f"unknown model {name!r}: there is no such file here, it was not downloaded before, and "
        f"the hub did not give it ({first_line(problem)}). Valid: a GGUF file, a folder with one, "
        "or repository:file on the hub."
    )
