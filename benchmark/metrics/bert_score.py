"""BERTScore by the package ``bert-score``, which loads a language model for it."""

from __future__ import annotations

from collections.abc import Sequence

from benchmark.metrics.libraries import optional_library
from sparse_attention.errors import UserError

MODEL, LAYERS = "roberta-large", 17
"""What the package takes for English texts."""


def bert_precision(
    predictions: Sequence[str],
    references: Sequence[str],
    model: str = MODEL,
    layers: int = LAYERS,
) -> list[float]:
    """BERTScore precision of each prediction: no idf weights, no rescaling.

    Args:
        predictions: texts.
        references: one for each.
        model: hub name or folder of the model.
        layers: of it that are used.

    Raises:
        UserError: if the package is not installed or the model cannot be loaded.
    """
    package = optional_library("bert_score", "BERTScore", "bert")
    if not predictions:
        return []
    try:
        precision, _, _ = package.score(
            list(predictions), list(references), model_type=model, num_layers=layers
        )
    except OSError as error:
        raise UserError(
            f"BERTScore cannot load the model {model!r} ({str(error).splitlines()[0]}). Check the "
            "network or the model's folder, or leave BERTScore off."
        ) from error
    return precision.tolist()
