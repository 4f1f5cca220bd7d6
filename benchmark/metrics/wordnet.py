"""WordNet's files: the synonyms of a word, for METEOR.

Format: the manual page wndb(5) of WordNet 3.0; base forms: its morphy(7), each ending taken off
once, as NLTK does.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from benchmark.metrics.libraries import optional_library
from sparse_attention.errors import UserError

DEBIAN_FOLDER = Path("/usr/share/wordnet")
"""Where Debian's package ``wordnet-base`` puts its files."""

_LONGEST_WORD = 200
"""Letters up to which a word is looked up; the longest lemma has 71."""

_PARTS = ("noun", "verb", "adj", "adv")
_ENDINGS = {
    "noun": (
        *(("s", ""), ("ses", "s"), ("ves", "f"), ("xes", "x"), ("zes", "z")),
        *(("ches", "ch"), ("shes", "sh"), ("men", "man"), ("ies", "y")),
    ),
    "verb": (
        *(("s", ""), ("ies", "y"), ("es", "e"), ("es", "")),
        *(("ed", "e"), ("ed", ""), ("ing", "e"), ("ing", "")),
    ),
    "adj": (("er", ""), ("est", ""), ("er", "e"), ("est", "e")),
    "adv": (),
}
_SYNTAX = re.compile(r"\(.*\)$")
"""Mark of an adjective's position in a phrase, after its lemma."""


class WordNet:
    """The words of a folder with WordNet's files.

    Raises ``UserError`` if a file is missing or has another format.
    """

    def __init__(self, folder: Path | zipfile.Path) -> None:
        try:
            self._data = {part: (folder / f"data.{part}").read_bytes() for part in _PARTS}
            texts = [(folder / f"index.{part}").read_text("utf-8") for part in _PARTS]
            irregular = [(folder / f"{part}.exc").read_text("utf-8") for part in _PARTS]
            self._offsets = dict(zip(_PARTS, map(_read_index, texts), strict=True))
        except (OSError, KeyError, ValueError, IndexError) as error:
            raise UserError(f"{folder} does not hold the files of WordNet 3: {error}.") from error
        self._irregular = {
            part: {word: bases for word, *bases in map(str.split, text.splitlines())}
            for part, text in zip(_PARTS, irregular, strict=True)
        }

    def synonyms(self, word: str) -> set[str]:
        """Single words that share a meaning with one in lower case, as they are spelt there."""
        if len(word) > _LONGEST_WORD:
            return set()
        return {
            lemma
            for part in _PARTS
            for base in self._bases(word, part)
            for offset in self._offsets[part][base]
            for lemma in self._lemmas(part, offset)
            if "_" not in lemma
        }

    def _bases(self, word: str, part: str) -> list[str]:
        """The word and its base forms, as far as they are lemmas; irregular ones exclude others."""
        irregular = self._irregular[part].get(word)
        forms = [word, *(_shortened(word, part) if irregular is None else irregular)]
        return [form for form in forms if form in self._offsets[part]]

    def _lemmas(self, part: str, offset: int) -> Iterator[str]:
        end = self._data[part].index(b"\n", offset)
        fields = self._data[part][offset:end].decode("utf-8").split(" ")
        for place in range(int(fields[3], 16)):
            yield _SYNTAX.sub("", fields[4 + 2 * place])


def _shortened(word: str, part: str) -> list[str]:
    return [word.removesuffix(old) + new for old, new in _ENDINGS[part] if word.endswith(old)]


def _read_index(text: str) -> dict[str, list[int]]:
    """Offsets of the meanings of each lemma."""
    index = {}
    for line in text.splitlines():
        if not line.startswith(" "):  # which begins the lines of the licence
            lemma, _, meanings, *fields = line.split()
            index[lemma] = [int(offset) for offset in fields[len(fields) - int(meanings) :]]
    return index


def find_wordnet() -> Path | zipfile.Path:
    """The folder of WordNet's files in NLTK's data or of Debian's package.

    Raises ``UserError`` where there is none, or NLTK is not installed.
    """
    for root in map(Path, optional_library("nltk.data", "METEOR", "loogle").path):
        packed = root / "corpora" / "wordnet.zip"
        if packed.is_file():
            return zipfile.Path(packed, "wordnet/")
        if (root / "corpora" / "wordnet" / "index.noun").is_file():
            return root / "corpora" / "wordnet"
    if (DEBIAN_FOLDER / "index.noun").is_file():
        return DEBIAN_FOLDER
    raise UserError(
        "it needs WordNet, which is neither in NLTK's data (python -m nltk.downloader wordnet) "
        f"nor in {DEBIAN_FOLDER} (apt install wordnet-base)."
    )


@cache
def load_wordnet() -> WordNet:
    """The WordNet of this machine, read once; ``UserError`` where there is none."""
    return WordNet(find_wordnet())
