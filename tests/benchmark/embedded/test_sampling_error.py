"""What samplers make of the attention of a trained model."""

from __future__ import annotations

import torch

from benchmark.embedded import MODEL_PATH
from benchmark.embedded_training.calibrate import calibration_text
from sparse_attention import AttentionConfig, HuggingFaceAdapter
from sparse_attention.attention.call import AttentionCall
from sparse_attention.attention.selection import Selection
from sparse_attention.maskers import AdaptiveSampling, Local, OracleTopK, Sink
from sparse_attention.maskers.sampling import Residual, log_inverse_share
from sparse_attention.method import resolve_size


class PilotApart(AdaptiveSampling):
    """The same keys without pooling: the pilot counts once, the second sample for all others."""

    def propose(self, call: AttentionCall, prior: Selection) -> Selection:
        reads = super().propose(call, prior).reads
        residual = Residual.of(call, prior, self.seed)
        pilot = resolve_size(self.base_rate, residual.size).clamp(min=2).minimum(residual.size)
        second = reads & ~residual.first(pilot)
        weight = log_inverse_share(second.sum(-1, keepdim=True), residual.size - pilot)
        return Selection(reads, weight * second)


def test_pooling_pilot_and_sample_errs_less_and_less_with_a_larger_pilot():
    torch.set_num_threads(1)
    adapter = HuggingFaceAdapter.load(str(MODEL_PATH))
    tokens = adapter.tokenizer(calibration_text(2, 700, seed=3)).input_ids
    prefix = adapter.prefill(tokens[:1200])
    pooled, apart = [], []
    for base_rate, epsilon in ((0.02, 0.1), (0.02, 0.25), (0.05, 0.25), (0.1, 0.4)):
        for kind, errors in ((AdaptiveSampling, pooled), (PilotApart, apart)):
            configs = [
                AttentionConfig(
                    (
                        Sink(sink_size=4),
                        Local(window_size=64),
                        OracleTopK(heavy_size=0.02),
                        kind(base_rate=base_rate, epsilon=epsilon, delta=epsilon, seed=seed),
                    )
                )
                for seed in range(3)
            ]
            answers = adapter.answer(prefix, tokens[1200:1208], configs, max_new_tokens=1)
            errors.append(sum(answer.attention_error for answer in answers) / len(answers))
    # Measured: .017, .053, .029, .015 pooled and .025, .116, .100, .087 apart.
    assert all(one < 0.8 * other for one, other in zip(pooled, apart, strict=True))
    assert pooled[3] < 0.75 * pooled[2] < 0.75**2 * pooled[1]
    assert pooled[3] < 0.3 * apart[3]
