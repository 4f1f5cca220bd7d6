"""The embedded model's tokenizer: a closed vocabulary with a byte fallback.

The vocabulary is written down instead of learned: three special tokens, the 256 bytes, all
two-digit numbers and the words of ``vocabulary``, each with a leading space (a few also without).
A piece of text that is in the vocabulary is one token, anything else falls back to bytes, so every
text can be encoded and decoded.  ``" 4712"`` becomes ``" 47"`` and ``"12"``: numbers stay short and
there are only 200 number tokens to learn.
"""

from __future__ import annotations

import re

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from benchmark.embedded import vocabulary

BOS, EOS, PAD = "<s>", "</s>", "<pad>"
SPECIAL_TOKENS = (BOS, EOS, PAD)

PUNCTUATION = (".", ",", "?", ":", "\n")
FIRST_WORDS = ("Text", "List", "Question", "Answer", "A", "The", "It", "Store", "Copy")
"""Words that can start a text or a line, hence also without a leading space."""

_PIECE_PATTERN = r" ?\d{1,2}| ?[A-Za-z]+|\n| ?[^\sA-Za-z\d]+|\s"
_PIECE = re.compile(_PIECE_PATTERN)


def count_tokens(text: str) -> int:
    """Count the tokens of ``text``; exact for vocabulary words, numbers and ``PUNCTUATION``."""
    return len(_PIECE.findall(text))


def vocabulary_pieces() -> tuple[str, ...]:
    """List the pieces of more than one byte that are one token, in the order of their ids."""
    words = (
        *vocabulary.KEYS,
        *vocabulary.NOUNS,
        *vocabulary.ADJECTIVES,
        *vocabulary.VERBS,
        *vocabulary.ADVERBS,
        *vocabulary.PREPOSITIONS,
        *vocabulary.TEMPLATE_WORDS,
    )
    pieces = [f" {number:02d}" for number in range(100)]
    pieces += [f"{number:02d}" for number in range(100)]
    pieces += FIRST_WORDS
    pieces += [f" {word}" for word in words]
    return tuple(dict.fromkeys(pieces))


def build_tokenizer(max_length: int) -> PreTrainedTokenizerFast:
    """Build the tokenizer; it puts ``<s>`` in front of a text when special tokens are on.

    ``max_length`` is the length in tokens that it gives as the model's limit.
    """
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)

    def as_bytes(piece: str) -> str:
        return byte_level.pre_tokenize_str(piece)[0][0]

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokens = [*SPECIAL_TOKENS, *alphabet, *map(as_bytes, vocabulary_pieces())]
    ids = {token: index for index, token in enumerate(dict.fromkeys(tokens))}

    backend = Tokenizer(models.BPE(vocab=ids, merges=[], ignore_merges=True))
    backend.add_special_tokens(list(SPECIAL_TOKENS))
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(_PIECE_PATTERN), "isolated"), byte_level]
    )
    backend.decoder = decoders.ByteLevel()
    backend.post_processor = processors.TemplateProcessing(
        single=f"{BOS} $A", pair=f"{BOS} $A $B", special_tokens=[(BOS, ids[BOS])]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        bos_token=BOS,
        eos_token=EOS,
        pad_token=PAD,
        model_max_length=max_length,
        clean_up_tokenization_spaces=False,
    )
