"""vAttention: as many samples as a promised accuracy needs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import torch
from pydantic import Field

from sparse_attention.attention.call import AttentionCall
from sparse_attention.attention.selection import Selection
from sparse_attention.maskers.base import Masker
from sparse_attention.maskers.sampling import Residual
from sparse_attention.method import Choices, Size, resolve_size
from sparse_attention.numerics.tensors import as_numbers

if TYPE_CHECKING:
    from torch import Tensor


class AdaptiveSampling(Masker):
    """Sample the residual so that the softmax denominator is right to ``epsilon`` in most cases.

    Per query and head, with e_i = exp(score_i), the residual R of the n keys not read yet, and D_f
    the denominator of the keys that are read already:

    1. A pilot of ``b0 = max(2, base_rate * n)`` keys of R is read.  It gives the standard deviation
       sigma and the mean of e, and of the ``m = n - b0`` keys that are left the estimate
       ``D = D_f + sum_pilot(e) + m * mean(e)``.
    2. For a relative error of at most epsilon with probability 1 - delta (central limit theorem,
       two-sided), ``s = (z * m * sigma / (epsilon * D))^2`` with ``z = Phi^-1(1 - delta / 2)``;
       drawing without replacement needs only ``s / (1 + s / m)`` of them (Cochran, 1977).
    3. ``max(min_samples, ceil(s))`` of the keys that are left, at most all, are drawn without
       replacement.
    4. All b keys of pilot and second sample together weigh n / b.  Where b = n the result is exact.

    The estimate of a sum over R, numerator or denominator, is ``w * P + (1 - w) * U`` with the
    pilot's own estimate ``P = n * mean_pilot``, the estimate ``U = sum_pilot + m * mean_second``
    and ``w = b0 (n - b) / (b m)``.  P and U are unbiased.  Their mixture is not, because w depends
    on the pilot: its bias is Cov(w, P), of absolute value at most

        b0 / (b0 + min_samples) * sd(P) / 2,    sd(P) = n S / sqrt(b0) * sqrt(1 - b0 / n)

    with S the standard deviation of the terms in R: less than half of the standard error of the
    pilot alone, and 0 where all pilots ask for equally many keys.  U alone has no bias, but leaves
    to the second sample what the pilot knows as well.

    Measured on SmolLM2-135M (1500 tokens of essays, after sink 4, local 64 and the top 2%), squared
    relative error of attention with U, and with all keys pooled: .038 and .019 at base_rate .02 and
    epsilon = delta = .1; .097 and .040 at .02 and .25; .092 and .020 at .05 and .25; .087 and .011
    at .1 and .4.  Of the denominator at .02 and .1, the bias is -.4% (its bound 1.6%), the root
    mean square error 3.9% instead of 5.2%; at .25 the bias is -.1%.

    Cost: nothing but the keys that are read, of the pilot and the sample, is needed to choose.

    Fails where single unread keys dominate: sigma then rests on a pilot that may have missed them,
    so use it after a top-k method.

    Source: Desai et al., vAttention: Verified Sparse Attention (2025), in the relaxation to the
    denominator that its experiments use.  There the pilot is topped up to s keys; here s keys are
    added to it, which costs 7 to 14% more keys in the measurements above, errs less (.026 if topped
    up at .02 and .1, .061 at .02 and .25) and has less bias.  Unlike published code: only keys that
    are not read yet are drawn, without replacement, the quantile is two-sided and the pilot is
    used.
    """

    name = "adaptive_sampling"
    samples = True
    stacked = frozenset({"epsilon", "delta", "min_samples"})

    base_rate: Annotated[Size, Choices(0.01, 0.02, 0.03, 0.05, 0.1)] = 0.02
    """Keys of the pilot: a count or a share of the residual."""
    epsilon: Annotated[float, Field(gt=0, lt=1), Choices(0.025, 0.05, 0.1, 0.2, 0.3, 0.4)] = 0.1
    """Relative error of the denominator that is aimed at."""
    delta: Annotated[float, Field(gt=0, lt=1), Choices(0.025, 0.05, 0.1, 0.2, 0.3, 0.4)] = 0.1
    """Probability with which it may be larger."""
    min_samples: Annotated[int, Field(ge=2)] = 16
    """Smallest second sample; below about 16 the normal approximation fails."""
    seed: int = 42
    """Of the random numbers, with sample, layer and position."""

    def propose(self, call: AttentionCall, prior: Selection) -> Selection:
        """The sample with its weights."""
        residual = Residual.of(call, prior, self.seed)
        pilot = resolve_size(self.base_rate, residual.size).clamp(min=2).minimum(residual.size)
        rest = residual.size - pilot
        drawn, known = self._terms(call, residual, pilot)
        total = drawn.sum(-1, keepdim=True)
        norm = torch.linalg.vector_norm(drawn, dim=-1, keepdim=True)
        quantile = torch.special.ndtri(1 - call.setting(self, "delta").double() / 2).float()
        factor = quantile / call.setting(self, "epsilon")
        smallest = call.setting(self, "min_samples")
        if residual.compact is None:
            factor, smallest = call.on_device(factor), call.on_device(smallest)
        elif drawn.is_cuda:  # a dozen launches take longer than to bring so few numbers here
            total, norm, known = torch.stack([total, norm, known]).cpu()
        needed = _needed(pilot, rest, factor, total, norm, known)
        return residual.sample(pilot + torch.minimum(torch.maximum(needed, smallest), rest))

    def _terms(
        self, call: AttentionCall, residual: Residual, pilot: Tensor
    ) -> tuple[Tensor, Tensor]:
        """e_i of the pilot, 0 elsewhere, (R, H, G, Q, n), and D_f, both up to a factor per query.

        All that counts are their ratios.
        """
        if residual.compact is None:
            terms = call.probabilities
            known = (as_numbers(residual.prior.reads) * terms).sum(-1, keepdim=True)
            return as_numbers(residual.first(pilot)) * terms, known
        drawn = call.scores_at(residual.listed(pilot).keys)
        read = call.scores_at(residual.compact.within(call.shape[-1]).keys)
        highest = torch.cat([drawn, read], -1).amax(-1, keepdim=True)
        return (drawn - highest).exp_(), (read - highest).exp_().sum(-1, keepdim=True)


def _needed(
    pilot: Tensor, rest: Tensor, factor: Tensor, total: Tensor, norm: Tensor, known: Tensor
) -> Tensor:
    """Samples that the accuracy needs, estimated from the pilot.

    Args:
        pilot: b0, int64.
        rest: m, int64.
        factor: z / epsilon.
        total: sum of the e_i of the pilot, float32 (R, H, G, Q, 1).
        norm: root of the sum of their squares, likewise.
        known: D_f, likewise.

    Returns:
        int64 (R, H, G, Q, 1).
    """
    count = pilot.clamp(min=1).float()
    mean = total / count
    variance = norm.square() - count * mean.square()
    variance = variance.clamp(min=0) / (count - 1).clamp(min=1)
    size = rest.float()
    denominator = known + total + size * mean
    needed = (factor * size / denominator).square() * variance
    needed = needed / (1 + needed / size.clamp(min=1))
    # Where nothing that was read has any weight, nothing is known about the rest.
    needed = torch.where(denominator > 0, needed, size)
    return needed.ceil().long()
