"""BLEU, METEOR and BERTScore against the packages they come from, or by hand."""

from __future__ import annotations

import math
import warnings
import zipfile
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from nltk.translate.bleu_score import sentence_bleu
from nltk.translate.meteor_score import single_meteor_score
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast, RobertaConfig, RobertaModel

from benchmark.metrics import wordnet as wordnet_module
from benchmark.metrics.bert_score import bert_precision
from benchmark.metrics.bleu import bleu_n
from benchmark.metrics.meteor import meteor
from benchmark.metrics.wordnet import WordNet, find_wordnet
from sparse_attention.errors import UserError

words = st.lists(st.sampled_from(["a", "b", "cats", "cat", "Auto", "car", "ran"]), max_size=25)


@given(words, words, st.sampled_from([1, 2, 4]))
def test_bleu_is_that_of_nltk(prediction, reference, n):
    weights = [float(size == n) for size in range(1, 5)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = sentence_bleu([reference], prediction, weights=weights)
    assert bleu_n(prediction, reference, n) == (0 if expected < 1e-300 else expected)


def test_known_bleu():
    text = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"]
    assert bleu_n(text[:5], text, 1) == math.exp(-1)
    assert bleu_n([], text, 1) == 0


NOUN = """\
  1 A database of two nouns in the format of WordNet.
{car:08} 06 n 02 car 0 auto 0 000 | a vehicle with an engine
{cat:08} 05 n 02 cat 0 true_cat 0 000 | an animal that sleeps
"""
CAR = NOUN.index("{car")
CAT = NOUN.format(car=CAR, cat=0).index("00000000 05")


@pytest.fixture
def wordnet_folder(tmp_path):
    """Two nouns, in the files that both NLTK and Debian have."""
    (tmp_path / "data.noun").write_text(NOUN.format(car=CAR, cat=CAT))
    index = [f"{word} n 1 0 1 0 {place:08}  " for word, place in [("auto", CAR), ("car", CAR)]]
    (tmp_path / "index.noun").write_text("\n".join([*index, f"cat n 1 1 @ 1 0 {CAT:08}", ""]))
    for part in ("adj", "adv", "verb"):
        (tmp_path / f"data.{part}").write_text("")
        (tmp_path / f"index.{part}").write_text("")
    for part in ("adj", "adv", "noun", "verb"):
        (tmp_path / f"{part}.exc").write_text("kitties cat\n" if part == "noun" else "")
    return tmp_path


def test_synonyms_are_found_by_base_form(wordnet_folder):
    wordnet = WordNet(wordnet_folder)
    assert wordnet.synonyms("autos") == {"car", "auto"}
    assert wordnet.synonyms("kitties") == {"cat"}
    assert wordnet.synonyms("dog") == wordnet.synonyms("") == set()


def test_known_meteor_values(wordnet_folder):
    wordnet = WordNet(wordnet_folder)
    # One word matches one: the mean is 1, and one chunk of one match costs gamma.
    assert meteor(["cats"], ["Cat"], wordnet) == 0.5
    assert meteor(["auto"], ["cars"], wordnet) == 0.5
    assert meteor(["bus"], ["car"], wordnet) == 0.0
    assert meteor([], ["car"], wordnet) == 0.0
    # Two matches in one chunk: P = 2/3, R = 1.
    mean = (2 / 3) / (0.9 * 2 / 3 + 0.1)
    assert meteor(["a", "b", "c"], ["a", "b"], wordnet) == (1 - 0.5 / 8) * mean


class AsNltkReads:
    """A WordNet with the methods that NLTK's METEOR calls."""

    def __init__(self, wordnet):
        self.wordnet = wordnet

    def synsets(self, word):
        lemmas = [SimpleNamespace(name=lambda name=name: name) for name in self.wordnet(word)]
        return [SimpleNamespace(lemmas=lambda: lemmas)]


@given(words, words, st.dictionaries(st.sampled_from(["auto", "cat", "a"]), st.just({"b", "car"})))
def test_meteor_is_that_of_nltk(prediction, reference, synonyms):
    def lookup(word):
        return synonyms.get(word, set())

    theirs = single_meteor_score(reference, prediction, wordnet=AsNltkReads(lookup))
    assert meteor(prediction, reference, SimpleNamespace(synonyms=lookup)) == theirs


def test_wordnet_is_looked_for_where_nltk_and_debian_keep_it(monkeypatch, tmp_path, wordnet_folder):
    monkeypatch.setattr("nltk.data.path", [str(tmp_path / "nltk")])
    monkeypatch.setattr(wordnet_module, "DEBIAN_FOLDER", tmp_path / "missing")
    with pytest.raises(UserError, match="apt install wordnet-base"):
        find_wordnet()
    monkeypatch.setattr(wordnet_module, "DEBIAN_FOLDER", wordnet_folder)
    assert find_wordnet() == wordnet_folder
    corpora = tmp_path / "nltk" / "corpora"
    corpora.mkdir(parents=True)
    with zipfile.ZipFile(corpora / "wordnet.zip", "w") as packed:
        for file in (file for file in wordnet_folder.iterdir() if file.is_file()):
            packed.write(file, f"wordnet/{file.name}")
    assert WordNet(find_wordnet()).synonyms("car") == {"car", "auto"}
    with pytest.raises(UserError, match="does not hold the files of WordNet"):
        WordNet(corpora)


@pytest.mark.parametrize(
    "text",
    ["y" * 10**6, "s" * 10**6, "\ud800\x00 " * 30_000, " ".join(f"w{i}" for i in range(30_000))],
    ids=["y", "s", "surrogates", "words"],
)
def test_absurd_texts_are_scored(text, wordnet_folder):
    assert 0 <= meteor(text.split(), ["cat"], WordNet(wordnet_folder)) <= 1
    assert 0 <= bleu_n(text.split(), ["cat"] * 5, 4) <= 1


VOCABULARY = ["<s>", "<pad>", "</s>", "<unk>", "the", "cat", "sat", "on", "a", "mat", "dog"]


@pytest.fixture(scope="module")
def tiny_roberta(tmp_path_factory):
    folder = tmp_path_factory.mktemp("roberta")
    ids = {word: number for number, word in enumerate(VOCABULARY)}
    tokenizer = Tokenizer(models.WordLevel(ids, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0))
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<s>",
        cls_token="<s>",
        eos_token="</s>",
        sep_token="</s>",
        unk_token="<unk>",
        pad_token="<pad>",
        model_max_length=64,
    ).save_pretrained(folder)
    torch.manual_seed(0)
    config = RobertaConfig(
        vocab_size=len(VOCABULARY),
        hidden_size=32,
        num_hidden_layers=3,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=80,
        pad_token_id=1,
    )
    RobertaModel(config).save_pretrained(folder)
    return folder


def test_bert_precision_is_the_mean_of_best_cosines(tiny_roberta):
    prediction, reference = "the cat sat", "a dog sat on the mat"
    model = RobertaModel.from_pretrained(tiny_roberta).eval()
    vectors = []
    for text in (prediction, reference):
        ids = [0, *(VOCABULARY.index(word) for word in text.split()), 2]
        with torch.no_grad():
            states = model(torch.tensor([ids]), output_hidden_states=True).hidden_states[2][0]
        vectors.append(states.double() / states.double().norm(dim=-1, keepdim=True))
    best = (vectors[0] @ vectors[1].T).max(dim=1).values[1:-1].mean().item()
    found = bert_precision([prediction, "a"], [reference, "a"], str(tiny_roberta), 2)
    assert found == pytest.approx([best, 1.0], abs=1e-5)


def test_a_model_that_is_not_there_is_named(tmp_path):
    with pytest.raises(UserError, match="BERTScore cannot load the model"):
        bert_precision(["a"], ["b"], str(tmp_path / "nothing"), 2)
