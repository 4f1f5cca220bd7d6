"""Double sparsity: scores predicted from a few channels that matter."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import torch
from pydantic import AfterValidator, Field

from sparse_attention.attention.call import AttentionCall
from sparse_attention.attention.geometry import hide
from sparse_attention.cache.context import Features
from sparse_attention.errors import UserError
from sparse_attention.learned.channels import DEFAULT_NAME, check_channels, load_channels
from sparse_attention.learned.files import check_suffix, find_file
from sparse_attention.maskers.top_k import TopK
from sparse_attention.method import Choices
from sparse_attention.model_facts import ModelProfile
from sparse_attention.numerics.products import segmented_product
from sparse_attention.numerics.quantization import round_to_levels, vector_bytes
from sparse_attention.numerics.tensors import soft_cap

if TYPE_CHECKING:
    from torch import Tensor


class DoubleSparsity(TopK):
    """Read the keys with the highest products over the ``D / group_factor`` heaviest channels.

    A few channels of queries and keys make up most of a product.  They are found beforehand, for
    each layer and query head: channels c in falling order of the mean of ``|q_c k_c|`` over a
    calibration text.  A key is ranked by ``sum_c q_c k_c`` over the first ``r = D / group_factor``
    of them, its label; the ``heavy_size`` highest are read with weight 1.  With ``label_bits``
    below 16, the labels of queries and keys are rounded to ``2^bits - 1`` steps between their
    extremes.

    ``channel_file`` is made by ``python -m sparse_attention.calibration.double_sparsity``, or is a
    published JSON file.  It is refused if it was made for another model, lacks a layer or does not
    order all channels of all heads (a file with one order per key-value head serves all query heads
    of each).

    Cost: a label of r numbers of ``label_bits`` per key and query head (and with fewer than 16 bits
    its extremes in half precision).

    Fails where scores rest on channels that are small on average, and where rotary positions make
    a channel's sign depend on the distance; a few bits on a few channels leave many ties.

    Source: Yang et al., Post-Training Sparse Attention with Double Sparsity (2024).  Unlike
    published code: every layer has its own channels, labels are kept for each key instead of made
    at each step, and the calibration counts all samples.
    """

    name = "double_sparsity"

    group_factor: Annotated[int, Field(ge=1), Choices(2, 4, 8, 16)] = 8
    """Channels of a head over channels of a label; must divide the head's."""
    label_bits: Annotated[int, Field(ge=1, le=16), Choices(1, 2, 4, 8, 16)] = 4
    """Bits of a number of a label; 16 leaves it as it is."""
    channels: Literal["qk_proj", "q_proj", "k_proj"] = "qk_proj"
    """Which order of channels of the file to use."""
    channel_file: Annotated[
        str | None, AfterValidator(partial(check_suffix, suffixes=(".safetensors", ".json")))
    ] = None
    """File with the order of channels; None for ``double_sparsity.safetensors`` beside the
    model."""

    def for_model(self, profile: ModelProfile) -> DoubleSparsity:
        """The same with a file that was found and fits."""
        for width in profile.head_dims:
            if width % self.group_factor:
                raise UserError(
                    f"double_sparsity: group_factor = {self.group_factor} does not divide the "
                    f"{width} channels of a head of {profile.name}"
                )
        path = find_file(self.channel_file, DEFAULT_NAME, self.name, profile)
        check_channels(path, self.channels, profile)
        return self.model_copy(update={"channel_file": str(path)})

    @property
    def files(self) -> tuple[str, ...]:
        """The file with the channels."""
        return (self.channel_file,) if self.channel_file else ()

    def predict(self, call: AttentionCall) -> Tensor:
        """Products of the labels."""
        features = (self.name, self.channel_file, self.channels, self.group_factor, self.label_bits)
        (order,), (context,), (tail,) = call.key_features(
            features, partial(self._fit, call), self._labels
        )
        places = order[:, :, None].expand(*call.queries.shape[1:4], -1)
        asked = call.queries.float().gather(-1, places.expand(call.shape[0], -1, -1, -1, -1))
        asked = round_to_levels(asked, self.label_bits, -1, torch.round)
        products = segmented_product(asked.flatten(1, 2), context.flatten(1, 2), tail.flatten(1, 2))
        scores = soft_cap(products.mul_(call.scaling), call.softcap).view(call.shape)
        hide(scores, call.geometry)
        return scores

    def selection_bytes(self, call: AttentionCall) -> float:
        """A label for each query head."""
        keys = call.view.segment.keys
        label = vector_bytes(
            keys.shape[-1] // self.group_factor, self.label_bits, keys.element_size()
        )
        return call.shape[2] * label

    def _fit(self, call: AttentionCall, keys: Tensor) -> Features:
        """Channels of the layer's labels, int64 (H, G, r)."""
        if self.channel_file is None:
            raise UserError("double_sparsity has no channel_file, and for_model was not asked")
        everything = load_channels(Path(self.channel_file), self.channels, call.layer)
        order = call.view.own_heads(everything)
        _, heads, group, _, _ = call.shape
        if order.shape[0] == heads:
            order = order.repeat_interleave(group, 0)
        order = order[:, : keys.shape[-1] // self.group_factor]
        return (order.unflatten(0, (heads, group)).to(keys.device),)

    def _labels(self, fitted: Features, keys: Tensor) -> Features:
        """Labels of keys, float32 (n, H, G, r, m)."""
        (order,) = fitted
        count, _, length, _ = keys.shape
        group, width = order.shape[1:]
        places = order.flatten(1)[None, :, None].expand(count, -1, length, -1)
        labels = keys.float().gather(-1, places).mT.unflatten(2, (group, width))
        return (round_to_levels(labels, self.label_bits, 3, torch.round),)
