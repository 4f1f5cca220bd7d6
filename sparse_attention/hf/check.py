"""Whether an architecture works with our attention: tried on a few tokens."""

from __future__ import annotations

from weakref import WeakSet

import torch
from transformers import PreTrainedModel

from sparse_attention.config import AttentionConfig
from sparse_attention.decode.decoder import Decoder
from sparse_attention.errors import UserError
from sparse_attention.hf.architecture import Unsupported, check_configuration
from sparse_attention.hf.attention import configs_of, forward, our_attention
from sparse_attention.hf.cache import DecoderCache
from sparse_attention.hf.prefill import prefill
from sparse_attention.protocol import Protocol

_PARTS = {
    "own": "reading a few tokens with its own attention",
    "prefill": "reading a context into a cache of keys and values",
    "ours": "reading a question with our attention",
}


_WORKING: WeakSet[PreTrainedModel] = WeakSet()


def check_architecture(model: PreTrainedModel) -> None:
    """Run a few tokens with the model's own attention and with ours, and compare the logits.

    A model that has passed is not tried again.

    Raises:
        UserError: if the architecture cannot work with our attention.
    """
    if model in _WORKING:
        return
    name = type(model).__name__
    check_configuration(model.config, type(model))
    vocabulary = int(model.config.get_text_config().vocab_size)
    tokens = [(7 + 11 * index) % vocabulary for index in range(12)]
    part = "own"
    try:
        with torch.inference_mode():
            ids = torch.tensor([tokens], device=model.device)
            own = model(input_ids=ids, use_cache=False).logits[:, -1].float()
        if not bool(own.isfinite().all()):
            return  # nothing to compare with; each of its samples will fail for that reason
        part = "prefill"
        context = prefill(model, tokens[:8], chunk=5)
        part = "ours"
        decoder = Decoder(context, [AttentionConfig()], [""], Protocol())
        with our_attention(configs_of(model)):
            rest = torch.tensor([tokens[8:]], device=model.device)
            ours = forward(model, rest, DecoderCache(model, decoder))
    except (torch.OutOfMemoryError, torch.AcceleratorError, MemoryError):
        raise  # says nothing about the architecture
    except Unsupported:
        raise
    except UserError as error:
        raise Unsupported(name, str(error)) from error
    except Exception as error:  # whatever code of an unknown architecture may raise
        raise Unsupported(name, f"{_PARTS[part]} fails ({type(error).__name__})") from error
    skipped = [i for i, tail in enumerate(decoder.tails) if tail.length != len(tokens) - 8]
    if skipped:
        raise Unsupported(name, f"layers {skipped} give their cache no keys and values")
    tolerance = 1e-3 if model.dtype == torch.float32 else 0.1
    difference = float((own - ours).abs().max() / own.abs().max().clamp(min=1e-6))
    if not difference <= tolerance:
        raise Unsupported(name, f"its logits differ by {difference:.2g} from its own attention's")
    _WORKING.add(model)
