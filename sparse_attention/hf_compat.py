"""What this library knows of the internals of transformers.

``hf_statistics`` is about what a prefill shows of them, ``hf_generate`` about ``generate``.

It loads models, runs their decoder stack, and puts our attention in place of theirs through the
attention interface (``ALL_ATTENTION_FUNCTIONS``): a function that every attention module of a
supporting architecture looks up by the name in its configuration at each forward.  Names without an
entry among the mask functions get no mask, which is what we want: visibility is ours to compute.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any
from typing import Protocol as Interface

import torch
import transformers
from huggingface_hub import HfApi, try_to_load_from_cache
from torch import Tensor, nn
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    DynamicCache,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from .batch_decoder import BatchDecoder
from .config import AttentionConfig, Protocol
from .decoder import SparseDecoder
from .errors import UserError
from .hf_statistics import attention_settings, observing
from .kv_cache import Prefix, PrefixLayer, SharedPrefixCache
from .model_profile import ModelProfile
from .prefill_statistics import NOTHING, LayerSettings, PrefillStatistics, StatisticsRequest

ATTENTION_NAME = "sparse_attention_selection"
_LAYER_TYPES = {"full_attention", "sliding_attention"}
_DTYPES = ("auto", "float32", "bfloat16", "float16")


def load_model(
    name: str, *, device: str, dtype: str, revision: str | None, trust_remote_code: bool
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Model (safetensors only, in evaluation mode, on ``device``) and tokenizer.

    Raises:
        UserError: if the name, device or dtype is not usable or the architecture cannot work.
    """
    if dtype not in _DTYPES:
        raise UserError(f"unknown dtype {dtype!r}. Valid: {', '.join(_DTYPES)}.")
    _check_device(device)
    if dtype == "auto" and torch.device(device).type == "cpu":
        dtype = "float32"  # half precision is slower than float32 on most processors
    common: dict[str, Any] = {"revision": revision, "trust_remote_code": trust_remote_code}
    try:
        _find(name, revision)
        with _quiet():
            tokenizer = AutoTokenizer.from_pretrained(name, **common)
            model: Any = AutoModelForCausalLM.from_pretrained(
                name, dtype=dtype, use_safetensors=True, **common
            )
    except (OSError, ValueError, KeyError) as error:
        where = "folder" if Path(name).exists() else "name"
        raise UserError(
            f"cannot load a causal language model from the {where} {name!r}: "
            f"{_first_line(error)} Give a folder with config.json, safetensors and a tokenizer, or "
            "a name on the Hugging Face hub (which needs network or an earlier download)."
        ) from error
    model = model.to(device).eval()
    model.requires_grad_(False)
    check_architecture(model)
    return model, tokenizer


def _find(name: str, revision: str | None) -> None:
    """Ask the hub for a model that is not here, once; loading would ask for half a minute.

    Raises:
        OSError: if the hub has no such model or cannot be reached.
        ValueError: if the name cannot be one of a model.
    """
    if Path(name).is_dir() or try_to_load_from_cache(name, "config.json", revision=revision):
        return
    try:
        HfApi().model_info(name, revision=revision, timeout=10)
    except Exception as error:  # whatever it is: no network, no such name, no permission
        raise OSError(f"the hub did not give it ({_first_line(error)}).") from error


def _check_device(device: str) -> None:
    try:
        kind = torch.device(device)
    except RuntimeError as error:
        raise UserError(f"unknown device {device!r}. Valid: cpu, cuda, cuda:0, ...") from error
    count = torch.cuda.device_count()
    if kind.type == "cuda" and (kind.index or 0) >= count:
        raise UserError(f"there is no device {device!r} here: {count} CUDA devices. Try 'cpu'.")


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """No progress bars and warnings of transformers inside."""
    log = transformers.utils.logging
    level, bars = log.get_verbosity(), log.is_progress_bar_enabled()
    log.set_verbosity_error()
    log.disable_progress_bar()
    hub = logging.getLogger("huggingface_hub")
    hub_level = hub.level
    hub.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.set_verbosity(level)
        hub.setLevel(hub_level)
        if bars:
            log.enable_progress_bar()


def layer_count(model: PreTrainedModel) -> int:
    """Layers of the decoder stack."""
    return int(model.config.get_text_config().num_hidden_layers)


def max_positions(model: PreTrainedModel) -> int:
    """The longest sequence that the model's configuration allows, in tokens."""
    return int(getattr(model.config.get_text_config(), "max_position_embeddings", 1 << 30))


def model_profile(
    name: str, config: PreTrainedConfig, model: PreTrainedModel | None = None
) -> ModelProfile:
    """What methods may need to know of a model; its weights only if it is loaded."""
    text = config.get_text_config()
    heads = int(text.num_attention_heads)
    weights = None
    if model is not None:
        matrices = [p for _, p in sorted(model.named_parameters()) if p.ndim > 1 and not p.is_meta]
        weights = tuple(float(value) for p in matrices for value in p.detach().reshape(-1)[:2])
    folder = Path(config.name_or_path or name)
    return ModelProfile(
        name,
        folder if folder.is_dir() else None,
        layers=int(text.num_hidden_layers),
        heads=heads,
        kv_heads=int(getattr(text, "num_key_value_heads", None) or heads),
        head_dim=int(getattr(text, "head_dim", None) or text.hidden_size // heads),
        weights=weights,
    )


def stop_tokens(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> frozenset[int]:
    """Tokens that end an answer: those of the generation configuration, else the tokenizer's."""
    ids = model.generation_config.eos_token_id if model.generation_config else None
    if ids is None:
        ids = tokenizer.eos_token_id
    return token_set(ids)


def token_set(ids: int | Iterable[int] | None) -> frozenset[int]:
    """Tokens as generation configurations name them: one, several or none."""
    return frozenset([] if ids is None else [ids] if isinstance(ids, int) else ids)


@torch.inference_mode()
def prefill(
    model: PreTrainedModel,
    tokens: Sequence[int],
    chunk: int,
    request: StatisticsRequest = NOTHING,
) -> Prefix:
    """Read a context with the model's own dense attention, ``chunk`` tokens at a time.

    Runs the decoder stack without the head, because no logits of the context are needed.  What is
    requested is collected on the way; keys and values are the same with and without.

    Raises:
        UserError: if the model keeps something else than keys and values of all tokens.
    """
    cache = DynamicCache(config=model.config.get_text_config())
    ids = torch.tensor([list(tokens)], device=model.device)
    statistics = PrefillStatistics(request)
    with observing(model, statistics) as keywords:
        for start in range(0, len(tokens), chunk):
            part = ids[:, start : start + chunk]
            positions = torch.arange(start, start + part.shape[1], device=ids.device)[None]
            model.get_decoder()(
                input_ids=part,
                position_ids=positions,
                past_key_values=cache,
                use_cache=True,
                **keywords,
            )
    layers = []
    for layer in cache.layers:
        keys, values = getattr(layer, "keys", None), getattr(layer, "values", None)
        if keys is None or values is None:
            raise _unsupported(model, f"its cache holds {type(layer).__name__} layers")
        layers.append(
            PrefixLayer(
                keys[0].contiguous(),
                values[0].contiguous(),
                start=len(tokens) - keys.shape[2],
                sliding=bool(getattr(layer, "is_sliding", False)),
            )
        )
    return Prefix(len(tokens), tuple(layers), statistics)


class Attending(Interface):
    """Attention of new tokens whose keys and values ``forward`` puts into a cache."""

    @property
    def cache(self) -> SharedPrefixCache:
        """Where the model's attention modules put new keys and values."""

    @property
    def position_shifts(self) -> Sequence[int]:
        """See ``SparseDecoder.position_shifts``."""

    def attend(self, layer: int, queries: Tensor, settings: LayerSettings) -> Tensor:
        """See ``SparseDecoder.attend``."""


@torch.inference_mode()
def forward(model: PreTrainedModel, tokens: Tensor, decoder: Attending) -> Tensor:
    """Process new tokens (rows, n) with our attention; logits after the last one, float32.

    Returns:
        (rows, vocabulary).
    """
    start = decoder.cache.get_seq_length()
    positions = torch.arange(start, start + tokens.shape[1], device=tokens.device)
    shifts = torch.tensor(decoder.position_shifts, device=tokens.device)
    with our_attention(model):
        output = model(
            input_ids=tokens,
            position_ids=positions - shifts[: tokens.shape[0], None],
            past_key_values=decoder.cache,
            use_cache=True,
            logits_to_keep=1,
            sparse_decoder=decoder,
        )
    return output.logits[:, -1].float()


@contextlib.contextmanager
def our_attention(model: PreTrainedModel) -> Iterator[None]:
    """Put our attention in place of the model's; undone on exit and on error."""
    found: list[Any] = [m.config for m in model.modules() if hasattr(m, "config")]
    configs = {id(config): config for config in found}.values()
    before = [(config, config._attn_implementation) for config in configs]
    try:
        for config in configs:
            config._attn_implementation = ATTENTION_NAME
        yield
    finally:
        for config, name in before:
            config._attn_implementation = name


def _attention_forward(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    sparse_decoder: Attending | BatchDecoder | None = None,
    position_bias: Tensor | None = None,
    **given: Any,
) -> tuple[Tensor, None]:
    """Our attention as an attention module calls it; new keys are in the decoder's cache already.

    Args:
        module: the attention module.
        query: (rows, heads, n, head_dim).
        key: new keys (rows, kv_heads, n, head_dim), only looked at for their shape.
        value: not used.
        attention_mask: not used.
        sparse_decoder: whose caches hold keys and values.
        position_bias: not supported.
        given: ``scaling`` of the products (1 / sqrt(head_dim) if None), ``sliding_window`` (keys
            that a query sees), ``softcap`` of the scores and ``s_aux`` (learned sink logits).

    Returns:
        (rows, n, heads, head_dim) in the dtype of ``query``, and None for the weights.
    """
    if sparse_decoder is None or position_bias is not None:
        raise UserError(
            f"{type(module).__name__} does not hand keyword arguments on to its attention function"
            if sparse_decoder is None
            else f"{type(module).__name__} adds a position bias to its scores"
        )
    rows, heads, count, width = query.shape
    kv_heads = key.shape[1]
    group = heads // kv_heads
    settings = attention_settings(kv_heads, group, width, **given)
    layer = module.layer_idx
    assert isinstance(layer, int)
    output = sparse_decoder.attend(layer, query.view(rows, kv_heads, group, count, width), settings)
    output = output.reshape(rows, heads, count, -1).transpose(1, 2).contiguous()
    return output.to(query.dtype), None


ALL_ATTENTION_FUNCTIONS.register(ATTENTION_NAME, _attention_forward)


def check_architecture(model: PreTrainedModel) -> None:
    """Run a few tokens with the model's own attention and with ours, and compare the logits.

    Raises:
        UserError: if the architecture cannot work with our attention.
    """
    config = model.config.get_text_config()
    kinds = set(getattr(config, "layer_types", None) or []) - _LAYER_TYPES
    if kinds:
        raise _unsupported(model, f"it has layers of type {', '.join(sorted(kinds))}")
    vocabulary = int(config.vocab_size)
    tokens = [(7 + 11 * index) % vocabulary for index in range(12)]
    try:
        with torch.inference_mode():
            ids = torch.tensor([tokens], device=model.device)
            own = model(input_ids=ids, use_cache=False).logits[:, -1].float()
        prefix = prefill(model, tokens[:8], chunk=8)
        cache = SharedPrefixCache(prefix, rows=1)
        decoder = SparseDecoder(cache, [AttentionConfig()], [""], Protocol(), measure_error=False)
        ours = forward(model, torch.tensor([tokens[8:]], device=model.device), decoder)
    except (
        UserError,
        TypeError,
        AttributeError,
        IndexError,
        RuntimeError,
        AssertionError,
    ) as error:
        if isinstance(error, torch.OutOfMemoryError):
            raise
        raise _unsupported(model, _first_line(error)) from error
    skipped = [i for i, layer in enumerate(cache.layers) if layer.tail_length != len(tokens) - 8]
    if skipped or len(cache.layers) != layer_count(model):
        raise _unsupported(model, f"layers {skipped} keep no keys and values of their own")
    tolerance = 1e-3 if model.dtype == torch.float32 else 0.1
    difference = float((own - ours).abs().max() / own.abs().max().clamp(min=1e-6))
    if not difference <= tolerance:
        raise _unsupported(model, f"its logits differ by {difference:.2g} from its own attention's")


def _unsupported(model: PreTrainedModel, reason: str) -> UserError:
    return UserError(
        f"{type(model).__name__} cannot be used: {reason}. Supported are decoder-only models whose "
        "attention goes through transformers' attention interface, with full or sliding-window "
        "attention in all layers (Llama, Mistral, Qwen2, Qwen3, Phi-3, Gemma, ...)."
    )
