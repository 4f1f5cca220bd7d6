"""Small tokenizers of all kinds that models have, trained on a few sentences."""

from __future__ import annotations

from functools import cache
from typing import Any

from tokenizers import (
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)
from transformers import ByT5Tokenizer, PreTrainedTokenizerBase, PreTrainedTokenizerFast

CORPUS = [
    "The door was open.\n\nWhat was open? The door.\nOpen doors, open doors; the doors were open!",
    "def f(x):\n    return x\n\n\ndef g(y):\n        return [y, 1, 22]\n\nUser: hello there",
    "Das Tor stand offen.  été déjà 数字 数 e\u0301 \t tabs\n\n\nQuestion: what is it?\n\nAnswer:",
] * 4
SPECIALS = ["<s>", "</s>", "<unk>", "<|user|>", "<|end|>", "<|bot|>"]
# Of Llama 3: punctuation takes the line ends behind it, blanks stay before words.
LLAMA_3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
TEMPLATES = {
    "none": None,
    "spelled": "{{ bos_token }}{% for m in messages %}[INST] {{ m.content }} [/INST]{% endfor %}",
    "trimmed": "{{ bos_token }}{% for m in messages %}<|user|>\n{{ m.content | trim }}<|end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|bot|>\n{% endif %}",
    "tokens": "{% for m in messages %}<|user|>{{ m.content }}<|end|>{% endfor %}<|bot|>",
}


def _byte_level(split: Any = None) -> tuple[Tokenizer, Any]:
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    if split is not None:
        backend.pre_tokenizer = pre_tokenizers.Sequence(
            [
                pre_tokenizers.Split(Regex(split), "isolated"),
                pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
            ]
        )
    backend.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    return backend, trainers.BpeTrainer(
        vocab_size=420, special_tokens=SPECIALS, initial_alphabet=alphabet, show_progress=False
    )


def _metaspace(scheme: Any) -> tuple[Tokenizer, Any]:
    backend = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True))
    backend.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=scheme, split=False)
    backend.decoder = decoders.Metaspace(prepend_scheme=scheme, split=False)
    return backend, trainers.BpeTrainer(
        vocab_size=200, special_tokens=SPECIALS, max_token_length=8, show_progress=False
    )


def _legacy() -> tuple[Tokenizer, Any]:
    """As Llama 2 first came: a normalizer replaces white space, also behind special tokens."""
    backend = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True))
    backend.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    return backend, trainers.BpeTrainer(
        vocab_size=200, special_tokens=SPECIALS, max_token_length=8, show_progress=False
    )


def _unigram() -> tuple[Tokenizer, Any]:
    """Its model finds special tokens in texts, because they are in its vocabulary."""
    backend = Tokenizer(models.Unigram())
    backend.normalizer = normalizers.NFKC()
    backend.pre_tokenizer = pre_tokenizers.Metaspace()
    return backend, trainers.UnigramTrainer(
        vocab_size=120, special_tokens=SPECIALS, unk_token="<unk>", show_progress=False
    )


def _word_piece() -> tuple[Tokenizer, Any]:
    backend = Tokenizer(models.WordPiece(unk_token="<unk>"))
    backend.normalizer = normalizers.BertNormalizer()
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return backend, trainers.WordPieceTrainer(
        vocab_size=200, special_tokens=SPECIALS, show_progress=False
    )


KINDS = {
    "gpt-2": _byte_level,
    "llama-3": lambda: _byte_level(LLAMA_3),
    "always": lambda: _metaspace("always"),
    "first": lambda: _metaspace("first"),
    "never": lambda: _metaspace("never"),
    "legacy": _legacy,
    "unigram": _unigram,
    "word pieces": _word_piece,
}


@cache
def trained(kind: str, template: str = "none") -> PreTrainedTokenizerBase:
    """A tokenizer of a kind, or ``bytes``: one without the ``tokenizers`` library.

    All put <s> in front of texts, word pieces also </s> behind them.
    """
    if kind == "bytes":
        slow = ByT5Tokenizer(extra_ids=0, additional_special_tokens=SPECIALS[3:])
        slow.bos_token = "<|user|>"
        slow.chat_template = TEMPLATES[template]
        return slow
    backend, trainer = KINDS[kind]()
    backend.train_from_iterator(CORPUS, trainer)
    ids = [(name, backend.token_to_id(name)) for name in ("<s>", "</s>")]
    single = "<s> $A </s>" if kind == "word pieces" else "<s> $A"
    backend.post_processor = processors.TemplateProcessing(single=single, special_tokens=ids)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend, bos_token="<s>", eos_token="</s>", unk_token="<unk>"
    )
    tokenizer.chat_template = TEMPLATES[template]
    return tokenizer
